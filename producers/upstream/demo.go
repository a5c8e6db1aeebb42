package upstream

import (
	"context"
	"fmt"
	"net/http"
	"slices"
	"time"

	"github.com/midstream-dev/midstream/schema"
)

// The demo is a model without a model. The same context gives the same answer: some sentences about rivers, with words
// of the user's in them, one delta a word. Model demo says them at once; demo-slow in 20 deltas, 100 ms apart. Where
// the context ends in the midst of its own answer, it goes on from there.
//
// If tools are offered, it calls one before it answers: the one that shares most words with the user, else the first,
// with arguments sampled from the tool's schema; the answer then quotes the tool. If text.format asks for a JSON schema,
// the answer is a sample of it.
//
// The user's last message may script it. What is in double brackets is not part of the message:
//
//	[[delay=200ms]]  wait between deltas (10 s at most)
//	[[tokens=500]]   answer in so many words and deltas (100 000 at most)
//	[[say=text]]     answer with this text
//	[[reasoning]]    reason first
//	[[tool=name]]    call this tool
//	[[args={…}]]     with these arguments
//	[[function]]     call a tool that the client runs: one without __ in its name
//	[[parallel]]     call two tools in one turn
//	[[rounds=3]]     call tools in so many turns before answering (100 at most; 0 calls none)
//	[[refuse]]       answer with a refusal
//	[[incomplete]]   stop in the middle, as for max_output_tokens
//	[[filter]]       stop in the middle, as for content_filter
//	[[fail]]         fail before anything is said: 502
//	[[busy]]         likewise: 429, Retry-After 1 s
//	[[cut]]          lose the connection in the middle
//	[[hang]]         fall silent in the middle, until the call is cancelled
type demo struct{ cfg Config }

const (
	demoModel     = "demo"
	demoSlowModel = "demo-slow"
	slowDelay     = 100 * time.Millisecond
	slowDeltas    = 20
)

func openDemo(c Config) (served, error) {
	if len(c.Models) == 0 {
		c.Models = []string{demoModel, demoSlowModel}
	}
	if c.Retries == nil {
		c.Retries = new(0) // what its script says is what is meant
	}
	return &demo{c.withDefaults()}, nil
}

func (d *demo) config() *Config { return &d.cfg }
func (d *demo) close()          {}

// demoServes are what makes no other answer of a script.
var demoServes = []string{
	paramVerbosity, paramTopLogprobs, paramPresence, paramFrequency, paramCacheOptions, paramCacheRetention, paramSummary, paramOldSummary,
}

// demoKinds are the items that the demo can be told, or that say nothing to it.
var demoKinds = []string{
	schema.KindMessage, schema.KindReasoning, schema.KindFunctionCall, schema.KindFunctionOutput, schema.KindCustomCall,
	schema.KindCustomOutput, schema.KindListTools, schema.KindApprovalRequest, schema.KindApproval,
}

// check implements served.
func (d *demo) check(req *Request) error {
	if err := unserved(req, demoServes); err != nil {
		return err
	}
	for i := range req.Tools {
		if kind := req.Tools[i].Type; !callable(kind) {
			return schema.Refuse(schema.CodeUnsupported, "tools", "tools of type %.40q are not available with this model", kind)
		}
	}
	for i := range req.Input {
		if kind := req.Input[i].Type; !slices.Contains(demoKinds, kind) {
			return schema.Refuse(schema.CodeUnsupported, fmt.Sprintf("input[%d]", i), "items of type %.40q are not available with this model", kind)
		}
	}
	if choice := readToolChoice(req.toolChoice()); choice.mode == "" && !callable(choice.kind) {
		return schema.Refuse(schema.CodeUnsupported, "tool_choice", "tool_choice of type %.40q is not available with this model", choice.kind)
	}
	return nil
}

// callable reports whether tools of a type are called in the answer, and run by whoever has asked.
func callable(kind string) bool { return kind == schema.ToolFunction || kind == schema.ToolCustom }

// count implements counter: words, as its usage counts them.
func (d *demo) count(_ context.Context, req *Request) (int64, error) { //nolint:unparam // others have to ask
	return readScene(req).words, nil
}

// pause waits by the real clock.
func pause(ctx context.Context, d time.Duration) error {
	timer := time.NewTimer(d)
	defer timer.Stop()
	select {
	case <-timer.C:
		return nil
	case <-ctx.Done():
		return context.Cause(ctx)
	}
}

// Stream implements [Upstream].
func (d *demo) Stream(ctx context.Context, req *Request, emit func(schema.Event) error) (Outcome, error) {
	if err := d.check(req); err != nil {
		return Outcome{}, unsayable(err)
	}
	s := readScene(req)
	p := &performance{scene: s, pause: func() error { return d.wait(ctx, s.delay) }, hang: func() error {
		<-ctx.Done()
		return ended(ctx)
	}}
	p.items.emit = func(e schema.Event) error {
		if ctx.Err() != nil {
			return ended(ctx)
		}
		return emit(e)
	}
	return p.play(req)
}

