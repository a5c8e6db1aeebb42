//go:build e2e && nightly

package e2e

import (
	"testing"
	"time"
)

// TestOpenAPI_Long promises the same of many more requests.
func TestOpenAPI_Long(t *testing.T) { testOpenAPI(t, 10*time.Minute, 500) }
