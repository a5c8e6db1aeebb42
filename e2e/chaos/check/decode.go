package check

import (
	"encoding/hex"
	"errors"
	"fmt"
	"strconv"
	"strings"

	"github.com/midstream-dev/midstream/schema"
)

// Decode reads a record from a message of the log: its headers and its payload. It is written from the format, and shares
// nothing with the package that writes it.
func Decode(header func(name string) string, data []byte) (schema.Record, error) {
	var faults []error
	number := func(name string) int64 {
		n, err := strconv.ParseInt(header(name), 10, 64)
		if err != nil {
			faults = append(faults, fmt.Errorf("%s: %w", name, err))
		}
		return n
	}
	rec := schema.Record{
		Version: int(number("Ms-Version")), Kind: schema.Kind(header("Ms-Kind")), First: number("Ms-First"), Last: number("Ms-Last"),
		Attempt: int(number("Ms-Attempt")), Nonce: header("Ms-Nonce"), Time: number("Ms-Time"), Taken: taken(header("Ms-Taken")),
	}
	cut := len(data) - int(number("Ms-Body"))
	chain, err := hex.DecodeString(header("Ms-Chain"))
	if err != nil || len(chain) != len(rec.Chain) || cut < 0 || cut > len(data) {
		return rec, errors.Join(append(faults, fmt.Errorf("Ms-Chain %q, body from %d of %d", header("Ms-Chain"), cut, len(data)))...)
	}
	copy(rec.Chain[:], chain)
	rec.Frames, rec.Body = data[:cut], data[cut:]
	return rec, errors.Join(faults...)
}

func taken(text string) map[string]int64 {
	if text == "" {
		return nil
	}
	all := map[string]int64{}
	for pair := range strings.SplitSeq(text, ",") {
		name, number, _ := strings.Cut(pair, "=")
		all[name], _ = strconv.ParseInt(number, 10, 64) // the chain tells
	}
	return all
}
