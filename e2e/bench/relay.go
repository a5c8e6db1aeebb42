package main

import (
	"bufio"
	"context"

	"fmt"
	"io"
	"net"
	"net/http"
	"time"

	"github.com/go-json-experiment/json"
)

// serveRelay forwards a model's stream as it comes, each chunk flushed: what a gateway costs that keeps nothing.
func serveRelay(ctx context.Context, upstream string) error {
	ln, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		return fmt.Errorf("listen: %w", err)
	}
	fmt.Printf("listening on http://%s\n", ln.Addr())
	srv := &http.Server{Handler: relayTo(upstream), ReadHeaderTimeout: 5 * time.Second}
	context.AfterFunc(ctx, func() { _ = srv.Close() })
	if err := srv.Serve(ln); err != http.ErrServerClosed {
		return fmt.Errorf("serve relay: %w", err)
	}
	return nil
}

func relayTo(upstream string) http.Handler {
	client := &http.Client{Transport: &http.Transport{MaxIdleConnsPerHost: 1000}}
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		var in struct {
			Input string `json:"input"`
		}
		if err := json.UnmarshalRead(r.Body, &in); err != nil {
			http.Error(w, err.Error(), http.StatusBadRequest)
			return
		}
		w.Header().Set("Content-Type", "text/event-stream")
		fmt.Fprint(w, "event: response.created\ndata: {}\n\n")
		flush := http.NewResponseController(w)
		_ = flush.Flush() // a client that went away is seen by the copy
		resp, err := ask(r.Context(), client, upstream+"/chat/completions", in.Input)
		if err != nil {
			return
		}
		defer resp.Body.Close()
		forward(w, flush, resp.Body)
	})
}

func forward(w io.Writer, flush *http.ResponseController, body io.Reader) {
	lines := bufio.NewScanner(body)
	for lines.Scan() {
		if _, err := fmt.Fprintf(w, "%s\n", lines.Bytes()); err != nil {
			return
		}
		if len(lines.Bytes()) == 0 && flush.Flush() != nil {
			return
		}
	}
}
