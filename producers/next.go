package producers

import "github.com/midstream-dev/midstream/schema"

// step is what a run does next.
type step int

const (
	listTools step = iota
	beginApproved
	callModel
	callTools
	finish
	fail
	cancelRun
)

func (s step) String() string {
	return [...]string{"list tools", "begin approved calls", "call model", "call tools", "finish", "fail", "cancel"}[s]
}

// progress is what has happened in a run, as far as it bears on what to do next.
type progress struct {
	unlisted  int                   // MCP entries whose tools have not been asked for
	approved  int                   // calls that the caller has approved and that are in no record yet
	pending   int                   // tool calls that were announced and have no result
	answered  bool                  // behind those calls, the response ends
	silent    bool                  // no answer was asked for
	full      bool                  // the output can hold no more
	turns     int                   // model calls that have ended
	cancelled bool                  // somebody wants no more of it
	cause     *schema.ResponseError // why the run cannot go on
}

// next decides what a run does. It is pure: the same progress gives the same step, on whatever node and attempt.
func next(p progress, maxTurns int) (step, *schema.ResponseError) {
	switch {
	case p.cancelled:
		return cancelRun, nil
	case p.cause != nil:
		return fail, p.cause
	case p.full, p.silent:
		return finish, nil
	case p.unlisted > 0:
		return listTools, nil
	case p.approved > 0:
		return beginApproved, nil
	case p.pending > 0:
		return callTools, nil
	case p.answered:
		return finish, nil
	case p.turns >= maxTurns:
		return fail, tooManyTurns(maxTurns)
	}
	return callModel, nil
}
