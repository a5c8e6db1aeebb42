// Command watch starts an answer in the background, streamed, loses the connection, and watches the rest from the last
// event that it saw.
package main

import (
	"context"
	"fmt"
	"log"
	"os"

	"github.com/openai/openai-go/v3"
	"github.com/openai/openai-go/v3/responses"
)

func main() {
	ctx := context.Background()
	client := openai.NewClient() // OPENAI_BASE_URL=http://127.0.0.1:8080/v1 OPENAI_API_KEY=none

	first := client.Responses.NewStreaming(ctx, responses.ResponseNewParams{
		Model:      "demo-slow",
		Input:      responses.ResponseNewParamsInputUnion{OfString: openai.String("Tell me about rivers.")},
		Background: openai.Bool(true),
	})
	first.Next()
	id := first.Current().Response.ID
	show(first.Current())
	for first.Current().SequenceNumber < 9 && first.Next() {
		show(first.Current())
	}
	first.Close() // the train is in a tunnel

	rest := client.Responses.GetStreaming(ctx, id, responses.ResponseGetParams{
		StartingAfter: openai.Int(first.Current().SequenceNumber),
	})
	for rest.Next() {
		show(rest.Current())
	}
	if err := rest.Err(); err != nil {
		log.Fatal(err)
	}
}

func show(event responses.ResponseStreamEventUnion) {
	fmt.Fprintln(os.Stderr, event.SequenceNumber, event.Type)
	if event.Type == "response.output_text.delta" {
		fmt.Print(event.Delta)
	}
}
