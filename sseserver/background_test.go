package sseserver

import (
	"bytes"
	"net/http"
	"testing"

	"github.com/go-json-experiment/json"
	"github.com/google/go-cmp/cmp"

	"github.com/midstream-dev/midstream/schema"
)

// object reads the response that an answer holds.
func object(tb testing.TB, resp *http.Response) *schema.Response {
	tb.Helper()
	body := read(tb, resp)
	if resp.StatusCode != http.StatusOK {
		tb.Fatalf("status %d: %s", resp.StatusCode, body)
	}
	var r schema.Response
	if err := json.Unmarshal(body, &r); err != nil {
		tb.Fatalf("%v: %s", err, body)
	}
	return &r
}

// A background create answers at once with a response that is queued; polling it tells how it gets on, to its end.
func TestBackground_Polled(t *testing.T) {
	t.Parallel()
	s := serve(t)
	queued := object(t, s.post(t, `{"model":"demo","input":"hi","background":true}`))
	if queued.Status != schema.StatusQueued || !queued.Background || queued.Output == nil || len(queued.Output) > 0 {
		t.Errorf("created: %+v", queued)
	}
	poll := func(want string) {
		t.Helper()
		if got := object(t, s.get(t, "/v1/responses/"+queued.ID)); got.Status != want {
			t.Errorf("status %q, want %q", got.Status, want)
		}
	}
	r := s.work(t)
	poll(schema.StatusQueued)
	s.memory.append(r.ref, r.begin())
	poll(schema.StatusInProgress)
	s.memory.append(r.ref, r.open(), r.say("Hello"), r.close(), r.finish())
	poll(schema.StatusCompleted)
}

// A background stream begins created, queued, in_progress; a watcher that comes later sees the same.
func TestBackground_Streamed(t *testing.T) {
	t.Parallel()
	s := serve(t)
	resp := s.post(t, `{"model":"demo","input":"hi","background":true,"stream":true}`)
	r := s.work(t)
	s.memory.append(r.ref, r.begin(), r.open(), r.say("Hello"), r.close(), r.finish())
	stream := read(t, resp)
	if _, err := schema.Fold(bytes.TrimSuffix(stream, doneFrame)); err != nil {
		t.Fatalf("%v\n%s", err, stream)
	}
	var begins []string
	for _, frame := range bytes.SplitN(stream, []byte("\n\n"), 4)[:3] {
		f, _, err := schema.CutFrame(append(frame, "\n\n"...))
		if err != nil {
			t.Fatal(err)
		}
		begins = append(begins, string(f.Type))
	}
	if diff := cmp.Diff([]string{"response.created", "response.queued", "response.in_progress"}, begins); diff != "" {
		t.Error(diff)
	}
	if again := read(t, s.get(t, path(r.ref))); !bytes.Equal(again, stream) {
		t.Errorf("a later watcher saw\n%s\nwant\n%s", again, stream)
	}
}

// A response that is not to be stored is no object any more when it is over, unless it is in the background: then it could
// never be had. What it was asked goes with it. Its stream can be resumed all the same, and no other goes on from it.
func TestRetrieve_NotStored(t *testing.T) {
	t.Parallel()
	s := serve(t)
	for body, status := range map[string]int{
		`{"model":"demo","input":"hi","store":false,"stream":true}`:                   http.StatusNotFound,
		`{"model":"demo","input":"hi","store":false,"stream":true,"background":true}`: http.StatusOK,
	} {
		resp := s.post(t, body)
		r := s.work(t)
		s.memory.append(r.ref, r.begin(), r.open())
		if got := s.get(t, "/v1/responses/"+r.ref.Response()); got.StatusCode != http.StatusOK {
			t.Errorf("%s: status %d while it runs", body, got.StatusCode)
		}
		s.memory.append(r.ref, r.say("Hello"), r.close(), r.finish())
		read(t, resp)
		for _, of := range []string{"", "/input_items"} {
			if got := s.get(t, "/v1/responses/"+r.ref.Response()+of); got.StatusCode != status {
				t.Errorf("%s: %s: status %d when it is over, want %d", body, of, got.StatusCode, status)
			}
		}
		next := s.post(t, `{"model":"demo","input":"on","previous_response_id":"`+r.ref.Response()+`"}`)
		mustRefuse(t, next, http.StatusBadRequest, schema.CodePreviousNotFound)
		resumed := read(t, s.get(t, path(r.ref), headerCursor, "3"))
		_, want, _ := bytes.Cut(append(r.all(), doneFrame...), []byte("id: 3\n\n"))
		if !bytes.Equal(resumed, want) {
			t.Errorf("%s: resumed with\n%s\nwant\n%s", body, resumed, want)
		}
	}
}
