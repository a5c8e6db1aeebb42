package main

import (
	"errors"
	"fmt"
	"net/http"
	"net/http/httptest"
	"os/exec"
	"strings"
	"testing"
)

// monitors is a server's page of its streams, with so many messages in the one that it has.
func monitors(t *testing.T, status, messages int, body string) string {
	t.Helper()
	s := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
		w.WriteHeader(status)
		if body == "" {
			body = fmt.Sprintf(`{"account_details":[{"stream_detail":[{"name":"MS_RUNS","state":{"messages":%d,"first_seq":1,"last_seq":9,"bytes":7}}]}]}`, messages)
		}
		fmt.Fprint(w, body)
	}))
	t.Cleanup(s.Close)
	return s.URL
}

// TestDeploy_Drift promises that drift.sh says that replicas are the same only where it has seen as much: exit code 1 is a
// difference, 2 that it cannot tell.
func TestDeploy_Drift(t *testing.T) {
	for _, tool := range []string{"sh", "curl", "jq", "diff"} {
		if _, err := exec.LookPath(tool); err != nil {
			t.Skipf("the script needs %s: %v", tool, err)
		}
	}
	two, alike, three := monitors(t, 200, 2, ""), monitors(t, 200, 2, ""), monitors(t, 200, 3, "")
	wrong, empty := monitors(t, 404, 2, ""), monitors(t, 200, 0, `{"account_details":null}`)
	down := httptest.NewServer(nil)
	down.Close()
	for name, c := range map[string]struct {
		addresses []string
		code      int
		says      string
	}{
		"the same":            {[]string{two, alike}, 0, ""},
		"different":           {[]string{two, alike, three}, 1, two + " and " + three + " differ"},
		"different, one away": {[]string{down.URL, two, three}, 1, two + " and " + three + " differ"},
		"the same, one away":  {[]string{two, down.URL, alike}, 2, "cannot read the streams of " + down.URL},
		"a page that is none": {[]string{two, wrong}, 2, "cannot read the streams of " + wrong},
		"a page without any":  {[]string{two, empty}, 2, "cannot read the streams of " + empty},
		"nobody":              {[]string{down.URL, wrong}, 2, "cannot read"},
		"one alone":           {[]string{two}, 2, "usage"},
		"no address":          {nil, 2, "usage"},
	} {
		out, err := exec.CommandContext(t.Context(), "sh", append([]string{"deploy/nats/drift.sh"}, c.addresses...)...).CombinedOutput()
		code := 0
		if exit := (*exec.ExitError)(nil); errors.As(err, &exit) {
			code = exit.ExitCode()
		} else if err != nil {
			t.Fatal(err)
		}
		if code != c.code || !strings.Contains(string(out), c.says) || c.code == 0 && len(out) > 0 {
			t.Errorf("%s: exit code %d, want %d with %q:\n%s", name, code, c.code, c.says, out)
		}
	}
}
