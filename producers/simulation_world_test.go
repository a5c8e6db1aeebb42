package producers

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"path"
	"strings"
	"sync"
	"time"

	"github.com/go-json-experiment/json"
	"github.com/go-json-experiment/json/jsontext"

	"github.com/midstream-dev/midstream/broker"
	"github.com/midstream-dev/midstream/broker/hub"
	"github.com/midstream-dev/midstream/broker/sim"
	"github.com/midstream-dev/midstream/producers/mcp"
	"github.com/midstream-dev/midstream/producers/upstream"
	"github.com/midstream-dev/midstream/schema"
)

// world is a plan while it runs: everything in it lives in one bubble of virtual time.
type world struct {
	plan    *plan
	server  *sim.Server
	gateway *broker.Broker
	nodes   []*player
	ctx     context.Context
	orders  chan func() // what must not be done where a fault strikes, since the server is locked there

	mu      sync.Mutex
	calm    bool                 // no more faults
	counts  map[string]int       // operations, by response and point
	fired   map[action]int       // faults that struck
	vacant  time.Time            // until then there is no leader
	vacancy action               // and this is what one hears
	made    map[string]int       // tool calls that reached the server, by arguments
	deaf    map[string]time.Time // until then nothing of a response is republished
	journal map[string]*history  // of each response
	errs    []error

	ops int // that the server has seen; under its lock
}

// simOps is more operations than any plan needs: virtual time stands still while somebody asks without a pause.
const simOps = 200_000

// player is a node that is killed, drained and started again as faults want.
type player struct {
	w      *world
	name   string
	mu     sync.Mutex
	link   *sim.Link
	broker *broker.Broker // nil while it is down
	leave  func()         // drains it
}

const simTenant = "default"

// simPatience is how long a response may take at most, in virtual time, whatever befalls it.
const simPatience = 40 * time.Minute

func newWorld(p *plan) *world {
	w := &world{plan: p, orders: make(chan func(), 64), counts: map[string]int{}, fired: map[action]int{}, made: map[string]int{}, journal: map[string]*history{}, deaf: map[string]time.Time{}}
	for i := range p.Scenes {
		w.journal[responseID(i)] = new(history)
	}
	w.server = sim.New(w)
	return w
}

func (w *world) faultf(format string, args ...any) {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.errs = append(w.errs, fmt.Errorf(format, args...))
}

// run plays the plan and returns what was wrong with it.
func (w *world) run() error {
	ctx, cancel := context.WithTimeout(context.Background(), 2*simPatience)
	defer cancel()
	w.ctx = ctx
	var err error
	if w.gateway, err = w.open(ctx, w.server.NewLink("gateway")); err != nil {
		return err
	}
	var cast, house, stage sync.WaitGroup
	stopped, stop := context.WithCancel(ctx)
	for i := range w.plan.Nodes {
		n := &player{w: w, name: fmt.Sprintf("node%d", i)}
		w.nodes = append(w.nodes, n)
		cast.Go(func() { n.play(stopped) })
	}
	stage.Go(func() { w.obey(stopped) })
	for i, s := range w.plan.Scenes {
		house.Go(func() { w.act(i, s) })
	}
	house.Wait()
	if w.settled() {
		w.mu.Lock()
		w.calm = true
		w.mu.Unlock()
		_ = rest(ctx, time.Minute) // whatever was late has come
		for i := range w.plan.Scenes {
			w.judge(i)
		}
	}
	stop()
	cast.Wait()
	stage.Wait()
	w.errs = append(w.errs, w.server.Err(), w.gateway.Close(context.Background()))
	return errors.Join(w.errs...)
}

// obey does what was ordered where a fault struck.
func (w *world) obey(ctx context.Context) {
	for {
		select {
		case do := <-w.orders:
			do()
		case <-ctx.Done():
			return
		}
	}
}

func (w *world) order(do func()) {
	select {
	case w.orders <- do:
	default:
	}
}

