package schema

import (
	"slices"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
)

// What a producer has not streamed, but its end tells whole, is brought; what it has streamed is not brought twice, under whatever id.
func TestRelay_OutputOfTheEnd(t *testing.T) {
	t.Parallel()
	const (
		added = `{"type":"response.output_item.added","item":{"id":"m","type":"message"}}`
		delta = `{"type":"response.output_text.delta","item_id":"m","delta":"Hel"}`
		hello = `{"id":"m","type":"message","content":[{"type":"output_text","text":"Hello"}]}`
		again = `{"id":"m9","type":"message","content":[{"type":"output_text","text":"Hello"}]}`
		world = `{"id":"n","type":"message","content":"World"}`
		call  = `{"id":"f","type":"function_call","call_id":"c","name":"roll","arguments":"{}"}`
		begun = `{"type":"response.created","response":{}}`
	)
	done := func(item string) string { return `{"type":"response.output_item.done","item":` + item + `}` }
	end := func(items ...string) string {
		return `{"type":"response.completed","response":{"output":[` + strings.Join(items, ",") + `],"usage":{"input_tokens":3,"output_tokens":4}}}`
	}
	for name, c := range map[string]struct {
		events []string
		want   string
	}{
		"nothing was streamed":      {[]string{end(hello, call)}, "Hello roll"},
		"all was":                   {[]string{added, delta, done(hello), end(hello)}, "Hello"},
		"all was, by another id":    {[]string{done(hello), end(again)}, "Hello"},
		"a call was not":            {[]string{done(hello), end(hello, call)}, "Hello roll"},
		"a second message was not":  {[]string{done(hello), end(hello, world)}, "Hello World"},
		"one was left open":         {[]string{added, delta, end(hello)}, "Hello"},
		"one was left open, and":    {[]string{added, delta, end(hello, call)}, "Hello roll"},
		"of two lifecycles":         {[]string{begun, done(hello), end(hello), begun, done(world), end(hello, world)}, "Hello World"},
		"of two lifecycles, by ids": {[]string{begun, done(hello), end(hello), begun, done(world), end(again)}, "Hello World"},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			s, err := CheckStream(framesOf(t, relayed(t, t, []string{"p"}, told("p", c.events...))))
			if err != nil {
				t.Fatal(err)
			}
			var said []string
			for _, it := range s.Items() {
				if it.Type == KindMessage && it.Content[0].Type != PartOutputText {
					t.Errorf("a message says %s", it.Content[0].Type)
				}
				text := it.Name
				if it.Type == KindMessage {
					text = it.Content[0].content()
				}
				said = append(said, text)
			}
			if diff := cmp.Diff(c.want, strings.Join(said, " ")); diff != "" {
				t.Error(diff)
			}
			ends := len(slices.DeleteFunc(c.events, func(e string) bool { return !strings.Contains(e, "completed") }))
			if u := s.Response().Usage; u == nil || u.TotalTokens != int64(7*ends) {
				t.Errorf("usage %+v of %d ends", u, ends)
			}
		})
	}
}
