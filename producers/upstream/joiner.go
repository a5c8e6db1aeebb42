package upstream

import (
	"unicode/utf8"

	"github.com/go-json-experiment/json/jsontext"
)

// joiner decodes JSON strings that are pieces of one text. Upstreams cut where they like: JavaScript ones between the
// halves of a surrogate pair ("\ud83d", then "\udc69"), others within the bytes of a character. Decoded one by one the
// halves would be lost, so what a piece leaves unfinished waits for the next one, still in its JSON form.
type joiner struct{ held []byte }

// add returns the text that is certain now. raw must be a JSON string, though it may hold ill-formed UTF-8.
func (j *joiner) add(raw jsontext.Value) string {
	piece := append(j.held, raw[1:len(raw)-1]...)
	whole := len(piece) - unfinished(piece)
	text := unquote(piece[:whole])
	j.held = append([]byte(nil), piece[whole:]...)
	return text
}

// rest returns what waits in vain for its other half: U+FFFD, or nothing.
func (j *joiner) rest() string {
	text := unquote(j.held)
	j.held = nil
	return text
}

// unquote decodes the inside of a JSON string; what is ill-formed in it becomes U+FFFD, which is all that the error
// which is dropped here could say.
func unquote(inside []byte) string {
	if len(inside) == 0 {
		return ""
	}
	quoted := append(append([]byte{'"'}, inside...), '"')
	text, _ := jsontext.AppendUnquote(nil, quoted)
	return string(text)
}

// unfinished returns how many bytes at the end of a piece may belong to a character that the next piece completes.
func unfinished(piece []byte) int {
	if n := len(`\ud83d`); len(piece) >= n && highSurrogate(piece[len(piece)-n:]) && !escaped(piece[:len(piece)-n]) {
		return n
	}
	for n := 1; n < utf8.UTFMax && n <= len(piece); n++ {
		tail := piece[len(piece)-n:]
		if utf8.RuneStart(tail[0]) {
			if utf8.FullRune(tail) {
				return 0
			}
			return n
		}
	}
	return 0
}

// highSurrogate reports whether b is an escape from \ud800 to \udbff.
func highSurrogate(b []byte) bool {
	return b[0] == '\\' && b[1] == 'u' && b[2]|0x20 == 'd' &&
		(b[3] == '8' || b[3] == '9' || b[3]|0x20 == 'a' || b[3]|0x20 == 'b')
}

// escaped reports whether a backslash behind b would be an escaped one.
func escaped(b []byte) bool {
	n := 0
	for n < len(b) && b[len(b)-1-n] == '\\' {
		n++
	}
	return n%2 == 1
}
