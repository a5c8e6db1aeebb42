//go:build e2e && nightly

package chaos

import "time"

// How much each story does at night.
const (
	kills   = 500    // kill -9 of any process
	runs    = 10_000 // under those, at least; every second one calls tools
	resumes = 40_000
	cuts    = 200 // of the power
	pauses  = 60  // of a producer, each of about a dozen runs
	weather = 100 // faults of every kind
	deploys = 40  // restarts
	cancels = 1000
	appends = 1500 // a log

	tags         = "e2e nightly"
	everyMutant  = true
	longestPause = time.Minute
)
