package producers

import (
	"fmt"
	"strings"
	"time"

	"pgregory.net/rapid"

	"github.com/midstream-dev/midstream/broker/sim"
	"github.com/midstream-dev/midstream/schema"
)

// plan is a history of some responses on some nodes, drawn before it is run. Each scene, with its own faults, is one
// schedule.
type plan struct {
	Nodes  int
	Scenes []*scene
}

// scene is one response: what is asked, what the model does, who reads, and what goes wrong.
type scene struct {
	At         time.Duration // when it is asked for
	Begins     bool          // the gateway writes the request record, as a handler does; else a worker does
	Stores     bool
	Idempotent bool // its server's tools may be called again
	Turns      [][]act
	Pace       time.Duration // between two events of the model
	Work       time.Duration // of a tool
	Cancel     time.Duration // when somebody cancels it; 0 is never
	Readers    []audience
	Faults     []fault
	Voices     []voice // who feeds the response; without one, the model makes it
}

// act is what the model does in a turn: it says something, or calls a tool.
type act string

const (
	say   act = "say"
	calls act = "call"
)

// audience is a reader: it comes, reads so many pieces, breaks off and comes back elsewhere.
type audience struct {
	At     time.Duration
	Breaks int
	Pause  time.Duration
}

// fault is what goes wrong at the N-th operation of a kind on a response, and at some more behind it.
type fault struct {
	Point  point
	N      int
	Times  int
	Action action
	For    time.Duration
}

func (f fault) String() string {
	return fmt.Sprintf("{%s %d+%d: %s %v}", f.Point, f.N, f.Times, f.Action, f.For)
}

// point is a kind of moment in the life of a response.
type point string

const (
	atAppend  point = "append"
	atSeal    point = "seal"
	atEnqueue point = "enqueue"
	atModel   point = "model event"
	atCall    point = "tool begins"
	atResult  point = "tool ends"
	atList    point = "list"

	atLeader    = point(sim.LeaderRead)
	atDirect    = point(sim.DirectRead)
	atDeliver   = point(sim.Deliver)
	atAck       = point(sim.Ack)
	atNak       = point(sim.Nak)
	atProgress  = point(sim.Progress)
	atRepublish = point(sim.Republish)
)

// action is what goes wrong.
type action string

const (
	lose        action = "lost"
	mute        action = "answer lost"
	cutBefore   action = "cut before"
	cutBehind   action = "cut behind"
	busy        action = "10164"
	doubted     action = "10071, not stored"
	denied      action = "10071, stored"
	unavailable action = "10008"
	nobody      action = "no responders"
	late        action = "late"
	slow        action = "slow"
	stale       action = "stale"
	twice       action = "twice"
	killBefore  action = "kill before"
	killBehind  action = "kill behind"
	holdBefore  action = "pause before"
	holdBehind  action = "pause behind"
	deafHold    action = "pause before, and miss what happens meanwhile"
	elect       action = "election"
	restart     action = "restart of NATS"
	drain       action = "drain"
)

// possible lists what may go wrong where; what stands twice comes more often.
var possible = map[point][]action{
	atAppend: {lose, mute, mute, cutBefore, cutBehind, busy, doubted, denied, unavailable, nobody, late, slow, killBefore, killBehind,
		killBehind, holdBefore, holdBehind, deafHold, deafHold, elect, restart},
	atSeal:      {lose, mute, cutBehind, denied, busy, late, killBefore, killBehind, holdBefore, elect},
	atEnqueue:   {lose, mute, cutBehind, denied, unavailable, late},
	atLeader:    {lose, mute, cutBehind, unavailable, slow, killBefore, holdBefore, elect},
	atDirect:    {stale, stale, lose, mute, nobody, cutBehind, slow, killBefore, holdBehind},
	atDeliver:   {lose, late, slow, killBehind, holdBehind, cutBehind},
	atAck:       {lose, mute, late, cutBefore, cutBehind, killBefore, killBehind, holdBefore, holdBehind},
	atNak:       {lose, late, killBefore},
	atProgress:  {lose, late, killBefore, holdBefore},
	atRepublish: {lose, lose, late, twice},
	atModel:     {killBefore, killBehind, holdBefore, deafHold, drain, elect, restart},
	atCall:      {killBefore, killBehind, holdBefore, holdBehind, drain, elect},
	atResult:    {killBefore, killBehind, holdBefore, holdBehind, deafHold, drain, elect, restart},
	atList:      {killBefore, holdBefore, drain},
	atIngest:    fedActions,
}

var points = []point{
	atAppend, atAppend, atAppend, atAppend, atAppend, atModel, atModel, atCall, atCall, atResult, atResult, atSeal, atEnqueue, atLeader,
	atDirect, atDirect, atDeliver, atAck, atAck, atNak, atProgress, atRepublish, atRepublish, atList,
}

