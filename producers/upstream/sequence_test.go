package upstream

import (
	"testing"

	"github.com/midstream-dev/midstream/schema"
)

// begunSequencer is where a model's events go: what a dialect emits must be what the sequencer takes.
func begunSequencer(t *testing.T) *schema.Sequencer {
	t.Helper()
	cmd := schema.Command{Version: schema.FormatVersion, Tenant: "t", Response: "resp_story", Request: []byte(`{"model":"m"}`)}
	rec, err := cmd.RequestRecord()
	if err != nil {
		t.Fatal(err)
	}
	state := &schema.State{}
	if err := state.ApplyFrames(rec.Frames); err != nil {
		t.Fatal(err)
	}
	q := schema.NewSequencer(state)
	sequence(t, q, schema.Event{Type: schema.InProgress})
	return q
}

func sequence(t *testing.T, q *schema.Sequencer, e schema.Event) {
	t.Helper()
	if _, err := q.Push("model:0", e); err != nil {
		t.Errorf("the sequencer does not take it: %v", err)
	}
}

// finishSequence ends a turn that has not failed: nothing may be open then.
func finishSequence(t *testing.T, q *schema.Sequencer) {
	t.Helper()
	if _, err := q.Finish(schema.Completed, func(*schema.Response) {}); err != nil {
		t.Errorf("the sequencer cannot end the response: %v", err)
	}
}
