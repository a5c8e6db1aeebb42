package sseserver

import (
	"context"
	"net/http"
	"net/url"
	"strconv"
	"time"

	"github.com/go-json-experiment/json"
	"github.com/labstack/echo/v4"

	"github.com/midstream-dev/midstream/schema"
)

// maxGetBody bounds the body of a GET, in bytes: openai-go sends {"stream":true}.
const maxGetBody = 4 << 10

// retrieve answers the response as it is now, or streams it from a cursor on.
func (s *Server) retrieve(c echo.Context) error {
	began := time.Now()
	query, err := readQuery(c)
	if err != nil {
		return err
	}
	streams, err := s.wantsStream(c, query)
	if err != nil {
		return err
	}
	if streams && c.Request().Method == http.MethodHead {
		return schema.Refuse(schema.CodeInvalidValue, "stream", "A HEAD has no events to stream: use GET.")
	}
	if streams {
		return s.resume(c, query, began)
	}
	if query.Has(queryCursor) { // a body that says stream may have been lost on its way
		return schema.Refuse(schema.CodeInvalidValue, queryCursor,
			"'%s' is where a stream goes on: send 'stream=true' with it, or leave it out.", queryCursor)
	}
	ref, err := s.ref(c)
	if err != nil {
		return err
	}
	resp, err := s.object(c.Request().Context(), ref)
	if err != nil {
		return err
	}
	return s.answer(c, http.StatusOK, resp)
}

// object returns a response as it is now, if it is to be had as an object.
func (s *Server) object(ctx context.Context, ref schema.Ref) (*schema.Response, error) {
	state, err := s.cfg.Broker.Fold(ctx, ref)
	if err != nil {
		return nil, lookupError(err, ref, start)
	}
	if !state.Begun() || hidden(state.Response()) {
		return nil, notFound(ref.Response())
	}
	return state.Response(), nil
}

// hidden reports whether a response is no longer to be had as an object: it was not to be stored, and is over. One in the
// background would else never be had at all, so it is there, and what it was asked, as long as its log is. Its stream can be
// resumed that long in any case. No response goes on from one that was not to be stored.
func hidden(r *schema.Response) bool { return !r.Store && r.Ended() && !r.Background }

// ref is the response that the path names.
func (s *Server) ref(c echo.Context) (schema.Ref, error) {
	tenant, err := s.cfg.Tenants.Tenant(c.Request())
	if err != nil {
		return schema.Ref{}, err
	}
	id := c.Param("id")
	ref, err := schema.NewRef(tenant, id)
	if err != nil {
		return schema.Ref{}, notFound(id)
	}
	return ref, nil
}

// wantsStream reads stream from the query, or, where the query has none, from the body: openai-go sends it there.
func (s *Server) wantsStream(c echo.Context, query url.Values) (bool, error) {
	if query.Has("stream") {
		streams, err := strconv.ParseBool(query.Get("stream"))
		if err != nil {
			return false, schema.Refuse(schema.CodeInvalidValue, "stream", "'stream' must be true or false.")
		}
		return streams, nil
	}
	if c.Request().ContentLength == 0 {
		return false, nil
	}
	body, err := s.readBody(c, maxGetBody)
	if err != nil || len(body) == 0 {
		return false, err
	}
	var in struct {
		Stream bool `json:"stream"`
	}
	if err := json.Unmarshal(body, &in); err != nil {
		return false, schema.Refuse(schema.CodeInvalidJSON, "", "The body of this GET is not a JSON object with 'stream' in it.")
	}
	return in.Stream, nil
}

// resume streams from the request's cursor on.
func (s *Server) resume(c echo.Context, query url.Values, began time.Time) error {
	at, err := readCursor(c.Request().Header, query)
	if err != nil {
		return err
	}
	ref, err := s.ref(c)
	if err != nil {
		return err
	}
	ctx, leave, err := s.subscribers.enter(c.Request().Context())
	if err != nil {
		s.abort(c, err) // an EventSource tries again after an abort, and gives up for good after a 503
	}
	defer leave()
	f, err := s.cfg.Follow(ctx, ref, at.after)
	if err != nil && ctx.Err() != nil {
		s.abort(c, context.Cause(ctx))
	}
	if err != nil {
		return lookupError(err, ref, at)
	}
	s.metrics.resumes.WithLabelValues(at.label()).Inc()
	if at.kind == headerCursor && f.Ended() {
		f.Close()
		return s.finished(c, at)
	}
	s.stream(ctx, c, f, began, at.label())
	return nil
}

// finished tells an EventSource that it has seen all: only a 204 stops it from reconnecting (WHATWG HTML, 9.2.3).
func (s *Server) finished(c echo.Context, at cursor) error {
	if err := s.pace(c).arm(); err != nil {
		return err
	}
	c.Response().Header().Set(headerCursor, strconv.FormatInt(at.after, 10))
	return c.NoContent(http.StatusNoContent)
}
