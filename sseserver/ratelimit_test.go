package sseserver

import (
	"fmt"
	"net/http"
	"strconv"
	"testing"
	"testing/synctest"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/midstream-dev/midstream/schema"
)

// standing is what an answer says of the tenant's limit.
func standing(resp *http.Response) [4]string {
	h := resp.Header
	return [4]string{h.Get(headerLimit), h.Get(headerRemaining), h.Get(headerReset), h.Get("Retry-After")}
}

// A tenant may start a minute's worth of runs at once, and is told each time where it stands. What is too much is refused
// in the API's shape with the time to wait, before its body is read, and is let in when that time is over.
func TestRateLimit_BucketOfAMinute(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := servePipes(t, func(c *Config) { c.RequestsPerMinute = 3 })
		for i, want := range [][4]string{{"3", "2", "20s", ""}, {"3", "1", "40s", ""}, {"3", "0", "1m0s", ""}} {
			resp := s.post(t, streamed)
			if diff := cmp.Diff(want, standing(resp)); diff != "" || resp.StatusCode != http.StatusOK {
				t.Errorf("request %d: status %d, headers (-want +got):\n%s", i, resp.StatusCode, diff)
			}
			s.command(t)
			resp.Body.Close()
		}
		time.Sleep(1500 * time.Millisecond) // virtual time
		resp := s.post(t, "{", "Content-Type", "text/plain")
		body := mustRefuse(t, resp, http.StatusTooManyRequests, schema.CodeRateLimit)
		if diff := cmp.Diff([4]string{"3", "0", "58.5s", "19"}, standing(resp)); diff != "" || !contains(body, "18.5s") {
			t.Errorf("refused with %s, headers (-want +got):\n%s", body, diff)
		}
		if resp.Header.Get("X-Should-Retry") != "" {
			t.Error("a request that began nothing may be sent again, and is told that it may not")
		}
		time.Sleep(18500 * time.Millisecond) // virtual time
		if resp := s.post(t, streamed); resp.StatusCode != http.StatusOK {
			t.Errorf("after the time to wait: status %d", resp.StatusCode)
		}
	})
}

// The limit is for what starts runs; and without one no answer speaks of it.
func TestRateLimit_OnlyWhereRunsStart(t *testing.T) {
	t.Parallel()
	limited, free := serve(t, func(c *Config) { c.RequestsPerMinute = 1 }), serve(t)
	limited.post(t, "{}")
	for range 3 {
		resp := limited.get(t, "/v1/models")
		if resp.StatusCode != http.StatusOK || standing(resp) != [4]string{} {
			t.Errorf("status %d, headers %v", resp.StatusCode, standing(resp))
		}
	}
	for range 3 {
		if resp := free.post(t, "{}"); resp.StatusCode != http.StatusBadRequest || standing(resp) != [4]string{} {
			t.Errorf("status %d, headers %v", resp.StatusCode, standing(resp))
		}
	}
}

type tenantByHeader struct{}

func (tenantByHeader) Tenant(r *http.Request) (string, error) { return r.Header.Get("X-Tenant"), nil }

// What one tenant has used up is not missing to another.
func TestRateLimit_EachTenantHasItsOwn(t *testing.T) {
	t.Parallel()
	s := serve(t, func(c *Config) { c.RequestsPerMinute, c.Tenants = 1, tenantByHeader{} })
	for tenant, want := range map[string][]int{"a": {400, 429, 429}, "b": {400, 429}} {
		for i, status := range want {
			if resp := s.post(t, "{}", "X-Tenant", tenant); resp.StatusCode != status {
				t.Errorf("request %d of %s: status %d, want %d", i, tenant, resp.StatusCode, status)
			}
		}
	}
}

// However many tenants come, the buckets are bounded, and one that has used its own up gets no new one for it.
func TestRateLimit_BucketsAreBounded(t *testing.T) {
	t.Parallel()
	b, now := newBuckets(2), time.Unix(1, 0)
	b.take("greedy", now)
	b.take("greedy", now)
	for i := range maxBuckets + 100 {
		b.take("tenant-"+strconv.Itoa(i), now)
	}
	if len(b.open) != maxBuckets {
		t.Errorf("%d buckets", len(b.open))
	}
	if left, taken := b.take("greedy", now); taken {
		t.Errorf("greedy got another one, and has %v left", left)
	}
}

// Times are written as the API writes them: Go's own form, to the millisecond.
func TestRateLimit_Durations(t *testing.T) {
	t.Parallel()
	for _, c := range []struct {
		perMinute int
		requests  float64
		want      string
	}{{60, 0, "0s"}, {60, 1, "1s"}, {1, 6, "6m0s"}, {10_000, 1, "6ms"}, {7, 1, "8.572s"}, {60, -1, "0s"}} {
		if got := fmt.Sprint(newBuckets(c.perMinute).filling(c.requests)); got != c.want {
			t.Errorf("%v of %d a minute: %s, want %s", c.requests, c.perMinute, got, c.want)
		}
	}
}
