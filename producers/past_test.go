package producers

import (
	"context"
	"strings"
	"testing"

	"github.com/midstream-dev/midstream/producers/upstream"
	"github.com/midstream-dev/midstream/schema"
)

// goOn creates a response that goes on from others, as a gateway does that has found them.
func (s *stage) goOn(body string, thread ...string) schema.Ref {
	s.Helper()
	cmd := s.command(body)
	cmd.Thread = thread
	if err := s.broker.Enqueue(s.Context(), cmd, nil); err != nil {
		s.Fatal(err)
	}
	return cmd.Ref()
}

// A response that goes on from others puts before the model what was asked and said in them, oldest first; one whose past
// is gone fails, and calls nobody.
func TestRun_GoesOnFromEarlierResponses(t *testing.T) {
	t.Parallel()
	s := newStage(t)
	s.model.turns = []turnFunc{func(ctx context.Context, req *upstream.Request, emit func(schema.Event) error) (upstream.Outcome, error) {
		return says("re: "+req.Input[len(req.Input)-1].Text())(ctx, req, emit)
	}}
	defer s.node(t.Context())()
	first := s.create(`{"model":"m","input":"one"}`)
	s.records(first)
	second := s.goOn(`{"model":"m","input":"two"}`, first.Response())
	s.records(second)
	s.records(s.goOn(`{"model":"m","input":"three"}`, first.Response(), second.Response()))
	var told []string
	for _, it := range s.model.asked[2].Input {
		told = append(told, it.Text())
	}
	if got := strings.Join(told, ", "); got != "one, re: one, two, re: two, three" {
		t.Errorf("the model was told %s", got)
	}
	resp := s.response(s.records(s.goOn(`{"model":"m","input":"x"}`, first.Response(), "resp_never")))
	if resp.Error == nil || resp.Error.Code != schema.CodePreviousNotFound || len(s.model.asked) != 3 {
		t.Errorf("without its past: error %+v after %d model calls", resp.Error, len(s.model.asked))
	}
}
