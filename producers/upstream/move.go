package upstream

import (
	"math/rand/v2"
	"net/http"
	"time"

	"github.com/midstream-dev/midstream/schema"
)

// The bounds of waiting between two tries. What an upstream itself asks for counts up to maxRetryAfter.
const (
	backoffMin = 500 * time.Millisecond
	backoffMax = 8 * time.Second
	// patience is how long an upstream is waited for while another stands by.
	patience = 5 * time.Second
)

// standing is an upstream in the line of those that may serve a turn.
type standing struct {
	name    string
	retries int
}

// move is what a turn does next: it calls the at-th of the line after a wait, or, if at is negative, gives up.
type move struct {
	at   int
	wait time.Duration
}

var giveUp = move{at: -1}

// next decides from the tries that have failed, and from nothing else: another attempt at the turn, on whatever node,
// goes on where this one has stopped.
//
//	events are out, or the caller is to blame         give up: neither another try nor another upstream may follow
//	it may pass: 429, timeouts, 5xx, lost connections the same upstream again, retries times at most
//	it will not: credentials, quota, a full line      the next one of the line
//	it may pass, but asks for a wait of more than 5 s the next one of the line, if there is one
func next(line []standing, tries []schema.Try, now time.Time) move {
	for i, s := range line {
		n, last := triesAt(s.name, tries)
		switch {
		case n == 0:
			return move{at: i}
		case last.Shown, blamesCaller(last):
			return giveUp
		case !passes(last), n > s.retries, asked(last) > patience && i+1 < len(line):
			continue
		}
		return move{i, pauseBehind(last, n, now)}
	}
	return giveUp
}

// triesAt counts an upstream's tries and returns the last.
func triesAt(name string, tries []schema.Try) (n int, last *schema.Try) {
	for i := range tries {
		if tries[i].Upstream == name {
			n, last = n+1, &tries[i]
		}
	}
	return n, last
}

// passes reports whether the same call may succeed a little later.
func passes(t *schema.Try) bool {
	switch t.Error.Code {
	case codeQuota, CodeRefused, CodeBusy:
		return false
	}
	return t.Status == http.StatusTooManyRequests || t.Status >= http.StatusInternalServerError
}

// blamesCaller reports whether the request itself was refused: nobody else is asked to serve it.
func blamesCaller(t *schema.Try) bool {
	return t.Status < http.StatusInternalServerError && t.Status != http.StatusTooManyRequests
}

func asked(t *schema.Try) time.Duration { return time.Duration(t.RetryAfter) * time.Millisecond }

// pauseBehind is the wait before the next try behind the n-th at the same upstream: what is left of the one that it has
// asked for and up to a tenth more, else one that doubles. Chance spreads those who were refused together.
func pauseBehind(last *schema.Try, n int, now time.Time) time.Duration {
	if wait := asked(last); wait > 0 {
		until := time.UnixMilli(last.Began + last.Took).Add(wait)
		return min(max(until.Sub(now), 0), wait) + jitter(wait/10)
	}
	wait := min(backoffMin<<min(n-1, 10), backoffMax)
	return wait/2 + jitter(wait/2)
}

func jitter(most time.Duration) time.Duration {
	return rand.N(most + 1)
}
