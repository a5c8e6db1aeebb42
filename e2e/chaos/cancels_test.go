//go:build e2e

package chaos

import (
	"context"
	"net/http"
	"testing"
	"time"
)

// TestChaos_Cancels promises that a response which somebody cancels ends once, however many processes die meanwhile.
func TestChaos_Cancels(t *testing.T) {
	c := &campaign{
		seed: 13, clients: 24, cut: 8000, script: talk, faults: cancels, draw: drawKill, pause: time.Second, cancel: true,
	}
	r := c.play(t)
	if r.Cancelled == 0 {
		t.Error("no response was cancelled: the story proves nothing")
	}
	sound(t, r)
}

// cancelRun asks for the end of a response after a while, until some gateway has understood.
func (c *campaign) cancelRun(ctx context.Context, response string, gateways []string, after time.Duration) {
	for rest(ctx, after); ctx.Err() == nil; rest(ctx, 100*time.Millisecond) {
		for _, g := range gateways {
			req, err := http.NewRequestWithContext(ctx, http.MethodPost, g+"/v1/responses/"+response+"/cancel", nil)
			if err != nil {
				c.t.Error(err)
				return
			}
			resp, err := c.http.Do(req)
			if err != nil {
				continue
			}
			resp.Body.Close()
			if resp.StatusCode < 500 {
				return
			}
		}
	}
}
