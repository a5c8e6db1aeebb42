package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"math/rand/v2"
	"mime"
	"net/http"
	"os"
	"strconv"
	"strings"
	"time"

	"github.com/go-json-experiment/json"
	"github.com/tmaxmax/go-sse"

	"github.com/midstream-dev/midstream/schema"
)

// tailCommand follows a response.
type tailCommand struct {
	Response string        `arg:"" name:"response-id" help:"The response: resp_…"`
	From     int64         `env:"-" placeholder:"N" help:"Begin with the event of this sequence number."`
	Server   []string      `default:"http://127.0.0.1:8080" help:"Address of any node, as URL or host:port. Give several, and a lost connection goes on at the next."`
	APIKey   Secret        `name:"api-key" placeholder:"KEY" help:"API key, where the nodes ask for one. Rather set the variable: others see the arguments of a program."`
	Patience time.Duration `env:"-" default:"2m" help:"Give up when no node has streamed the response for so long."`
}

// Help is shown below the flags.
func (*tailCommand) Help() string {
	return `A lost connection is made again, at the next server if there are several, behind the last event that was shown; a line on
stderr says so each time. Where no server answers at the beginning, or none streams for --patience, that is the end.

Exit codes: 0 the response is completed, 3 it failed or was cancelled, 4 it is incomplete, 1 it could not be followed,
2 the command line is wrong, 130 interrupted.`
}

// Bounds of following.
const (
	tailEventBytes = 8 << 20          // one event, as large as the log takes
	tailErrorBytes = 64 << 10         // the body of a refusal
	tailSilence    = 45 * time.Second // three heartbeats missed: the connection is dead
	tailDial       = 5 * time.Second  // a node that is gone may not even refuse
	minTailRetry   = 100 * time.Millisecond
	maxTailRetry   = 5 * time.Second
)

// Run follows the response to its terminal event.
func (c *tailCommand) Run(ctx context.Context, p process) error {
	if c.From < 0 {
		return &coded{exitUsage, errors.New("--from: must not be negative")}
	}
	targets, err := c.targets()
	if err != nil {
		return &coded{exitUsage, err}
	}
	transport := newTailTransport()
	defer transport.CloseIdleConnections()
	t := &tailer{
		client: &http.Client{Transport: transport}, targets: targets, key: c.APIKey, last: c.From - 1, patience: c.Patience,
		view: newView(p.stdout, colours(p.stdout)), notes: p.stderr, sleep: sleep, now: time.Now,
	}
	switch err := t.follow(ctx); {
	case err == nil:
		return t.view.verdict()
	case ctx.Err() != nil:
		return &coded{exitSignal, nil}
	default:
		return fmt.Errorf("follow %s: %w", c.Response, err)
	}
}

// colours reports whether w shows them: https://no-color.org.
func colours(w io.Writer) bool { return os.Getenv("NO_COLOR") == "" && isTerminal(w) }

// tailer reads one response over as many connections as it takes.
type tailer struct {
	client   *http.Client
	targets  []target
	key      Secret        // "" for none
	at       int           // which of them is asked
	last     int64         // the last sequence number that was shown
	reached  bool          // a server has answered
	streamed time.Time     // when one last did what it should
	patience time.Duration // with all that do not
	view     *view
	notes    io.Writer // what is not of the response
	noted    bool      // the last that was written was a note
	sleep    func(context.Context, time.Duration) error
	now      func() time.Time
}

// finalError is an answer that another try would not change.
type finalError struct{ error }

func (t *tailer) follow(ctx context.Context) error {
	t.streamed = t.now()
	for delay := minTailRetry; ; delay = min(2*delay, maxTailRetry) {
		before := t.last
		err := t.connect(ctx)
		if err == nil || ctx.Err() != nil {
			return err
		}
		if err := t.giveUp(err); err != nil {
			return err
		}
		if t.last > before {
			delay = minTailRetry
		}
		t.next(err)
		if err := t.sleep(ctx, delay/2+rand.N(delay/2)); err != nil {
			return err
		}
	}
}