func (d *demo) wait(ctx context.Context, delay time.Duration) error {
	if delay == 0 {
		return nil
	}
	if err := d.cfg.Pause(ctx, delay); err != nil {
		return fmt.Errorf("model call: %w", err)
	}
	return nil
}

// ended is the error of a call whose context ended.
func ended(ctx context.Context) error { return fmt.Errorf("model call: %w", context.Cause(ctx)) }

// performance is one turn of the demo.
type performance struct {
	*scene
	items items
	told  int64 // deltas so far
	pause func() error
	hang  func() error
}

func (p *performance) play(req *Request) (Outcome, error) {
	switch {
	case p.has("fail"):
		return Outcome{}, fail(http.StatusBadGateway, CodeUnavailable, nil, "demo fails, as its script says")
	case p.has("busy"):
		err := fail(http.StatusTooManyRequests, schema.CodeRateLimit, nil, "demo is busy, as its script says")
		err.Public.Type, err.Public.RetryAfter = schema.TypeRateLimit, time.Second
		return Outcome{}, err
	}
	if err := p.reason(); err != nil {
		return Outcome{}, err
	}
	incomplete := ""
	calls := p.chooseCalls(req)
	err := p.makeCalls(req, calls)
	if len(calls) == 0 {
		incomplete, err = p.answer(req)
	}
	if err != nil {
		return Outcome{}, err
	}
	return Outcome{Usage: p.usage(), Incomplete: incomplete, ServiceTier: "default"}, nil
}

func (p *performance) reason() error {
	if !p.has("reasoning") {
		return nil
	}
	for _, word := range slices.Collect(pieces("First the spring, then the stream, then the sea.", 0)) {
		if err := p.say(schema.PartSummaryText, word); err != nil {
			return err
		}
	}
	return p.items.close(schema.StatusCompleted)
}

// say streams one delta and waits.
func (p *performance) say(kind, text string) error {
	p.told++
	if err := p.items.say(kind, text); err != nil {
		return err
	}
	return p.pause()
}

func (p *performance) makeCalls(req *Request, calls []demoCall) error {
	for n, dc := range calls {
		c, err := p.items.call(dc.kind, callID(req, n), dc.name)
		if err != nil {
			return err
		}
		for piece := range pieces(dc.text, 0) {
			p.told++
			if err := c.delta(piece); err != nil {
				return err
			}
		}
		if err := c.done(schema.StatusCompleted); err != nil {
			return err
		}
	}
	return nil
}

// answer says the text, as far as the script and max_output_tokens let it.
func (p *performance) answer(req *Request) (incomplete string, err error) {
	kind := schema.PartOutputText
	if p.has("refuse") {
		kind = schema.PartRefusal
	}
	all := slices.Collect(pieces(p.text(req), p.scene.deltas))
	limit, stop := p.stop(req, len(all))
	for _, piece := range all[:limit] {
		if err := p.say(kind, piece); err != nil {
			return "", err
		}
	}
	switch stop {
	case "cut":
		return "", broken(nil, "demo lost its connection, as its script says")
	case "hang":
		return "", p.hang()
	case "":
		return "", p.items.close(schema.StatusCompleted)
	}
	return stop, p.items.close(schema.StatusIncomplete)
}

// stops are the directives that end an answer in the middle.
var stops = []struct{ directive, why string }{
	{"cut", "cut"}, {"hang", "hang"}, {"incomplete", incompleteTokens}, {"filter", incompleteFilter},
}

// stop says after how many of n deltas the answer stops, and why if that is too early.
func (p *performance) stop(req *Request, n int) (int, string) {
	for _, s := range stops {
		if p.has(s.directive) {
			return n / 2, s.why
		}
	}
	if most := req.Create.MaxOutputTokens; most != nil && int64(n) > max(*most, 0) {
		return int(max(*most, 0)), incompleteTokens
	}
	return n, ""
}

func (p *performance) usage() *schema.Usage {
	return &schema.Usage{InputTokens: p.words, OutputTokens: p.told, TotalTokens: p.words + p.told}
}

// sampleFormat returns an answer that fits text.format, if that asks for JSON.
func sampleFormat(req *Request, s *scene) string {
	format := textFormat(req.Create.Text)
	switch {
	case format.Type == "json_object":
		return `{"answer":` + string(quote(s.prose())) + `}`
	case format.Type == "json_schema" && len(format.Schema) > 0:
		return string(sample(format.Schema, s.user))
	}
	return ""
}
