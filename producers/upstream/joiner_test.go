package upstream

import (
	"strings"
	"testing"
	"unicode/utf16"

	"github.com/go-json-experiment/json/jsontext"
	"pgregory.net/rapid"
)

// A text comes out as it went in, wherever its JSON was cut: between any two UTF-16 units of escapes, or between any two
// bytes of UTF-8.
func TestJoiner_CutsDoNotMatter(t *testing.T) {
	t.Parallel()
	rapid.Check(t, func(t *rapid.T) {
		text := rapid.StringOf(rapid.SampledFrom([]rune("aé\\\"\nu d8🐎👩‍🚀\u2028\uFFFD"))).Draw(t, "text")
		var j joiner
		var out strings.Builder
		for _, piece := range cutAnywhere(t, text) {
			out.WriteString(j.add(jsontext.Value(`"` + piece + `"`)))
		}
		out.WriteString(j.rest())
		if out.String() != text {
			t.Fatalf("%q came out as %q", text, out.String())
		}
	})
}

// cutAnywhere writes a text as the insides of JSON strings, escaped or not, cut at random.
func cutAnywhere(t *rapid.T, text string) []string {
	var atoms []string // what an upstream does not cut
	if rapid.Bool().Draw(t, "escaped") {
		for _, unit := range utf16.Encode([]rune(text)) {
			atoms = append(atoms, escape(unit))
		}
	} else {
		for _, b := range []byte(text) {
			atoms = append(atoms, escapeByte(b))
		}
	}
	pieces := []string{""}
	for _, atom := range atoms {
		if rapid.IntRange(0, 3).Draw(t, "cut") == 0 {
			pieces = append(pieces, "")
		}
		pieces[len(pieces)-1] += atom
	}
	return pieces
}

func escape(unit uint16) string {
	const hex = "0123456789abcdef"
	return string([]byte{'\\', 'u', hex[unit>>12], hex[unit>>8&15], hex[unit>>4&15], hex[unit&15]})
}

func escapeByte(b byte) string {
	switch b {
	case '\\', '"':
		return "\\" + string(b)
	case '\n':
		return `\n`
	}
	return string([]byte{b})
}

// Halves that never meet are U+FFFD, each at its place, and nothing else is lost.
func TestJoiner_LoneHalves(t *testing.T) {
	t.Parallel()
	for _, c := range []struct {
		pieces []string
		want   string
	}{
		{[]string{`\ud83d`, `x`}, "\uFFFDx"},
		{[]string{`\ud83d`, `\ud83d`, `\udc0e`}, "\uFFFD🐎"},
		{[]string{`\udc0e`, `\ud83d`}, "\uFFFD\uFFFD"},
		{[]string{`\\ud83d`, `\udc0e`}, "\\ud83d\uFFFD"},
		{[]string{`\uD83D`, ``, `\uDC0E`}, "🐎"},
		{[]string{"\xf0\x9f", "x"}, "\uFFFD\uFFFDx"},
		{[]string{"\xff", "\xf0"}, "\uFFFD\uFFFD"},
	} {
		var j joiner
		got := ""
		for _, p := range c.pieces {
			got += j.add(jsontext.Value(`"` + p + `"`))
		}
		if got += j.rest(); got != c.want {
			t.Errorf("%q came out as %q, want %q", c.pieces, got, c.want)
		}
	}
}
