package upstream

import (
	"encoding/base64"
	"fmt"
	"strings"
	"unicode/utf8"

	"github.com/go-json-experiment/json/jsontext"

	"github.com/midstream-dev/midstream/schema"
)

// blockResult is the kind of block that answers a tool_use.
const blockResult = "tool_result"

// messagesPart is a content block of a request: the members of all kinds that are sent.
type messagesPart struct {
	Type      string          `json:"type"`
	Text      string          `json:"text,omitzero"`
	Thinking  *string         `json:"thinking,omitzero"` // may be "": what was thought is in the signature
	Signature string          `json:"signature,omitzero"`
	Data      string          `json:"data,omitzero"`
	ID        string          `json:"id,omitzero"`
	Name      string          `json:"name,omitzero"`
	Input     jsontext.Value  `json:"input,omitzero"`
	ToolUseID string          `json:"tool_use_id,omitzero"`
	Content   []messagesPart  `json:"content,omitzero"`
	Title     string          `json:"title,omitzero"`
	Source    *messagesSource `json:"source,omitzero"`
}

// messagesSource is where an image or a document is: in here, or at a URL.
type messagesSource struct {
	Type      string `json:"type"`
	MediaType string `json:"media_type,omitzero"`
	Data      string `json:"data,omitzero"`
	URL       string `json:"url,omitzero"`
}

func (p *messagesPart) thought() bool { return p.Type == blockThinking || p.Type == blockRedacted }

// appendText adds a text. The API refuses blocks that hold nothing but white space.
func appendText(parts []messagesPart, text string) []messagesPart {
	if strings.TrimSpace(text) == "" {
		return parts
	}
	return append(parts, messagesPart{Type: blockText, Text: text})
}

func messagesParts(content schema.Content, param string) ([]messagesPart, error) {
	var parts []messagesPart
	for i := range content {
		p, at := &content[i], fmt.Sprintf("%s[%d]", param, i)
		if p.Text != nil {
			parts = appendText(parts, *p.Text)
			continue
		}
		media := mediaPart(p)
		if media == nil {
			return nil, schema.Refuse(schema.CodeUnsupported, at, "parts of type %.40q are not available with this model in that form", p.Type)
		}
		parts = append(parts, *media)
	}
	return parts, nil
}

// mediaPart is an image, or a document; nil for what the API cannot be shown, such as a file that another API keeps.
// An image's detail is left out: every image is looked at as it is.
func mediaPart(p *schema.Part) *messagesPart {
	url, file := text(member(p.Rest, "image_url")), text(member(p.Rest, "file_data"))
	switch {
	case p.Type == "input_image":
		return sourced(&messagesPart{Type: "image"}, imageSource(url))
	case p.Type == "input_file" && file != "":
		return sourced(&messagesPart{Type: "document", Title: text(member(p.Rest, "filename"))}, fileSource(file))
	case p.Type == "input_file":
		return sourced(&messagesPart{Type: "document"}, urlSource(text(member(p.Rest, "file_url"))))
	}
	return nil
}

func sourced(p *messagesPart, source *messagesSource) *messagesPart {
	if source == nil {
		return nil
	}
	p.Source = source
	return p
}

func imageSource(url string) *messagesSource {
	if !strings.HasPrefix(url, "data:") {
		return urlSource(url)
	}
	media, data, ok := cutData(url)
	if !ok {
		return nil
	}
	return &messagesSource{Type: "base64", MediaType: media, Data: data}
}

func urlSource(url string) *messagesSource {
	if url == "" {
		return nil
	}
	return &messagesSource{Type: "url", URL: url}
}

// fileSource is a PDF, or a plain text, which the API wants decoded.
func fileSource(url string) *messagesSource {
	media, data, ok := cutData(url)
	switch {
	case ok && media == "application/pdf":
		return &messagesSource{Type: "base64", MediaType: media, Data: data}
	case ok && strings.HasPrefix(media, "text/"):
		plain, err := base64.StdEncoding.DecodeString(data)
		if err != nil || !utf8.Valid(plain) || len(plain) == 0 {
			return nil
		}
		return &messagesSource{Type: "text", MediaType: "text/plain", Data: string(plain)}
	}
	return nil
}

// cutData takes a data URL apart: data:image/png;base64,AA==.
func cutData(url string) (media, data string, ok bool) {
	head, data, _ := strings.Cut(url, ",")
	head, base64ed := strings.CutSuffix(strings.TrimPrefix(head, "data:"), ";base64")
	media, _, _ = strings.Cut(head, ";")
	return media, data, base64ed && media != "" && data != ""
}
