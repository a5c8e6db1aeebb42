package upstream

import (
	"testing"
	"time"

	"github.com/midstream-dev/midstream/schema"
)

// What a turn does next is a function of the tries that have failed: this is the policy, row by row.
func TestNext(t *testing.T) {
	t.Parallel()
	now := time.UnixMilli(1_000_000)
	try := func(upstream string, status int, code string, retryAfter time.Duration) schema.Try {
		return schema.Try{
			Upstream: upstream, Began: now.UnixMilli(), Status: status, RetryAfter: retryAfter.Milliseconds(),
			Error: schema.ResponseError{Code: code},
		}
	}
	busy, down, cut := try("a", 429, schema.CodeRateLimit, 0), try("a", 502, CodeUnavailable, 0), try("a", 502, schema.CodeUpstreamProtocol, 0)
	cut.Shown = true
	alone := []standing{{"a", 2}}
	both := []standing{{"a", 1}, {"b", 0}}
	for name, c := range map[string]struct {
		line     []standing
		tries    []schema.Try
		at       int
		min, max time.Duration
	}{
		"nothing was tried":                       {alone, nil, 0, 0, 0},
		"busy once":                               {alone, []schema.Try{busy}, 0, 250 * time.Millisecond, 500 * time.Millisecond},
		"down twice":                              {alone, []schema.Try{down, down}, 0, 500 * time.Millisecond, time.Second},
		"down three times":                        {alone, []schema.Try{down, down, down}, -1, 0, 0},
		"the wait does not grow for ever":         {[]standing{{"a", 99}}, times(down, 80), 0, 4 * time.Second, 8 * time.Second},
		"asked to wait":                           {alone, []schema.Try{try("a", 429, schema.CodeRateLimit, 20*time.Second)}, 0, 20 * time.Second, 22 * time.Second},
		"asked to wait longer than patience":      {both, []schema.Try{try("a", 429, schema.CodeRateLimit, 6*time.Second)}, 1, 0, 0},
		"asked to wait a little":                  {both, []schema.Try{try("a", 503, CodeUnavailable, 2*time.Second)}, 0, 2 * time.Second, 2200 * time.Millisecond},
		"the first is through":                    {both, []schema.Try{down, down}, 1, 0, 0},
		"the last asks to wait":                   {both, []schema.Try{down, down, try("b", 429, schema.CodeRateLimit, time.Minute)}, -1, 0, 0},
		"events are out":                          {both, []schema.Try{cut}, -1, 0, 0},
		"the caller's mistake":                    {both, []schema.Try{try("a", 400, schema.CodeInvalidValue, 0)}, -1, 0, 0},
		"no such model":                           {both, []schema.Try{try("a", 404, schema.CodeModelNotFound, 0)}, -1, 0, 0},
		"credentials":                             {both, []schema.Try{try("a", 502, CodeRefused, 0)}, 1, 0, 0},
		"quota":                                   {both, []schema.Try{try("a", 429, codeQuota, 0)}, 1, 0, 0},
		"quota, and nobody else":                  {alone, []schema.Try{try("a", 429, codeQuota, 0)}, -1, 0, 0},
		"a full line":                             {both, []schema.Try{try("a", 429, CodeBusy, time.Second)}, 1, 0, 0},
		"a timeout":                               {alone, []schema.Try{try("a", 504, CodeTimeout, 0)}, 0, 250 * time.Millisecond, 500 * time.Millisecond},
		"tries at one that is configured no more": {alone, []schema.Try{try("gone", 502, CodeUnavailable, 0)}, 0, 0, 0},
	} {
		m := next(c.line, c.tries, now)
		if m.at != c.at || m.wait < c.min || m.wait > c.max {
			t.Errorf("%s: %+v, want %d after %s to %s", name, m, c.at, c.min, c.max)
		}
	}
}

func times(t schema.Try, n int) (tries []schema.Try) {
	for range n {
		tries = append(tries, t)
	}
	return tries
}

// What has passed of a wait before a takeover is not waited again, and a clock that is wrong costs the wait at most.
func TestNext_WaitsOnlyForWhatIsLeft(t *testing.T) {
	t.Parallel()
	end := time.UnixMilli(1_000_000)
	tries := []schema.Try{{
		Upstream: "a", Began: end.UnixMilli() - 500, Took: 500, Status: 429, RetryAfter: 20_000, Error: schema.ResponseError{Code: schema.CodeRateLimit},
	}}
	for since, left := range map[time.Duration]time.Duration{
		0: 20 * time.Second, 15 * time.Second: 5 * time.Second, time.Hour: 0, -time.Hour: 20 * time.Second,
	} {
		m := next([]standing{{"a", 1}}, tries, end.Add(since))
		if m.at != 0 || m.wait < left || m.wait > left+2*time.Second {
			t.Errorf("%s later: %+v, want a wait of %s", since, m, left)
		}
	}
}
