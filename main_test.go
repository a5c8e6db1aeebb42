package main

import (
	"bytes"
	"context"
	"flag"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"

	"github.com/google/go-cmp/cmp"
	"go.uber.org/goleak"
)

var update = flag.Bool("update", false, "write golden files anew")

func TestMain(m *testing.M) {
	for _, name := range []string{"OPENAI_API_KEY", "OPENAI_BASE_URL", "OTEL_EXPORTER_OTLP_ENDPOINT"} {
		if err := os.Unsetenv(name); err != nil {
			panic(err)
		}
	}
	goleak.VerifyTestMain(m)
}

// command runs the command line to its end and returns what it wrote.
func runCommand(t *testing.T, args ...string) (code int, stdout, stderr string) {
	t.Helper()
	var out, errs buffer
	code = run(t.Context(), process{args, &out, &errs})
	return code, out.String(), errs.String()
}

// buffer is a bytes.Buffer that a command may write to while a test reads.
type buffer struct {
	mu   sync.Mutex
	text bytes.Buffer
}

func (b *buffer) Write(p []byte) (int, error) {
	b.mu.Lock()
	defer b.mu.Unlock()
	return b.text.Write(p)
}

func (b *buffer) String() string {
	b.mu.Lock()
	defer b.mu.Unlock()
	return b.text.String()
}

// golden compares with a file, which -update writes.
func golden(t *testing.T, file, got string) {
	t.Helper()
	if *update {
		if err := os.WriteFile(file, []byte(got), 0o644); err != nil {
			t.Fatal(err)
		}
	}
	want, err := os.ReadFile(file)
	if err != nil {
		t.Fatal(err)
	}
	if diff := cmp.Diff(string(want), got); diff != "" {
		t.Errorf("%s is not what the code says (-file +code); `make generate` writes it:\n%s", file, diff)
	}
}

// TestUsage promises that --help says what the golden files show, and succeeds.
func TestUsage(t *testing.T) {
	for _, args := range [][]string{{}, {"serve"}, {"doctor"}, {"tail"}, {"version"}} {
		name := strings.Join(append([]string{"midstream"}, args...), "-")
		t.Run(name, func(t *testing.T) {
			code, stdout, stderr := runCommand(t, append(args, "--help")...)
			if code != exitOK || stderr != "" {
				t.Errorf("exit code %d, stderr %q", code, stderr)
			}
			golden(t, filepath.Join("testdata", "usage", name+".txt"), stdout)
		})
	}
}

// TestUsage_Wrong promises that a wrong command line is told with exit code 2, and nothing is started.
func TestUsage_Wrong(t *testing.T) {
	for _, c := range []struct {
		args []string
		want string
	}{
		{nil, "midstream serve  "},
		{nil, "midstream tail <response-id>  "},
		{nil, "midstream doctor  "},
		{[]string{"help", "audit"}, "unexpected argument audit"},
		{[]string{"audit"}, "unexpected argument audit"},
		{[]string{"serve", "--nope"}, "unknown flag --nope"},
		{[]string{"serve", "--roles=cook"}, "--roles"},
		{[]string{"serve", "--nats.sync=sometimes"}, `"sometimes" is neither always nor a duration`},
		{[]string{"serve", "--limits.body=much"}, `"much" is not a size`},
		{[]string{"serve", "--listen=0.0.0.0:0"}, "insecure_listen"},
		{[]string{"serve", "--config=testdata/absent.yaml"}, "testdata/absent.yaml"},
		{[]string{"doctor", "--nats.url=nats://127.0.0.1:1"}, "nats.secret_key"},
		{[]string{"tail"}, "response-id"},
		{[]string{"tail", "resp_1", "--from=-1"}, "--from"},
		{[]string{"tail", "resp_1", "--server=ftp://127.0.0.1:1"}, "neither http://"},
		{[]string{"tail", "resp_1", "--server=http://u:secret@[::1"}, "neither a URL nor host:port"},
		{[]string{"tail", "resp_1", "--server="}, "--server"},
	} {
		code, stdout, stderr := runCommand(t, c.args...)
		if code != exitUsage || stdout != "" || !strings.Contains(stderr, c.want) {
			t.Errorf("midstream %s: exit code %d, stdout %q, stderr %q; want 2 and %q",
				strings.Join(c.args, " "), code, stdout, stderr, c.want)
		}
	}
}

// TestUsage_Help promises that help is --help, of each command too.
func TestUsage_Help(t *testing.T) {
	for _, args := range [][]string{{}, {"tail"}} {
		_, want, _ := runCommand(t, append(args, "--help")...)
		if code, stdout, stderr := runCommand(t, append([]string{"help"}, args...)...); code != exitOK || stdout != want || stderr != "" {
			t.Errorf("help %s: exit code %d, stdout %q, stderr %q", args, code, stdout, stderr)
		}
	}
}

// TestVersion promises one line, from the command and from the flag, with what the build has stamped.
func TestVersion(t *testing.T) {
	for _, arg := range []string{"version", "--version"} {
		code, stdout, stderr := runCommand(t, arg)
		if code != exitOK || stdout != "midstream "+version()+"\n" || stderr != "" {
			t.Errorf("%s: exit code %d, %q, %q", arg, code, stdout, stderr)
		}
	}
	defer func(before string) { stamped = before }(stamped)
	if stamped = ""; version() == "" {
		t.Error("no version without a stamp")
	}
	if stamped = "v1.2.3-4-gabcdef0"; version() != stamped {
		t.Errorf("version %s", version())
	}
}

// background runs the command line beside the test, which ends it by cancel and reads its exit code.
type background struct {
	cancel      context.CancelFunc
	code        chan int
	out, errors buffer
}

func start(t *testing.T, args ...string) *background {
	t.Helper()
	ctx, cancel := context.WithCancel(t.Context())
	b := &background{cancel: cancel, code: make(chan int, 1)}
	go func() { b.code <- run(ctx, process{args, &b.out, &b.errors}) }()
	return b
}

func (b *background) stop() int {
	b.cancel()
	return <-b.code
}
