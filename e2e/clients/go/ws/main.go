// Command ws makes responses over one WebSocket: two lanes at once, then one after the other, from a response that is not
// stored.
package main

import (
	"context"
	"encoding/json"
	"fmt"
	"log"
	"os"

	"github.com/openai/openai-go/v3"
	"github.com/openai/openai-go/v3/responses"
)

func main() {
	ctx := context.Background()
	client := openai.NewClient() // OPENAI_BASE_URL=http://127.0.0.1:8080/v1 OPENAI_API_KEY=none

	conn, err := client.Responses.Connect(ctx, responses.ResponseConnectionOptions{})
	if err != nil {
		log.Fatal(err)
	}
	defer conn.Abort()

	// Lanes run beside each other.
	left, right := lane(conn, "left"), lane(conn, "right")
	create(ctx, conn, ask("left", "Why change horses in midstream?"))
	create(ctx, conn, ask("right", "What is the weather on the river?"))
	show("left", wait(ctx, "left", left))
	show("right", wait(ctx, "right", right))

	// What is not stored can be gone on from as long as the connection is open. This one only prepares.
	prepare := ask("left", "The river is called Styx.")
	prepare.Generate, prepare.Store = openai.Bool(false), openai.Bool(false)
	create(ctx, conn, prepare)
	prepared := wait(ctx, "left", left)

	question := ask("left", "What is it called?")
	question.PreviousResponseID = openai.String(prepared.ID)
	create(ctx, conn, question)
	show("left", wait(ctx, "left", left))

	if err := conn.Close(); err != nil {
		log.Fatal(err)
	}
}

func lane(conn *responses.ResponseConnection, id string) *responses.ResponseLane {
	l, err := conn.Lane(id)
	if err != nil {
		log.Fatal(err)
	}
	return l
}

func ask(lane, question string) responses.ResponsesClientEventResponseCreateParam {
	return responses.ResponsesClientEventResponseCreateParam{
		Model:    "demo",
		StreamID: openai.String(lane),
		Input:    responses.ResponsesClientEventResponseCreateInputUnionParam{OfString: openai.String(question)},
	}
}

func create(ctx context.Context, conn *responses.ResponseConnection, what responses.ResponsesClientEventResponseCreateParam) {
	if err := conn.Create(ctx, what); err != nil {
		log.Fatal(err)
	}
}

// wait receives the events of one response.
func wait(ctx context.Context, name string, l *responses.ResponseLane) responses.Response {
	for {
		event, err := l.Recv(ctx)
		if err != nil {
			log.Fatal(err)
		}
		var head struct {
			Number int64 `json:"sequence_number"`
		}
		if err := json.Unmarshal([]byte(event.RawJSON()), &head); err != nil {
			log.Fatal(err)
		}
		fmt.Fprintln(os.Stderr, name, head.Number, event.Type)
		switch event.Type {
		case "response.completed":
			return event.OfResponsesServerEventResponseWsCompleted.Response
		case "error":
			log.Fatal(event.RawJSON())
		}
	}
}

func show(lane string, response responses.Response) {
	fmt.Println(lane, response.ID, response.OutputText())
}
