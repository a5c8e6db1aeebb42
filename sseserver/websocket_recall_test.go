package sseserver

import (
	"fmt"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/midstream-dev/midstream/schema"
)

// turn makes one response over the WebSocket that is not stored, and returns what the model is asked, and its id.
func (c *caller) turn(s *site, input, previous, lane, answer string) (asked, id string) {
	c.Helper()
	c.sendf(`{"type":"response.create","model":"demo","store":false,"input":%q%s%s}`, input, member("previous_response_id", previous), member("stream_id", lane))
	r := s.work(c)
	c.expect(s.tellAll(r, answer), lane)
	return askedOf(c, r.cmd), r.ref.Response()
}

func member(name, value string) string {
	if value == "" {
		return ""
	}
	return fmt.Sprintf(`,%q:%q`, name, value)
}

// askedOf tells what a command puts before the model: its thread, then its input.
func askedOf(tb testing.TB, cmd *schema.Command) string {
	tb.Helper()
	req, err := cmd.Parse()
	if err != nil {
		tb.Fatal(err)
	}
	told := append([]string{}, cmd.Thread...)
	for _, it := range req.Input {
		told = append(told, it.Role+" "+it.Text())
	}
	return strings.Join(told, ", ")
}

// A response that is not stored can be gone on from, on its connection, as often as one likes; the client sends what is new
// alone. On another connection, or over HTTP, nobody knows it.
func TestSocket_GoesOnFromUnstored(t *testing.T) {
	t.Parallel()
	s := serve(t)
	c := s.openSocket(t)
	_, one := c.turn(s, "one", "", "", "1")
	asked, two := c.turn(s, "two", one, "", "2")
	if want := "user one, assistant 1, user two"; asked != want {
		t.Errorf("asked %q, want %q", asked, want)
	}
	asked, _ = c.turn(s, "three", two, "", "3")
	if want := "user one, assistant 1, user two, assistant 2, user three"; asked != want {
		t.Errorf("asked %q, want %q", asked, want)
	}
	asked, _ = c.turn(s, "fork", one, "other", "4")
	if want := "user one, assistant 1, user fork"; asked != want {
		t.Errorf("a fork is asked %q, want %q", asked, want)
	}
	again := s.openSocket(t)
	again.sendf(`{"type":"response.create","model":"demo","input":"x","previous_response_id":%q}`, two)
	again.refused(400, schema.CodePreviousNotFound, "")
	mustRefuse(t, s.post(t, `{"model":"demo","input":"x"`+member("previous_response_id", two)+`}`), 400, schema.CodePreviousNotFound)
}

// What goes on from stored responses names them, and brings with it only what is in no log. So does what is stored again.
func TestSocket_MixesStoredAndUnstored(t *testing.T) {
	t.Parallel()
	s := serve(t)
	s.said(t, "resp_b", `"two"`, "2", "resp_a")
	c := s.openSocket(t)
	asked, three := c.turn(s, "three", "resp_b", "", "3")
	if want := "resp_a, resp_b, user three"; asked != want {
		t.Errorf("asked %q, want %q", asked, want)
	}
	c.sendf(`{"type":"response.create","model":"demo","input":"four","previous_response_id":%q}`, three)
	stored := s.work(t)
	c.expect(s.tellAll(stored, "4"), "")
	if got, want := askedOf(t, stored.cmd), "resp_a, resp_b, user three, assistant 3, user four"; got != want {
		t.Errorf("asked %q, want %q", got, want)
	}
	x, err := s.memory.Exchange(t.Context(), stored.ref)
	if err != nil {
		t.Fatal(err)
	}
	if diff := cmp.Diff([]string{"resp_a", "resp_b", stored.ref.Response()}, x.Thread()); diff != "" {
		t.Errorf("thread (-want +got):\n%s", diff)
	}
	if *x.Request.PreviousResponseID != three {
		t.Errorf("previous_response_id %s, want %s", *x.Request.PreviousResponseID, three)
	}
}

// A turn that fails takes with it the response that it went on from, in the lane of that; a fork in another lane does not.
func TestSocket_FailureEvicts(t *testing.T) {
	t.Parallel()
	s := serve(t)
	c := s.openSocket(t)
	_, one := c.turn(s, "one", "", "", "1")
	c.sendf(`{"type":"response.create","input":"no model","stream_id":"b","previous_response_id":%q}`, one)
	c.refused(400, schema.CodeMissing, "b")
	_, two := c.turn(s, "two", one, "", "2")
	c.sendf(`{"type":"response.create","input":"no model","previous_response_id":%q}`, two)
	c.refused(400, schema.CodeMissing, "")
	c.sendf(`{"type":"response.create","model":"demo","input":"x","previous_response_id":%q}`, two)
	c.refused(400, schema.CodePreviousNotFound, "")
	c.sendf(`{"type":"response.create","model":"demo","store":false,"input":"x","previous_response_id":%q}`, one)
	r := s.work(t)
	s.memory.append(r.ref, r.begin(), r.fail(&schema.ResponseError{Code: schema.CodeServer, Message: "no"}))
	c.expect(r.all(), "")
	for _, id := range []string{one, r.ref.Response()} {
		c.sendf(`{"type":"response.create","model":"demo","input":"x","previous_response_id":%q}`, id)
		c.refused(400, schema.CodePreviousNotFound, "")
	}
}

// The latest are kept, within both bounds; using one makes it the latest; what is too large alone is not kept, and throws
// nobody out.
func TestRecollection_Bounds(t *testing.T) {
	t.Parallel()
	r := newRecollection(SocketLimits{Kept: 3, KeptBytes: 2000})
	order := func(previous string, size int) *order {
		text := strings.Repeat("x", size)
		o := &order{req: &schema.CreateRequest{Input: schema.Input{{Type: schema.KindMessage, Content: schema.Content{schema.NewPart(schema.PartInputText, text)}}}}}
		if previous != "" {
			o.req.PreviousResponseID = &previous
		}
		return o
	}
	knows := func(want ...string) {
		t.Helper()
		if diff := cmp.Diff(want, r.turns); diff != "" || len(r.kept) != len(want) {
			t.Errorf("kept (-want +got):\n%s", diff)
		}
		bytes := 0
		for _, k := range r.kept {
			bytes += len(k.items)
		}
		if bytes != r.bytes || bytes > 2000 {
			t.Errorf("%d bytes are counted as %d", bytes, r.bytes)
		}
	}
	keep := func(id string, size int) {
		t.Helper()
		if err := r.keep(id, "", order("", size), nil); err != nil {
			t.Fatal(err)
		}
	}
	for _, id := range []string{"a", "b", "c"} {
		keep(id, 10)
	}
	if err := r.restore(order("a", 10)); err != nil {
		t.Fatal(err)
	}
	keep("d", 10)
	knows("c", "a", "d")
	keep("too large", 3000)
	knows("c", "a", "d")
	keep("large", 1800)
	knows("d", "large")
	r.evict("d", "another lane")
	r.evict("never", "")
	knows("d", "large")
	r.evict("d", "")
	knows("large")
}
