package broker

import (
	"errors"
	"fmt"
	"strings"
	"testing"

	"github.com/midstream-dev/midstream/schema"
)

// say writes a response that was asked one thing and says nothing, to its end.
func say(tb testing.TB, b *Broker, response, asked string, thread ...string) schema.Ref {
	tb.Helper()
	cmd := command(response)
	cmd.Thread = thread
	cmd.Request = fmt.Appendf(nil, `{"model":"m","input":%q}`, asked)
	rec, err := cmd.RequestRecord()
	must(tb, err)
	must(tb, b.Begin(testContext(tb), rec, cmd.Ref()))
	h := mustRead(tb, b, cmd.Ref())
	fold, err := schema.FoldRun(cmd.Ref(), h.Records)
	must(tb, err)
	w := mustWriter(tb, b, h, 1, "n")
	end, err := schema.NewSequencer(&fold.State).Finish(schema.Failed, func(r *schema.Response) { r.Error = &schema.ResponseError{Code: "c", Message: "m"} })
	must(tb, err)
	must(tb, w.Commit(testContext(tb), schema.RecordClaim, []byte(`{}`), end...))
	must(tb, w.Seal(testContext(tb), true))
	return cmd.Ref()
}

// A thread comes back in its order, whole or not at all; what makes it too large to hold is an error before it is held.
func TestPast(t *testing.T) {
	t.Parallel()
	b := mustOpen(t)
	say(t, b, "resp_a", "one")
	say(t, b, "resp_b", "two", "resp_a")
	past := func(ids ...string) (string, error) {
		items, err := b.Past(testContext(t), "t1", ids)
		var texts []string
		for _, it := range items {
			texts = append(texts, it.Text())
		}
		return strings.Join(texts, " "), err
	}
	if got, err := past("resp_a", "resp_b"); err != nil || got != "one two" {
		t.Errorf("%q, %v", got, err)
	}
	for _, id := range []string{"resp_no", "a.b", "t1.>", ""} {
		if _, err := past("resp_a", id); !errors.Is(err, ErrNotFound) {
			t.Errorf("with %q: %v", id, err)
		}
	}
	say(t, b, "resp_long", strings.Repeat("x", 3<<20))
	long := strings.Split(strings.Repeat("resp_long,", schema.MaxThreadBytes/(3<<20)+1), ",")
	if _, err := past(long[:len(long)-1]...); !errors.Is(err, ErrTooLong) {
		t.Errorf("%d times 3 MiB: %v", len(long)-1, err)
	}
}
