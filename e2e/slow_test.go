//go:build e2e && linux

package e2e

import (
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/http/httptest"
	"os"
	"strings"
	"sync"
	"syscall"
	"testing"
)

// slowReaders is how many do not read; slowBytes is what each may cost at most, the kernel's memory included.
const (
	slowReaders    = 600
	healthyReaders = 20
	slowBytes      = 200 << 10
)

// downpour is a model server that says a word, waits until it is opened, and says 1 MiB.
type downpour struct{ *dam }

func newDownpour(t *testing.T) *downpour {
	t.Helper()
	f := &downpour{&dam{gate: make(chan struct{})}}
	server := httptest.NewServer(f)
	t.Cleanup(server.Close)
	t.Cleanup(f.open)
	f.url = server.URL
	return f
}

func (f *downpour) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	w.Header().Set("Content-Type", "text/event-stream")
	flush := http.NewResponseController(w).Flush
	text := strings.Repeat("x", 4<<10) // every other one
	for i := range 512 {
		chunk(w, map[string]any{"role": "assistant", "content": text[:1+i%2*(4<<10-1)]}, nil)
		if flush() != nil {
			return
		}
		if i > 0 {
			continue
		}
		select {
		case <-f.gate:
		case <-r.Context().Done():
			return
		}
	}
	chunk(w, map[string]any{}, "stop")
	fmt.Fprint(w, "data: [DONE]\n\n")
}

// TestSlowReaders promises that readers who do not read cost little, and slow nobody: neither the run nor its other readers,
// who have it all while those are still held; that they are cut, and may go on where they were.
func TestSlowReaders(t *testing.T) {
	warm, f := newDownpour(t), newDownpour(t)
	g := serve(t, fmt.Sprintf(`
upstreams:
  - {name: warm, dialect: chat, base_url: %q, models: [warm]}
  - {name: flood, dialect: chat, base_url: %q, models: [flood]}
`, warm.url, f.url))
	begun(t, g, "warm").all(t, g, warm, nil) // what any response costs is no reader's

	client := begun(t, g, "flood")
	slow := attach(t, g, client, slowReaders, smallClient(t))
	before := held(t, g)
	var after float64
	client.all(t, g, f, func() { after = held(t, g) })
	each := (after - before) / slowReaders
	t.Logf("a reader that does not read holds %.0f KiB", each/1024)
	if each > slowBytes {
		t.Errorf("a reader that does not read holds %.0f bytes, bound %d", each, slowBytes)
	}
	eventually(t, "those who do not read are cut", func() bool {
		return g.metrics(t)[`midstream_streams_aborted_total{reason="slow"}`] >= slowReaders
	})
	last := slow[len(slow)-1]
	if err := last.rest(); err == nil || errors.Is(err, io.EOF) {
		t.Fatalf("a reader that was cut ended with %v, want an abort", err)
	}
	last.via = nil
	last.resume(t, g.url)
	last.finish(t, g)
}

// begun has a response's first word.
func begun(t *testing.T, g *gateway, model string) *wire {
	t.Helper()
	client := &wire{}
	client.post(t, g.url, model, "Rain.")
	client.until(t, 1)
	return client
}

// all opens the flood and has some readers hear all of it; then is called before anything is closed.
func (w *wire) all(t *testing.T, g *gateway, f *downpour, then func()) {
	t.Helper()
	healthy := attach(t, g, w, healthyReaders, nil)
	f.open()
	ends := make([]error, len(healthy))
	var reading sync.WaitGroup
	for i, h := range healthy {
		reading.Go(func() { ends[i] = h.rest() })
	}
	reading.Go(func() { _ = w.rest() })
	reading.Wait()
	if then != nil {
		then()
	}
	for _, err := range ends {
		if err != io.EOF {
			t.Errorf("a healthy reader's stream ended with %v", err)
		}
	}
}

// attach opens more streams of a response, from behind what one client has read.
func attach(t *testing.T, g *gateway, first *wire, n int, via *http.Client) []*wire {
	t.Helper()
	all := make([]*wire, n)
	for i := range all {
		all[i] = &wire{id: first.id, last: first.last, frames: append([]byte(nil), first.frames...), via: via}
		all[i].resume(t, g.url)
	}
	return all
}

// smallClient has small buffers of the kernel's: what its own end holds is no cost of the gateway's.
func smallClient(t *testing.T) *http.Client {
	d := net.Dialer{Control: func(_, _ string, c syscall.RawConn) (err error) {
		failed := c.Control(func(fd uintptr) {
			err = syscall.SetsockoptInt(int(fd), syscall.SOL_SOCKET, syscall.SO_RCVBUF, 16<<10)
		})
		return errors.Join(err, failed)
	}}
	transport := &http.Transport{DialContext: d.DialContext}
	t.Cleanup(transport.CloseIdleConnections)
	return &http.Client{Transport: transport}
}

// held is what a gateway and the kernel's TCP hold: the detector of races makes the resident memory of a test's binary
// another's, so it is the Go heap and stacks that count here. e2e/bench measures the real one.
func held(t *testing.T, g *gateway) float64 {
	t.Helper()
	m := g.metrics(t)
	return m["go_memstats_heap_inuse_bytes"] + m["go_memstats_stack_inuse_bytes"] + kernel(t)
}

// kernel is the memory of all TCP sockets of this machine, in bytes.
func kernel(t *testing.T) float64 {
	t.Helper()
	text, err := os.ReadFile("/proc/net/sockstat")
	if err != nil {
		t.Fatal(err)
	}
	_, rest, _ := strings.Cut(string(text), "TCP: ")
	var inuse, orphan, tw, alloc, mem float64
	if _, err := fmt.Sscanf(rest, "inuse %f orphan %f tw %f alloc %f mem %f", &inuse, &orphan, &tw, &alloc, &mem); err != nil {
		t.Fatalf("read sockets: %v in %q", err, text)
	}
	return mem * float64(os.Getpagesize())
}
