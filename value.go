package main

import (
	"fmt"
	"log/slog"
	"strconv"
	"strings"
	"time"
)

// Secret is a text that no log, no error and no dump of the configuration shows.
type Secret string

const redacted = "[redacted]"

// String hides what there is, and tells whether there is something.
func (s Secret) String() string {
	if s == "" {
		return ""
	}
	return redacted
}

// GoString is String for %#v.
func (s Secret) GoString() string { return strconv.Quote(s.String()) }

// LogValue is String for slog.
func (s Secret) LogValue() slog.Value { return slog.StringValue(s.String()) }

// MarshalText is String for encoders.
func (s Secret) MarshalText() ([]byte, error) { return []byte(s.String()), nil }

// Reveal returns the text itself: for the one place that needs it.
func (s Secret) Reveal() string { return string(s) }

func reveal(secrets map[string]Secret) map[string]string {
	out := make(map[string]string, len(secrets))
	for name, s := range secrets {
		out[name] = s.Reveal()
	}
	return out
}

// Bytes is a size: a number of bytes, or one with the unit KiB, MiB or GiB.
type Bytes int64

var byteUnits = []struct {
	name  string
	bytes int64
}{{"GiB", 1 << 30}, {"MiB", 1 << 20}, {"KiB", 1 << 10}, {"B", 1}, {"", 1}}

// UnmarshalText reads "8MiB" or "8388608".
func (b *Bytes) UnmarshalText(text []byte) error {
	for _, unit := range byteUnits {
		digits, ok := strings.CutSuffix(string(text), unit.name)
		if !ok {
			continue
		}
		n, err := strconv.ParseInt(strings.TrimSpace(digits), 10, 64)
		if err != nil || n < 0 || n > (1<<62)/unit.bytes {
			break
		}
		*b = Bytes(n * unit.bytes)
		return nil
	}
	return fmt.Errorf("%q is not a size: write 1048576, 64KiB, 8MiB or 4GiB", text)
}

// String is the shortest text that reads as b.
func (b Bytes) String() string {
	for _, unit := range byteUnits[:3] {
		if b != 0 && int64(b)%unit.bytes == 0 {
			return strconv.FormatInt(int64(b)/unit.bytes, 10) + unit.name
		}
	}
	return strconv.FormatInt(int64(b), 10)
}

// MarshalText is String for encoders.
func (b Bytes) MarshalText() ([]byte, error) { return []byte(b.String()), nil }

// SyncPolicy says when JetStream calls fsync: before every acknowledgement (0), or at intervals.
type SyncPolicy time.Duration

const syncAlways = "always"

// UnmarshalText reads "always" or a duration.
func (p *SyncPolicy) UnmarshalText(text []byte) error {
	if string(text) == syncAlways {
		*p = 0
		return nil
	}
	d, err := time.ParseDuration(string(text))
	if err != nil || d <= 0 {
		return fmt.Errorf("%q is neither %s nor a duration such as 1s", text, syncAlways)
	}
	*p = SyncPolicy(d)
	return nil
}

// String is what UnmarshalText reads.
func (p SyncPolicy) String() string {
	if p == 0 {
		return syncAlways
	}
	return time.Duration(p).String()
}

// MarshalText is String for encoders.
func (p SyncPolicy) MarshalText() ([]byte, error) { return []byte(p.String()), nil }
