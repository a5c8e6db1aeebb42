package schema

import (
	"bytes"
	"errors"
	"strings"
	"testing"
)

// tellStory returns the bytes that the client of a story is served.
func tellStory(t *testing.T, name string) []byte {
	t.Helper()
	s := readStory(t, "testdata/stories/"+name+".txtar")
	s.tell(t)
	return framesOf(t, s.out)
}

// lawOf returns the law that a checker's answer names.
func lawOf(_ *State, err error) string {
	var v *Violation
	if !errors.As(err, &v) {
		return ""
	}
	return v.Rule
}

// faults are streams that some gateway has really sent, or could: what was done to a good stream, and the law that it
// breaks.
var faults = []struct{ name, law, old, new string }{
	{"event of another number", lawFrame, `"sequence_number":0,`, `"sequence_number":1,`},
	{"error null on an event", lawError, `"type":"response.mcp_call.in_progress"`, `"type":"response.mcp_call.in_progress","error":null`},
	{"event line of another type", lawFrame, "event: response.mcp_call.completed\n", "event: response.mcp_call.failed\n"},
	{"id line of another number", lawFrame, "id: 3\n", "id: 2\n"},
	{"no tools in the response", lawMembers, `"tools":[],`, ""},
	{"instructions as a list", lawMembers, `"instructions":null`, `"instructions":[]`},
	{"no usage", lawMembers, `"usage":{`, `"was":{`},
	{"usage without cached tokens", lawMembers, `"cached_tokens":0,`, ""},
	{"completed without its time", lawMembers, `"completed_at":1700000001`, `"completed_at":null`},
	{"completed with an error", lawMembers, `"status":"completed","background":false,"error":null`, `"status":"completed","background":false,"error":{"code":"c","message":"m"}`},
	{"created with its time", lawMembers, `"completed_at":null`, `"completed_at":1`},
	{"created.id is not completed.id", lawIdentity, `"response":{"id":"resp_1","object":"response","created_at":1700000000,"completed_at":1700000001`, `"response":{"id":"resp_2","object":"response","created_at":1700000000,"completed_at":1700000001`},
	{"created completed", lawLifecycle, `"status":"in_progress","background"`, `"status":"completed","background"`},
	{"completed failed", lawTerminal, `"status":"completed","background"`, `"status":"failed","background"`},
	{"empty output", lawOutput, `"output":[{`, `"output":[],"was":[{`},
	{"output of another text", lawOutput, `"output":"Available pages: 1 Overview"`, `"output":"none"`},
	{"output_index 0 everywhere", lawIndexes, `"output_index":1`, `"output_index":0`},
	{"no item_id", lawIdentity, `,"item_id":"mcpl_10000"`, ""},
	{"another item's id", lawIdentity, `"item_id":"mcp_10001"`, `"item_id":"mcpl_10000"`},
	{"no content_index", lawIndexes, `,"content_index":0`, ""},
	{"no logprobs", lawMembers, `"delta":"The","logprobs":[]`, `"delta":"The"`},
	{"text that its deltas do not say", lawText, `"text":"The path"`, `"text":"The way"`},
	{"a list with error null", lawMembers, `"server_label":"deepwiki","tools":[]`, `"server_label":"deepwiki","tools":[],"error":null`},
	{"a list with a status", lawMembers, `"server_label":"deepwiki","tools":[]`, `"status":"in_progress","server_label":"deepwiki","tools":[]`},
	{"a tool with description null", lawMembers, `"description":"Lists a wiki's pages."`, `"description":null`},
	{"a tool with annotations null", lawMembers, `"annotations":{"read_only":false}`, `"annotations":null`},
	{"a call without status", lawMembers, `"type":"mcp_call","status":"in_progress"`, `"type":"mcp_call"`},
	{"a call without error", lawMembers, `"error":null,"approval_request_id":null`, `"approval_request_id":null`},
	{"a failed call told as completed", lawStatus, `"output":"Available pages: 1 Overview","error":null`, `"output":null,"error":{"type":"http_error","code":1,"message":"m"}`},
	{"a call whose name changes", lawIdentity, `"status":"completed","server_label":"deepwiki","name":"read_wiki_structure"`, `"status":"completed","server_label":"deepwiki","name":"other"`},
	{"a message without role", lawMembers, `"role":"assistant",`, ""},
	{"a part without annotations", lawMembers, `"text":"","annotations":[]`, `"text":""`},
	{"[DONE] in the middle", lawLast, "event: response.mcp_call.completed\n", "data: [DONE]\n\nevent: response.mcp_call.completed\n"},
}

