package sseserver

import (
	"errors"
	"slices"
	"testing"

	"github.com/google/go-cmp/cmp"
	"go.opentelemetry.io/otel/attribute"
	sdktrace "go.opentelemetry.io/otel/sdk/trace"
	"go.opentelemetry.io/otel/sdk/trace/tracetest"

	"github.com/midstream-dev/midstream/schema"
)

// Metrics say what was served, to whom, and how it began.
func TestObserve_Metrics(t *testing.T) {
	t.Parallel()
	s := serve(t)
	r := s.put(t, whole(t, storyID, "a", "b"))
	served := 0
	for _, query := range []string{"", "&starting_after=2"} {
		served += len(read(t, s.get(t, storyStream+query)))
	}
	read(t, s.get(t, storyStream, "Last-Event-ID", "4"))
	read(t, s.get(t, "/v1/nothing/at/all"))
	m := s.metrics
	events := 3*len(r.frames) - 3 - 5
	if got := valueOf(t, m.events); got != float64(events) {
		t.Errorf("%v events served, want %d", got, events)
	}
	if got := valueOf(t, m.bytes); got <= float64(served) {
		t.Errorf("%v bytes served, want more than %d", got, served)
	}
	for _, kind := range []string{"start", "starting_after", "last_event_id"} {
		if got := valueOf(t, m.resumes.WithLabelValues(kind)); got != 1 {
			t.Errorf("%v resumes by %s, want 1", got, kind)
		}
	}
	page := string(read(t, s.get(t, "/metrics")))
	for _, line := range []string{
		`midstream_http_requests_total{code="200",route="/v1/responses/:id"} 3`,
		`midstream_http_requests_total{code="404",route="none"} 1`,
		`midstream_first_event_seconds_count{kind="start"} 1`,
		`midstream_subscribers 0`,
	} {
		if !contains(page, line+"\n") {
			t.Errorf("no line %q in\n%s", line, page)
		}
	}
}

// The access log has one line for a request, and nothing of its query, headers or body.
func TestObserve_AccessLog(t *testing.T) {
	t.Parallel()
	var log logBuffer
	s := serve(t, func(c *Config) { c.Logger = log.logger() })
	req := s.request(t, "POST", "/v1/responses?key=CANARY-1", `{"model":"demo","input":"CANARY-2"`, "Authorization", "Bearer CANARY-3", "X-Request-Id", "one")
	mustRefuse(t, s.do(t, req), 400, schema.CodeInvalidJSON)
	waitFor(t, "the line", func() bool { return log.count(`"request_id":"one"`) == 1 })
	if text := log.String(); contains(text, "CANARY") || !contains(text, `"path":"/v1/responses","status":400`) {
		t.Errorf("log:\n%s", text)
	}
}

// A request is a span, the child of its caller's; the command carries it on to the worker.
func TestObserve_Trace(t *testing.T) {
	t.Parallel()
	spans := tracetest.NewSpanRecorder()
	provider := sdktrace.NewTracerProvider(sdktrace.WithSpanProcessor(spans))
	s := serve(t, func(c *Config) { c.Tracer = provider.Tracer("test") })
	const trace = "4bf92f3577b34da6a3ce929d0e0e4736"
	resp := s.post(t, streamed, "traceparent", "00-"+trace+"-00f067aa0ba902b7-01")
	r := s.work(t)
	s.memory.append(r.ref, r.begin(), r.open(), r.close(), r.finish())
	read(t, resp)
	waitFor(t, "the span", func() bool { return len(spans.Ended()) == 1 })
	span := spans.Ended()[0]
	want := "00-" + trace + "-" + span.SpanContext().SpanID().String() + "-01"
	if span.Name() != "POST /v1/responses" {
		t.Errorf("span %q", span.Name())
	}
	if r.cmd.Trace != want {
		t.Errorf("the command carries %q, want %q", r.cmd.Trace, want)
	}

	mustRefuse(t, s.get(t, "/v1/responses/resp_never"), 404, schema.CodeNotFound)
	waitFor(t, "the span of what was refused", func() bool { return len(spans.Ended()) == 2 })
	if got := spans.Ended()[1].Attributes(); !slices.Contains(got, attribute.Int("http.response.status_code", 404)) {
		t.Errorf("refused with 404, and the span has %v", got)
	}
}

// Probes tell a process that lives from one that can work, and show no cause to the outside.
func TestObserve_Probes(t *testing.T) {
	t.Parallel()
	s := serve(t)
	for _, path := range []string{"/healthz", "/readyz"} { // load balancers ask with HEAD
		if resp := s.do(t, s.request(t, "HEAD", path, "")); resp.StatusCode != 200 || len(read(t, resp)) > 0 {
			t.Errorf("HEAD %s: %s", path, resp.Status)
		}
	}
	if body := string(read(t, s.get(t, "/readyz"))); body != `{"status":"ready"}` {
		t.Errorf("readyz: %s", body)
	}
	s.memory.set(t, func(m *memory) { m.readyErr = errors.New("CANARY: no leader") })
	if body := mustRefuse(t, s.get(t, "/readyz"), 503, schema.CodeUnavailable); contains(body, "CANARY") {
		t.Errorf("the cause leaks: %s", body)
	}
	if body := string(read(t, s.get(t, "/healthz"))); body != `{"status":"ok"}` {
		t.Errorf("healthz: %s", body)
	}
}

// The models are listed as the API lists them; an id may have slashes.
func TestModels(t *testing.T) {
	t.Parallel()
	s := serve(t, func(c *Config) {
		c.Models = listOf(Model{ID: "demo", OwnedBy: "midstream"}, Model{ID: "org/name", Created: 7})
	})
	demo, other := `{"id":"demo","object":"model","created":0,"owned_by":"midstream"}`, `{"id":"org/name","object":"model","created":7,"owned_by":""}`
	for path, want := range map[string]string{
		"/v1/models":            `{"object":"list","data":[` + demo + `,` + other + `]}`,
		"/v1/models/demo":       demo,
		"/v1/models/org/name":   other,
		"/v1/models/org%2Fname": other,
	} {
		if diff := cmp.Diff(want, string(read(t, s.get(t, path)))); diff != "" {
			t.Errorf("%s (-want +got):\n%s", path, diff)
		}
	}
	if body := string(read(t, serve(t).get(t, "/v1/models"))); body != `{"object":"list","data":[]}` {
		t.Errorf("no models: %s", body)
	}
}

// The access log leads from a request to its response, and is not filled by probes, unless one hears that something is wrong.
func TestObserve_AccessLogOfProbesAndCreates(t *testing.T) {
	t.Parallel()
	var log logBuffer
	s := serve(t, func(c *Config) { c.Logger = log.logger() })
	read(t, s.post(t, `{"model":"demo","input":"x","background":true}`))
	id := s.command(t).Response
	waitFor(t, "the response", func() bool { return log.count(`"response":"`+id+`"`) == 1 })
	read(t, s.get(t, "/healthz"))
	waitFor(t, "the probe", func() bool { return log.count(`"path":"/healthz"`) == 1 })
	if log.count(`"level":"DEBUG"`) != 1 || log.count(`"level":"INFO"`) != 1 {
		t.Errorf("log:\n%s", log.String())
	}
}