var (
	pauses    = rapid.SampledFrom([]time.Duration{0, 0, 0, time.Millisecond, 20 * time.Millisecond, 700 * time.Millisecond})
	works     = rapid.SampledFrom([]time.Duration{0, 0, 5 * time.Millisecond, time.Second, 9 * time.Second})
	durations = rapid.SampledFrom([]time.Duration{
		time.Millisecond, 100 * time.Millisecond, 3 * time.Second, 4 * time.Second, 7 * time.Second, 9 * time.Second, 15 * time.Second,
	})
	// A spell of standing still is mostly longer than a lease.
	spells = rapid.SampledFrom([]time.Duration{2 * time.Second, 7 * time.Second, 7 * time.Second, 15 * time.Second, time.Minute})
)

var (
	faults    = faultsAt(points)
	fedFaults = faultsAt(fedPoints)
)

func faultsAt(points []point) *rapid.Generator[fault] {
	return rapid.Custom(func(t *rapid.T) fault {
		f := fault{Point: rapid.SampledFrom(points).Draw(t, "point"), Times: 1}
		return f.drawn(t)
	})
}

func (f fault) drawn(t *rapid.T) fault {
	f.Action = rapid.SampledFrom(possible[f.Point]).Draw(t, "action")
	f.N = rapid.IntRange(0, 9).Draw(t, "n")
	switch f.Action {
	case holdBefore, holdBehind, deafHold:
		f.For = spells.Draw(t, "for")
	case late, slow, twice, elect, restart:
		f.For = durations.Draw(t, "for")
	case stale:
		f.For = time.Duration(rapid.IntRange(1, 9).Draw(t, "messages"))
	}
	switch f.Action {
	case lose:
		f.Times = rapid.SampledFrom([]int{1, 1, 2, 4, 30}).Draw(t, "times")
	case mute, busy, unavailable, nobody, stale, denied:
		f.Times = rapid.IntRange(1, 4).Draw(t, "times")
	}
	return f
}

var scenes = rapid.Custom(func(t *rapid.T) *scene {
	s := &scene{
		At: pauses.Draw(t, "at"), Begins: rapid.Bool().Draw(t, "begins"), Stores: rapid.IntRange(0, 5).Draw(t, "stores") > 0,
		Idempotent: rapid.IntRange(0, 3).Draw(t, "idempotent") == 0,
		Turns:      rapid.SliceOfN(rapid.SliceOfN(rapid.SampledFrom([]act{say, calls, calls}), 1, 3), 0, 2).Draw(t, "turns"),
		Pace:       pauses.Draw(t, "pace"), Work: works.Draw(t, "work"),
	}
	wrong := faults
	if rapid.IntRange(0, 3).Draw(t, "fed") == 0 {
		s.Voices, wrong = rapid.SliceOfN(voices, 1, 3).Draw(t, "voices"), fedFaults
	}
	s.Faults = rapid.SliceOfN(wrong, 1, 4).Draw(t, "faults")
	s.Readers = rapid.SliceOfN(rapid.Custom(func(t *rapid.T) audience {
		return audience{pauses.Draw(t, "at"), rapid.IntRange(1, 9).Draw(t, "breaks"), pauses.Draw(t, "pause")}
	}), 0, 2).Draw(t, "readers")
	if rapid.IntRange(0, 9).Draw(t, "cancelled") == 0 {
		s.Cancel = s.At + works.Draw(t, "cancel") + time.Millisecond
	}
	return s
})

var plans = rapid.Custom(func(t *rapid.T) *plan {
	return &plan{Nodes: rapid.IntRange(1, 3).Draw(t, "nodes"), Scenes: rapid.SliceOfN(scenes, 1, 4).Draw(t, "scenes")}
})

// String is what is printed of a plan that fails.
func (p *plan) String() string {
	var b strings.Builder
	fmt.Fprintf(&b, "%d nodes", p.Nodes)
	for i, s := range p.Scenes {
		fmt.Fprintf(&b, "\n  %s: %+v", responseID(i), *s)
	}
	return b.String()
}

func responseID(i int) string { return fmt.Sprintf("resp_sim%013d", i) }

// request is the body that the scene's client sends.
func (s *scene) request(id string) string {
	if len(s.Voices) > 0 {
		return s.fedBy()
	}
	return fmt.Sprintf(`{"model":"m","input":"hi","stream":true,"store":%t,"tools":[`+
		`{"type":"mcp","server_label":%q,"server_url":"https://mcp.example/%s","require_approval":"never"}]}`, s.Stores, s.label(), id)
}

// label names the scene's MCP server.
func (s *scene) label() string {
	if s.Idempotent {
		return "idem"
	}
	return "once"
}

// events is what the model says in a turn; behind the last one it only says something.
func (s *scene) events(id string, turn int) []schema.Event {
	acts := []act{say}
	if turn < len(s.Turns) {
		acts = s.Turns[turn]
	}
	var all []schema.Event
	for i, a := range acts {
		if a == say {
			all = append(all, message(i, fmt.Sprintf("turn %d, ", turn), "and ", "more")...)
		} else {
			all = append(all, functionCall(i, s.label()+"__echo", fmt.Sprintf(`{"of":"%s",`, id), fmt.Sprintf(`"turn":%d,"n":%d}`, turn, i))...)
		}
	}
	return all
}
