package embed_test

import (
	"context"
	"errors"
	"net"
	"strings"
	"testing"
	"time"

	"github.com/nats-io/nats.go"
	"go.uber.org/goleak"

	"github.com/midstream-dev/midstream/broker/embed"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

func within(tb testing.TB) context.Context {
	ctx, cancel := context.WithTimeout(context.Background(), time.Minute)
	tb.Cleanup(cancel)
	return ctx
}

func must(tb testing.TB, err error) {
	tb.Helper()
	if err != nil {
		tb.Fatal(err)
	}
}

// The default server calls fsync before every acknowledgement, opens no port, and is gone when Stop returns.
func TestServer_Default(t *testing.T) {
	t.Parallel()
	s, err := embed.Start(embed.Config{Dir: t.TempDir(), MaxPayload: 8 << 20})
	must(t, err)
	every, err := s.Sync()
	must(t, err)
	if every != 0 {
		t.Errorf("fsync every %s", every)
	}
	must(t, s.Check())
	nc, err := nats.Connect("", nats.InProcessServer(s))
	must(t, err)
	if n := nc.MaxPayload(); n != 8<<20 {
		t.Errorf("takes %d bytes", n)
	}
	nc.Close()
	must(t, s.Stop(within(t)))
	if err := s.Check(); err == nil {
		t.Error("healthy after Stop")
	}
}

// A server that listens asks for the password.
func TestServer_Listening(t *testing.T) {
	t.Parallel()
	if _, err := embed.Start(embed.Config{Dir: t.TempDir(), Listen: "127.0.0.1:0"}); err == nil || !strings.Contains(err.Error(), "password") {
		t.Errorf("listening without a password: %v", err)
	}
	s, err := embed.Start(embed.Config{Dir: t.TempDir(), Listen: "127.0.0.1:0", User: "u", Password: "p", Sync: time.Second})
	must(t, err)
	t.Cleanup(func() { must(t, s.Stop(context.Background())) })
	if nc, err := nats.Connect(s.URL()); !errors.Is(err, nats.ErrAuthorization) {
		nc.Close()
		t.Errorf("connected without a password: %v", err)
	}
	nc, err := nats.Connect(s.URL(), nats.UserInfo("u", "p"))
	must(t, err)
	nc.Close()
}

// A listen address that is none, and a missing directory, are refused with what is wrong.
func TestServer_RefusesBadSettings(t *testing.T) {
	t.Parallel()
	for want, cfg := range map[string]embed.Config{
		"data directory": {},
		"listen address": {Dir: t.TempDir(), Listen: "nowhere", User: "u", Password: "p"},
		"port":           {Dir: t.TempDir(), Listen: net.JoinHostPort("127.0.0.1", "70000"), User: "u", Password: "p"},
	} {
		if _, err := embed.Start(cfg); err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("want %q: %v", want, err)
		}
	}
}
