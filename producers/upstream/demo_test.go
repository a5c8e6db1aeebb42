package upstream

import (
	"context"
	"errors"
	"testing"
	"testing/synctest"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/midstream-dev/midstream/schema"
)

func noPause(context.Context, time.Duration) error { return nil }

func openOne(t *testing.T, cfg Config, model string) Upstream {
	t.Helper()
	if cfg.Retries == nil {
		cfg.Retries = new(0)
	}
	router, err := Open([]Config{cfg})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(router.Close)
	up, err := router.Route(model)
	if err != nil {
		t.Fatal(err)
	}
	return up
}

func ask(model, text string) *Request {
	return &Request{
		Response: "resp_test", Create: &schema.CreateRequest{Model: model},
		Input: []schema.Item{{Type: schema.KindMessage, Role: "user", Content: schema.Content{{Type: schema.PartInputText, Text: &text}}}},
	}
}

// demo-slow speaks in 10 to 20 deltas, 100 ms apart by the clock.
func TestDemo_SlowKeepsItsPace(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		up := openOne(t, Config{Name: "demo", Dialect: "demo"}, "demo-slow")
		deltas, start := 0, time.Now()
		_, err := up.Stream(t.Context(), ask("demo-slow", "Tell me about the Danube and its springs"), func(e schema.Event) error {
			if e.Type == schema.TextDelta {
				deltas++
			}
			return nil
		})
		if took := time.Since(start); err != nil || deltas < 10 || deltas > 20 || took != time.Duration(deltas)*100*time.Millisecond {
			t.Errorf("%d deltas in %v, err = %v", deltas, took, err)
		}
	})
}

// A pause ends with the context too.
func TestDemo_PauseEndsWithItsContext(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		up := openOne(t, Config{Name: "demo", Dialect: "demo"}, "demo")
		ctx, cancel := context.WithTimeout(t.Context(), 15*time.Second)
		defer cancel()
		_, err := up.Stream(ctx, ask("demo", "[[delay=10s]] slowly"), ignore)
		if !errors.Is(err, context.DeadlineExceeded) {
			t.Errorf("err = %v", err)
		}
	})
}

// A call that was cut goes on where it stopped, if what was said stands in the context.
func TestDemo_GoesOnWhereItWasCut(t *testing.T) {
	t.Parallel()
	up := openOne(t, Config{Name: "demo", Dialect: "demo", Pause: noPause}, "demo")
	whole, _ := said(t, up, ask("demo", "Where does the Elbe rise?"))
	req := ask("demo", "Where does the Elbe rise?")
	first := whole[:40]
	req.Input = append(req.Input, schema.Item{Type: schema.KindMessage, Role: "assistant", Content: schema.Content{schema.NewPart(schema.PartOutputText, first)}})
	rest, _ := said(t, up, req)
	if diff := cmp.Diff(whole, first+rest); diff != "" {
		t.Errorf("the two halves differ from the whole:\n%s", diff)
	}
}

// A hanging call ends with its context, and says why.
func TestDemo_HangEndsWithItsContext(t *testing.T) {
	t.Parallel()
	up := openOne(t, Config{Name: "demo", Dialect: "demo", Pause: noPause}, "demo")
	ctx, cancel := context.WithCancelCause(t.Context())
	why := errors.New("enough")
	n := 0
	_, err := up.Stream(ctx, ask("demo", "Wait [[hang]]"), func(e schema.Event) error {
		if n++; n == 4 {
			cancel(why)
		}
		return nil
	})
	if !errors.Is(err, why) {
		t.Errorf("err = %v", err)
	}
}

// said streams a call and returns the text of its deltas.
func said(t *testing.T, up Upstream, req *Request) (string, error) {
	t.Helper()
	text := ""
	_, err := up.Stream(t.Context(), req, func(e schema.Event) error {
		if e.Type == schema.TextDelta {
			text += *e.Delta
		}
		return nil
	})
	return text, err
}

// What an earlier response leads to is judged as what the request itself brings: the demo is not told what it cannot read.
func TestDemo_RefusesItemsOfHostedToolsFromThePast(t *testing.T) {
	t.Parallel()
	req := ask("demo", "Go on.")
	req.Input = append([]schema.Item{{Type: "web_search_call", ID: "ws_1"}}, req.Input...)
	_, err := said(t, openOne(t, Config{Name: "demo", Dialect: "demo"}, "demo"), req)
	if public, ok := errors.AsType[*schema.Error](err); !ok || public.Status != 400 || public.Param != "input[0]" {
		t.Errorf("err = %v", err)
	}
}

// A script names a tool of an MCP server as its list does, without the server in front.
func TestDemo_CallsAToolByItsPlainName(t *testing.T) {
	t.Parallel()
	tools := []schema.Tool{{Name: "demo__river_facts"}, {Name: "demo__slow_count"}}
	s := &scene{user: "river facts", script: map[string]string{"tool": "slow_count"}}
	if s.rank(tools, ""); tools[0].Name != "demo__slow_count" {
		t.Errorf("the demo would call %s", tools[0].Name)
	}
}
