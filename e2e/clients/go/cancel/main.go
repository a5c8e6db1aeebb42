// Command cancel cancels an answer at its first word, and hears the end of its stream.
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

	events := client.Responses.NewStreaming(ctx, responses.ResponseNewParams{
		Model:      "demo-slow",
		Input:      responses.ResponseNewParamsInputUnion{OfString: openai.String("Tell me about rivers. [[tokens=1000]]")},
		Background: openai.Bool(true),
	})
	var id string
	var cancelled *responses.Response
	for events.Next() {
		event := events.Current()
		fmt.Fprintln(os.Stderr, event.SequenceNumber, event.Type)
		if event.Type == "response.created" {
			id = event.Response.ID
		}
		if event.Type == "response.output_text.delta" && cancelled == nil {
			var err error
			if cancelled, err = client.Responses.Cancel(ctx, id); err != nil {
				log.Fatal(err)
			}
		}
	}
	if err := events.Err(); err != nil {
		log.Fatal(err)
	}
	fmt.Println(cancelled.Status)
	fmt.Println(events.Current().Response.Status)
}
