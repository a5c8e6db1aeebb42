package broker

import (
	"context"
	"log/slog"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/midstream-dev/midstream/broker/embed"
	"github.com/midstream-dev/midstream/schema"
)

// refusals counts how often the servers refused our name.
type refusals struct{ n atomic.Int64 }

func (r *refusals) Enabled(context.Context, slog.Level) bool { return true }
func (r *refusals) WithAttrs([]slog.Attr) slog.Handler       { return r }
func (r *refusals) WithGroup(string) slog.Handler            { return r }

func (r *refusals) Handle(_ context.Context, rec slog.Record) error {
	rec.Attrs(func(a slog.Attr) bool {
		if strings.Contains(strings.ToLower(a.Value.String()), "authorization") {
			r.n.Add(1)
		}
		return true
	})
	return nil
}

// A node outlasts servers that refuse it for a while, as while a password is being changed: it does not give a connection up.
func TestBroker_OutlastsARefusal(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	s := mustServe(t, dir, "127.0.0.1:0")
	address := host(t, s)
	var refused refusals
	b := mustOpen(t, external(address), func(c *Config) { c.Logger = slog.New(&refused) })
	mustStop(t, s)
	other, err := embed.Start(embed.Config{
		Dir: dir, Sync: time.Minute, Listen: address, User: testUser, Password: "another", MaxPayload: schema.MaxPayload,
	})
	must(t, err)
	waitUntil(t, "each connection is refused again and again", func() bool { return refused.n.Load() >= 16 })
	mustStop(t, other)
	s = mustServe(t, dir, address)
	t.Cleanup(func() { mustStop(t, s) })
	waitUntil(t, "the node is back", func() bool { return b.Ready(testContext(t)) == nil })
	must(t, b.Enqueue(testContext(t), command("resp_after"), nil))
}
