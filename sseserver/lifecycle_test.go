package sseserver

import (
	"bytes"
	"io"
	"net/http"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/midstream-dev/midstream/schema"
)

// Whoever cancels gets the response as it is then; twice, or too late, is no error. Its stream ends with response.failed
// and status cancelled, and what was said stays.
func TestLive_Cancel(t *testing.T) {
	t.Parallel()
	s := serveLive(t)
	p := produce(t, freshCommand(t))
	p.append(p.open())
	p.append(p.say("Half a"))
	stream := s.get(t, path(p.ref))
	cancelPath := "/v1/responses/" + p.ref.Response() + "/cancel"
	first := object(t, s.do(t, s.request(t, http.MethodPost, cancelPath, "")))
	if first.Status != schema.StatusCancelled || len(first.Output) != 1 || first.Output[0].Text() != "Half a" {
		t.Errorf("cancelled: %+v", first)
	}
	again := object(t, s.do(t, s.request(t, http.MethodPost, cancelPath, "")))
	if diff := cmp.Diff(asJSON(t, first), asJSON(t, again)); diff != "" {
		t.Errorf("cancelled twice (-first +second):\n%s", diff)
	}
	got := read(t, stream)
	if _, err := schema.CheckStream(got); err != nil || !bytes.Contains(got, []byte("event: response.failed\n")) {
		t.Errorf("stream: %v\n%s", err, got)
	}
	over := produce(t, freshCommand(t))
	over.append(over.open())
	over.append(over.say("whole"))
	over.end()
	late := object(t, s.do(t, s.request(t, http.MethodPost, "/v1/responses/"+over.ref.Response()+"/cancel", `{}`)))
	if late.Status != schema.StatusCompleted {
		t.Errorf("cancelled too late: status %s", late.Status)
	}
}

// A deleted response is found nowhere any more: not as an object, not as a stream, not to go on from, not to delete; a reader
// that follows it is cut off.
func TestLive_Delete(t *testing.T) {
	t.Parallel()
	s := serveLive(t)
	p := produce(t, freshCommand(t))
	p.append(p.open())
	p.append(p.say("whole"))
	p.end()
	id, object := p.ref.Response(), "/v1/responses/"+p.ref.Response()
	resp := s.do(t, s.request(t, http.MethodDelete, object, ""))
	if got, want := string(read(t, resp)), `{"id":"`+id+`","object":"response","deleted":true}`; got != want || resp.StatusCode != 200 {
		t.Errorf("status %d, %s, want %s", resp.StatusCode, got, want)
	}
	mustRefuse(t, s.do(t, s.request(t, http.MethodDelete, object, "")), 404, schema.CodeNotFound)
	mustRefuse(t, s.do(t, s.request(t, http.MethodPost, object+"/cancel", "")), 404, schema.CodeNotFound)
	mustRefuse(t, s.get(t, object), 404, schema.CodeNotFound)
	mustRefuse(t, s.get(t, object+"/input_items"), 404, schema.CodeNotFound)
	mustRefuse(t, s.get(t, path(p.ref)), 404, schema.CodeNotFound)
	mustRefuse(t, s.get(t, path(p.ref), headerCursor, "1"), 410, codeErased)
	mustRefuse(t, s.post(t, `{"model":"demo","input":"x","previous_response_id":"`+id+`"}`), 400, schema.CodePreviousNotFound)
	mustRefuse(t, s.post(t, `{"model":"demo","input":[{"id":"`+schema.ItemID(id, schema.KindMessage, 0)+`"}]}`), 404, schema.CodeNotFound)

	open := produce(t, freshCommand(t))
	follower := s.get(t, path(open.ref))
	if resp := s.do(t, s.request(t, http.MethodDelete, "/v1/responses/"+open.ref.Response(), "")); resp.StatusCode != 200 {
		t.Errorf("while it runs: status %d: %s", resp.StatusCode, read(t, resp))
	}
	got, err := io.ReadAll(follower.Body)
	if _, broken := schema.CheckStream(got); err == nil && broken != nil { // it was cancelled first: that is an end, if it came through
		t.Errorf("its reader: %v", broken)
	}
}

// The answer to a cancel has the response's end, also where this node hears of it later than the cancel was done. Seen: a
// node that answered in_progress.
func TestCancel_AnswersTheEnd(t *testing.T) {
	t.Parallel()
	s := serve(t)
	r := tell(t, storyCommand(storyID))
	r.begin()
	s.put(t, r)
	answer := make(chan *http.Response, 1)
	req := s.request(t, http.MethodPost, "/v1/responses/"+storyID+"/cancel", "")
	go func() {
		defer close(answer)
		if resp, err := s.client.Do(req); err == nil {
			answer <- resp
		}
	}()
	<-s.memory.cancelled
	events, err := r.seq.Finish(schema.Failed, func(resp *schema.Response) { resp.Status = schema.StatusCancelled })
	s.memory.append(r.ref, r.write(events, err))
	resp, ok := <-answer
	if !ok {
		t.Fatal("no answer")
	}
	defer resp.Body.Close()
	if got := object(t, resp); got.Status != schema.StatusCancelled {
		t.Errorf("status %s", got.Status)
	}
}
