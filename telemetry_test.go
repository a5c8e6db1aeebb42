package main

import (
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"
	"time"
)

// TestLogger promises one line of JSON for machines, in which a duration has a unit, and text for who asks for it.
func TestLogger(t *testing.T) {
	t.Parallel()
	var machine, person buffer
	newLogger(LogConfig{Level: "info", Format: "auto"}, "n1", &machine).Info("run ended", "took", 1500*time.Millisecond)
	newLogger(LogConfig{Level: "debug", Format: "text"}, "n1", &person).Debug("run ended", "took", 1500*time.Millisecond)
	if got := machine.String(); !strings.Contains(got, `"msg":"run ended","node":"n1","took_seconds":1.5}`) {
		t.Errorf("for machines: %s", got)
	}
	if got := person.String(); !strings.Contains(got, `level=DEBUG msg="run ended" took=1.5s`) {
		t.Errorf("for people: %s", got)
	}
}

// TestLogger_Level promises that what is below the level is not written.
func TestLogger_Level(t *testing.T) {
	t.Parallel()
	var out buffer
	log := newLogger(LogConfig{Level: "error"}, "n1", &out)
	log.Warn("degraded")
	if got := out.String(); got != "" {
		t.Errorf("got %s", got)
	}
}

// TestTraces promises that spans go where the environment says, by the end of the process at the latest.
func TestTraces(t *testing.T) {
	got := make(chan string, 1)
	collector := httptest.NewServer(http.HandlerFunc(func(_ http.ResponseWriter, r *http.Request) {
		select {
		case got <- r.URL.Path:
		default:
		}
	}))
	defer collector.Close()
	t.Setenv("OTEL_EXPORTER_OTLP_ENDPOINT", collector.URL)
	node := serveNode(t, "--nats.data="+t.TempDir())
	node.do(t, "POST", "/v1/responses", `{"model":"demo","input":"x"}`, nil)
	if code := node.stop(); code != exitOK {
		t.Fatalf("exit code %d: %s", code, node.errors.String())
	}
	node.code <- exitOK // for the cleanup
	select {
	case path := <-got:
		if path != "/v1/traces" {
			t.Errorf("spans went to %s", path)
		}
	default:
		t.Error("no spans were exported")
	}
}

// TestTraces_Off promises that nothing is exported unless the environment says where to.
func TestTraces_Off(t *testing.T) {
	traces, err := newTraces(t.Context(), "n1")
	if err != nil {
		t.Fatal(err)
	}
	_, span := traces.tracer.Start(t.Context(), "nothing")
	defer span.End()
	if span.IsRecording() {
		t.Error("spans are recorded")
	}
}
