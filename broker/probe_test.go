package broker

import (
	"bytes"
	"context"
	"errors"
	"maps"
	"os"
	"path/filepath"
	"sync"
	"testing"
	"time"

	"github.com/midstream-dev/midstream/broker/embed"
)

func keyOf(n byte) []byte { return bytes.Repeat([]byte{n}, keyBytes) }

// keyed is a node of a cluster with that secret key, and others to open with.
func keyed(tb testing.TB, s *embed.Server, key byte, others ...byte) Config {
	tb.Helper()
	cfg := Config{Partitions: 2}
	external(host(tb, s))(&cfg)
	cfg.SecretKey = keyOf(key)
	for _, n := range others {
		cfg.OtherKeys = append(cfg.OtherKeys, keyOf(n))
	}
	return cfg
}

func mustOpenAndClose(tb testing.TB, cfg Config) {
	tb.Helper()
	b, err := Open(testContext(tb), cfg)
	must(tb, err)
	must(tb, b.Close(testContext(tb)))
}

func wantOtherKey(tb testing.TB, cfg Config) {
	tb.Helper()
	b, err := Open(testContext(tb), cfg)
	if err == nil {
		must(tb, b.Close(testContext(tb)))
	}
	if !errors.Is(err, errOtherKey) {
		tb.Errorf("opened with %v, want %v", err, errOtherKey)
	}
}

// A node with another key is refused before it has changed anything: it could not open what the others seal.
func TestOpen_RefusesAnotherKey(t *testing.T) {
	t.Parallel()
	s := mustServe(t, t.TempDir(), "127.0.0.1:0")
	t.Cleanup(func() { mustStop(t, s) })
	first := mustOpen(t, external(host(t, s)))
	other := keyed(t, s, 8)
	other.ArchiveAge = time.Hour
	wantOtherKey(t, other)
	stream, err := first.js.Stream(testContext(t), archiveStream+"0")
	must(t, err)
	if age := stream.CachedInfo().Config.MaxAge; age != DefaultArchiveAge {
		t.Errorf("the refused node has set the archive's age to %s", age)
	}
	mustOpenAndClose(t, keyed(t, s, 7))
}

// An embedded server whose key file is gone would make a new one, and close what the old one has sealed: it is refused, and
// opens again with the file that was there.
func TestOpen_RefusesALostKeyFile(t *testing.T) {
	t.Parallel()
	cfg := Config{DataDir: t.TempDir(), SyncInterval: time.Minute, Partitions: 1}
	mustOpenAndClose(t, cfg)
	file := filepath.Join(cfg.DataDir, keyFile)
	key, err := os.ReadFile(file)
	must(t, err)
	must(t, os.Remove(file))
	wantOtherKey(t, cfg)
	must(t, os.WriteFile(file, key, 0o600))
	mustOpenAndClose(t, cfg)
}

// A key is changed one node after the other: what the old one has sealed opens meanwhile, and once the new one seals, the old
// one alone is refused.
func TestOpen_ChangesTheKey(t *testing.T) {
	t.Parallel()
	s := mustServe(t, t.TempDir(), "127.0.0.1:0")
	t.Cleanup(func() { mustStop(t, s) })
	old := mustOpen(t, external(host(t, s)))
	must(t, old.Enqueue(testContext(t), command("resp_old_key"), []byte("sealed with the old key")))
	summary, err := old.Compaction("t1", "what was said")
	must(t, err)
	mustOpenAndClose(t, keyed(t, s, 7, 8))
	wantOtherKey(t, keyed(t, s, 8))

	b, err := Open(testContext(t), keyed(t, s, 8, 9, 7))
	must(t, err)
	defer b.Close(context.Background())
	job, err := b.Claim(testContext(t))
	must(t, err)
	if job.SecretsErr != nil || string(job.Secrets) != "sealed with the old key" {
		t.Errorf("secrets %q, %v", job.Secrets, job.SecretsErr)
	}
	if text, ours, err := b.Summary("t1", &summary); text != "what was said" || !ours || err != nil {
		t.Errorf("summary %q, %t, %v", text, ours, err)
	}
	mustOpenAndClose(t, keyed(t, s, 8))
	wantOtherKey(t, keyed(t, s, 7))
}

// A key that is lost is given up by a word of the operator's, which changes nothing later.
func TestOpen_GivesUpALostKey(t *testing.T) {
	t.Parallel()
	s := mustServe(t, t.TempDir(), "127.0.0.1:0")
	t.Cleanup(func() { mustStop(t, s) })
	mustOpenAndClose(t, keyed(t, s, 7))
	renewed := keyed(t, s, 8)
	renewed.RenewKey = true
	mustOpenAndClose(t, renewed)
	mustOpenAndClose(t, renewed)
	mustOpenAndClose(t, keyed(t, s, 8))
	wantOtherKey(t, keyed(t, s, 7))
}

// Streams of an earlier build have no probe: the next start puts one, and nothing else of theirs changes.
func TestOpen_PutsAProbeWhereThereIsNone(t *testing.T) {
	t.Parallel()
	s := mustServe(t, t.TempDir(), "127.0.0.1:0")
	t.Cleanup(func() { mustStop(t, s) })
	b := mustOpen(t, external(host(t, s)))
	stream, err := b.js.Stream(testContext(t), runStream)
	must(t, err)
	cfg := stream.CachedInfo().Config
	delete(cfg.Metadata, metaProbe)
	before := maps.Clone(cfg.Metadata)
	_, err = b.js.UpdateStream(testContext(t), cfg)
	must(t, err)
	mustOpenAndClose(t, keyed(t, s, 7))
	wantOtherKey(t, keyed(t, s, 8))
	stream, err = b.js.Stream(testContext(t), runStream)
	must(t, err)
	after := stream.CachedInfo().Config.Metadata
	if after[metaProbe] == "" {
		t.Error("no probe")
	}
	delete(after, metaProbe)
	if !maps.Equal(before, after) {
		t.Errorf("metadata %v, before %v", after, before)
	}
}

// A probe that is not one is another key's.
func TestVault_RefusesASpoiltProbe(t *testing.T) {
	t.Parallel()
	v, err := newVault(Config{SecretKey: keyOf(7)})
	must(t, err)
	for _, probe := range []string{"x", "AAAA", v.probe()[4:]} {
		if _, err := v.prove(probe, false); !errors.Is(err, errOtherKey) {
			t.Errorf("%q: %v", probe, err)
		}
	}
	if a, b := v.probe(), v.probe(); a == b {
		t.Error("two probes are the same: the nonce is not random")
	}
}

// Of nodes that start at once on an empty server, those with one key all open; of two keys, one is refused.
func TestOpen_FirstStartsAtOnce(t *testing.T) {
	t.Parallel()
	for name, keys := range map[string][]byte{"one key": {7, 7, 7}, "two keys": {7, 8}} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			s := mustServe(t, t.TempDir(), "127.0.0.1:0")
			t.Cleanup(func() { mustStop(t, s) })
			var starts sync.WaitGroup
			errs := make([]error, len(keys))
			for i, key := range keys {
				cfg := keyed(t, s, key)
				starts.Go(func() {
					b, err := Open(testContext(t), cfg)
					if errs[i] = err; err == nil {
						errs[i] = b.Close(context.Background())
					}
				})
			}
			starts.Wait()
			refused := 0
			for _, err := range errs {
				if errors.Is(err, errOtherKey) {
					refused++
				} else {
					must(t, err)
				}
			}
			if want := int(keys[len(keys)-1] - keys[0]); refused != want {
				t.Errorf("%d were refused, want %d: %v", refused, want, errs)
			}
		})
	}
}
