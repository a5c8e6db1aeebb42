package sseserver

import (
	"cmp"
	"crypto/sha256"
	"crypto/subtle"
	"fmt"
	"net/http"
	"slices"
	"strings"

	"github.com/labstack/echo/v4"

	"github.com/midstream-dev/midstream/schema"
)

// Scope is what a key is good for.
type Scope string

// The scopes.
const (
	// ScopeResponses is all of the API but what a producer does.
	ScopeResponses Scope = "responses"
	// ScopeIngest is to send events as a producer, which opens the response of one that feeds it alone.
	ScopeIngest Scope = "ingest"
)

// Scopes are all that there are.
var Scopes = []Scope{ScopeResponses, ScopeIngest}

// Key lets its bearer in. The key itself is nowhere: only its hash.
type Key struct {
	Name   string // for the log, and for who is refused
	Hash   [sha256.Size]byte
	Tenant string
	Scopes []Scope
}

// keys are Tenants by bearer token (RFC 6750).
type keys []Key

// Tenant returns whose the key of a request is.
func (ks keys) Tenant(r *http.Request) (string, error) {
	key, err := ks.find(r)
	if err != nil {
		return "", err
	}
	return key.Tenant, nil
}

const (
	codeKey   = "invalid_api_key" // #nosec G101 -- the API's name of an error
	codeScope = "insufficient_scope"
)

// find compares with every key, each in the same time, whichever it is.
func (ks keys) find(r *http.Request) (found *Key, err error) {
	scheme, token, _ := strings.Cut(r.Header.Get(echo.HeaderAuthorization), " ")
	hash := sha256.Sum256([]byte(strings.TrimSpace(token)))
	for i := range ks {
		if subtle.ConstantTimeCompare(hash[:], ks[i].Hash[:]) == 1 {
			found = &ks[i]
		}
	}
	if found != nil && strings.EqualFold(scheme, "Bearer") {
		return found, nil
	}
	e := schema.Refuse(codeKey, "", "Incorrect API key provided: send one of this gateway's as Authorization: Bearer KEY.")
	if scheme == "" {
		e.Message = "You didn't provide an API key: send one as Authorization: Bearer KEY."
	}
	e.Status = http.StatusUnauthorized
	return nil, e
}

// checkKey stands before everything below /v1: it refuses who has no key, or one that is not good for the route. What is outside
// of /v1 is for operators and their probes.
func (s *Server) checkKey(next echo.HandlerFunc) echo.HandlerFunc {
	if len(s.cfg.Keys) == 0 {
		return next
	}
	return func(c echo.Context) error {
		preflight := c.Request().Method == http.MethodOptions // no browser sends a key with it, and it says no more than what there is
		if preflight || !strings.HasPrefix(c.Path(), "/v1/") && !strings.HasPrefix(c.Request().URL.Path, "/v1/") {
			return next(c)
		}
		key, err := keys(s.cfg.Keys).find(withKey(c.Request()))
		if err != nil {
			c.Response().Header().Set(echo.HeaderWWWAuthenticate, "Bearer")
			return err
		}
		c.Set(keyName, key.Name)
		scope := ScopeResponses
		if c.Path() == pathEvents {
			scope = ScopeIngest
		}
		if slices.Contains(key.Scopes, scope) {
			return next(c)
		}
		c.Response().Header().Set(echo.HeaderWWWAuthenticate, fmt.Sprintf(`Bearer error=%q, scope=%q`, codeScope, scope))
		e := schema.Refuse(codeScope, "", "The API key %s is not good for this: it lacks the scope %s.", key.Name, scope)
		e.Status = http.StatusForbidden
		return e
	}
}

// keyName marks a request with the name of its key.
const keyName = "key"

// pathEvents is where producers send events.
const pathEvents = "/v1/responses/:id/events"

// withDefaults makes a key good for everything that it does not name.
func (k Key) withDefaults() Key {
	k.Tenant = cmp.Or(k.Tenant, defaultTenant)
	if len(k.Scopes) == 0 {
		k.Scopes = Scopes
	}
	return k
}
