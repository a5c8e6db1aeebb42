// Command stream streams an answer: its text to stdout, the number and name of every event to stderr.
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
	client := openai.NewClient() // OPENAI_BASE_URL=http://127.0.0.1:8080/v1 OPENAI_API_KEY=none

	events := client.Responses.NewStreaming(context.Background(), responses.ResponseNewParams{
		Model: "demo",
		Input: responses.ResponseNewParamsInputUnion{OfString: openai.String("Tell me about rivers.")},
	})
	for events.Next() {
		event := events.Current()
		fmt.Fprintln(os.Stderr, event.SequenceNumber, event.Type)
		if event.Type == "response.output_text.delta" {
			fmt.Print(event.Delta)
		}
	}
	if err := events.Err(); err != nil {
		log.Fatal(err)
	}
}