// giveUp returns why there is no point in another try, or nil.
func (t *tailer) giveUp(err error) error {
	everyone := t.at == len(t.targets)-1
	switch {
	case errors.As(err, new(finalError)), !t.reached && everyone:
		return err
	case t.reached && t.now().Sub(t.streamed) >= t.patience:
		return fmt.Errorf("no server has streamed it for %s: %w", t.patience, err)
	}
	return nil
}

// next goes on to the next server, and says so in a line of its own.
func (t *tailer) next(err error) {
	lost := t.targets[t.at].host
	t.at = (t.at + 1) % len(t.targets)
	if t.view.midLine && !t.noted {
		fmt.Fprintln(t.notes)
	}
	t.noted = true
	fmt.Fprintf(t.notes, "midstream: %s: %v; trying again at %s\n", lost, err, t.targets[t.at].host)
}

func sleep(ctx context.Context, d time.Duration) error {
	timer := time.NewTimer(d)
	defer timer.Stop()
	select {
	case <-timer.C:
		return nil
	case <-ctx.Done():
		return ctx.Err()
	}
}

// connect reads one connection. It returns nil when there is nothing more to come.
func (t *tailer) connect(ctx context.Context) error {
	ctx, cancel := context.WithCancelCause(ctx)
	defer cancel(nil)
	request, err := http.NewRequestWithContext(ctx, http.MethodGet, t.targets[t.at].url, nil)
	if err != nil {
		return finalError{err}
	}
	if t.key != "" {
		request.Header.Set("Authorization", "Bearer "+t.key.Reveal())
	}
	if t.last >= 0 {
		request.Header.Set("Last-Event-ID", strconv.FormatInt(t.last, 10))
	}
	silence := time.AfterFunc(tailSilence, func() { cancel(fmt.Errorf("nothing heard for %s", tailSilence)) })
	defer silence.Stop()
	response, err := t.client.Do(request)
	if err != nil {
		return unaddressed(err)
	}
	defer response.Body.Close()
	t.reached = true
	if more, err := judge(response); !more {
		return err
	}
	defer func() { t.streamed = t.now() }()
	return t.read(heardBody{response.Body, silence})
}

// judge says what a response's status means: whether there is a stream, or why not.
func judge(response *http.Response) (more bool, err error) {
	kind, _, _ := mime.ParseMediaType(response.Header.Get("Content-Type"))
	switch {
	case response.StatusCode == http.StatusOK && kind == "text/event-stream":
		return true, nil
	case response.StatusCode == http.StatusNoContent:
		return false, nil
	case response.StatusCode == http.StatusTooManyRequests || response.StatusCode >= http.StatusInternalServerError:
		return false, fmt.Errorf("the server answered %s", response.Status)
	}
	var body struct {
		Error struct {
			Message string `json:"message"`
		} `json:"error"`
	}
	raw, err := io.ReadAll(io.LimitReader(response.Body, tailErrorBytes))
	if err != nil || json.Unmarshal(raw, &body) != nil || body.Error.Message == "" {
		return false, finalError{fmt.Errorf("the server answered %s, which is no stream", response.Status)}
	}
	return false, finalError{errors.New(printable(body.Error.Message))}
}

// heardBody puts off the alarm of silence with everything that is read.
type heardBody struct {
	io.Reader
	silence *time.Timer
}

func (b heardBody) Read(p []byte) (int, error) {
	n, err := b.Reader.Read(p)
	b.silence.Reset(tailSilence)
	return n, err
}

func (t *tailer) read(body io.Reader) error {
	for frame, err := range sse.Read(body, &sse.ReadConfig{MaxEventSize: tailEventBytes}) {
		if err != nil {
			return fmt.Errorf("connection lost behind event %d: %w", t.last, err)
		}
		if strings.TrimSpace(frame.Data) == schema.DoneMark {
			continue
		}
		event, err := schema.ParseEvent([]byte(frame.Data))
		if err != nil {
			return finalError{err}
		}
		if event.SequenceNumber <= t.last {
			continue
		}
		if err := t.view.show(&event); err != nil {
			return finalError{err}
		}
		t.last, t.noted = event.SequenceNumber, false
		if event.Type.Terminal() {
			return nil
		}
	}
	return fmt.Errorf("connection lost behind event %d", t.last)
}
