package mcp

import (
	"bytes"
	"fmt"
	"strings"

	"github.com/go-json-experiment/json"
	"github.com/go-json-experiment/json/jsontext"
)

// Result is what a tool gave back.
type Result struct {
	// Output is what the model reads: the text blocks joined by newlines, other blocks as their JSON; without any text,
	// the JSON of structuredContent. Of an image, audio or file in base64 that is longer than [Config.MaxBlob], it says
	// what it is and how long.
	Output string
	// IsError says that the tool ran and failed; Content tells how.
	IsError bool
	// Content is the array of content blocks as the server sent it, but for such base64.
	Content jsontext.Value
	// Progress counts the notifications that kept the call alive.
	Progress int
}

// decodeResult reads a tools/call result from any server that means well: blocks of unknown types, structuredContent
// without content, and content that is no array all have a meaning. What it gives out is valid JSON and UTF-8, whatever
// came in.
func decodeResult(raw jsontext.Value, maxBlob int) (Result, error) {
	raw, err := repair(raw)
	if err != nil {
		return Result{}, err
	}
	var r struct {
		Content    jsontext.Value `json:"content"`
		Structured jsontext.Value `json:"structuredContent"`
		IsError    jsontext.Value `json:"isError"`
	}
	if err := json.Unmarshal(raw, &r); err != nil {
		return Result{}, fmt.Errorf("%w: %w", errMalformed, err)
	}
	blocks, content := blocksOf(withoutBlobs(r.Content, maxBlob))
	return Result{
		Output:  output(blocks, r.Structured),
		IsError: r.IsError.Kind() == 't',
		Content: content,
	}, nil
}

// repair turns what encoding/json lets pass (invalid UTF-8, lone surrogates) into JSON that everybody accepts. Numbers
// and the order of members stay as they are. What names a member twice is refused: two readers would see two results.
func repair(raw jsontext.Value) (jsontext.Value, error) {
	if raw.IsValid() {
		return raw, nil
	}
	fixed := raw.Clone()
	if err := fixed.Format(jsontext.AllowInvalidUTF8(true)); err != nil {
		return nil, fmt.Errorf("%w: %w", errMalformed, err)
	}
	return fixed, nil
}

func blocksOf(content jsontext.Value) (blocks []jsontext.Value, whole jsontext.Value) {
	switch content.Kind() {
	case '[':
		_ = json.Unmarshal(content, &blocks) // valid, as repair has seen
		return blocks, content
	case '{':
		return []jsontext.Value{content}, asArray(content)
	case '"':
		block := append(append(jsontext.Value(`{"type":"text","text":`), content...), '}')
		return []jsontext.Value{block}, asArray(block)
	default:
		return nil, jsontext.Value("[]")
	}
}

// withoutBlobs leaves out of content blocks what is in base64 and longer than a bound: a log is no place for pictures, and
// no model reads them from text. The rest keeps its bytes.
func withoutBlobs(content jsontext.Value, maxBlob int) jsontext.Value {
	if len(content) <= maxBlob {
		return content
	}
	blocks, _ := blocksOf(content)
	for _, block := range blocks {
		var b struct {
			Data     jsontext.Value `json:"data"` // of an image, or audio
			Resource struct {
				Blob jsontext.Value `json:"blob"`
			} `json:"resource"`
		}
		_ = json.Unmarshal(block, &b) // what is in the way has no blob in it
		for _, blob := range []jsontext.Value{b.Data, b.Resource.Blob} {
			if size := len(blob) - len(`""`); blob.Kind() == '"' && size > maxBlob {
				note := fmt.Sprintf(`"[%d bytes of base64 left out]"`, size)
				content = bytes.ReplaceAll(content, blob, []byte(note))
			}
		}
	}
	return content
}

func asArray(block jsontext.Value) jsontext.Value {
	return append(append(jsontext.Value("["), block...), ']')
}

func output(blocks []jsontext.Value, structured jsontext.Value) string {
	var parts []string
	anyText := false
	for _, block := range blocks {
		text, ok := textOf(block)
		if !ok {
			text = compact(block)
		}
		anyText = anyText || ok
		parts = append(parts, text)
	}
	if !anyText && structured != nil && structured.Kind() != 'n' {
		parts = append([]string{compact(structured)}, parts...)
	}
	return strings.Join(parts, "\n")
}

func textOf(block jsontext.Value) (string, bool) {
	var b struct {
		Type jsontext.Value `json:"type"`
		Text jsontext.Value `json:"text"`
	}
	if json.Unmarshal(block, &b) != nil || b.Text.Kind() != '"' || string(b.Type) != `"text"` {
		return "", false
	}
	var text string
	err := json.Unmarshal(b.Text, &text)
	return text, err == nil
}

// compact leaves numbers and the order of members alone.
func compact(v jsontext.Value) string {
	v = v.Clone()
	_ = v.Compact() // valid, as repair has seen
	return string(v)
}
