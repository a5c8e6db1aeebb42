// Command chain holds a conversation that the gateway remembers: the second question names the first answer's response.
package main

import (
	"context"
	"fmt"
	"log"
	"os"

	"github.com/openai/openai-go/v3"
	"github.com/openai/openai-go/v3/packages/param"
	"github.com/openai/openai-go/v3/responses"
)

func main() {
	client := openai.NewClient() // OPENAI_BASE_URL=http://127.0.0.1:8080/v1 OPENAI_API_KEY=none

	var previous param.Opt[string]
	for _, question := range []string{"Tell me about the Danube.", "And the Elbe?"} {
		events := client.Responses.NewStreaming(context.Background(), responses.ResponseNewParams{
			Model:              "demo",
			Input:              responses.ResponseNewParamsInputUnion{OfString: openai.String(question)},
			PreviousResponseID: previous,
		})
		for events.Next() {
			event := events.Current()
			fmt.Fprintln(os.Stderr, event.SequenceNumber, event.Type)
			switch event.Type {
			case "response.created":
				previous = openai.String(event.Response.ID)
			case "response.output_text.delta":
				fmt.Print(event.Delta)
			}
		}
		if err := events.Err(); err != nil {
			log.Fatal(err)
		}
	}
}
