//go:build e2e && !nightly

package chaos

// How much each story does in CI.
const (
	kills = 40 // of any process
	cuts  = 3  // of the power
)
