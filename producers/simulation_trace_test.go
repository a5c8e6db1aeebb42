package producers

import (
	"fmt"
	"os"
	"time"

	"github.com/midstream-dev/midstream/broker/sim"
)

// simTrace says that every operation is to be printed, with its virtual time and its fate: for a plan that fails.
var simTrace = os.Getenv("SIMTRACE") != ""

func (w *world) trace(op sim.Op, f sim.Fate) {
	if simTrace {
		fmt.Fprintf(os.Stderr, "%s %s %s %s %s %+v\n", time.Now().Format("15:04:05.000"), op.Client, op.Kind, op.Stream, op.Subject, f)
	}
}
