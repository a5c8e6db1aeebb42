//go:build e2e

package rig

import (
	"fmt"
	"net/http"
	"net/http/httptest"
	"strings"
	"sync/atomic"
	"time"

	"github.com/go-json-experiment/json"
	"github.com/go-json-experiment/json/jsontext"
)

// Model is a server of the chat dialect.
type Model struct {
	URL    string
	Asked  atomic.Int64 // calls
	server *httptest.Server
}

func newModel() *Model {
	m := &Model{}
	m.server = httptest.NewServer(m)
	m.URL = m.server.URL
	return m
}

func (m *Model) close() {
	m.server.CloseClientConnections()
	m.server.Close()
}

// chat is what the model reads of a request.
type chat struct {
	Messages []struct {
		Role    string         `json:"role"`
		Content jsontext.Value `json:"content"`
	} `json:"messages"`
	Tools []struct {
		Function struct {
			Name string `json:"name"`
		} `json:"function"`
	} `json:"tools"`
}

// read finds the script, how many words were said, and how many calls were answered.
func (c *chat) read() (s *Script, said, done int, err error) {
	for _, m := range c.Messages {
		switch m.Role {
		case "user":
			s = &Script{}
			err = json.Unmarshal([]byte(content(m.Content)), s)
		case "assistant":
			said += len(strings.Fields(content(m.Content)))
		case "tool":
			done++
		}
	}
	if s == nil {
		err = fmt.Errorf("no user message among %d", len(c.Messages))
	}
	return s, said, done, err
}

// content is a message's text, which is a string or a list of parts.
func content(raw jsontext.Value) (text string) {
	if json.Unmarshal(raw, &text) == nil {
		return text
	}
	var parts []struct {
		Text string `json:"text"`
	}
	_ = json.Unmarshal(raw, &parts) // null: nothing was said
	for _, p := range parts {
		text += p.Text
	}
	return text
}

func (c *chat) offered(tool string) string {
	for _, t := range c.Tools {
		if strings.HasSuffix(t.Function.Name, "__"+tool) {
			return t.Function.Name
		}
	}
	return ""
}

func (m *Model) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	m.Asked.Add(1)
	var c chat
	if err := json.UnmarshalRead(r.Body, &c); err != nil {
		http.Error(w, err.Error(), http.StatusBadRequest)
		return
	}
	s, said, done, err := c.read()
	if err != nil {
		http.Error(w, err.Error(), http.StatusBadRequest)
		return
	}
	w.Header().Set("Content-Type", "text/event-stream")
	if !m.say(w, r, s, said, s.before(done)) {
		return
	}
	if done < s.Calls {
		chunk(w, map[string]any{"role": "assistant", "tool_calls": []any{map[string]any{
			"index": 0, "id": fmt.Sprintf("call_%d", done), "type": "function",
			"function": map[string]any{
				"name": c.offered(s.tool(done)), "arguments": fmt.Sprintf(`{"key":%q}`, s.key(done)),
			},
		}}}, nil)
		chunk(w, map[string]any{}, "tool_calls")
	} else {
		chunk(w, map[string]any{}, "stop")
	}
	fmt.Fprint(w, "data: [DONE]\n\n")
}

// say says words, and reports whether somebody still listens.
func (m *Model) say(w http.ResponseWriter, r *http.Request, s *Script, from, to int) bool {
	flush := http.NewResponseController(w).Flush
	tick := time.NewTicker(max(s.gap(), time.Microsecond))
	defer tick.Stop()
	for n := from; n < to; n++ {
		chunk(w, map[string]any{"role": "assistant", "content": Word(n) + " "}, nil)
		if flush() != nil {
			return false
		}
		select {
		case <-tick.C:
		case <-r.Context().Done():
			return false
		}
	}
	return true
}

func chunk(w http.ResponseWriter, delta map[string]any, finish any) {
	data, err := json.Marshal(map[string]any{
		"id": "chatcmpl-script", "object": "chat.completion.chunk", "created": 1, "model": "script",
		"choices": []any{map[string]any{"index": 0, "delta": delta, "finish_reason": finish}},
	})
	if err != nil {
		panic(http.ErrAbortHandler)
	}
	fmt.Fprintf(w, "data: %s\n\n", data)
}
