//go:build e2e

package cluster_test

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"os"
	"strings"
	"testing"
	"time"

	"go.uber.org/goleak"

	"github.com/midstream-dev/midstream/e2e/cluster"
)

// shared is the cluster that every test breaks, one after the other, and leaves whole.
var shared *cluster.Cluster

// programs are what the tests run.
var programs struct{ midstream, nats string }

func TestMain(m *testing.M) {
	goleak.VerifyTestMain(run{m})
}

// run lets goleak look only after the cluster has ended.
type run struct{ tests *testing.M }

func (r run) Run() int {
	code, err := r.run()
	if err != nil {
		fmt.Fprintln(os.Stderr, err)
		return 1
	}
	return code
}

func (r run) run() (code int, err error) {
	defer http.DefaultClient.CloseIdleConnections()
	dir, err := os.MkdirTemp("", "midstream-cluster-")
	if err != nil {
		return 1, err
	}
	defer func() { err = errors.Join(err, os.RemoveAll(dir)) }()
	ctx, cancel := context.WithTimeout(context.Background(), 5*time.Minute)
	defer cancel()
	var err1, err2 error
	programs.midstream, err1 = cluster.BuildMidstream(ctx, "../..", dir, "-race")
	programs.nats, err2 = cluster.BuildNATS(ctx, "../..", dir)
	if err := errors.Join(err1, err2); err != nil {
		return 1, err
	}
	shared, err = cluster.Start(ctx, cluster.Config{Root: "../..", Dir: dir, Midstream: programs.midstream, NATS: programs.nats})
	if err != nil {
		return 1, err
	}
	code = r.tests.Run()
	return code, errors.Join(shared.Stop(), judge(shared.Members()))
}

// judge reads what the processes have written for what none of them may write.
func judge(members []*cluster.Member) error {
	var errs []error
	for _, m := range members {
		text, err := os.ReadFile(m.Log)
		errs = append(errs, err)
		for _, bad := range []string{"DATA RACE", "panic:", "fatal error:", "Permissions Violation"} {
			if at := strings.Index(string(text), bad); at >= 0 {
				errs = append(errs, fmt.Errorf("%s has written %q: %.4000s", m.Name, bad, text[max(0, at-200):]))
			}
		}
	}
	return errors.Join(errs...)
}

// patience is longer than an election takes on a busy machine.
const patience = 40 * time.Second

// eventually asks until there is no error, and fails the test when there is one for too long.
func eventually(t *testing.T, what string, ask func() error) {
	t.Helper()
	deadline := time.NewTimer(patience)
	defer deadline.Stop()
	tick := time.NewTicker(50 * time.Millisecond)
	defer tick.Stop()
	for {
		err := ask()
		if err == nil {
			return
		}
		select {
		case <-deadline.C:
			t.Fatalf("%s: not in %v: %v", what, patience, err)
		case <-tick.C:
		}
	}
}

func must(t *testing.T, err error) {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
}
