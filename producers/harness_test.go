package producers

import (
	"context"
	"errors"
	"fmt"
	"io"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/go-json-experiment/json/jsontext"
	"go.uber.org/goleak"

	"github.com/midstream-dev/midstream/broker"
	"github.com/midstream-dev/midstream/producers/mcp"
	"github.com/midstream-dev/midstream/producers/upstream"
	"github.com/midstream-dev/midstream/schema"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

// stage is a real embedded broker, a scripted model and scripted MCP servers.
type stage struct {
	*testing.T
	broker *broker.Broker
	model  *script
	tools  *toolbox
	config Config
}

// patience bounds every wait of a test; nothing waits so long unless something is broken.
const patience = 2 * time.Minute

func newStage(t *testing.T, adjust ...func(*broker.Config)) *stage {
	t.Helper()
	cfg := broker.Config{DataDir: t.TempDir(), SyncInterval: time.Second, Partitions: 2}
	for _, change := range adjust {
		change(&cfg)
	}
	b, err := broker.Open(t.Context(), cfg)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		ctx, cancel := context.WithTimeout(context.Background(), patience)
		defer cancel()
		if err := b.Close(ctx); err != nil {
			t.Errorf("close broker: %v", err)
		}
	})
	s := &stage{T: t, broker: b, model: &script{}, tools: &toolbox{calls: map[string]int{}}}
	s.config = Config{Name: "test", Queue: b, Feeds: b, Control: b, Library: b, Models: s.model, Tools: s.tools, DrainCalls: time.Millisecond}
	return s
}

// node starts a node; the returned function drains it.
func (s *stage) node(ctx context.Context) (stop func()) {
	s.Helper()
	n, err := New(s.config)
	if err != nil {
		s.Fatal(err)
	}
	ctx, cancel := context.WithCancel(ctx)
	done := make(chan error, 1)
	go func() { done <- n.Run(ctx) }()
	return sync.OnceFunc(func() {
		cancel()
		if err := <-done; err != nil {
			s.Errorf("node: %v", err)
		}
	})
}

// create enqueues a request, as a gateway does.
func (s *stage) create(body string) schema.Ref {
	s.Helper()
	cmd := s.command(body)
	if err := s.broker.Enqueue(s.Context(), cmd, nil); err != nil {
		s.Fatal(err)
	}
	return cmd.Ref()
}

// records waits for the response's end and returns its log.
func (s *stage) records(ref schema.Ref) []schema.Record {
	s.Helper()
	ctx, cancel := context.WithTimeout(s.Context(), patience)
	defer cancel()
	s.wait(ctx, ref)
	h, err := s.broker.Read(ctx, ref)
	if err != nil {
		s.Fatal(err)
	}
	fold, err := schema.FoldRun(ref, h.Records)
	if err != nil {
		s.Fatal(err)
	}
	if !fold.State.Ended() {
		s.Fatal("response did not end in time")
	}
	return h.Records
}

// ending waits for the response's end and returns what its terminal event says. It folds nothing else: the race detector
// makes every byte that is read dear, and a large log has many.
func (s *stage) ending(ref schema.Ref) *schema.Response {
	s.Helper()
	ctx, cancel := context.WithTimeout(s.Context(), patience)
	defer cancel()
	s.wait(ctx, ref)
	x, err := s.broker.Exchange(ctx, ref)
	if err != nil {
		s.Fatal(err)
	}
	return x.Response
}

// wait returns when the response has ended or ctx has.
func (s *stage) wait(ctx context.Context, ref schema.Ref) {
	for ctx.Err() == nil {
		f, err := s.broker.Follow(ctx, ref, -1)
		if err != nil {
			continue // not begun yet
		}
		for err == nil {
			_, err = f.Next(ctx)
		}
		f.Close()
		if errors.Is(err, io.EOF) {
			return
		}
	}
}

// until waits for a condition.
func (s *stage) until(ok func() bool) {
	s.Helper()
	for deadline := time.Now().Add(patience); !ok(); {
		if time.Now().After(deadline) {
			s.Fatal("condition did not come true in time")
		}
		<-time.After(20 * time.Millisecond)
	}
}

// run creates a response, works it on one node and returns what the log says at its end.
func (s *stage) run(body string) (*schema.Response, []schema.Record) {
	s.Helper()
	stop := s.node(s.Context())
	defer stop()
	records := s.records(s.create(body))
	return s.response(records), records
}

func (s *stage) response(records []schema.Record) *schema.Response {
	s.Helper()
	var frames []byte
	for _, r := range records {
		frames = append(frames, r.Frames...)
	}
	state, err := schema.Fold(frames)
	if err != nil {
		s.Fatal(err)
	}
	return state.Response()
}

// whole returns the response of a log whose every byte a strict client accepts: one terminal event, and that the last.
func (s *stage) whole(records []schema.Record) *schema.Response {
	s.Helper()
	var frames []byte
	for _, r := range records {
		frames = append(frames, r.Frames...)
	}
	state, err := schema.CheckStream(frames)
	if err != nil {
		s.Fatal(err)
	}
	return state.Response()
}

// types returns the event types of a log, in order, without the response. prefix.
func types(records []schema.Record) []string {
	var out []string
	for _, r := range records {
		for rest := r.Frames; len(rest) > 0; {
			f, more, err := schema.CutFrame(rest)
			if err != nil {
				return append(out, err.Error())
			}
			out, rest = append(out, strings.TrimPrefix(string(f.Type), "response.")), more
		}
	}
	return out
}

