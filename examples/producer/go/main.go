// Command go feeds a response as its producer "go": go run ./examples/producer/go RESPONSE
package main

import (
	"context"
	"fmt"
	"log"
	"os"
	"strings"
	"time"

	"github.com/nats-io/nats.go"

	"github.com/midstream-dev/midstream/broker/publish"
)

func main() {
	if len(os.Args) != 2 {
		log.Fatal("usage: go run ./examples/producer/go RESPONSE")
	}
	ctx, cancel := context.WithTimeout(context.Background(), time.Minute)
	defer cancel()
	if err := feed(ctx, os.Args[1]); err != nil {
		log.Fatal(err) //nolint:gocritic // the deadline's timer ends with the process
	}
}

// feed returns nil once everything is stored. Whatever breaks meanwhile, the package tries again.
func feed(ctx context.Context, response string) error {
	conn, err := nats.Connect(address(), nats.MaxReconnects(-1))
	if err != nil {
		return fmt.Errorf("connect to NATS: %w", err)
	}
	defer conn.Close()
	stream, err := publish.New(publish.Config{
		Conn: conn, Tenant: "default", Response: response, Producer: "go",
		Epoch: 0, // whoever starts this producer anew for the same response raises it
	})
	if err != nil {
		return err
	}
	defer stream.Close()
	for _, event := range events("Hello ", "from Go.") {
		if err := stream.Send(ctx, []byte(event)); err != nil {
			return err
		}
	}
	return stream.End(ctx)
}

func address() string {
	if url := os.Getenv("NATS_URL"); url != "" { //nolint:forbidigo // this is a program of its own
		return url
	}
	return "nats://river:bank@127.0.0.1:4222"
}

// events is what an agent says: one message, piece by piece. What is left out, Midstream fills in.
func events(pieces ...string) (out []string) {
	out = append(out, `{"type":"response.output_item.added","item":{"id":"m","type":"message","role":"assistant","content":[]}}`)
	for _, piece := range pieces {
		out = append(out, fmt.Sprintf(`{"type":"response.output_text.delta","item_id":"m","content_index":0,"delta":%q}`, piece))
	}
	return append(out, fmt.Sprintf(`{"type":"response.output_item.done","item":{"id":"m","type":"message","role":"assistant",`+
		`"content":[{"type":"output_text","text":%q}]}}`, strings.Join(pieces, "")))
}
