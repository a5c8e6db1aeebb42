package main

import (
	"fmt"
	"net/http"
	"net/http/httptest"
	"strings"
	"sync"
	"time"

	"github.com/go-json-experiment/json"
)

// upstream is a chat completions endpoint that sends tokens as the prompt says: "rate=50 count=200 size=16". Each token
// begins with the time at which it is sent: t=NANOSECONDS.
type upstream struct {
	*httptest.Server

	mu   sync.Mutex
	hold chan struct{} // closed to let the prompts that are held go on
}

func newUpstream() *upstream {
	u := &upstream{hold: make(chan struct{})}
	u.Server = httptest.NewServer(http.HandlerFunc(u.serve))
	return u
}

// release lets those go on that are held now.
func (u *upstream) release() {
	u.mu.Lock()
	defer u.mu.Unlock()
	close(u.hold)
	u.hold = make(chan struct{})
}

func (u *upstream) held() <-chan struct{} {
	u.mu.Lock()
	defer u.mu.Unlock()
	return u.hold
}

// order is what a prompt asks for.
type order struct{ rate, count, size, hold int }

func (o order) String() string {
	return fmt.Sprintf("rate=%d count=%d size=%d hold=%d", o.rate, o.count, o.size, o.hold)
}

func (u *upstream) serve(w http.ResponseWriter, r *http.Request) {
	var body struct {
		Messages []struct {
			Content string `json:"content"`
		} `json:"messages"`
	}
	var o order
	if err := json.UnmarshalRead(r.Body, &body); err != nil || len(body.Messages) == 0 {
		http.Error(w, "bad request", http.StatusBadRequest)
		return
	}
	prompt := body.Messages[len(body.Messages)-1].Content
	if _, err := fmt.Sscanf(prompt, "rate=%d count=%d size=%d hold=%d", &o.rate, &o.count, &o.size, &o.hold); err != nil {
		http.Error(w, "bad prompt "+prompt, http.StatusBadRequest)
		return
	}
	w.Header().Set("Content-Type", "text/event-stream")
	u.send(w, r, o)
}

func (u *upstream) send(w http.ResponseWriter, r *http.Request, o order) {
	flush := http.NewResponseController(w)
	pad := strings.Repeat("x", o.size)
	var tick <-chan time.Time
	if o.rate > 0 {
		t := time.NewTicker(time.Second / time.Duration(o.rate))
		defer t.Stop()
		tick = t.C
	}
	for i := range o.count {
		if tick != nil {
			select {
			case <-tick:
			case <-r.Context().Done():
				return
			}
		}
		if o.hold > 0 && i == o.hold {
			select {
			case <-u.held():
			case <-r.Context().Done():
				return
			}
		}
		fmt.Fprintf(w, "data: {\"choices\":[{\"index\":0,\"delta\":{\"content\":\"t=%d %s\"}}]}\n\n", time.Now().UnixNano(), pad)
		if o.rate > 0 || i%16 == 15 {
			_ = flush.Flush() // a client that went away is seen by the context
		}
	}
	fmt.Fprint(w, "data: {\"choices\":[{\"index\":0,\"delta\":{},\"finish_reason\":\"stop\"}]}\n\ndata: [DONE]\n\n")
}
