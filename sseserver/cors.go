package sseserver

import (
	"fmt"
	"net/http"
	"slices"
	"strings"

	"github.com/labstack/echo/v4"

	"github.com/midstream-dev/midstream/schema"
)

// anyOrigin in Config.Origins lets every page in.
const anyOrigin = "*"

// preflightAge is how long, in seconds, a browser may keep a preflight's answer. Chromium keeps none for longer.
const preflightAge = "7200"

// allowedHeaders are what a page may send, in lower case; one that ends in a dash stands for all that begin so. The SDKs
// send X-Stainless-* with every request.
var allowedHeaders = []string{
	"authorization", "content-type", "last-event-id", "idempotency-key", "x-request-id", "x-client-request-id",
	"openai-", "x-stainless-", "midstream-",
}

// exposedHeaders are what a page may read, besides those that any page may.
var exposedHeaders = strings.Join([]string{
	echo.HeaderXRequestID, "X-Should-Retry", echo.HeaderRetryAfter, headerCursor,
	headerLimit, headerRemaining, headerReset, headerNext,
}, ", ")

// cors lets pages of other origins in, those that the operator names. It only adds headers: who answers, an OPTIONS
// too, is the router's affair, so errors, streams and preflights of unknown routes are all told as they are. There are
// never credentials: the API knows no cookies.
//
// echo's own CORS middleware does not serve. It answers 204 to an OPTIONS of any URL, allows either a fixed list of
// headers or whatever is asked for, and reads ? and * in an origin as patterns.
func (s *Server) cors(next echo.HandlerFunc) echo.HandlerFunc {
	if len(s.cfg.Origins) == 0 {
		return next
	}
	return func(c echo.Context) error {
		h, asked := c.Response().Header(), c.Request().Header
		h.Add(echo.HeaderVary, echo.HeaderOrigin)
		allowed := s.allowedOrigin(asked.Get(echo.HeaderOrigin))
		if allowed == "" {
			return next(c)
		}
		h.Set(echo.HeaderAccessControlAllowOrigin, allowed)
		if c.Request().Method == http.MethodOptions && asked.Get(echo.HeaderAccessControlRequestMethod) != "" {
			answerPreflight(c)
		} else {
			h.Set(echo.HeaderAccessControlExposeHeaders, exposedHeaders)
		}
		return next(c)
	}
}

// allowedOrigin is what Access-Control-Allow-Origin says to a page of that origin, "" for nothing.
func (s *Server) allowedOrigin(origin string) string {
	switch {
	case origin == "":
		return ""
	case slices.Contains(s.cfg.Origins, anyOrigin):
		return anyOrigin
	case slices.Contains(s.cfg.Origins, origin):
		return origin
	}
	return ""
}

// answerPreflight says which methods the URL has, by the route table, and which of the headers asked for may be sent.
func answerPreflight(c echo.Context) {
	h, asked := c.Response().Header(), c.Request().Header
	h.Add(echo.HeaderVary, echo.HeaderAccessControlRequestMethod)
	h.Add(echo.HeaderVary, echo.HeaderAccessControlRequestHeaders)
	methods, _ := c.Get(echo.ContextKeyHeaderAllow).(string)
	if methods == "" {
		return // an unknown URL, or a mounted handler's
	}
	h.Set(echo.HeaderAccessControlAllowMethods, methods)
	h.Set(echo.HeaderAccessControlMaxAge, preflightAge)
	var names []string
	for name := range strings.SplitSeq(strings.Join(asked.Values(echo.HeaderAccessControlRequestHeaders), ","), ",") {
		if name = strings.ToLower(strings.TrimSpace(name)); mayBeSent(name) {
			names = append(names, name)
		}
	}
	if len(names) > 0 {
		h.Set(echo.HeaderAccessControlAllowHeaders, strings.Join(names, ", "))
	}
}

func mayBeSent(name string) bool {
	return slices.ContainsFunc(allowedHeaders, func(allowed string) bool {
		return name == allowed || strings.HasSuffix(allowed, "-") && strings.HasPrefix(name, allowed) && schema.ValidToken(name)
	})
}

// checkOrigin refuses what a foreign page sends to change something. CORS alone does not: a browser sends a POST that
// needs no preflight, and only keeps the answer from the page. Sec-Fetch-Site or Origin gives such a request away; a
// caller that is no browser sends neither. A WebSocket begins with a GET that no CORS guards, so it is judged as well.
func (s *Server) checkOrigin(next echo.HandlerFunc) echo.HandlerFunc {
	if s.origins == nil {
		return next
	}
	return func(c echo.Context) error {
		r := c.Request()
		if r.Header.Get(echo.HeaderUpgrade) != "" {
			r = r.WithContext(r.Context()) // a copy
			r.Method = http.MethodPost
		}
		if s.origins.Check(r) != nil {
			e := schema.Refuse("origin_not_allowed", "",
				"Pages of this origin may not use this gateway. cors.origins in its configuration lists those that may.")
			e.Status = http.StatusForbidden
			return e
		}
		return next(c)
	}
}

// guardOf trusts pages of the given origins, and of the server's own. It is nil if there is nothing to guard.
func guardOf(origins []string) *http.CrossOriginProtection {
	if slices.Contains(origins, anyOrigin) {
		return nil
	}
	guard := http.NewCrossOriginProtection()
	for _, origin := range origins {
		if err := guard.AddTrustedOrigin(origin); err != nil {
			panic(fmt.Sprintf("sseserver: internal error: origin in the config: %v", err))
		}
	}
	return guard
}
