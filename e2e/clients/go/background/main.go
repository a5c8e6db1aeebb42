// Command background leaves an answer to be made in the background, asks how far it is until it is there, and then
// replays its events.
package main

import (
	"context"
	"fmt"
	"log"
	"os"
	"time"

	"github.com/openai/openai-go/v3"
	"github.com/openai/openai-go/v3/responses"
)

func main() {
	ctx := context.Background()
	client := openai.NewClient() // OPENAI_BASE_URL=http://127.0.0.1:8080/v1 OPENAI_API_KEY=none

	response, err := client.Responses.New(ctx, responses.ResponseNewParams{
		Model:      "demo-slow",
		Input:      responses.ResponseNewParamsInputUnion{OfString: openai.String("Tell me about rivers.")},
		Background: openai.Bool(true),
	})
	if err != nil {
		log.Fatal(err)
	}
	fmt.Println(response.Status)
	for response.Status == "queued" || response.Status == "in_progress" {
		time.Sleep(100 * time.Millisecond)
		if response, err = client.Responses.Get(ctx, response.ID, responses.ResponseGetParams{}); err != nil {
			log.Fatal(err)
		}
	}
	fmt.Println(response.Status)
	fmt.Println(response.OutputText())

	events := client.Responses.GetStreaming(ctx, response.ID, responses.ResponseGetParams{})
	for events.Next() {
		fmt.Fprintln(os.Stderr, events.Current().SequenceNumber, events.Current().Type)
	}
	if err := events.Err(); err != nil {
		log.Fatal(err)
	}
}
