package publish

import (
	"fmt"
	"regexp"
)

// The headers of a message.
const (
	HeaderPlace = "Midstream-Seq"
	HeaderEpoch = "Midstream-Epoch"
	HeaderLast  = "Midstream-Last"
)

// Limits of a message. A larger event is refused by Midstream.
const (
	MaxEvents = 256
	MaxBytes  = 64 << 10
	MaxEvent  = 1 << 20
)

var token = regexp.MustCompile(`^[A-Za-z0-9_-]{1,64}$`)

// Subject names where a producer's messages go. Each part must match ^[A-Za-z0-9_-]{1,64}$.
func Subject(tenant, response, producer string) (string, error) {
	for _, part := range []string{tenant, response, producer} {
		if !token.MatchString(part) {
			return "", fmt.Errorf("%.80q: not 1 to 64 letters, digits, _ or -", part)
		}
	}
	return "ms.ingest." + tenant + "." + response + "." + producer, nil
}