func (w *world) open(ctx context.Context, l *sim.Link) (*broker.Broker, error) {
	return broker.Open(ctx, broker.Config{
		Dial: l.Dial, Partitions: 1, SecretKey: bytes.Repeat([]byte{7}, 32), Hub: hub.Config{Linger: time.Second},
	})
}

// play is the life of a node, and the next one when it was killed or drained.
func (n *player) play(ctx context.Context) {
	for life := 0; ctx.Err() == nil; life++ {
		link := n.w.server.NewLink(fmt.Sprintf("%s.%d", n.name, life))
		n.live(ctx, link)
		link.Kill() // nothing of it may linger
		_ = rest(ctx, time.Second)
	}
}

func (n *player) live(ctx context.Context, link *sim.Link) {
	ctx, leave := context.WithCancel(ctx)
	defer leave()
	b, err := n.open(ctx, link)
	if err != nil {
		return
	}
	defer b.Close(context.Background())
	node, err := New(n.config(link, b))
	if err != nil {
		n.w.faultf("%s: %w", n.name, err)
		return
	}
	n.set(link, b, leave)
	defer n.set(nil, nil, nil)
	ran := make(chan error, 1)
	go func() { ran <- node.Run(ctx) }()
	select {
	case <-link.Dead():
		b.Close(context.Background()) // before its runs could say goodbye
		leave()
		<-ran
	case err := <-ran:
		if err != nil {
			n.w.faultf("%s: %w", n.name, err)
		}
	}
}

// open stops trying when the node is killed.
func (n *player) open(ctx context.Context, link *sim.Link) (*broker.Broker, error) {
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	go func() {
		select {
		case <-link.Dead():
			cancel()
		case <-ctx.Done():
		}
	}()
	return n.w.open(ctx, link)
}

func (n *player) set(l *sim.Link, b *broker.Broker, leave func()) {
	n.mu.Lock()
	defer n.mu.Unlock()
	n.link, n.broker, n.leave = l, b, leave
}

func (n *player) drain() {
	n.mu.Lock()
	defer n.mu.Unlock()
	if n.leave != nil {
		n.leave()
	}
}

func (n *player) config(link *sim.Link, b *broker.Broker) Config {
	p := &process{w: n.w, player: n, link: link, name: link.Name()}
	return Config{
		Name: p.name, Queue: witness{b, p}, Feeds: b, Control: b, Library: b, Models: p, Tools: p,
		ProducerIdle: simPatience, // none is given up: whatever it has to say must come
		Idempotent:   func(label, _ string) bool { return label == "idem" },
	}
}

// act is the client of a scene, and its readers.
func (w *world) act(i int, s *scene) {
	id := responseID(i)
	var readers sync.WaitGroup // and whoever else has a part in it
	defer readers.Wait()
	if rest(w.ctx, s.At) != nil {
		return
	}
	cmd := w.command(id, s)
	ctx, cancel := context.WithTimeout(w.ctx, simPatience)
	defer cancel()
	if err := w.enqueue(ctx, cmd); err != nil {
		w.faultf("enqueue %s: %w", id, err)
		return
	}
	for k, r := range s.Readers {
		readers.Go(func() { w.read(i, k, r) })
	}
	if s.Cancel > 0 {
		readers.Go(func() { w.cancel(cmd.Ref(), s.Cancel-s.At) })
	}
	for k := range s.Voices {
		readers.Go(func() { w.speak(cmd.Ref(), s.name(k), &s.Voices[k]) })
	}
	if rec, err := cmd.RequestRecord(); s.Begins {
		if err == nil {
			err = w.gateway.Begin(ctx, rec, cmd.Ref())
		}
		if err != nil {
			w.faultf("begin %s: %w", id, err)
		}
	}
}

// enqueue comes back where it is refused: nothing was enqueued then, or the next time finds it.
func (w *world) enqueue(ctx context.Context, cmd *schema.Command) error {
	for {
		err := w.gateway.Enqueue(ctx, cmd, nil)
		full := (*broker.FullError)(nil)
		if !errors.As(err, &full) {
			return err
		}
		if err := rest(ctx, full.RetryAfter); err != nil {
			return err
		}
	}
}

