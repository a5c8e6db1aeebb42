package broker

import (
	"context"
	"errors"
	"io/fs"
	"log/slog"
	"net"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/nats-io/nats.go/jetstream"

	"github.com/midstream-dev/midstream/broker/embed"
	"github.com/midstream-dev/midstream/schema"
)

func refusal(tb testing.TB, cfg Config) string {
	tb.Helper()
	b, err := Open(testContext(tb), cfg)
	if err == nil {
		must(tb, b.Close(context.Background()))
		tb.Fatal("opened")
	}
	return err.Error()
}

// told counts what is logged, by its text.
type told struct {
	mu    sync.Mutex
	lines map[string]int
}

func (l *told) Enabled(context.Context, slog.Level) bool { return true }
func (l *told) WithAttrs([]slog.Attr) slog.Handler       { return l }
func (l *told) WithGroup(string) slog.Handler            { return l }

func (l *told) Handle(_ context.Context, r slog.Record) error {
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.lines == nil {
		l.lines = map[string]int{}
	}
	l.lines[r.Message]++
	return nil
}

func (l *told) count(text string) int {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.lines[text]
}

// freeAddress is one on which nobody listens.
func freeAddress(tb testing.TB) string {
	tb.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	must(tb, err)
	must(tb, l.Close())
	return l.Addr().String()
}

// The number of partitions is fixed by the first start: a later one takes it over, and refuses another with what to do.
func TestOpen_PartitionsAreForEver(t *testing.T) {
	t.Parallel()
	cfg := Config{DataDir: t.TempDir(), SyncInterval: time.Minute, Partitions: 3}
	b, err := Open(testContext(t), cfg)
	must(t, err)
	must(t, b.Close(context.Background()))

	other := cfg
	other.Partitions = 4
	if text := refusal(t, other); !strings.Contains(text, "set partitions to 3") {
		t.Error(text)
	}
	cfg.Partitions, cfg.LogAge = 0, time.Hour
	b, err = Open(testContext(t), cfg)
	must(t, err)
	defer b.Close(context.Background())
	if b.partitions != 3 {
		t.Errorf("%d partitions", b.partitions)
	}
	s, err := b.js.Stream(testContext(t), logStream+"0")
	must(t, err)
	if age := s.CachedInfo().Config.MaxAge; age != time.Hour {
		t.Errorf("the age was not changed: %s", age)
	}
	must(t, b.Ready(testContext(t)))
}

// A stream that acknowledges before it stores is refused.
func TestOpen_RefusesAsyncPersistence(t *testing.T) {
	t.Parallel()
	s := mustServe(t, t.TempDir(), "127.0.0.1:0")
	t.Cleanup(func() { mustStop(t, s) })
	b := mustOpen(t, external(host(t, s)))
	must(t, b.js.DeleteStream(testContext(t), logStream+"1"))
	weak := b.cfg.streams(b.partitions)[2]
	weak.PersistMode = jetstream.AsyncPersistMode
	_, err := b.js.CreateStream(testContext(t), weak)
	must(t, err)
	if text := refusal(t, b.cfg); !strings.Contains(text, "persist mode async") {
		t.Error(text)
	}
}

// A server that cannot carry the largest record is refused, and so is a setting that means nothing.
func TestOpen_RefusesWhatCannotWork(t *testing.T) {
	t.Parallel()
	key := make([]byte, keyBytes)
	for want, cfg := range map[string]Config{
		"neither a NATS URL nor a data directory": {},
		"common secret key":                       {URL: "nats://127.0.0.1:1"},
		"settings of the embedded server":         {URL: "nats://127.0.0.1:1", SecretKey: key, Listen: ":1"},
		"not 32":                                  {DataDir: t.TempDir(), SecretKey: key[:5]},
		"cannot keep a job":                       {DataDir: t.TempDir(), AckWait: time.Second, Heartbeat: time.Second},
		"partitions":                              {DataDir: t.TempDir(), Partitions: 1000},
		"needs a user and a password":             {DataDir: t.TempDir(), Listen: "127.0.0.1:0"},
	} {
		if text := refusal(t, cfg); !strings.Contains(text, want) {
			t.Errorf("want %q: %s", want, text)
		}
	}
}

// Servers and nodes may start together: a node waits for servers that are not there yet, says so once, and gives up with the end of
// its context. Who does not let it in is not waited for.
func TestOpen_WaitsForServers(t *testing.T) {
	t.Parallel()
	address, log := freeAddress(t), &told{}
	cfg := Config{
		URL: "nats://" + address, User: testUser, Password: testPassword, SecretKey: make([]byte, keyBytes), Partitions: 1,
		Logger: slog.New(log),
	}
	ctx, cancel := context.WithCancel(testContext(t))
	gone := make(chan error)
	go func() {
		_, err := Open(ctx, cfg)
		gone <- err
	}()
	waitUntil(t, "it waits", func() bool { return log.count("nats cannot be reached, waiting") == 1 })
	cancel()
	if err := <-gone; err == nil || !strings.Contains(err.Error(), "connect to NATS nats://"+address) {
		t.Errorf("given up with %v", err)
	}

	type opened struct {
		b   *Broker
		err error
	}
	come := make(chan opened)
	go func() {
		b, err := Open(testContext(t), cfg)
		come <- opened{b, err}
	}()
	waitUntil(t, "it waits again", func() bool { return log.count("nats cannot be reached, waiting") == 2 })
	s, err := embed.Start(embed.Config{
		Dir: t.TempDir(), Sync: time.Minute, Listen: address, User: testUser, Password: testPassword, MaxPayload: schema.MaxPayload,
	})
	must(t, err)
	t.Cleanup(func() { must(t, s.Stop(context.Background())) })
	got := <-come
	must(t, got.err)
	t.Cleanup(func() { must(t, got.b.Close(context.Background())) })

	cfg.Password = "wrong"
	if text := refusal(t, cfg); !strings.Contains(text, "Authorization Violation") {
		t.Error(text)
	}
}

