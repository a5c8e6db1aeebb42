//go:build e2e && nightly

package chaos

// How much each story does at night.
const (
	kills = 500 // of any process
	cuts  = 200 // of the power
)
