package sseserver

import (
	"context"

	"github.com/labstack/echo/v4"
	"go.opentelemetry.io/otel/attribute"
	"go.opentelemetry.io/otel/codes"
	"go.opentelemetry.io/otel/propagation"
	"go.opentelemetry.io/otel/trace"
)

// w3c is the form of trace context on the wire and in a command: https://www.w3.org/TR/trace-context/.
var w3c propagation.TraceContext

// span puts every request into a span of its own, below the caller's if it sent a traceparent.
func (s *Server) span(next echo.HandlerFunc) echo.HandlerFunc {
	return func(c echo.Context) (err error) {
		r := c.Request()
		ctx := w3c.Extract(r.Context(), propagation.HeaderCarrier(r.Header))
		ctx, span := s.cfg.Tracer.Start(ctx, r.Method+" "+c.Path(), trace.WithSpanKind(trace.SpanKindServer))
		defer span.End()
		if !span.SpanContext().IsValid() {
			return next(c)
		}
		c.SetRequest(r.WithContext(ctx))
		defer func() {
			status := statusOf(c, err)
			span.SetAttributes(attribute.String("http.request.method", r.Method), attribute.String("http.route", c.Path()),
				attribute.Int("http.response.status_code", status))
			if status >= 500 {
				span.SetStatus(codes.Error, "")
			}
		}()
		return next(c)
	}
}

// traceparent returns the context's place in a trace, in one line; empty if there is none.
func traceparent(ctx context.Context) string {
	carrier := propagation.MapCarrier{}
	w3c.Inject(ctx, carrier)
	return carrier.Get("traceparent")
}
