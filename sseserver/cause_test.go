package sseserver

import (
	"net/http"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/midstream-dev/midstream/schema"
)

// A run that failed before any output answers with the status of its cause: that of the code if it is known, else that
// of the type, else 500. The error's own words are passed on.
func TestFailure_HasTheStatusOfItsCause(t *testing.T) {
	t.Parallel()
	tested := map[string]bool{}
	for _, c := range []struct {
		code, kind string
		status     int
	}{
		{schema.CodeModelNotFound, schema.TypeInvalidRequest, http.StatusNotFound},
		{schema.CodeRateLimit, schema.TypeRateLimit, http.StatusTooManyRequests},
		{schema.CodeRateLimit, schema.TypeUpstream, http.StatusTooManyRequests},
		{"insufficient_quota", schema.TypeRateLimit, http.StatusTooManyRequests},
		{"upstream_timeout", schema.TypeUpstream, http.StatusGatewayTimeout},
		{"upstream_unavailable", schema.TypeUpstream, http.StatusBadGateway},
		{"upstream_refused", schema.TypeUpstream, http.StatusBadGateway},
		{schema.CodeUpstreamProtocol, schema.TypeUpstream, http.StatusBadGateway},
		{schema.CodeRunExpired, schema.TypeServer, http.StatusGatewayTimeout},
		{schema.CodeTurns, schema.TypeServer, http.StatusInternalServerError},
		{schema.CodeAttempts, schema.TypeServer, http.StatusInternalServerError},
		{"http_error", schema.TypeConnector, http.StatusFailedDependency},
		{"context_length_exceeded", schema.TypeInvalidRequest, http.StatusBadRequest},
		{schema.CodeUnsupported, schema.TypeInvalidRequest, http.StatusBadRequest},
		{"slow_down", schema.TypeRateLimit, http.StatusTooManyRequests},
		{"overloaded_error", schema.TypeUpstream, http.StatusBadGateway},
		{schema.CodeServer, schema.TypeServer, http.StatusInternalServerError},
		{"unheard_of", "unheard_of", http.StatusInternalServerError},
	} {
		tested[c.code], tested[c.kind] = true, true
		why := &schema.ResponseError{Code: c.code, Type: c.kind, Message: "m", Param: "p"}
		want := &schema.Error{Status: c.status, Code: c.code, Type: c.kind, Message: "m", Param: "p"}
		got := failure(&schema.Response{Status: schema.StatusFailed, Error: why})
		if diff := cmp.Diff(want, got); diff != "" {
			t.Errorf("%s, %s (-want +got):\n%s", c.code, c.kind, diff)
		}
	}
	for _, table := range []map[string]cause{causeOfCode, causeOfType} {
		for word := range table {
			if !tested[word] {
				t.Errorf("no case tests %q", word)
			}
		}
	}
}

// An error always has a type: where the log names none, that of its code, or server_error.
func TestFailure_HasAType(t *testing.T) {
	t.Parallel()
	for code, c := range causeOfCode {
		got := failure(&schema.Response{Status: schema.StatusFailed, Error: &schema.ResponseError{Code: code}})
		if got.Type != c.kind || got.Type == "" {
			t.Errorf("%s has the type %q, want %q", code, got.Type, c.kind)
		}
	}
	got := failure(&schema.Response{Status: schema.StatusFailed, Error: &schema.ResponseError{Code: "unheard_of"}})
	if got.Type != schema.TypeServer {
		t.Errorf("an unknown code has the type %q", got.Type)
	}
}
