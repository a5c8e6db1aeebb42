//go:build e2e

package e2e

import (
	"bytes"
	"io"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"

	"github.com/go-json-experiment/json"
	"github.com/go-json-experiment/json/jsontext"
	"github.com/google/go-cmp/cmp"
)

// TestOpenResponses holds the gateway to the Open Responses specification: the cases of its compliance suite, judged by
// the types that are generated from it, and what it demands of the wire. Its suite is on no registry. MCP is not in the
// specification, so the cases have none.
func TestOpenResponses(t *testing.T) {
	g := serve(t, "")
	const gauge = `{"type":"function","name":"gauge","description":"Reads a gauge.",` +
		`"parameters":{"type":"object","properties":{"place":{"type":"string"}},"required":["place"]}}`
	cases := []struct{ name, request, status string }{
		{"text", `"input":[{"type":"message","role":"user","content":"Say hello in exactly 3 words."}]`, "completed"},
		{"system", `"input":[{"type":"message","role":"system","content":"You are a pirate."},{"type":"message","role":"user","content":"Say hello."}]`, "completed"},
		{"turns", `"input":[{"type":"message","role":"user","content":"My name is Alice."},{"type":"message","role":"assistant","content":"Hello Alice!"},{"type":"message","role":"user","content":"What is my name?"}]`, "completed"},
		{"image", `"input":[{"type":"message","role":"user","content":[{"type":"input_text","text":"What is it?"},{"type":"input_image","image_url":"data:image/gif;base64,R0lGODlhAQABAAAAACw="}]}]`, "completed"},
		{"tool", `"input":"How high is the water?","tools":[` + gauge + `]`, "completed"},
		{"reasoning", `"input":"Think. [[reasoning]]"`, "completed"},
		{"refusal", `"input":"Do harm. [[refuse]]"`, "completed"},
		{"incomplete", `"input":"Say much. [[incomplete]]"`, "incomplete"},
		{"failed", `"input":"Break off. [[cut]]"`, "failed"},
	}
	for _, c := range cases {
		t.Run(c.name, func(t *testing.T) {
			t.Parallel()
			stream := post(t, g.url, `{"model":"demo","stream":true,`+c.request+`}`)
			ended := testWire(t, stream)
			testEchoed(t, ended, `{`+c.request+`}`)
			if got := ended["status"]; string(got) != `"`+c.status+`"` {
				t.Errorf("the response ended %s, want %s", got, c.status)
			}
			var id string
			if err := json.Unmarshal(ended["id"], &id); err != nil {
				t.Fatal(err)
			}
			testJudge(t, stream, g.get(t, "/v1/responses/"+id))
		})
	}
}

// post creates a response as raw bytes.
func post(t *testing.T, url, body string) []byte {
	t.Helper()
	resp, err := http.Post(url+"/v1/responses", "application/json", strings.NewReader(body))
	if err != nil {
		t.Fatal(err)
	}
	defer resp.Body.Close()
	raw, err := io.ReadAll(resp.Body)
	if err != nil || resp.StatusCode != http.StatusOK {
		t.Fatalf("%s: %v: %s", resp.Status, err, raw)
	}
	if got := resp.Header.Get("Content-Type"); !strings.HasPrefix(got, "text/event-stream") {
		t.Errorf("Content-Type is %q", got)
	}
	return raw
}

// testWire promises that each frame's event is its data's type, that data is one line, that numbers go up by one from 0,
// and that the literal [DONE] comes last, alone. It returns the response of the terminal event.
func testWire(t *testing.T, raw []byte) map[string]jsontext.Value {
	t.Helper()
	frames := strings.SplitAfter(string(raw), "\n\n")
	if last := len(frames) - 1; frames[last] != "" || frames[last-1] != "data: [DONE]\n\n" {
		t.Fatalf("the stream ends in %q", frames[last])
	}
	var e event
	for n, frame := range frames[:len(frames)-2] {
		lines := strings.Split(strings.TrimSuffix(frame, "\n\n"), "\n")
		data, isData := strings.CutPrefix(lines[1], "data: ")
		e = event{}
		if err := json.Unmarshal([]byte(data), &e); err != nil || !isData || lines[0] != "event: "+e.Type || e.Number != int64(n) {
			t.Errorf("frame %d: %v\n%s", n, err, frame)
		}
	}
	var ended map[string]jsontext.Value
	if err := json.Unmarshal(e.Response, &ended); err != nil {
		t.Fatalf("the last event is %s: %v", e.Type, err)
	}
	return ended
}

// testEchoed promises that function tools are shown in full: type, name, description, parameters and strict.
func testEchoed(t *testing.T, ended map[string]jsontext.Value, request string) {
	t.Helper()
	var asked, echoed struct {
		Tools []map[string]jsontext.Value `json:"tools"`
	}
	if err := json.Unmarshal([]byte(request), &asked); err != nil {
		t.Fatal(err)
	}
	if err := json.Unmarshal(ended["tools"], &echoed.Tools); err != nil {
		t.Fatal(err)
	}
	for i := range asked.Tools {
		if len(asked.Tools[i]["strict"]) == 0 {
			asked.Tools[i]["strict"] = jsontext.Value("true")
		}
	}
	if len(asked.Tools) == 0 {
		asked.Tools = []map[string]jsontext.Value{}
	}
	if diff := cmp.Diff(asked.Tools, echoed.Tools); diff != "" {
		t.Errorf("the tools (-asked +echoed):\n%s", diff)
	}
}

// testJudge promises that every event, the object in each and the object that GET answers have all that the
// specification requires, each of its type.
func testJudge(t *testing.T, stream, object []byte) {
	t.Helper()
	dir := t.TempDir()
	one, two := filepath.Join(dir, "stream.sse"), filepath.Join(dir, "object.json")
	if err := os.WriteFile(one, stream, 0o600); err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(two, object, 0o600); err != nil {
		t.Fatal(err)
	}
	said, err := exec.Command(python, "clients/openresponses/judge.py", one, two).CombinedOutput()
	if err != nil || len(bytes.TrimSpace(said)) > 0 {
		t.Errorf("the judge says (%v):\n%s", err, said)
	}
}
