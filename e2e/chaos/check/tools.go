package check

import (
	"strings"

	"github.com/go-json-experiment/json"

	"github.com/midstream-dev/midstream/schema"
)

// intents notes the calls of a turn's record: from there on they may have been made.
func (w *walk) intents(rec *schema.Record) {
	if rec.Kind != schema.RecordTurn {
		return
	}
	var turn schema.Turn
	if err := json.Unmarshal(rec.Body, &turn); err != nil {
		w.report.faultf("order", "%s: a turn's record: %v", w.response, err)
		return
	}
	for _, c := range turn.Calls {
		w.calls[c.ID] = intent{keyOf(c.Arguments), c.Name, rec.Attempt}
	}
}

func keyOf(arguments string) string {
	var args struct {
		Key string `json:"key"`
	}
	_ = json.Unmarshal([]byte(arguments), &args) // a call without a key is none of ours
	return args.Key
}

// executed compares what the log says of calls with what the server counted.
func (w *walk) executed(state *schema.State) {
	r := w.report
	for _, it := range state.Items() {
		if it.Type != schema.KindMCPCall || it.Status == schema.StatusIncomplete {
			continue
		}
		r.Calls++
		c, known := w.calls[it.ID]
		if !known {
			r.faultf("tool", "%s: call %s has no intent", w.response, it.ID)
			continue
		}
		w.outcome(&it, c, state.Response().Status)
	}
}

func (w *walk) outcome(it *schema.Item, c intent, end string) {
	ran, once := w.history.Executions[c.key], w.history.Once(c.tool)
	unknown := strings.Contains(string(it.Error), "outcome unknown")
	switch {
	case once && ran > 1:
		w.report.faultf("tool", "%s: %s ran %d times", w.response, c.key, ran)
	case it.Status == schema.StatusCompleted && ran < 1:
		w.report.faultf("tool", "%s: %s is completed and never ran", w.response, c.key)
	case unknown && !once:
		w.report.faultf("tool", "%s: %s may be made again, and was not", w.response, c.key)
	case unknown && w.attempt == c.attempt:
		w.report.faultf("tool", "%s: the outcome of %s is unknown though nothing came between", w.response, c.key)
	case it.Status == schema.StatusFailed && !unknown && end != schema.StatusCancelled:
		w.report.faultf("tool", "%s: %s failed: %s", w.response, c.key, it.Error)
	}
	if unknown {
		w.report.Unknown++
	}
}
