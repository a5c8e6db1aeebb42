package mcp

import (
	"testing"
	"unicode/utf8"

	"github.com/google/go-cmp/cmp"

	"github.com/go-json-experiment/json/jsontext"
)

// A result means something to the model whatever its shape, and its content keeps the server's bytes.
func TestDecodeResult(t *testing.T) {
	t.Parallel()
	const image = `{"type":"image","data":"AAAA","mimeType":"image/png"}`
	for name, test := range map[string]struct {
		raw  string
		want Result
	}{
		"text":              {`{"content":[{"type":"text","text":"a"},{"type":"text","text":"b"}]}`, Result{Output: "a\nb", Content: jsontext.Value(`[{"type":"text","text":"a"},{"type":"text","text":"b"}]`)}},
		"error":             {`{"content":[{"type":"text","text":"no"}],"isError":true}`, Result{Output: "no", IsError: true, Content: jsontext.Value(`[{"type":"text","text":"no"}]`)}},
		"structured":        {`{"structuredContent":{"b": 12345678901234567890, "a":1}}`, Result{Output: `{"b":12345678901234567890,"a":1}`, Content: jsontext.Value(`[]`)}},
		"text wins":         {`{"content":[{"type":"text","text":"a"}],"structuredContent":{"a":1}}`, Result{Output: "a", Content: jsontext.Value(`[{"type":"text","text":"a"}]`)}},
		"text and image":    {`{"content":[{"type":"text","text":"see"},` + image + `]}`, Result{Output: "see\n" + image, Content: jsontext.Value(`[{"type":"text","text":"see"},` + image + `]`)}},
		"image, structured": {`{"content":[` + image + `],"structuredContent":[1]}`, Result{Output: "[1]\n" + image, Content: jsontext.Value(`[` + image + `]`)}},
		"a large image":     {`{"content":[{"type":"image", "data":"AAAAAAAAA","mimeType":"image/png"}]}`, Result{Output: `{"type":"image","data":"[9 bytes of base64 left out]","mimeType":"image/png"}`, Content: jsontext.Value(`[{"type":"image", "data":"[9 bytes of base64 left out]","mimeType":"image/png"}]`)}},
		"a large file":      {`{"content":[{"type":"resource","resource":{"uri":"f:x","blob":"AAAAAAAAA"}}]}`, Result{Output: `{"type":"resource","resource":{"uri":"f:x","blob":"[9 bytes of base64 left out]"}}`, Content: jsontext.Value(`[{"type":"resource","resource":{"uri":"f:x","blob":"[9 bytes of base64 left out]"}}]`)}},
		"unknown type":      {`{"content":[{"type":"hologram","x":1}]}`, Result{Output: `{"type":"hologram","x":1}`, Content: jsontext.Value(`[{"type":"hologram","x":1}]`)}},
		"odd blocks":        {`{"content":[7,"s",null,{"type":"text"}]}`, Result{Output: "7\n\"s\"\nnull\n{\"type\":\"text\"}", Content: jsontext.Value(`[7,"s",null,{"type":"text"}]`)}},
		"one block":         {`{"content":{"type":"text","text":"a"}}`, Result{Output: "a", Content: jsontext.Value(`[{"type":"text","text":"a"}]`)}},
		"a string":          {`{"content":"a\n"}`, Result{Output: "a\n", Content: jsontext.Value(`[{"type":"text","text":"a\n"}]`)}},
		"nothing":           {`{}`, Result{Content: jsontext.Value(`[]`)}},
		"null":              {`{"content":null,"structuredContent":null,"isError":"yes"}`, Result{Content: jsontext.Value(`[]`)}},
		"bad UTF-8":         {"{\"content\":[{\"type\":\"text\",\"text\":\"a\xff\\ud800\"}]}", Result{Output: "a\uFFFD\uFFFD", Content: jsontext.Value("[{\"type\":\"text\",\"text\":\"a\uFFFD\uFFFD\"}]")}},
	} {
		t.Run(name, func(t *testing.T) {
			got, err := decodeResult(jsontext.Value(test.raw), 8)
			if err != nil {
				t.Fatal(err)
			}
			if diff := cmp.Diff(test.want, got); diff != "" {
				t.Errorf("(-want +got):\n%s", diff)
			}
		})
	}
	for _, raw := range []string{``, `7`, `[]`, `{`, `{"content":[]}}`, `{"a":1,"a":2}`, `null x`} {
		if r, err := decodeResult(jsontext.Value(raw), 8); err == nil {
			t.Errorf("decodeResult(%q) = %+v", raw, r)
		}
	}
}

// What comes out is valid, whatever came in, and decoding it again changes nothing.
func FuzzDecodeResult(f *testing.F) {
	for _, seed := range []string{`{"content":[{"type":"text","text":"a"}],"isError":true}`, `{"structuredContent":{"a":[1e999]}}`, `{"content":{"type":"image"}}`, "{\"content\":\"\xff\\ud800\"}", `null`} {
		f.Add([]byte(seed))
	}
	f.Fuzz(func(t *testing.T, raw []byte) {
		before := string(raw)
		r, err := decodeResult(raw, 64)
		if string(raw) != before {
			t.Fatal("the input was written to")
		}
		if err != nil {
			return
		}
		if !r.Content.IsValid() || r.Content.Kind() != '[' || !utf8.ValidString(r.Output) {
			t.Fatalf("result = %+v", r)
		}
		again, err := decodeResult(jsontext.Value(`{"content":`+string(r.Content)+`}`), 64)
		if err != nil || string(again.Content) != string(r.Content) {
			t.Fatalf("again = %+v, %v", again, err)
		}
	})
}
