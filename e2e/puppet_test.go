//go:build e2e

package e2e

import (
	"fmt"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"

	"github.com/go-json-experiment/json"
	"github.com/go-json-experiment/json/jsontext"
)

// puppet is a model server of the chat dialect whose model does what the first user message tells it: a JSON array of
// calls, one a turn, then a word of farewell.
type puppet struct{}

func newPuppet(t *testing.T) string {
	t.Helper()
	server := httptest.NewServer(puppet{})
	t.Cleanup(server.Close)
	return server.URL
}

// question is what a puppet reads of a request.
type question struct {
	Messages []struct {
		Role      string           `json:"role"`
		Content   jsontext.Value   `json:"content"`
		ToolCalls []jsontext.Value `json:"tool_calls"`
	} `json:"messages"`
	Tools []struct {
		Function struct {
			Name       string         `json:"name"`
			Parameters jsontext.Value `json:"parameters"`
		} `json:"function"`
	} `json:"tools"`
}

// order is a call of the script, as conformance/main.go writes it.
type order struct {
	Name      string         `json:"name"`
	Arguments jsontext.Value `json:"arguments"`
	SchemaOf  string         `json:"schema_of"`
}

func (puppet) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	var q question
	if err := json.UnmarshalRead(r.Body, &q); err != nil {
		http.Error(w, err.Error(), http.StatusBadRequest)
		return
	}
	script, turn, err := q.script()
	if err != nil {
		http.Error(w, err.Error(), http.StatusBadRequest)
		return
	}
	w.Header().Set("Content-Type", "text/event-stream")
	if turn < len(script) {
		q.call(w, turn, script[turn])
		return
	}
	say := map[string]any{"role": "assistant", "content": "All done."}
	chunk(w, say, nil)
	chunk(w, map[string]any{}, "stop")
	fmt.Fprint(w, "data: [DONE]\n\n")
}

// script reads the orders from the first user message, and counts the turns that are over.
func (q question) script() (script []order, turn int, err error) {
	for _, m := range q.Messages {
		if m.Role == "user" && script == nil {
			if script, err = orders(m.Content); err != nil {
				return nil, 0, err
			}
		}
		if len(m.ToolCalls) > 0 {
			turn++
		}
	}
	return script, turn, nil
}

// orders reads a message's content, which is a string or a list of text parts.
func orders(content jsontext.Value) ([]order, error) {
	var text string
	if content.Kind() == '"' {
		if err := json.Unmarshal(content, &text); err != nil {
			return nil, err
		}
	} else {
		var parts []struct {
			Text string `json:"text"`
		}
		if err := json.Unmarshal(content, &parts); err != nil {
			return nil, err
		}
		for _, part := range parts {
			text += part.Text
		}
	}
	script := []order{}
	return script, json.Unmarshal([]byte(text), &script)
}

// call answers with calls of every offered tool that the order means.
func (q question) call(w http.ResponseWriter, turn int, o order) {
	var calls []any
	for _, tool := range q.Tools {
		if o.Name != "*" && !strings.HasSuffix(tool.Function.Name, "__"+o.Name) {
			continue
		}
		calls = append(calls, map[string]any{
			"index": len(calls), "id": fmt.Sprintf("call_%d_%d", turn, len(calls)), "type": "function",
			"function": map[string]any{"name": tool.Function.Name, "arguments": q.arguments(o)},
		})
	}
	chunk(w, map[string]any{"role": "assistant", "tool_calls": calls}, nil)
	chunk(w, map[string]any{}, "tool_calls")
	fmt.Fprint(w, "data: [DONE]\n\n")
}

func (q question) arguments(o order) string {
	if o.SchemaOf == "" && len(o.Arguments) == 0 {
		return "{}"
	}
	if o.SchemaOf == "" {
		return string(o.Arguments)
	}
	for _, tool := range q.Tools {
		if strings.HasSuffix(tool.Function.Name, "__"+o.SchemaOf) {
			return fmt.Sprintf(`{"schema":%s}`, tool.Function.Parameters)
		}
	}
	return ""
}

func chunk(w http.ResponseWriter, delta map[string]any, finish any) {
	data, err := json.Marshal(map[string]any{
		"id": "chatcmpl-puppet", "object": "chat.completion.chunk", "created": 1, "model": "puppet",
		"choices": []any{map[string]any{"index": 0, "delta": delta, "finish_reason": finish}},
	})
	if err != nil {
		panic(http.ErrAbortHandler)
	}
	fmt.Fprintf(w, "data: %s\n\n", data)
}
