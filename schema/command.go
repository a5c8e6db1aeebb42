package schema

import (
	"fmt"
	"time"

	"github.com/go-json-experiment/json"
	"github.com/go-json-experiment/json/jsontext"
)

// Command is a create request as it was accepted: what a run is made from, and all that [Response] and ids derive from.
// It holds no secret: [CreateRequest.TakeSecrets] took them out, and they travel sealed beside it.
type Command struct {
	Version   int            `json:"v"`
	Tenant    string         `json:"tenant"`
	Response  string         `json:"response"`
	CreatedAt int64          `json:"created_at"` // milliseconds since 1970
	Key       string         `json:"key,omitzero"`
	Trace     string         `json:"trace,omitzero"`  // W3C traceparent
	Digest    string         `json:"digest"`          // SHA-256 of the body as it came, hex
	Thread    []string       `json:"thread,omitzero"` // ids of the responses that this one goes on from, oldest first
	Request   jsontext.Value `json:"request"`
	// Secrets are the labels of the MCP entries that came with credentials. A run whose job was lost has lost those.
	Secrets []string `json:"secrets,omitzero"`

	// Conversation is what the response goes on from, and is added to, where the request names one.
	Conversation *ConversationPoint `json:"conversation,omitzero"`
}

// ParseCommand decodes a command and checks its version and its ref.
func ParseCommand(data []byte) (*Command, error) {
	var c Command
	if err := json.Unmarshal(data, &c); err != nil {
		return nil, fmt.Errorf("parse command: %w", err)
	}
	if c.Version != FormatVersion {
		return nil, fmt.Errorf("parse command: version %d, this build reads %d", c.Version, FormatVersion)
	}
	if _, err := NewRef(c.Tenant, c.Response); err != nil {
		return nil, fmt.Errorf("parse command: %w", err)
	}
	return &c, nil
}

// Encode writes the command.
func (c *Command) Encode() ([]byte, error) {
	data, err := json.Marshal(c)
	if err != nil {
		return nil, fmt.Errorf("encode command %s: %w", c.Response, err)
	}
	return data, nil
}

// Ref names the response that the command makes. The tokens were checked when the command was made or parsed.
func (c *Command) Ref() Ref { return Ref{c.Tenant, c.Response} }

// Created is the time of acceptance.
func (c *Command) Created() time.Time { return time.UnixMilli(c.CreatedAt) }

// RequestRecord returns the record that opens the log, with its frame of response.created, and of response.queued where
// nobody waits for the response. It is the same whoever makes it, the gateway or a worker: both derive it from the command
// alone.
func (c *Command) RequestRecord() (Record, error) {
	body, err := c.Encode()
	if err != nil {
		return Record{}, err
	}
	req, err := c.Parse()
	if err != nil {
		return Record{}, err
	}
	resp, err := req.response(c)
	if err != nil {
		return Record{}, err
	}
	rec := Record{Kind: RecordRequest, Time: c.CreatedAt, Body: body}
	events := []Event{{Type: Created, Response: resp}}
	if req.Backgrounds() {
		events = append(events, Event{Type: Queued, SequenceNumber: 1, Response: resp})
		rec.Last = 1
	}
	for i := range events {
		if rec.Frames, err = AppendFrame(rec.Frames, &events[i]); err != nil {
			return Record{}, err
		}
	}
	rec.Seal(Genesis(c.Ref()))
	return rec, nil
}

// Parse decodes the request that the command carries.
func (c *Command) Parse() (*CreateRequest, error) {
	var req CreateRequest
	if err := json.Unmarshal(c.Request, &req); err != nil {
		return nil, fmt.Errorf("parse request of %s: %w", c.Response, err)
	}
	return &req, nil
}
