package producers

import (
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/midstream-dev/midstream/schema"
)

// A response that is to generate nothing lists no tools and calls no model: it is created, in progress and completed, with
// no output. Another one goes on from it.
func TestRun_GeneratesNothing(t *testing.T) {
	t.Parallel()
	s := newStage(t)
	s.model.turns = []turnFunc{says("ok")}
	defer s.node(t.Context())()
	quiet := s.create(`{"model":"m","input":"remember me","generate":false,
		"tools":[{"type":"mcp","server_label":"wiki","server_url":"https://wiki.example/mcp","require_approval":"never"}]}`)
	records := s.records(quiet)
	if diff := cmp.Diff([]string{"created", "in_progress", "completed"}, types(records)); diff != "" {
		t.Error(diff)
	}
	resp := s.response(records)
	if resp.Status != schema.StatusCompleted || resp.Output == nil || len(resp.Output) > 0 || len(s.model.asked) > 0 || resp.Usage == nil {
		t.Errorf("after %d model calls: %+v", len(s.model.asked), resp)
	}
	s.records(s.goOn(`{"model":"m","input":"now speak","generate":true}`, quiet.Response()))
	if in := s.model.asked[0].Input; len(in) != 2 || in[0].Text() != "remember me" || in[1].Text() != "now speak" {
		t.Errorf("the model was told %+v", in)
	}
}

// Whatever else is to be done, a silent response ends; only one that cannot go on fails.
func TestNext_Silent(t *testing.T) {
	t.Parallel()
	if got, _ := next(progress{silent: true, unlisted: 2}, 1); got != finish {
		t.Errorf("next is to %s", got)
	}
	if got, _ := next(progress{silent: true, cause: expired()}, 1); got != fail {
		t.Errorf("next is to %s", got)
	}
}
