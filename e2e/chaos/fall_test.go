//go:build e2e

package chaos

import (
	"fmt"
	"runtime"
	"strings"
	"sync"
	"testing"
)

// recorder stands in for a test that must fail: it keeps what would have been said, and fails nobody.
type recorder struct {
	testing.TB

	mu    sync.Mutex
	said  []string
	fell  bool
	skips bool
	after []func()
}

// mustFall runs a story that must go red, and fails the test if it stays green. It returns what the story said.
func mustFall(t *testing.T, story func(r *recorder)) string {
	t.Helper()
	r := &recorder{TB: t}
	done := make(chan struct{})
	go func() { // FailNow ends the goroutine that it is called on
		defer close(done)
		defer r.clean()
		story(r)
	}()
	<-done
	said := strings.Join(r.said, "\n")
	switch {
	case r.skips:
		t.Skip(said)
	case !r.fell:
		t.Errorf("the story stayed green:\n%s", said)
	}
	return said
}

func (r *recorder) clean() {
	for len(r.after) > 0 {
		last := r.after[len(r.after)-1]
		r.after = r.after[:len(r.after)-1]
		last()
	}
}

func (r *recorder) note(fell bool, text string) {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.said, r.fell = append(r.said, text), r.fell || fell
}

func (r *recorder) Cleanup(f func())                  { r.after = append(r.after, f) }
func (r *recorder) Log(args ...any)                   { r.note(false, fmt.Sprint(args...)) }
func (r *recorder) Logf(format string, args ...any)   { r.note(false, fmt.Sprintf(format, args...)) }
func (r *recorder) Error(args ...any)                 { r.note(true, fmt.Sprint(args...)) }
func (r *recorder) Errorf(format string, args ...any) { r.note(true, fmt.Sprintf(format, args...)) }
func (r *recorder) Fatal(args ...any)                 { r.note(true, fmt.Sprint(args...)); runtime.Goexit() }
func (r *recorder) Fatalf(format string, args ...any) {
	r.note(true, fmt.Sprintf(format, args...))
	runtime.Goexit()
}

func (r *recorder) Skipf(format string, args ...any) {
	r.note(false, fmt.Sprintf(format, args...))
	r.skips = true
	runtime.Goexit()
}

func (r *recorder) Failed() bool {
	r.mu.Lock()
	defer r.mu.Unlock()
	return r.fell
}
