package upstream

import (
	"strings"
	"testing"

	"github.com/go-json-experiment/json/jsontext"
)

// Of two members with one name the last counts, ill-formed UTF-8 becomes U+FFFD, and all the rest stays as it is.
func TestMend(t *testing.T) {
	t.Parallel()
	for in, want := range map[string]string{
		`{"a":1,"a":2}`:                           `{"a":2}`,
		`{"a":{"b":1,"b":[1,{"c":0,"c":-0}]}}`:    `{"a":{"b":[1,{"c":-0}]}}`,
		"{\"a\":\"\xff\",\"n\":1e400,\"t\":true}": `{"a":"` + "\uFFFD" + `","n":1e400,"t":true}`,
		`["\ud83d",12345678901234567890123]`:      `["` + "\uFFFD" + `",12345678901234567890123]`,
		`{"x" : [ ] }`:                            `{"x" : [ ] }`,
		"{\"\xff\":1,\"\xfe\":2}":                 `{"` + "\uFFFD" + `":2}`,
	} {
		got, err := mend(jsontext.Value(in))
		if err != nil || string(got) != want {
			t.Errorf("mend(%q) = %q, %v, want %q", in, got, err, want)
		}
	}
}

// What no decoder reads stays an error, and so does what nests too deep to be read by recursion.
func TestMend_Refuses(t *testing.T) {
	t.Parallel()
	for _, in := range []string{``, `{`, `{"a":1,"a"}`, "[\"\xff\"", `{"a":1,"a":2}}`, `{"a":1,"a":2} x`,
		strings.Repeat("[", 5000) + `{"a":1,"a":2}` + strings.Repeat("]", 5000)} {
		if got, err := mend(jsontext.Value(in)); err == nil {
			t.Errorf("mend(%.40q) = %.40q", in, got)
		}
	}
}
