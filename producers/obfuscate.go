package producers

import (
	"crypto/rand"

	"github.com/midstream-dev/midstream/schema"
)

// sizeClass is what the bytes of a delta and its obfuscation add up to a multiple of. Whoever sees only how long encrypted
// frames are learns no more of a word than how many such classes it fills.
const sizeClass = 16

// obfuscate pads the deltas among events with random letters, if the request asks for it. It is done as the events are
// appended: what is in the log is what every reader gets, and no upstream's own padding is in it.
func (r *run) obfuscate(events []schema.Event) {
	for i := range events {
		e := &events[i]
		e.Obfuscation = ""
		if r.obfuscates && e.Delta != nil {
			e.Obfuscation = padding(len(*e.Delta))
		}
	}
}

// padding returns what brings so many bytes to a multiple of the size class. rand.Text has letters for more than one class.
func padding(size int) string {
	return rand.Text()[:(sizeClass-size%sizeClass)%sizeClass]
}
