package sseserver

import (
	"fmt"
	"net/http"
	"strings"
	"testing"

	"github.com/go-json-experiment/json"
	"github.com/google/go-cmp/cmp"

	"github.com/midstream-dev/midstream/schema"
)

type listed struct {
	Object  string        `json:"object"`
	Data    []schema.Item `json:"data"`
	FirstID *string       `json:"first_id"`
	LastID  *string       `json:"last_id"`
	HasMore bool          `json:"has_more"`
}

func (s *site) list(tb testing.TB, path string) listed {
	tb.Helper()
	resp := s.get(tb, path)
	body := read(tb, resp)
	var l listed
	if err := json.Unmarshal(body, &l); err != nil || resp.StatusCode != http.StatusOK {
		tb.Fatalf("%s: status %d, %v: %s", path, resp.StatusCode, err, body)
	}
	return l
}

func (l listed) texts() string {
	var texts []string
	for _, it := range l.Data {
		texts = append(texts, it.Text())
	}
	return strings.Join(texts, " ")
}

// Plain text is listed as a user's message, under an id that can be referred to; what the response goes on from comes
// before it.
func TestInputItems_WhatTheModelWasGiven(t *testing.T) {
	t.Parallel()
	s := serve(t)
	s.said(t, "resp_a", `"one"`, "1")
	s.said(t, "resp_b", `"two"`, "2", "resp_a")
	l := s.list(t, "/v1/responses/resp_b/input_items?order=asc")
	if got := l.texts(); got != "one 1 two" || l.Object != "list" || l.HasMore {
		t.Errorf("%q, %+v", got, l)
	}
	two := l.Data[2]
	want := schema.Item{
		ID: schema.InputID("resp_b", schema.KindMessage, 0), Type: schema.KindMessage, Role: "user",
		Content: schema.Content{{Type: schema.PartInputText, Text: new("two")}},
	}
	if diff := cmp.Diff(want, two); diff != "" {
		t.Errorf("the text (-want +got):\n%s", diff)
	}
	s.memory.set(t, func(m *memory) { m.gone[mustRef(t, "resp_a")] = true })
	if got := s.list(t, "/v1/responses/resp_b/input_items").texts(); got != "two" {
		t.Errorf("without what it went on from: %q", got)
	}
}

// Pages follow each other without a gap or an overlap, in both orders, whatever their size.
func TestInputItems_Pages(t *testing.T) {
	t.Parallel()
	s := serve(t)
	var input, want []string
	for i := range 45 {
		input = append(input, fmt.Sprintf(`{"role":"user","content":"m%d"}`, i))
		want = append(want, fmt.Sprintf("m%d", i))
	}
	s.said(t, "resp_a", "["+strings.Join(input, ",")+"]", "1")
	const path = "/v1/responses/resp_a/input_items"
	if l := s.list(t, path); len(l.Data) != 20 || l.Data[0].Text() != "m44" || !l.HasMore || *l.LastID != l.Data[19].ID || *l.FirstID != l.Data[0].ID {
		t.Errorf("without parameters: %d items from %s", len(l.Data), l.Data[0].Text())
	}
	for _, limit := range []int{1, 7, 44, 45, 100} {
		var got []string
		after := ""
		for more := true; more; {
			l := s.list(t, fmt.Sprintf("%s?order=asc&limit=%d&after=%s", path, limit, after))
			for _, it := range l.Data {
				got = append(got, it.Text())
			}
			if more = l.HasMore; more {
				after = *l.LastID
			}
		}
		if diff := cmp.Diff(want, got); diff != "" {
			t.Errorf("pages of %d (-want +got):\n%s", limit, diff)
		}
	}
	last := s.list(t, path+"?after="+schema.InputID("resp_a", schema.KindMessage, 0))
	if last.Data == nil || len(last.Data) != 0 || last.FirstID != nil || last.LastID != nil || last.HasMore {
		t.Errorf("behind the last: %+v", last)
	}
}

// Bad parameters are refused by name, and a response that is not there is not found.
func TestInputItems_Refused(t *testing.T) {
	t.Parallel()
	s := serve(t)
	s.said(t, "resp_a", `"one"`, "1")
	for path, want := range map[string]string{
		"/v1/responses/resp_a/input_items?limit=0":       "400 invalid_value limit",
		"/v1/responses/resp_a/input_items?limit=101":     "400 invalid_value limit",
		"/v1/responses/resp_a/input_items?limit=x":       "400 invalid_value limit",
		"/v1/responses/resp_a/input_items?order=up":      "400 invalid_value order",
		"/v1/responses/resp_a/input_items?after=nothing": "400 invalid_value after",
		"/v1/responses/resp_a/input_items?include=x":     "400 invalid_value include",
		"/v1/responses/resp_a/input_items?include[]=x":   "400 invalid_value include",
		"/v1/responses/resp_never/input_items":           "404 not_found ",
		"/v1/responses/a.b/input_items":                  "404 not_found ",
	} {
		resp := s.get(t, path)
		e := refusalIn(t, read(t, resp))
		if got := fmt.Sprintf("%d %s %s", resp.StatusCode, e.Code, e.Param); got != want {
			t.Errorf("%s: %s, want %s", path, got, want)
		}
	}
}
