package upstream

import (
	"bytes"
	"errors"
	"fmt"
	"io"

	"github.com/go-json-experiment/json"
	"github.com/go-json-experiment/json/jsontext"

	"github.com/midstream-dev/midstream/schema"
)

// lenient decodes the bytes of upstreams, and only those: see the package comment, "Trust".
var lenient = json.JoinOptions(jsontext.AllowDuplicateNames(true), jsontext.AllowInvalidUTF8(true))

// mend returns JSON that a strict decoder reads as a lenient one reads data: of several members with one name the last
// one, U+FFFD for ill-formed UTF-8. Strict JSON is returned as it is. Data that no decoder reads is an error, and so
// is data to be mended that nests deeper than schema.MaxDepth.
func mend(data jsontext.Value) (jsontext.Value, error) {
	if data.IsValid() {
		return data, nil
	}
	dec := jsontext.NewDecoder(bytes.NewReader(data), lenient)
	out, err := mendNext(dec)
	if err != nil {
		return nil, fmt.Errorf("mend JSON: %w", err)
	}
	if _, err := dec.ReadToken(); !errors.Is(err, io.EOF) {
		return nil, fmt.Errorf("mend JSON: more than one value")
	}
	return out, nil
}

func mendNext(dec *jsontext.Decoder) (jsontext.Value, error) {
	if dec.StackDepth() > schema.MaxDepth {
		return nil, fmt.Errorf("nested deeper than %d", schema.MaxDepth)
	}
	switch dec.PeekKind() {
	case '{':
		return mendObject(dec)
	case '[':
		return mendList(dec)
	case '"':
		raw, err := dec.ReadValue()
		if err != nil {
			return nil, err
		}
		return quote(text(raw)), nil
	}
	raw, err := dec.ReadValue()
	return raw.Clone(), err
}

func mendObject(dec *jsontext.Decoder) (jsontext.Value, error) {
	var names []string
	values := map[string]jsontext.Value{}
	if _, err := dec.ReadToken(); err != nil {
		return nil, err
	}
	for dec.PeekKind() != '}' {
		raw, err := dec.ReadValue()
		if err != nil {
			return nil, err
		}
		name := text(raw)
		value, err := mendNext(dec)
		if err != nil {
			return nil, err
		}
		if _, twice := values[name]; !twice {
			names = append(names, name)
		}
		values[name] = value
	}
	out := jsontext.Value("{")
	for i, name := range names {
		if i > 0 {
			out = append(out, ',')
		}
		out = append(append(append(out, quote(name)...), ':'), values[name]...)
	}
	_, err := dec.ReadToken()
	return append(out, '}'), err
}

func mendList(dec *jsontext.Decoder) (jsontext.Value, error) {
	out := jsontext.Value("[")
	if _, err := dec.ReadToken(); err != nil {
		return nil, err
	}
	for dec.PeekKind() != ']' {
		value, err := mendNext(dec)
		if err != nil {
			return nil, err
		}
		if len(out) > 1 {
			out = append(out, ',')
		}
		out = append(out, value...)
	}
	_, err := dec.ReadToken()
	return append(out, ']'), err
}
