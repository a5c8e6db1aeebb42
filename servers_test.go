package main

import (
	"errors"
	"log/slog"
	"testing"

	"github.com/midstream-dev/midstream/producers/upstream"
	"github.com/midstream-dev/midstream/schema"
)

// TestDoor_RefusesWhatNoRunCouldServe promises that what the upstream of a model cannot say is a 400 that names the member,
// before anything is queued.
func TestDoor_RefusesWhatNoRunCouldServe(t *testing.T) {
	t.Parallel()
	cfg := Config{Demo: "off", Upstreams: []UpstreamConfig{{
		Name: "main", Dialect: "chat", BaseURL: "http://127.0.0.1:1/v1", Model: "inner", Retries: new(0), Fallback: []string{"spare"},
	}, {Name: "spare", Dialect: "responses", BaseURL: "http://127.0.0.1:1/v1", MaxCalls: 1}}}
	router, err := upstream.Open(cfg.upstreams(slog.New(slog.DiscardHandler)))
	if err != nil {
		t.Fatal(err)
	}
	defer router.Close()
	for body, param := range map[string]string{
		`{"model":"m","input":"hi"}`:                                    "",
		`{"model":"m","input":"hi","truncation":"auto"}`:                "truncation",
		`{"model":"m","input":"hi","tools":[{"type":"web_search"}]}`:    "tools",
		`{"model":"m","input":"hi","reasoning":{"summary":"detailed"}}`: "reasoning.summary",
	} {
		req, refused := schema.ParseCreate([]byte(body))
		if refused != nil {
			t.Fatal(refused)
		}
		err := door{router: router}.admit(t.Context(), req)
		e, _ := errors.AsType[*schema.Error](err)
		switch {
		case param == "" && err != nil:
			t.Errorf("%s: %v", body, err)
		case param != "" && (e == nil || e.Status != 400 || e.Param != param):
			t.Errorf("%s: %v, want a 400 that names %s", body, err, param)
		}
	}
}
