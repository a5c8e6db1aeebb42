package main

import (
	"context"
	"fmt"
	"io"
	"log/slog"
	"os"

	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/client_golang/prometheus/collectors"
	"go.opentelemetry.io/otel/attribute"
	"go.opentelemetry.io/otel/exporters/otlp/otlptrace/otlptracehttp"
	"go.opentelemetry.io/otel/sdk/resource"
	sdktrace "go.opentelemetry.io/otel/sdk/trace"
	"go.opentelemetry.io/otel/trace"
	"go.opentelemetry.io/otel/trace/noop"
	"golang.org/x/term"
)

// newLogger writes lines for people to a terminal, and JSON to anything else.
func newLogger(cfg LogConfig, node string, w io.Writer) *slog.Logger {
	var level slog.Level
	if err := level.UnmarshalText([]byte(cfg.Level)); err != nil {
		level = slog.LevelInfo // kong has checked it; a Config that was made by hand may leave it out
	}
	opts := &slog.HandlerOptions{Level: level}
	if cfg.Format == "text" || (cfg.Format != "json" && isTerminal(w)) {
		return slog.New(slog.NewTextHandler(w, opts))
	}
	opts.ReplaceAttr = inSeconds
	return slog.New(slog.NewJSONHandler(w, opts)).With("node", node)
}

// inSeconds gives a duration a unit: a bare number of JSON says none.
func inSeconds(_ []string, a slog.Attr) slog.Attr {
	if a.Value.Kind() == slog.KindDuration {
		return slog.Float64(a.Key+"_seconds", a.Value.Duration().Seconds())
	}
	return a
}

func isTerminal(w io.Writer) bool {
	f, ok := w.(*os.File)
	return ok && term.IsTerminal(int(f.Fd()))
}

// newRegistry holds the metrics of the process; the parts of the node add theirs.
func newRegistry(node string) *prometheus.Registry {
	registry := prometheus.NewRegistry()
	registry.MustRegister(
		collectors.NewGoCollector(),
		collectors.NewProcessCollector(collectors.ProcessCollectorOpts{}),
	)
	info := prometheus.NewGauge(prometheus.GaugeOpts{
		Name: "midstream_build_info", Help: "Always 1; the labels say what runs here.",
		ConstLabels: prometheus.Labels{"version": version(), "node": node},
	})
	info.Set(1)
	registry.MustRegister(info)
	return registry
}

// traces is where spans go. Without an exporter configured there is nothing behind it.
type traces struct {
	tracer trace.Tracer
	stop   func(context.Context) error
}

// tracing is set up by OpenTelemetry's own variables: it is off unless one of these is there.
var exporterVariables = []string{"OTEL_EXPORTER_OTLP_ENDPOINT", "OTEL_EXPORTER_OTLP_TRACES_ENDPOINT"}

const tracerName = "github.com/midstream-dev/midstream"

// newTraces exports spans by OTLP over HTTP if the environment says where to.
func newTraces(ctx context.Context, node string) (traces, error) {
	off := traces{noop.NewTracerProvider().Tracer(tracerName), func(context.Context) error { return nil }}
	if os.Getenv(exporterVariables[0]) == "" && os.Getenv(exporterVariables[1]) == "" {
		return off, nil
	}
	exporter, err := otlptracehttp.New(ctx)
	if err != nil {
		return off, fmt.Errorf("make trace exporter: %w", err)
	}
	about, err := resource.New(ctx,
		resource.WithAttributes(
			attribute.String("service.name", "midstream"), attribute.String("service.version", version()),
			attribute.String("service.instance.id", node)),
		resource.WithFromEnv()) // OTEL_SERVICE_NAME and OTEL_RESOURCE_ATTRIBUTES win
	if err != nil {
		return off, fmt.Errorf("describe traced service: %w", err)
	}
	provider := sdktrace.NewTracerProvider(sdktrace.WithBatcher(exporter), sdktrace.WithResource(about))
	return traces{provider.Tracer(tracerName), provider.Shutdown}, nil
}
