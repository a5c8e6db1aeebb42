package schema

import (
	"flag"
	"testing"

	"go.uber.org/goleak"
)

// update rewrites golden files: go test ./schema -update.
var update = flag.Bool("update", false, "rewrite golden files")

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

// must returns v, or ends the test.
func must[T any](v T, err error) func(testing.TB) T {
	return func(tb testing.TB) T {
		tb.Helper()
		if err != nil {
			tb.Fatal(err)
		}
		return v
	}
}

// testCommand is the smallest command: all that a test response has besides its output.
func testCommand(response string) *Command {
	return &Command{
		Version: FormatVersion, Tenant: "t1", Response: response, CreatedAt: 1_700_000_000_000,
		Digest: "d", Request: []byte(`{"model":"demo","input":"hi"}`),
	}
}

// createdEvent returns the response.created of a command.
func createdEvent(tb testing.TB, c *Command) Event {
	tb.Helper()
	rec := must(c.RequestRecord())(tb)
	f, _, err := CutFrame(rec.Frames)
	if err != nil {
		tb.Fatal(err)
	}
	return must(ParseEvent(f.Data))(tb)
}

// framesOf writes events as the bytes that a client is served.
func framesOf(tb testing.TB, events []Event) []byte {
	tb.Helper()
	var out []byte
	for i := range events {
		var err error
		if out, err = AppendFrame(out, &events[i]); err != nil {
			tb.Fatal(err)
		}
	}
	return out
}

// eventsOf reads frames back.
func eventsOf(tb testing.TB, frames []byte) (events []Event) {
	tb.Helper()
	for len(frames) > 0 {
		f, rest, err := CutFrame(frames)
		if err != nil {
			tb.Fatal(err)
		}
		events, frames = append(events, must(ParseEvent(f.Data))(tb)), rest
	}
	return events
}

// wellEnded sets what a response has when it has ended well.
func wellEnded(r *Response) {
	at := r.CreatedAt + 1
	r.CompletedAt, r.Usage = &at, &Usage{InputTokens: 3, OutputTokens: 4, TotalTokens: 7}
}
