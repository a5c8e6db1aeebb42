//go:build e2e

package e2e

import (
	"context"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"testing"
	"time"
)

// What of an answer must be as /openapi.yaml says. That a request which is not as it says must be refused is left out: what is
// not known inside of objects is the upstream's to judge, and query parameters that are not known are ignored.
const openAPIChecks = "not_a_server_error,status_code_conformance,content_type_conformance,response_headers_conformance," +
	"response_schema_conformance,unsupported_method,allow_header_conformance"

// TestOpenAPI promises that what the binary answers to requests that schemathesis makes up, good and bad ones, is what its
// own description says: no 5xx, no status, type, header or body that is not there. Streams are read to their end: the demo
// model's always come to one.
func TestOpenAPI(t *testing.T) { testOpenAPI(t, 40*time.Second, 15) }

// testOpenAPI lets schemathesis ask for so long, with so many examples an operation.
func testOpenAPI(t *testing.T, limit time.Duration, examples int) {
	g := serve(t, "")
	program, err := filepath.Abs(".venv/bin/schemathesis")
	if err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithTimeout(context.Background(), limit+time.Minute)
	defer cancel()
	cmd := exec.CommandContext(ctx, program, "run", g.url+"/openapi.yaml", "--checks", openAPIChecks, "--no-color",
		"--seed=1", "--generation-database=none", "--request-timeout=20",
		fmt.Sprintf("--max-examples=%d", examples), fmt.Sprintf("--max-time=%d", int(limit.Seconds())))
	cmd.Dir = t.TempDir() // it leaves files where it works
	cmd.Env = append(os.Environ(), "HOME="+cmd.Dir)
	out, err := cmd.CombinedOutput()
	if err != nil {
		t.Errorf("schemathesis: %v\n%s", err, tail(string(out), 16<<10))
	}
}
