//go:build e2e

package chaos

import (
	"context"
	"net/http"
	"testing"
	"time"

	"github.com/midstream-dev/midstream/e2e/chaos/check"
)

// TestChaos_Cancels promises that a response which somebody cancels ends once, however many processes die meanwhile.
func TestChaos_Cancels(t *testing.T) {
	c := &campaign{
		seed: 13, clients: 24, cut: 8000, script: talk, faults: 10, draw: drawKill, pause: time.Second, cancel: true,
		enough: func(done []check.Account) bool { return countCancels(done) >= cancels },
	}
	r := c.play(t)
	if r.Cancelled < cancels/2 { // the others had ended before
		t.Errorf("only %d responses were cancelled", r.Cancelled)
	}
	sound(t, r)
}

func countCancels(done []check.Account) (n int) {
	for i := range done {
		if done[i].Cancel {
			n++
		}
	}
	return n
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