// Each fault is refused, by the law that it breaks.
func TestCheckStream_NamesTheLawThatIsBroken(t *testing.T) {
	t.Parallel()
	good := tellStory(t, "one_server_one_call")
	if _, err := CheckStream(good); err != nil {
		t.Fatal(err)
	}
	for _, f := range faults {
		bad := bytes.Replace(good, []byte(f.old), []byte(f.new), 1)
		if strings.Contains(f.name, "everywhere") || f.law == lawMembers && f.old == `"role":"assistant",` {
			bad = bytes.ReplaceAll(good, []byte(f.old), []byte(f.new))
		}
		if bytes.Equal(good, bad) {
			t.Errorf("%s: not in the story", f.name)
			continue
		}
		if _, err := CheckStream(bad); lawOf(nil, err) != f.law {
			t.Errorf("%s: %v, want %s", f.name, err, f.law)
		}
	}
}

// A stream must be whole: cut anywhere, it is refused, and so is anything behind its end.
func TestCheckStream_WantsTheWholeStream(t *testing.T) {
	t.Parallel()
	good := tellStory(t, "text")
	for _, ok := range []string{"", "data: [DONE]\n\n", ": keep-alive\n\n", ": keep-alive\n\ndata: [DONE]\n\n"} {
		if _, err := CheckStream(append(bytes.Clone(good), ok...)); err != nil {
			t.Errorf("with %q: %v", ok, err)
		}
	}
	for _, bad := range []string{"data: [DONE]", "data: [DONE]\n\ndata: [DONE]\n\n", "\n", "event: x\n\n", string(good)} {
		if _, err := CheckStream(append(bytes.Clone(good), bad...)); err == nil {
			t.Errorf("with %.20q behind it: accepted", bad)
		}
	}
	if _, rest, err := CutFrame(good); err != nil || lawOf(CheckStream(rest)) != lawNumbers {
		t.Error("from number 1 on: accepted")
	}
	for n := range good {
		inLast := n > bytes.LastIndex(good, []byte("event: "))
		if !inLast && !bytes.HasSuffix(good[:n], frameEnd) && n%97 != 0 {
			continue // every end of a frame, every byte of the last one, and some others
		}
		if _, err := CheckStream(good[:n]); err == nil {
			t.Fatalf("cut at byte %d: accepted", n)
		}
	}
}

// Comments keep a connection awake; they may stand between any two frames, and nowhere else.
func TestCheckStream_AllowsCommentsBetweenFrames(t *testing.T) {
	t.Parallel()
	good := tellStory(t, "text")
	awake := bytes.ReplaceAll(good, frameEnd, []byte("\n\n: keep-alive\n\n"))
	if _, err := CheckStream(awake); err != nil {
		t.Error(err)
	}
	if _, err := CheckStream(bytes.Replace(good, []byte("\nid:"), []byte("\n: keep-alive\nid:"), 1)); err == nil {
		t.Error("a comment within a frame: accepted")
	}
}

// What the checker cannot know is not its business: a failure must say why, an incomplete response its reason.
func TestCheckStream_WantsReasons(t *testing.T) {
	t.Parallel()
	for story, old := range map[string]string{
		"model_cut": `"error":{"code":"upstream_protocol","message":"cut"}`,
		"calls_cut": `"incomplete_details":{"reason":"max_output_tokens"}`,
	} {
		name, _, _ := strings.Cut(old, ":")
		bad := bytes.Replace(tellStory(t, story), []byte(old), []byte(name+":null"), 1)
		if _, err := CheckStream(bad); lawOf(nil, err) != lawMembers {
			t.Errorf("%s: %v", story, err)
		}
	}
}
