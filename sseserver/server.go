package sseserver

import (
	"io"
	"log/slog"
	"net/http"
	"strings"
	"sync"

	"github.com/labstack/echo/v4"
	"golang.org/x/sync/semaphore"
)

// Server answers the API's requests. Its handler is safe for concurrent use; [Server.Serve] may be called once.
type Server struct {
	cfg         Config
	log         *slog.Logger
	echo        *echo.Echo
	metrics     *metrics
	subscribers *subscribers
	origins     *http.CrossOriginProtection // nil lets all in
	buckets     *buckets
	courses     courses
	placing     *semaphore.Weighted // bytes of the bodies whose responses are being made
	sockets     sync.WaitGroup      // the handlers of WebSockets, for which net/http does not wait
}

// New returns a server of cfg. It panics if cfg.Broker, cfg.Library, cfg.Control or cfg.Follow is missing, an origin is none, or a
// metric is registered twice: all are the program's own mistakes.
func New(cfg Config) *Server {
	if cfg.Broker == nil || cfg.Library == nil || cfg.Control == nil || cfg.Follow == nil {
		panic("sseserver: internal error: no broker in the config")
	}
	cfg = cfg.withDefaults()
	s := &Server{
		cfg: cfg, log: cfg.Logger, echo: echo.New(),
		metrics: newMetrics(cfg.Registry), subscribers: newSubscribers(),
		origins: guardOf(cfg.Origins), buckets: newBuckets(cfg.RequestsPerMinute), courses: newCourses(),
		placing: semaphore.NewWeighted(max(cfg.PlacingBytes, cfg.MaxBody)),
	}
	s.echo.HideBanner, s.echo.HidePort = true, true
	s.echo.Logger.SetOutput(io.Discard)
	s.echo.HTTPErrorHandler = s.refuse
	s.echo.Use(requestID, s.observe, recoverPanic, s.boundBody, s.cors, s.limitHeader, s.checkHost, s.checkOrigin, s.checkKey, s.span)
	s.route()
	return s
}

// Handler returns the routes, for tests and for servers of other kinds. Bounds on connections and headers are those of
// [Server.Serve] alone.
func (s *Server) Handler() http.Handler { return s.echo }

func (s *Server) route() {
	s.echo.POST("/v1/responses", s.create, s.limitRate)
	s.echo.GET("/v1/responses", s.connect) // a handshake, with nothing in it for a HEAD
	s.look("/v1/responses/:id", s.retrieve, s.checkErrand)
	s.echo.DELETE("/v1/responses/:id", s.delete, s.checkErrand)
	s.echo.POST("/v1/responses/:id/cancel", s.cancel)
	s.look("/v1/responses/:id/input_items", s.inputItems)
	if s.cfg.Ingest != nil {
		s.echo.POST(pathEvents, s.ingest)
	}
	if s.cfg.Errands != nil {
		s.echo.POST(pathCount, s.inputTokens, s.limitRate)
		s.echo.POST(pathCompact, s.compact, s.limitRate)
	}
	if s.cfg.Conversations != nil {
		s.routeConversations()
	}
	s.look("/v1/models", s.models)
	s.look("/v1/models/*", s.model)
	s.echo.RouteNotFound("/v1/models/", echo.NotFoundHandler) // else it is a model without a name
	s.look("/healthz", s.healthz)
	s.look("/readyz", s.readyz)
	s.look("/metrics", s.scrape())
	s.look("/openapi.yaml", s.describe)
	for path, h := range s.cfg.Mount {
		s.mount(path, h)
	}
}

// look routes what only looks: GET, and HEAD, whose answer net/http sends without its body.
func (s *Server) look(path string, h echo.HandlerFunc, before ...echo.MiddlewareFunc) {
	s.echo.Match([]string{http.MethodGet, http.MethodHead}, path, h, before...)
}

// mount serves h below path. What it serves may be a long stream too, so a drain cuts it like one; its write deadlines
// are its own.
func (s *Server) mount(path string, h http.Handler) {
	handler := func(c echo.Context) error {
		ctx, leave, err := s.subscribers.enter(c.Request().Context())
		if err != nil {
			return err
		}
		defer leave()
		r := c.Request().WithContext(ctx)
		r.Body = http.MaxBytesReader(c.Response().Writer, r.Body, s.cfg.MaxBody)
		h.ServeHTTP(c.Response(), r)
		return nil
	}
	if base, ok := strings.CutSuffix(path, "/"); ok {
		s.echo.Any(path+"*", handler)
		path = base
	}
	if path != "" {
		s.echo.Any(path, handler)
	}
}
