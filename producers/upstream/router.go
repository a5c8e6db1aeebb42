package upstream

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"slices"
	"strings"
	"sync"

	"github.com/midstream-dev/midstream/schema"
)

// Router finds the upstream for a model. It is safe for concurrent use.
type Router struct {
	upstreams []*gate
	lines     map[string][]*gate // by the name of the upstream that stands first
	metrics   *metrics
}

// Open checks the configuration and makes its upstreams; it contacts none of them. Their order matters: see Route. An
// upstream of dialect demo serves the models demo and demo-slow unless its config says otherwise.
func Open(cfgs []Config) (*Router, error) {
	r := &Router{metrics: newMetrics()}
	names := map[string]bool{}
	for _, c := range cfgs {
		if c.Name == "" || names[c.Name] {
			return nil, fmt.Errorf("upstream %q: a name of its own is needed", c.Name)
		}
		names[c.Name] = true
		open, ok := dialects[c.Dialect]
		if !ok {
			return nil, fmt.Errorf("upstream %s: dialect %q is not one of %s", c.Name, c.Dialect,
				strings.Join(slices.Sorted(maps.Keys(dialects)), ", "))
		}
		if err := errors.Join(c.validateMCP(), c.validateResume()); err != nil {
			return nil, err
		}
		u, err := open(c)
		if err != nil {
			return nil, err
		}
		if err := u.config().validatePolicy(); err != nil {
			return nil, err
		}
		r.upstreams = append(r.upstreams, newGate(u, r.metrics))
	}
	return r, r.align()
}

// align finds the upstreams that stand in for each.
func (r *Router) align() error {
	r.lines = map[string][]*gate{}
	for _, first := range r.upstreams {
		line := []*gate{first}
		for _, name := range first.config().Fallback {
			at := slices.IndexFunc(r.upstreams, func(g *gate) bool { return g.name() == name })
			switch {
			case at < 0:
				return fmt.Errorf("upstream %s: no upstream has the name %q, its fallback", first.name(), name)
			case slices.Contains(line, r.upstreams[at]):
				return fmt.Errorf("upstream %s: %q is in its line already", first.name(), name)
			case first.config().runsMCP() != r.upstreams[at].config().runsMCP():
				return fmt.Errorf("upstream %s: its fallback %q has another setting of mcp", first.name(), name)
			}
			line = append(line, r.upstreams[at])
		}
		r.lines[first.name()] = line
	}
	return nil
}

// Route returns the upstream that serves the model: the first, in the order of the configuration, with a pattern that
// matches, and behind it those that its configuration names as fallback. If none does, the error is a *[schema.Error]:
// 404, model_not_found.
func (r *Router) Route(model string) (Upstream, error) {
	g, err := r.first(model)
	if err != nil {
		return nil, err
	}
	return &route{r.lines[g.name()]}, nil
}

// Admit says what of a request the upstream of its model cannot serve: a *[schema.Error]. It contacts nobody, and is
// for before a run: what a run finds out later is a failed response.
func (r *Router) Admit(req *schema.CreateRequest) error {
	g, err := r.first(req.Model)
	if err != nil {
		return err
	}
	return g.check(g.addressed(rehearsal(req)))
}

func (r *Router) first(model string) (*gate, error) {
	for _, u := range r.upstreams {
		if slices.ContainsFunc(u.config().Models, func(glob string) bool { return match(glob, model) }) {
			return u, nil
		}
	}
	return nil, schema.NoModel(model)
}

// Models lists what may be asked for, each name once: those of the configuration, and those that upstreams list
// themselves and a pattern of theirs matches. Upstreams are asked at once and for ListTimeout at most; what they say
// is kept for a minute. One that does not answer adds nothing, or what it last said.
func (r *Router) Models(ctx context.Context) []Model {
	listed := make([][]string, len(r.upstreams))
	var wg sync.WaitGroup
	for i, u := range r.upstreams {
		if l, ok := u.served.(lister); ok {
			wg.Go(func() { listed[i] = l.models(ctx) })
		}
	}
	wg.Wait()
	out, seen := []Model{}, map[string]bool{}
	for i, u := range r.upstreams {
		for _, name := range slices.Concat(named(u.config().Models), listed[i]) {
			if !seen[name] {
				seen[name] = true
				out = append(out, Model{ID: name, OwnedBy: u.config().Name})
			}
		}
	}
	return out
}

// Close lets go of idle connections. Calls that are under way belong to their contexts.
func (r *Router) Close() {
	for _, u := range r.upstreams {
		u.close()
	}
}

// match reports whether a model name fits a glob, in which * stands for any text, slashes too.
func match(glob, name string) bool {
	pieces := strings.Split(glob, "*")
	rest, ok := strings.CutPrefix(name, pieces[0])
	if !ok || len(pieces) == 1 {
		return ok && rest == ""
	}
	last := len(pieces) - 1
	for _, piece := range pieces[1:last] {
		at := strings.Index(rest, piece)
		if at < 0 {
			return false
		}
		rest = rest[at+len(piece):]
	}
	return strings.HasSuffix(rest, pieces[last])
}

// named returns the globs that are plain names.
func named(globs []string) []string {
	return slices.DeleteFunc(slices.Clone(globs), func(g string) bool { return strings.Contains(g, "*") })
}
