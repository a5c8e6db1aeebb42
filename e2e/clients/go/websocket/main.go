// Command websocket holds a conversation over one WebSocket: the second question names the first answer's response.
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
	ctx := context.Background()
	client := openai.NewClient() // OPENAI_BASE_URL=http://127.0.0.1:8080/v1 OPENAI_API_KEY=none

	connection, err := client.Responses.Connect(ctx, responses.ResponseConnectionOptions{})
	if err != nil {
		log.Fatal(err)
	}
	defer connection.Close()
	var previous param.Opt[string]
	for _, question := range []string{"Tell me about the Danube.", "And the Elbe?"} {
		create := responses.ResponsesClientEventResponseCreateParam{
			Model:              "demo",
			Input:              responses.ResponsesClientEventResponseCreateInputUnionParam{OfString: openai.String(question)},
			PreviousResponseID: previous,
		}
		if err := connection.Send(ctx, responses.ResponsesClientEventUnionParam{OfResponseCreate: &create}); err != nil {
			log.Fatal(err)
		}
		id := hear(ctx, connection)
		fmt.Println("\n" + id)
		previous = openai.String(id)
	}
}

// hear receives one response, and returns its id.
func hear(ctx context.Context, connection *responses.ResponseConnection) string {
	for {
		data, err := connection.RecvRaw(ctx)
		if err != nil {
			log.Fatal(err)
		}
		var event responses.ResponseStreamEventUnion // the same objects as in a stream
		if err := event.UnmarshalJSON(data); err != nil {
			log.Fatal(err)
		}
		fmt.Fprintln(os.Stderr, event.SequenceNumber, event.Type)
		switch event.Type {
		case "response.output_text.delta":
			fmt.Print(event.Delta)
		case "response.completed":
			return event.Response.ID
		}
	}
}