func (w *world) command(id string, s *scene) *schema.Command {
	req, refused := schema.ParseCreate([]byte(s.request(id)))
	if refused != nil {
		panic(refused)
	}
	raw, err := json.Marshal(req)
	if err != nil {
		panic(err)
	}
	return &schema.Command{
		Version: schema.FormatVersion, Tenant: simTenant, Response: id, CreatedAt: time.Now().UnixMilli(),
		Digest: strings.Repeat("0", 64), Request: raw,
	}
}

// cancel ends a response at some time. Once it returns nil, the terminal event must be there.
func (w *world) cancel(ref schema.Ref, after time.Duration) {
	if rest(w.ctx, after) != nil {
		return
	}
	for w.ctx.Err() == nil {
		err := w.gateway.Cancel(w.ctx, ref)
		if errors.Is(err, broker.ErrNotFound) && !w.begun(ref.Response()) && rest(w.ctx, 100*time.Millisecond) == nil {
			continue // not begun yet
		}
		if err != nil {
			w.faultf("cancel %s: %w", ref, err)
		} else if !w.ended(ref.Response()) {
			w.faultf("cancel %s: there is no end", ref)
		}
		return
	}
}

// read is one reader: it goes from node to node until it has the end.
func (w *world) read(i, k int, r audience) {
	if rest(w.ctx, r.At) != nil {
		return
	}
	ref, _ := schema.NewRef(simTenant, responseID(i))
	ctx, cancel := context.WithTimeout(w.ctx, simPatience)
	defer cancel()
	var got []byte
	after := int64(-1)
	for visit := k; ctx.Err() == nil; visit++ {
		begun := w.begun(ref.Response())
		piece, last, err := w.visit(ctx, w.host(visit), ref, after, r)
		got, after = append(got, piece...), last
		if err == io.EOF {
			break
		}
		if final(err, begun) {
			w.faultf("reader %d of %s behind %d: %w", k, ref, after, err)
			break
		}
		if err != nil {
			_ = rest(ctx, 400*time.Millisecond)
		}
		_ = rest(ctx, max(r.Pause, time.Millisecond))
	}
	// What was read is a prefix of the log at any time, and all of it at the end.
	if whole := w.frames(ref.Response()); !bytes.Equal(got, whole) {
		w.faultf("reader %d of %s: got %d bytes, the log has %d; as a prefix: %t; ctx %v",
			k, ref, len(got), len(whole), bytes.HasPrefix(whole, got), ctx.Err())
	}
}

// host is a broker that a reader may ask: the gateway's, or a node's that is alive.
func (w *world) host(visit int) *broker.Broker {
	if k := visit % (len(w.nodes) + 1); k < len(w.nodes) {
		n := w.nodes[k]
		n.mu.Lock()
		defer n.mu.Unlock()
		if n.broker != nil {
			return n.broker
		}
	}
	return w.gateway
}

func (w *world) visit(ctx context.Context, b *broker.Broker, ref schema.Ref, after int64, r audience) (got []byte, last int64, err error) {
	f, err := b.Follow(ctx, ref, after)
	if err != nil {
		return nil, after, err
	}
	defer f.Close()
	for range r.Breaks {
		var piece []byte
		if piece, err = f.Next(ctx); err != nil {
			break
		}
		got = append(got, piece...)
		if err = rest(ctx, r.Pause); err != nil {
			break
		}
	}
	if err == nil && f.Ended() {
		err = io.EOF
	}
	return got, f.Seq(), err
}

// settled waits until nothing is left to do, and reports whether that came.
func (w *world) settled() bool {
	for deadline := time.Now().Add(simPatience); ; {
		open := w.unfinished()
		if len(open) == 0 && w.server.Count("MS_RUNS") == 0 {
			return true
		}
		if time.Now().After(deadline) {
			w.faultf("after %v not ended and sealed: %v; %d jobs in the queue", simPatience, open, w.server.Count("MS_RUNS"))
			return false
		}
		_ = rest(w.ctx, 500*time.Millisecond)
	}
}

