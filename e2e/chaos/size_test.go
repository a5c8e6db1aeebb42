//go:build e2e && !nightly

package chaos

import "time"

// How much each story does in CI.
const (
	kills   = 40 // of any process
	cuts    = 1  // of the power
	pauses  = 4  // of a producer
	weather = 8  // faults of every kind
	cancels = 12 // kills under cancels
	appends = 400

	everyMutant = false

	longestPause = 5 * time.Second
)
