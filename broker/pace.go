package broker

import "time"

const (
	// quickAnswer is how long an append may take on servers that are not busy, fsync included.
	quickAnswer = 3 * time.Millisecond
	// maxFlushInterval bounds how long an event waits for others to share its record.
	maxFlushInterval = 100 * time.Millisecond
	// paceWeight is how much of the average the newest answer makes: an eighth.
	paceWeight = 8
)

// pace decides how long after an append the next one begins. Events that come meanwhile share the next record. While answers
// are quick that is at once; when they take longer, appends queue somewhere, and fewer and larger ones are served sooner: then
// it is as long again as the answers take beyond a quick one.
type pace struct {
	average time.Duration
}

func (p *pace) answered(took time.Duration) {
	p.average += (took - p.average) / paceWeight
}

func (p *pace) pause() time.Duration {
	return min(max(0, p.average-quickAnswer), maxFlushInterval)
}
