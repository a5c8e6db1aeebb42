package upstream

import (
	"strings"
	"testing"

	"github.com/midstream-dev/midstream/schema"
)

// A model sums up what it is given, tools and formats aside; an answer that is cut off is no summary.
func TestRouter_Summarize(t *testing.T) {
	t.Parallel()
	r, err := Open([]Config{{Name: "demo", Dialect: "demo"}})
	if err != nil {
		t.Fatal(err)
	}
	defer r.Close()
	ask := func(text string) (string, *schema.Usage, error) {
		return r.Summarize(t.Context(), &Request{
			Create: &schema.CreateRequest{Model: "demo", Truncation: new("auto"), MaxOutputTokens: new(int64(1))},
			Tools:  []schema.Tool{{Type: schema.ToolFunction, Name: "f"}},
			Input:  []schema.Item{{Type: schema.KindMessage, Role: "user", Content: schema.Content{schema.NewPart(schema.PartInputText, text)}}},
		})
	}
	got, usage, err := ask("The Danube is long.")
	if err != nil || !strings.HasPrefix(got, summaryPreface) || len(got) < len(summaryPreface)+20 || usage == nil || usage.InputTokens < 4 {
		t.Errorf("%q, %+v, %v", got, usage, err)
	}
	if _, _, err := r.Summarize(t.Context(), &Request{Create: &schema.CreateRequest{Model: "nobody's"}}); err == nil {
		t.Error("a model that nobody serves: no error")
	}
}
