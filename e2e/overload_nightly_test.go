//go:build e2e && nightly

package e2e

import "testing"

// TestOverload_Long is TestOverload for minutes.
func TestOverload_Long(t *testing.T) {
	overload(t, 10*(overloadRuns+overloadQueued), 500)
}
