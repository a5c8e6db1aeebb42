package sseserver

import (
	"flag"
	"testing"

	"go.uber.org/goleak"
)

var update = flag.Bool("update", false, "write the golden transcripts anew")

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }
