package sseserver

import (
	"bufio"
	"bytes"
	"net/http"
	"strconv"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/midstream-dev/midstream/broker/hub"
	"github.com/midstream-dev/midstream/schema"
)

func contains(s, part string) bool { return strings.Contains(s, part) }

// GET without stream answers the response as it is now, with what the open item has so far.
func TestRetrieve_IsTheResponseNow(t *testing.T) {
	t.Parallel()
	s := serve(t)
	r := tell(t, storyCommand(storyID))
	s.memory.append(r.ref, r.all(), r.begin(), r.open(), r.say("Half a sen"))
	resp := s.get(t, "/v1/responses/"+storyID)
	body := string(read(t, resp))
	if resp.StatusCode != 200 || !contains(body, `"status":"in_progress"`) || !contains(body, "Half a sen") {
		t.Errorf("status %d: %s", resp.StatusCode, body)
	}
}

// A cursor is answered as DESIGN.md section 6 says, row by row: on a finished response with events 0 to last.
func TestResume_CursorTable(t *testing.T) {
	t.Parallel()
	s := serve(t)
	r := s.put(t, whole(t, storyID, "Because ", "the ", "old ", "one ", "drowns."))
	last := len(r.frames) - 1
	end := strconv.Itoa(last)
	after := func(n int) string { return string(bytes.Join(r.frames[n+1:], nil)) + string(doneFrame) }
	for name, c := range map[string]struct {
		query, header string
		status        int
		body          string // of a 200
		code          string // of an error
	}{
		"from the start":                {"", "", 200, after(-1), ""},
		"starting_after":                {"&starting_after=3", "", 200, after(3), ""},
		"starting_after 0":              {"&starting_after=0", "", 200, after(0), ""},
		"Last-Event-ID":                 {"", "3", 200, after(3), ""},
		"the header wins":               {"&starting_after=1", "4", 200, after(4), ""},
		"the header wins over garbage":  {"&starting_after=x", "4", 200, after(4), ""},
		"terminal by starting_after":    {"&starting_after=" + end, "", 200, string(doneFrame), ""},
		"terminal by Last-Event-ID":     {"", end, 204, "", ""},
		"beyond the end":                {"&starting_after=1000", "", 400, "", schema.CodeInvalidCursor},
		"one beyond the end":            {"", strconv.Itoa(last + 1), 400, "", schema.CodeInvalidCursor},
		"negative":                      {"&starting_after=-1", "", 400, "", schema.CodeInvalidCursor},
		"signed":                        {"", "+1", 400, "", schema.CodeInvalidCursor},
		"exponent":                      {"", "1e3", 400, "", schema.CodeInvalidCursor},
		"hex":                           {"", "0x1", 400, "", schema.CodeInvalidCursor},
		"leading zero":                  {"", "01", 400, "", schema.CodeInvalidCursor},
		"other digits":                  {"", "٣", 400, "", schema.CodeInvalidCursor},
		"beyond 2^53":                   {"", "9007199254740993", 400, "", schema.CodeInvalidCursor},
		"beyond 2^64":                   {"", "99999999999999999999", 400, "", schema.CodeInvalidCursor},
		"words":                         {"", "resp_1:3", 400, "", schema.CodeInvalidCursor},
		"an unknown include":            {"&include[]=dreams", "", 400, "", schema.CodeInvalidValue},
		"a known include":               {"&include[]=reasoning.encrypted_content&starting_after=3", "", 200, after(3), ""},
		"starting_after empty":          {"&starting_after=", "", 400, "", schema.CodeInvalidCursor},
		"starting_after twice":          {"&starting_after=1&starting_after=2", "", 400, "", schema.CodeInvalidCursor},
		"starting_after with a NUL":     {"&starting_after=1%00", "", 400, "", schema.CodeInvalidCursor},
		"starting_after with a newline": {"&starting_after=1%0a", "", 400, "", schema.CodeInvalidCursor},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			headers := []string{}
			if c.header != "" {
				headers = []string{"Last-Event-ID", c.header}
			}
			resp := s.get(t, "/v1/responses/"+storyID+"?stream=true"+c.query, headers...)
			if c.code != "" {
				body := mustRefuse(t, resp, c.status, c.code)
				if strings.HasSuffix(name, "the end") && !contains(body, `"last_sequence_number":`+end) {
					t.Errorf("the last number, %s, is not in %s", end, body)
				}
				return
			}
			if resp.StatusCode != c.status {
				t.Fatalf("status %d, want %d", resp.StatusCode, c.status)
			}
			if diff := cmp.Diff(c.body, string(read(t, resp))); diff != "" {
				t.Errorf("body (-want +got):\n%s", diff)
			}
			if c.status == 204 && resp.Header.Get("Last-Event-ID") != end {
				t.Errorf("Last-Event-ID %q", resp.Header.Get("Last-Event-ID"))
			}
		})
	}
}

// An empty Last-Event-ID is what an EventSource sends that has seen no id: it says nothing.
func TestResume_EmptyHeaderSaysNothing(t *testing.T) {
	t.Parallel()
	s := serve(t)
	r := s.put(t, whole(t, storyID, "word"))
	for query, want := range map[string][]byte{"": r.all(), "&starting_after=2": bytes.Join(r.frames[3:], nil)} {
		resp := s.get(t, "/v1/responses/"+storyID+"?stream=true"+query, "Last-Event-ID", "")
		if diff := cmp.Diff(string(want)+string(doneFrame), string(read(t, resp))); diff != "" {
			t.Errorf("%q (-want +got):\n%s", query, diff)
		}
	}
}

// Two cursors of one kind contradict each other: neither is taken.
func TestResume_TwoHeadersAreRefused(t *testing.T) {
	t.Parallel()
	s := serve(t)
	s.put(t, whole(t, storyID, "word"))
	req := s.request(t, http.MethodGet, "/v1/responses/"+storyID+"?stream=true", "")
	req.Header["Last-Event-Id"] = []string{"1", "2"}
	mustRefuse(t, s.do(t, req), 400, schema.CodeInvalidCursor)
}

// openai-go asks for a stream in the body of its GET, and nowhere else.
func TestRetrieve_ReadsOpenaiGosBody(t *testing.T) {
	t.Parallel()
	s := serve(t)
	r := s.put(t, whole(t, storyID, "word"))
	resp := s.do(t, s.request(t, http.MethodGet, "/v1/responses/"+storyID+"?starting_after=3", `{"stream":true}`))
	if diff := cmp.Diff(string(bytes.Join(r.frames[4:], nil))+string(doneFrame), string(read(t, resp))); diff != "" {
		t.Errorf("stream (-want +got):\n%s", diff)
	}
	resp = s.do(t, s.request(t, http.MethodGet, "/v1/responses/"+storyID, `{"stream":false}`))
	if body := string(read(t, resp)); !contains(body, `"object":"response"`) {
		t.Errorf("body %s", body)
	}
	mustRefuse(t, s.do(t, s.request(t, http.MethodGet, "/v1/responses/"+storyID, `{"stream":`)), 400, schema.CodeInvalidJSON)
	mustRefuse(t, s.do(t, s.request(t, http.MethodGet, "/v1/responses/"+storyID, strings.Repeat(" ", 1<<20))), 413, schema.CodeTooLarge)
}

// Who has a cursor knew the response, and hears what became of it; anybody else hears only that it is not there.
func TestRetrieve_WhatIsGone(t *testing.T) {
	t.Parallel()
	for name, c := range map[string]struct {
		err  error
		code string
	}{"erased": {hub.ErrGone, codeErased}, "expired": {hub.ErrExpired, schema.CodeExpired}} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			s := serve(t)
			s.memory.fail(mustRef(t, storyID), c.err)
			path := "/v1/responses/" + storyID
			mustRefuse(t, s.get(t, path), 404, schema.CodeNotFound)
			mustRefuse(t, s.get(t, path+"?stream=true"), 404, schema.CodeNotFound)
			mustRefuse(t, s.get(t, path+"?stream=true&starting_after=1"), 410, c.code)
			mustRefuse(t, s.get(t, path+"?stream=true", "Last-Event-ID", "1"), 410, c.code)
		})
	}
}

// byHeader names the tenant in a header, as a test may.
type byHeader struct{}

func (byHeader) Tenant(r *http.Request) (string, error) { return r.Header.Get("X-Tenant"), nil }

// Another tenant's response, an unknown one and an id that cannot be one look the same, but for the id itself.
func TestRetrieve_ForeignIsUnknownIsMalformed(t *testing.T) {
	t.Parallel()
	s := serve(t, func(c *Config) { c.Tenants = byHeader{} })
	cmd := storyCommand(storyID)
	cmd.Tenant = "alice"
	r := tell(t, cmd)
	s.memory.append(r.ref, r.all())
	if resp := s.get(t, "/v1/responses/"+storyID, "X-Tenant", "alice"); resp.StatusCode != 200 {
		t.Fatalf("the owner gets %d", resp.StatusCode)
	}
	want := ""
	for _, id := range []string{storyID, "resp_unknown", "t1.%3E", "*", "%20", "a.b", "%00", "%ff", "..%2F..", "$JS", "'\"<b>", strings.Repeat("x", 300)} {
		for _, query := range []string{"", "?stream=true", "?stream=true&starting_after=4"} {
			body := mustRefuse(t, s.get(t, "/v1/responses/"+id+query, "X-Tenant", "bob"), 404, schema.CodeNotFound)
			head, tail, _ := strings.Cut(body, "'")
			tail = tail[strings.LastIndex(tail, "'"):]
			if want == "" {
				want = head + tail
			}
			if diff := cmp.Diff(want, head+tail); diff != "" {
				t.Errorf("%s%s: body differs (-want +got):\n%s", id, query, diff)
			}
			if len(body) > 400 {
				t.Errorf("%s: %d bytes reflect the id", id, len(body))
			}
		}
	}
}

// A reader who is there during the run gets events as they come, in as many frames as there are by then.
func TestResume_ReplaysThenFollows(t *testing.T) {
	t.Parallel()
	s := serve(t)
	r := tell(t, storyCommand(storyID))
	s.memory.append(r.ref, r.all(), r.begin(), r.open(), r.say("a"))
	resp := s.get(t, "/v1/responses/"+storyID+"?stream=true&starting_after=1")
	body := bufio.NewReader(resp.Body)
	if diff := cmp.Diff(string(bytes.Join(r.frames[2:], nil)), string(readFrames(t, body, len(r.frames)-2))); diff != "" {
		t.Errorf("replay (-want +got):\n%s", diff)
	}
	for _, word := range []string{"b", "c"} {
		frame := r.say(word)
		s.memory.append(r.ref, frame)
		if diff := cmp.Diff(string(frame), string(readFrames(t, body, 1))); diff != "" {
			t.Errorf("live (-want +got):\n%s", diff)
		}
	}
}
