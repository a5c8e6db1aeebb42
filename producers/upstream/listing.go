package upstream

import (
	"context"
	"fmt"
	"io"
	"net/http"
	"slices"
	"strings"
	"sync"
	"time"

	"github.com/go-json-experiment/json"
)

// lister is the ability to say which models there are. The demo has no need of it.
type lister interface {
	// models returns those that the upstream lists and a pattern of its configuration matches.
	models(ctx context.Context) []string
}

// listing keeps what an upstream says of its models.
type listing struct {
	mu    sync.Mutex // held while the upstream is asked: whoever comes meanwhile waits for the same answer
	names []string
	until time.Time
}

// The bounds of a listing.
const (
	listTTL      = time.Minute // an answer is kept, and a failure too
	maxListBytes = 4 << 20
	maxListed    = 1000
	maxModelName = 256
)

// models asks the upstream for its models if one of the config's patterns has a wildcard.
func (e *endpoint) models(ctx context.Context) []string {
	if len(named(e.cfg.Models)) == len(e.cfg.Models) {
		return nil
	}
	e.list.mu.Lock()
	defer e.list.mu.Unlock()
	if now := time.Now(); now.After(e.list.until) {
		e.list.until = now.Add(listTTL)
		// The answer is for everyone who waits: the caller's end is not a reason to have none.
		names, err := e.fetchModels(context.WithoutCancel(ctx))
		if err != nil {
			e.cfg.Logger.DebugContext(ctx, "models not listed", "upstream", e.cfg.Name, "error", err)
			return e.list.names
		}
		e.list.names = names
	}
	return e.list.names
}

func (e *endpoint) fetchModels(ctx context.Context) ([]string, error) {
	ctx, cancel := context.WithTimeout(ctx, e.cfg.ListTimeout)
	defer cancel()
	req, err := e.newRequest(ctx, http.MethodGet, e.dialect.list, nil)
	if err != nil {
		return nil, err
	}
	resp, err := e.client.Do(req)
	if err != nil {
		return nil, fmt.Errorf("list models of upstream %s: %w", e.cfg.Name, withoutURL(err))
	}
	defer resp.Body.Close()
	data, err := io.ReadAll(io.LimitReader(resp.Body, maxListBytes))
	if err != nil {
		return nil, fmt.Errorf("list models of upstream %s: %w", e.cfg.Name, err)
	}
	var list struct {
		Data []struct {
			ID string `json:"id"`
		} `json:"data"`
	}
	if resp.StatusCode != http.StatusOK {
		return nil, fmt.Errorf("list models of upstream %s: status %d", e.cfg.Name, resp.StatusCode)
	}
	if err := json.Unmarshal(data, &list, lenient); err != nil {
		return nil, fmt.Errorf("list models of upstream %s: %w", e.cfg.Name, err)
	}
	var names []string
	for _, m := range list.Data[:min(len(list.Data), maxListed)] {
		if e.lists(m.ID) {
			names = append(names, m.ID)
		}
	}
	return names, nil
}

// lists reports whether a name that the upstream gives is one to show.
func (e *endpoint) lists(name string) bool {
	printable := !strings.ContainsFunc(name, func(r rune) bool { return r <= ' ' || r == '\uFFFD' || r == 0x7f })
	return name != "" && len(name) <= maxModelName && printable &&
		slices.ContainsFunc(e.cfg.Models, func(glob string) bool { return match(glob, name) })
}
