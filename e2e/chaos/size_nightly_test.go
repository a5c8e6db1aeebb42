//go:build e2e && nightly

package chaos

import "time"

// How much each story does at night.
const (
	kills   = 500 // of any process
	cuts    = 200 // of the power
	pauses  = 60  // of a producer, each with a dozen runs
	weather = 200 // faults of every kind
	cancels = 250 // kills under cancels
	appends = 2000

	everyMutant = true

	longestPause = time.Minute
)
