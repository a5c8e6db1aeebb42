//go:build e2e

package rig

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"math/rand/v2"
	"net/http"
	"regexp"
	"strconv"
	"strings"
	"time"

	"github.com/midstream-dev/midstream/e2e/chaos/check"
)

// silence is how long a client waits for any byte; nodes send a comment every second. answer is for the first one: a create
// waits for the log.
const (
	silence = 8 * time.Second
	answer  = 40 * time.Second
	again   = 100 * time.Millisecond // between two tries
)

// Client posts one script and follows its response to the end. It belongs to one goroutine.
type Client struct {
	Script   Script
	Gateways []string // URLs
	Dice     *rand.Rand
	Cut      int // bytes after which it loses its connection, on average; 0 for never
	HTTP     *http.Client
	Created  func(response string) // is called once the response is known
	Event    func()                // is called for each event

	account check.Account
	partial []byte    // of a frame
	heard   time.Time // when the last frame came, over all connections
	patient int       // the mean doubles with each connection that was cut before a whole frame had come: the last frame is the longest
}

var idLine = regexp.MustCompile(`\nid: (\d+)\n\n$`)
var responseID = regexp.MustCompile(`"id":"(resp_[0-9a-f]+)"`)

// Run returns what the client was told. It ends with the terminal event, with a fault, or with ctx.
func (c *Client) Run(ctx context.Context) check.Account {
	c.account = check.Account{Run: c.Script.Run, Text: c.Script.Text(), Next: 0}
	for !c.account.Ended && len(c.account.Faults) == 0 && ctx.Err() == nil {
		if c.connect(ctx) {
			continue
		}
		timer := time.NewTimer(again)
		select {
		case <-timer.C:
		case <-ctx.Done():
			timer.Stop()
		}
	}
	return c.account
}

// connect makes one request, and reads what it gives. It reports whether there was anything.
func (c *Client) connect(parent context.Context) bool {
	ctx, cancel := context.WithCancel(parent)
	defer cancel()
	watch := time.AfterFunc(answer, cancel)
	defer watch.Stop()
	req, err := c.request(ctx)
	if err != nil {
		c.faultf("make a request: %v", err)
		return false
	}
	c.account.Requests++
	asked := time.Now()
	resp, err := c.HTTP.Do(req)
	if err != nil {
		return false
	}
	defer resp.Body.Close()
	if resp.StatusCode != http.StatusOK {
		c.refused(resp)
		return false
	}
	watch.Reset(silence)
	return c.read(resp.Body, watch, asked)
}

// request is a create as long as nothing is known, under one key; then the rest of the stream.
func (c *Client) request(ctx context.Context) (*http.Request, error) {
	gateway := c.Gateways[c.Dice.IntN(len(c.Gateways))]
	if c.account.Next > 0 {
		req, err := http.NewRequestWithContext(ctx, http.MethodGet, gateway+"/v1/responses/"+c.account.Response+"?stream=true", nil)
		if err == nil {
			req.Header.Set("Last-Event-ID", strconv.FormatInt(c.account.Next-1, 10))
		}
		return req, err
	}
	tools := ""
	if c.Script.Calls > 0 {
		tools = `,"tools":[{"type":"mcp","server_label":"bank","require_approval":"never"}]`
	}
	body := fmt.Sprintf(`{"model":"script","stream":true,"input":%q%s}`, c.Script.input(), tools)
	req, err := http.NewRequestWithContext(ctx, http.MethodPost, gateway+"/v1/responses", strings.NewReader(body))
	if err == nil {
		req.Header.Set("Content-Type", "application/json")
		req.Header.Set("Idempotency-Key", c.Script.Run)
	}
	return req, err
}

// refused tells a refusal that a client may try again from one that it must not get.
func (c *Client) refused(resp *http.Response) {
	text, _ := io.ReadAll(io.LimitReader(resp.Body, 600))
	if resp.StatusCode >= 500 || resp.StatusCode == http.StatusTooManyRequests {
		return
	}
	c.faultf("%s behind event %d of %s: %s", resp.Status, c.account.Next-1, c.account.Response, text)
}

func (c *Client) faultf(format string, args ...any) {
	c.account.Faults = append(c.account.Faults, fmt.Sprintf(format, args...))
}

// read takes bytes until the connection ends, or is cut on purpose, which may be in the middle of anything.
func (c *Client) read(body io.Reader, watch *time.Timer, asked time.Time) bool {
	c.partial = c.partial[:0]
	budget := 1 << 30
	if c.Cut > 0 {
		budget = 1 + int(c.Dice.ExpFloat64()*float64(c.Cut<<c.patient))
		c.patient = min(c.patient+1, 16)
	}
	first, resumed := true, c.account.Next > 0
	buf := make([]byte, 4096)
	for budget > 0 && !c.account.Ended && len(c.account.Faults) == 0 {
		n, err := body.Read(buf[:min(len(buf), budget)])
		budget -= n
		if n > 0 {
			watch.Reset(silence)
			if c.take(buf[:n]) {
				c.patient = 0
				if resumed && first {
					c.account.Resumes = append(c.account.Resumes, time.Since(asked))
				}
				first = false
			}
		}
		if errors.Is(err, io.EOF) && !c.account.Ended {
			c.faultf("the stream of %s ended cleanly behind event %d, which is not the last", c.account.Response, c.account.Next-1)
		}
		if err != nil {
			return !first
		}
	}
	return true
}

// take adds bytes to what was got, and reports whether a whole frame was among them.
func (c *Client) take(data []byte) (whole bool) {
	c.partial = append(c.partial, data...)
	for {
		end := bytes.Index(c.partial, []byte("\n\n"))
		if end < 0 {
			return whole
		}
		frame := c.partial[:end+2]
		c.frame(frame)
		whole = whole || frame[0] != ':'
		c.partial = append([]byte{}, c.partial[end+2:]...)
	}
}

var doneFrame = []byte("data: [DONE]\n\n")

// frame takes one whole frame or comment, or the mark behind the last one.
func (c *Client) frame(frame []byte) {
	if frame[0] == ':' || c.account.Ended && bytes.Equal(frame, doneFrame) {
		return
	}
	id := idLine.FindSubmatch(frame)
	if id == nil {
		c.faultf("a frame without id: %.300s", frame)
		return
	}
	if n, _ := strconv.ParseInt(string(id[1]), 10, 64); n != c.account.Next {
		c.faultf("event %d of %s where %d is due", n, c.account.Response, c.account.Next)
		return
	}
	if c.account.Next == 0 {
		c.account.Response = string(responseID.FindSubmatch(frame)[1])
		if c.Created != nil {
			c.Created(c.account.Response)
		}
	}
	now := time.Now()
	if !c.heard.IsZero() {
		c.account.Stall = max(c.account.Stall, now.Sub(c.heard))
	}
	c.heard = now
	c.account.Frames = append(c.account.Frames, frame...)
	c.account.Next++
	c.Event()
	c.account.Seen(bytes.HasPrefix(frame, []byte("event: response.completed\n")) ||
		bytes.HasPrefix(frame, []byte("event: response.failed\n")) || bytes.HasPrefix(frame, []byte("event: response.incomplete\n")))
}
