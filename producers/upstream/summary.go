package upstream

import (
	"context"
	"slices"
	"strings"

	"github.com/midstream-dev/midstream/schema"
)

// summarize is what a model is asked for in the place of a compaction that its upstream cannot make.
const summarize = "Write a summary of this conversation for a model that will go on with it and will see nothing else of it. Keep what " +
	"the user wants, what was decided, every fact, name, number and result of a tool that may matter later, and what is still to be " +
	"done. Leave out pleasantries. Write nothing but the summary."

// summaryPreface tells the model that goes on what it is given.
const summaryPreface = "What was said before, in short:\n\n"

// Summarize makes an ordinary call in which the request's model sums its context up, and returns the text to go on with. The
// call is made again, or at a fallback, as that of a turn is. Errors are those of [Upstream]; an answer that is cut off is
// one too.
func (r *Router) Summarize(ctx context.Context, req *Request) (string, *schema.Usage, error) {
	up, err := r.Route(req.Create.Model)
	if err != nil {
		return "", nil, err
	}
	asked := schema.Item{
		Type: schema.KindMessage, Role: "user", Content: schema.Content{schema.NewPart(schema.PartInputText, summarize)},
	}
	call := &Request{
		Response: req.Response, Input: append(slices.Clip(req.Input), asked),
		Create: &schema.CreateRequest{Model: req.Create.Model, Instructions: req.Create.Instructions},
	}
	var text strings.Builder
	out, err := up.Stream(ctx, call, func(e schema.Event) error {
		if e.Type == schema.TextDelta && e.Delta != nil {
			text.WriteString(*e.Delta)
		}
		return nil
	})
	if err != nil {
		return "", nil, err
	}
	if out.Incomplete != "" || text.Len() == 0 {
		return "", nil, broken(nil, "the model gave no whole summary")
	}
	return summaryPreface + text.String(), out.Usage, nil
}