// Sync tells the truth: the embedded server's own setting, the weakest of monitored servers, else that it is not known.
func TestOpen_TellsWhenItSyncs(t *testing.T) {
	t.Parallel()
	always := mustOpen(t, func(c *Config) { c.SyncInterval = 0 })
	lazy := mustOpen(t, func(c *Config) { c.SyncInterval = time.Second })
	if always.Sync() != "always" || lazy.Sync() != "1s" {
		t.Errorf("sync %q and %q", always.Sync(), lazy.Sync())
	}
	monitor := func(config string) string {
		s := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
			w.Write([]byte(`{"server_id":"x","jetstream":{"config":` + config + `}}`))
		}))
		t.Cleanup(s.Close)
		return s.URL
	}
	strict, weak := monitor(`{"sync_always":true,"sync_interval":120000000000}`), monitor(`{"sync_interval":120000000000}`)
	for want, monitors := range map[string][]string{"always": {strict}, "2m0s": {strict, weak}, "unknown": nil} {
		got, err := syncOf(testContext(t), Config{Monitor: monitors}, nil)
		must(t, err)
		if got != want {
			t.Errorf("sync %q, not %q", got, want)
		}
	}
}

// Every method refuses a ref that was not made by NewRef: it would be a subject with empty tokens.
func TestBroker_RefusesTheZeroRef(t *testing.T) {
	t.Parallel()
	b := mustOpen(t)
	if _, err := b.Read(testContext(t), schema.Ref{}); err == nil {
		t.Error("read")
	}
	if err := b.Begin(testContext(t), schema.Record{}, schema.Ref{}); err == nil {
		t.Error("begin")
	}
	if err := b.Enqueue(testContext(t), &schema.Command{Tenant: "t1", Response: "a.>"}, nil); err == nil {
		t.Error("enqueue")
	}
	if _, err := (source{b}).Live(schema.Ref{}, nil); err == nil {
		t.Error("live")
	}
	if _, err := (source{b}).Tip(testContext(t), schema.Ref{}); err == nil {
		t.Error("tip")
	}
}

// A secret is nowhere on the disk, neither while its job waits nor after, and opens for its own response only.
func TestSecrets_NeverStored(t *testing.T) {
	t.Parallel()
	const canary = "canary-7f3a9b"
	dir := t.TempDir()
	b := mustOpen(t, func(c *Config) { c.DataDir, c.SyncInterval = dir, 0 })
	must(t, b.Enqueue(testContext(t), command("resp_secret"), []byte(canary)))
	search(t, dir, canary)
	if !search(t, dir, "resp_secret") {
		t.Error("the response is not on the disk either: this test shows nothing")
	}
	job, err := b.Claim(testContext(t))
	must(t, err)
	if string(job.Secrets) != canary {
		t.Errorf("secrets %q", job.Secrets)
	}
	must(t, job.Ack(testContext(t)))
	search(t, dir, canary)
	sealed := b.vault.seal(mustRef(t, "resp_secret"), []byte(canary))
	if _, err := b.vault.open(mustRef(t, "resp_other"), sealed); err == nil {
		t.Error("secrets of one response open for another")
	}
	info, err := os.Stat(filepath.Join(dir, keyFile))
	must(t, err)
	if info.Mode().Perm() != 0o600 {
		t.Errorf("key file is %s", info.Mode())
	}
}

// search fails on the canary; it reports whether text is in any file of dir.
func search(tb testing.TB, dir, text string) (found bool) {
	tb.Helper()
	must(tb, filepath.WalkDir(dir, func(path string, d fs.DirEntry, err error) error {
		if err != nil || d.IsDir() {
			return err
		}
		data, err := os.ReadFile(path)
		if err == nil && strings.Contains(string(data), text) {
			found = true
			if strings.HasPrefix(text, "canary") {
				tb.Errorf("%s holds the secret", path)
			}
		}
		return nil
	}))
	return found
}

// Two processes on one data directory would destroy it: the second refuses to start, and the first is not disturbed.
func TestOpen_RefusesADirectoryInUse(t *testing.T) {
	t.Parallel()
	cfg := Config{DataDir: t.TempDir(), SyncInterval: time.Second, Partitions: 1}
	b, err := Open(testContext(t), cfg)
	must(t, err)
	if second, err := Open(testContext(t), cfg); !errors.Is(err, embed.ErrInUse) {
		t.Errorf("second start: %v, %v", second, err)
	}
	must(t, b.Ready(testContext(t)))
	must(t, b.Close(testContext(t)))
	b, err = Open(testContext(t), cfg)
	must(t, err)
	must(t, b.Close(testContext(t)))
}