func kinds(records []schema.Record) []schema.Kind {
	var out []schema.Kind
	for _, r := range records {
		out = append(out, r.Kind)
	}
	return out
}

// script is a model that plays one function a turn.
type script struct {
	mu    sync.Mutex
	turns []func(ctx context.Context, req *upstream.Request, emit func(schema.Event) error) (upstream.Outcome, error)
	asked []*upstream.Request
	own   bool // it runs MCP tools itself
}

func (s *script) RunsMCP() bool { return s.own }

func (s *script) Route(model string) (upstream.Upstream, error) {
	if model == "unknown" {
		return nil, &schema.Error{Status: 404, Code: schema.CodeModelNotFound, Type: schema.TypeInvalidRequest, Message: "no such model"}
	}
	return s, nil
}

func (s *script) Stream(ctx context.Context, req *upstream.Request, emit func(schema.Event) error) (upstream.Outcome, error) {
	s.mu.Lock()
	s.asked = append(s.asked, req)
	turn := s.turns[min(req.Turn, len(s.turns)-1)]
	s.mu.Unlock()
	return turn(ctx, req, emit)
}

type turnFunc = func(ctx context.Context, req *upstream.Request, emit func(schema.Event) error) (upstream.Outcome, error)

// says is a turn of plain text, in the given deltas.
func says(deltas ...string) turnFunc {
	return plays(message(0, deltas...))
}

// plays is a turn of the given events.
func plays(groups ...[]schema.Event) turnFunc {
	return func(ctx context.Context, _ *upstream.Request, emit func(schema.Event) error) (upstream.Outcome, error) {
		for _, events := range groups {
			for _, e := range events {
				if err := emit(e); err != nil {
					return upstream.Outcome{}, err
				}
			}
		}
		return upstream.Outcome{Usage: &schema.Usage{InputTokens: 3, OutputTokens: 2, TotalTokens: 5}}, nil
	}
}

func message(index int, deltas ...string) []schema.Event {
	id := fmt.Sprintf("item_%d", index)
	events := []schema.Event{{Type: schema.ItemAdded, OutputIndex: &index, Item: &schema.Item{ID: id, Type: schema.KindMessage}}}
	for _, d := range deltas {
		events = append(events, schema.Event{Type: schema.TextDelta, OutputIndex: &index, ItemID: id, Delta: &d})
	}
	done := &schema.Item{ID: id, Type: schema.KindMessage, Content: schema.Content{schema.NewPart(schema.PartOutputText, strings.Join(deltas, ""))}}
	return append(events, schema.Event{Type: schema.ItemDone, OutputIndex: &index, Item: done})
}

// function is a function call of the model, its arguments in the given deltas.
func functionCall(index int, name string, deltas ...string) []schema.Event {
	id := fmt.Sprintf("item_%d", index)
	item := schema.Item{ID: id, Type: schema.KindFunctionCall, CallID: fmt.Sprintf("call_%d", index), Name: name}
	added, done := item, item
	events := []schema.Event{{Type: schema.ItemAdded, OutputIndex: &index, Item: &added}}
	for _, d := range deltas {
		events = append(events, schema.Event{Type: schema.FunctionDelta, OutputIndex: &index, ItemID: id, Delta: &d})
	}
	done.Arguments = new(strings.Join(deltas, ""))
	return append(events, schema.Event{Type: schema.ItemDone, OutputIndex: &index, Item: &done})
}

// toolbox is a set of MCP servers, each with the tools echo, fail and add.
type toolbox struct {
	mu     sync.Mutex
	calls  map[string]int // by name and arguments
	fresh  int            // lists that were asked for afresh
	list   func(ctx context.Context, s mcp.Server) ([]mcp.Tool, error)
	onCall func(ctx context.Context, s mcp.Server, name, args string) (mcp.Result, error)
}

func (b *toolbox) ListTools(ctx context.Context, _ string, s mcp.Server) ([]mcp.Tool, error) {
	if b.list != nil {
		return b.list(ctx, s)
	}
	return tools(), nil
}

func (b *toolbox) ListToolsAfresh(ctx context.Context, tenant string, s mcp.Server) ([]mcp.Tool, error) {
	b.mu.Lock()
	b.fresh++
	b.mu.Unlock()
	return b.ListTools(ctx, tenant, s)
}

func tools() []mcp.Tool {
	input := jsontext.Value(`{"type":"object","properties":{}}`)
	return []mcp.Tool{{Name: "echo", Description: "Says it again.", InputSchema: input}, {Name: "fail", InputSchema: input}}
}

func (b *toolbox) CallTool(ctx context.Context, _ string, s mcp.Server, name string, args jsontext.Value) (mcp.Result, error) {
	b.mu.Lock()
	b.calls[name+string(args)]++
	b.mu.Unlock()
	switch {
	case b.onCall != nil:
		return b.onCall(ctx, s, name, string(args))
	case name == "fail":
		return mcp.Result{IsError: true, Output: "it broke", Content: jsontext.Value(`[{"type":"text","text":"it broke"}]`)}, nil
	}
	return mcp.Result{Output: "echo of " + string(args)}, nil
}

// with returns a create request for the given MCP labels.
func with(labels ...string) string {
	var entries []string
	for _, l := range labels {
		entries = append(entries, fmt.Sprintf(`{"type":"mcp","server_label":%q,"server_url":"https://%s.example/mcp","require_approval":"never"}`, l, l))
	}
	return fmt.Sprintf(`{"model":"m","input":"hi","tools":[%s]}`, strings.Join(entries, ","))
}
