package schema

import (
	"bytes"
	"errors"
	"io"
	"strconv"
	"strings"

	"github.com/go-json-experiment/json"
	"github.com/go-json-experiment/json/jsontext"
)

// ParseCreate reads and checks the body of POST /v1/responses. What it accepts can be served; the error of what it
// refuses names the member at fault.
func ParseCreate(body []byte) (*CreateRequest, *Error) {
	var req CreateRequest
	if err := parseBody(body, &req); err != nil {
		return nil, err
	}
	if err := req.validate(); err != nil {
		return nil, err
	}
	return &req, nil
}

// parseBody reads a body, which is one JSON object.
func parseBody(body []byte, into any) *Error {
	if err := CheckJSON(body); err != nil {
		return err
	}
	if jsontext.Value(body).Kind() != '{' {
		return noObject()
	}
	if err := json.Unmarshal(body, into); err != nil {
		return semantic(err)
	}
	return nil
}

func noObject() *Error { return Refuse(CodeInvalidValue, "", "The body must be a JSON object.") }

// CheckJSON refuses a body that is not exactly one JSON value, or that is built to hurt its reader: nested deeper than
// [MaxDepth], wider than [MaxMembers], or with an integer that not every reader keeps.
func CheckJSON(body []byte) *Error {
	dec := jsontext.NewDecoder(bytes.NewReader(body))
	for tokens := 0; ; tokens++ {
		tok, err := dec.ReadToken()
		switch {
		case errors.Is(err, io.EOF) && tokens > 0 && dec.StackDepth() == 0:
			return nil
		case err != nil:
			return Refuse(CodeInvalidJSON, "", "The body is not valid JSON: %s.", syntax(err))
		case tokens > 0 && dec.StackDepth() == 0 && trailing(body, dec.InputOffset()):
			return Refuse(CodeInvalidJSON, "", "The body holds more than one JSON value.")
		}
		if err := checkToken(dec, tok); err != nil {
			return err
		}
	}
}

func checkToken(dec *jsontext.Decoder, tok jsontext.Token) *Error {
	depth := dec.StackDepth()
	kind, members := dec.StackIndex(depth)
	if kind == '{' {
		members /= 2 // names count too
	}
	switch {
	case depth > MaxDepth:
		return Refuse(CodeInvalidJSON, "", "The body is nested deeper than %d levels.", MaxDepth)
	case members > MaxMembers:
		return Refuse(CodeInvalidJSON, "", "A list or object of the body has more than %d members.", MaxMembers)
	case tok.Kind() == '0' && !safeNumber(tok.String()):
		return Refuse(CodeInvalidJSON, "", "A number of the body is not kept exactly by every reader: at most 2^53.")
	}
	return nil
}

// safeNumber refuses integers beyond 2^53 and literals longer than any double needs.
func safeNumber(lit string) bool {
	if len(lit) > 32 {
		return false
	}
	if strings.ContainsAny(lit, ".eE") {
		f, err := strconv.ParseFloat(lit, 64)
		return err == nil && f-f == 0
	}
	n, err := strconv.ParseInt(lit, 10, 64)
	return err == nil && n <= MaxNumber && n >= -MaxNumber
}

func trailing(body []byte, at int64) bool {
	return len(bytes.TrimSpace(body[at:])) > 0
}

// syntax says what is wrong without repeating the body.
func syntax(err error) string {
	var s *jsontext.SyntacticError
	switch {
	case errors.Is(err, io.ErrUnexpectedEOF), errors.Is(err, io.EOF):
		return "it ends too early"
	case errors.Is(err, jsontext.ErrDuplicateName):
		return "an object has the same name twice"
	case errors.As(err, &s):
		return "at byte " + strconv.FormatInt(s.ByteOffset, 10)
	}
	return "it cannot be read"
}

// semantic names the member whose value has the wrong type.
func semantic(err error) *Error {
	if refusal := (*Error)(nil); errors.As(err, &refusal) {
		return refusal
	}
	var s *json.SemanticError
	if !errors.As(err, &s) {
		return Refuse(CodeInvalidJSON, "", "The body is not valid JSON: %s.", syntax(err))
	}
	param := cutParam(paramOf(s.JSONPointer))
	if param == "" {
		return noObject()
	}
	return Refuse(CodeInvalidValue, param, "Invalid type for '%s'.", param)
}

// paramOf names a member as the API does: input[0].content.
func paramOf(at jsontext.Pointer) string {
	var b strings.Builder
	for token := range at.Tokens() {
		switch _, err := strconv.ParseUint(token, 10, 32); {
		case err == nil:
			b.WriteString("[" + token + "]")
		case b.Len() > 0:
			b.WriteString("." + token)
		default:
			b.WriteString(token)
		}
	}
	return b.String()
}

// cutParam bounds the name of a member, which may be the caller's.
func cutParam(name string) string {
	return strings.ToValidUTF8(name[:min(len(name), MaxToken)], "")
}
