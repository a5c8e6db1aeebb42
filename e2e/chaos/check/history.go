package check

import (
	"fmt"
	"slices"
	"time"

	"github.com/midstream-dev/midstream/schema"
)

// Tenant is whose logs they are.
const Tenant = "default"

// Account is what one client was told about one response.
type Account struct {
	Run      string // the client's own name for it
	Response string // empty if it was told nothing
	Text     string // what the model has said, all attempts together
	Frames   []byte // every whole frame, in the order in which they came
	Next     int64  // number of the next one
	Ended    bool   // the last one was terminal
	Cancel   bool   // somebody has asked for the end

	Requests int
	Resumes  []time.Duration // from a request to its first frame
	Stall    time.Duration   // the longest wait for the next frame
	Faults   []string        // what a client must never see
}

// Seen notes whether the frame that came was the last.
func (a *Account) Seen(terminal bool) { a.Ended = a.Ended || terminal }

// View is what one server held when it led: the records of each response, in the order of the stream.
type View struct {
	Leader string
	Logs   map[string][]schema.Record
}

// History is everything that is known when all is quiet again.
type History struct {
	Accounts   []Account
	Views      []View
	Executions map[string]int // of tools, by the key in their arguments
	// Once reports whether the tool may run once only.
	Once func(tool string) bool
}

// Report is what came out.
type Report struct {
	Responses, Events, Records, Attempts, Requests int

	Completed, Failed, Cancelled int
	Calls, Unknown               int
	Takeovers, Resumes           []time.Duration
	Stall                        time.Duration
	Failures                     map[string]int // by code
	faults                       map[string][]string
}

// Faults returns the faults of a rule, or of all rules.
func (r *Report) Faults(rule ...string) (all []string) {
	for name, found := range r.faults {
		if len(rule) == 0 || slices.Contains(rule, name) {
			for _, text := range found {
				all = append(all, name+": "+text)
			}
		}
	}
	slices.Sort(all)
	return all
}

func (r *Report) faultf(rule, format string, args ...any) {
	r.faults[rule] = append(r.faults[rule], fmt.Sprintf(format, args...))
}

// String is what a run prints.
func (r *Report) String() string {
	return fmt.Sprintf("%d responses (%d completed, %d failed %v, %d cancelled), %d events in %d records, %d attempts, %d requests of clients; "+
		"%d tool calls, %d of unknown outcome; takeover p50 %v p99 %v of %d; resume p50 %v p99 %v of %d; longest stall %v; "+
		"lost %d, dup %d, gap %d, zombie %d, other faults %d",
		r.Responses, r.Completed, r.Failed, r.Failures, r.Cancelled, r.Events, r.Records, r.Attempts, r.Requests, r.Calls, r.Unknown,
		Quantile(r.Takeovers, 0.5), Quantile(r.Takeovers, 0.99), len(r.Takeovers),
		Quantile(r.Resumes, 0.5), Quantile(r.Resumes, 0.99), len(r.Resumes), r.Stall.Round(time.Millisecond),
		len(r.faults["lost"]), len(r.faults["dup"]), len(r.faults["gap"]), len(r.faults["zombie"]),
		len(r.Faults())-len(r.Faults("lost", "dup", "gap", "zombie")))
}

// Quantile is the q-th of some times, rounded to milliseconds; 0 if there are none.
func Quantile(times []time.Duration, q float64) time.Duration {
	if len(times) == 0 {
		return 0
	}
	sorted := slices.Sorted(slices.Values(times))
	return sorted[min(len(sorted)-1, int(q*float64(len(sorted))))].Round(time.Millisecond)
}
