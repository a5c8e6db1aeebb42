package main

import (
	"context"
	"errors"
	"log/slog"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"
	"time"

	"github.com/midstream-dev/midstream/producers/upstream"
	"github.com/midstream-dev/midstream/schema"
)

// TestErrands_Compact promises that the operator can tell which compaction it was whose model call is made again.
func TestErrands_Compact(t *testing.T) {
	down := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) { w.WriteHeader(http.StatusServiceUnavailable) }))
	defer down.Close()
	var log buffer
	router, err := upstream.Open([]upstream.Config{{
		Name: "far", Dialect: "chat", BaseURL: down.URL, Retries: new(1), Logger: slog.New(slog.NewTextHandler(&log, nil)),
		Pause: func(context.Context, time.Duration) error { return nil },
	}})
	if err != nil {
		t.Fatal(err)
	}
	defer router.Close()
	ref, err := schema.NewRef("default", "resp_compact")
	if err != nil {
		t.Fatal(err)
	}
	_, _, err = errands{router, nil}.Compact(t.Context(), ref, &schema.CreateRequest{Model: "m"}, nil)
	var refused *schema.Error
	if !errors.As(err, &refused) || !strings.Contains(log.String(), "run=resp_compact") {
		t.Errorf("%v; the log says %q", err, log.String())
	}
}
