//go:build e2e && !nightly

package chaos

import "time"

// How much each story does in CI.
const (
	kills   = 40 // kill -9 of any process
	runs    = 0  // under those, at least
	resumes = 2000
	cuts    = 1 // of the power
	pauses  = 4 // of a producer
	weather = 6 // faults of every kind
	deploys = 4 // restarts
	cancels = 40
	appends = 200 // a log

	tags         = "e2e"
	everyMutant  = false
	longestPause = 5 * time.Second
)