func (w *world) unfinished() (open []string) {
	for i := range w.plan.Scenes {
		if id := responseID(i); !w.isSealed(id) {
			open = append(open, id)
		}
	}
	return open
}

// rest waits, and returns an error if ctx ends first.
func rest(ctx context.Context, d time.Duration) error {
	if d <= 0 {
		return ctx.Err()
	}
	t := time.NewTimer(d)
	defer t.Stop()
	select {
	case <-t.C:
		return nil
	case <-ctx.Done():
		return ctx.Err()
	}
}

// process is one life of a node, as its models and tools know it: once it is dead it does nothing any more, and while it
// is paused it does nothing yet.
type process struct {
	w      *world
	player *player
	link   *sim.Link
	name   string
}

var errDead = errors.New("the process is dead")

// alive returns when the process may go on.
func (p *process) alive(ctx context.Context) error {
	for p.link.Held() {
		if err := rest(ctx, 50*time.Millisecond); err != nil {
			break
		}
	}
	select {
	case <-p.link.Dead():
		<-ctx.Done()
		return errDead
	default:
		return ctx.Err()
	}
}

// at is a moment at which something may go wrong: before, and behind what it encloses.
func (p *process) at(ctx context.Context, id string, where point) error {
	if err := p.alive(ctx); err != nil {
		return err
	}
	f := p.w.meet(id, where)
	if f == nil {
		return nil
	}
	switch f.Action {
	case killBefore, killBehind:
		p.link.Kill()
	case holdBefore, holdBehind, deafHold:
		p.link.Hold(f.For)
	case drain:
		p.player.drain()
	}
	return p.alive(ctx)
}

// Route implements [Models].
func (p *process) Route(string) (upstream.Upstream, error) { return p, nil }

// RunsMCP implements [upstream.Upstream].
func (p *process) RunsMCP() bool { return false }

// Stream implements [upstream.Upstream].
func (p *process) Stream(ctx context.Context, req *upstream.Request, emit func(schema.Event) error) (upstream.Outcome, error) {
	s := p.w.scene(req.Response)
	p.w.claimed(p.name, req.Response, "the model is asked")
	for _, e := range s.events(req.Response, req.Turn) {
		if err := p.at(ctx, req.Response, atModel); err != nil {
			return upstream.Outcome{}, err
		}
		if err := emit(e); err != nil {
			return upstream.Outcome{}, err
		}
		if err := rest(ctx, s.Pace); err != nil {
			return upstream.Outcome{}, err
		}
	}
	return upstream.Outcome{}, p.at(ctx, req.Response, atModel)
}

// ListTools implements [Tools].
func (p *process) ListTools(ctx context.Context, _ string, s mcp.Server) ([]mcp.Tool, error) {
	id := path.Base(s.URL)
	p.w.claimed(p.name, id, "tools are listed")
	return tools(), p.at(ctx, id, atList)
}

// ListToolsAfresh implements [Tools].
func (p *process) ListToolsAfresh(ctx context.Context, tenant string, s mcp.Server) ([]mcp.Tool, error) {
	return p.ListTools(ctx, tenant, s)
}

// CallTool implements [Tools].
func (p *process) CallTool(ctx context.Context, _ string, _ mcp.Server, _ string, args jsontext.Value) (mcp.Result, error) {
	var of struct {
		Of string `json:"of"`
	}
	if err := json.Unmarshal(args, &of); err != nil {
		return mcp.Result{}, err
	}
	if err := p.at(ctx, of.Of, atCall); err != nil {
		return mcp.Result{}, err
	}
	p.w.intended(of.Of, string(args))
	if err := rest(ctx, p.w.scene(of.Of).Work); err != nil {
		return mcp.Result{}, err
	}
	if err := p.at(ctx, of.Of, atResult); err != nil {
		return mcp.Result{}, err
	}
	return mcp.Result{Output: "result of " + string(args)}, nil
}

func (w *world) scene(id string) *scene {
	for i, s := range w.plan.Scenes {
		if responseID(i) == id {
			return s
		}
	}
	panic("no such response: " + id)
}
