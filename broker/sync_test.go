package broker

import (
	"bytes"
	"fmt"
	"log/slog"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"
)

// The password of a monitoring address is in no error and no log, whatever is wrong with the address.
func TestWeakestSync_HidesPasswords(t *testing.T) {
	t.Parallel()
	for _, monitor := range []string{"http://user:CANARY@127.0.0.1:1", "http://user:CANARY@127.0.0.1:port", "ftp://user:CANARY@127.0.0.1"} {
		var logged bytes.Buffer
		_, err := weakestSync(testContext(t), slog.New(slog.NewTextHandler(&logged, nil)), []string{monitor})
		if said := fmt.Sprint(err) + logged.String(); strings.Contains(said, "CANARY") || (err == nil && logged.Len() == 0) {
			t.Error(said)
		}
	}
}

// A node starts while a server of the cluster is down, as it goes on when one fails: what cannot be seen is unknown, and
// what is seen to be no NATS server is a mistake.
func TestWeakestSync_ServerThatIsDown(t *testing.T) {
	t.Parallel()
	answer := func(body string) string {
		s := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) { _, _ = w.Write([]byte(body)) }))
		t.Cleanup(s.Close)
		return s.URL
	}
	always, down := answer(`{"jetstream":{"config":{"sync_always":true}}}`), "http://127.0.0.1:1"
	var logged bytes.Buffer
	log := slog.New(slog.NewTextHandler(&logged, nil))
	for want, monitors := range map[string][]string{
		"always": {always, always}, "2m0s": {always, answer(`{"jetstream":{"config":{"sync_interval":120000000000}}}`)},
	} {
		if got, err := weakestSync(testContext(t), log, monitors); got != want || err != nil || logged.Len() > 0 {
			t.Errorf("got %q, %v, want %q; logged %s", got, err, want, &logged)
		}
	}
	if got, err := weakestSync(testContext(t), log, []string{always, down}); got != "unknown" || err != nil {
		t.Errorf("with one server down: %q, %v", got, err)
	}
	if !strings.Contains(logged.String(), down) {
		t.Errorf("the log does not name the server that is down: %s", &logged)
	}
	if _, err := weakestSync(testContext(t), log, []string{down, answer(`{}`)}); err == nil {
		t.Error("an address that is no NATS server's was taken")
	}
}
