package schema

import (
	"strings"

	"github.com/go-json-experiment/json"
	"github.com/go-json-experiment/json/jsontext"
)

// maxConnector is the longest connector_id, in bytes.
const maxConnector = 128

func (t *Tool) validateMCP(param string) *Error {
	_, allowed := t.Allowed()
	_, approval := t.Approval()
	switch {
	case !ValidToken(t.ServerLabel):
		return Refuse(CodeInvalidValue, param+".server_label", "'%s.server_label' must match ^[A-Za-z0-9_-]{1,64}$.", param)
	case t.TunnelID != "":
		return Refuse(CodeUnsupported, param+".tunnel_id",
			"This gateway opens no tunnels: give a 'server_url', or a 'connector_id' that it is configured for.")
	case t.ConnectorID != "" && t.ServerURL != "":
		return Refuse(CodeInvalidValue, param, "'%s' has both a 'server_url' and a 'connector_id': give one of them.", param)
	case len(t.ConnectorID) > maxConnector:
		return Refuse(CodeInvalidValue, param+".connector_id", "'%s.connector_id' is longer than %d bytes.", param, maxConnector)
	case allowed != nil:
		return Refuse(CodeInvalidValue, param+".allowed_tools",
			"'%s.allowed_tools' must be a list of names, or an object of 'tool_names' and 'read_only'.", param)
	case approval != nil:
		return Refuse(CodeInvalidValue, param+".require_approval",
			"'%s.require_approval' must be \"always\", \"never\", or an object of 'always' and 'never', each with 'tool_names' and 'read_only'.", param)
	case t.ServerURL == "" && t.ConnectorID == "" && (t.Authorization != "" || len(t.Headers) > 0):
		return Refuse(CodeUnsupported, param,
			"'%s' names a server of this gateway, which has its own credentials: give a 'server_url' with yours.", param)
	case hidesSecret(t.Rest):
		return Refuse(CodeInvalidValue, param, "'%s' has a member that differs from 'authorization' or 'headers' in case only.", param)
	}
	for name := range t.Headers {
		if strings.ContainsAny(name, "\r\n\x00 :") || name == "" || strings.ContainsAny(t.Headers[name], "\r\n\x00") {
			return Refuse(CodeInvalidValue, param+".headers", "A header of '%s' is not a legal HTTP header.", param)
		}
	}
	return nil
}

// hidesSecret reports whether an unknown member looks like a credential: it would be stored and shown.
func hidesSecret(rest jsontext.Value) bool {
	var members map[string]jsontext.Value
	if len(rest) == 0 || json.Unmarshal(rest, &members) != nil {
		return false
	}
	for name := range members {
		if strings.EqualFold(name, "authorization") || strings.EqualFold(name, "headers") {
			return true
		}
	}
	return false
}

// Obfuscates reports whether the caller asked for deltas that do not give away their length.
func (r *CreateRequest) Obfuscates() bool {
	o, err := r.streamOptions()
	return err == nil && o.Obfuscate != nil && *o.Obfuscate
}

type streamOptions struct {
	Obfuscate *bool `json:"include_obfuscation"`
}

func (r *CreateRequest) streamOptions() (o streamOptions, err error) {
	if len(r.StreamOptions) == 0 {
		return o, nil
	}
	err = json.Unmarshal(r.StreamOptions, &o)
	return o, err
}

func (r *CreateRequest) validateStreamOptions() *Error {
	if _, err := r.streamOptions(); err != nil {
		return Refuse(CodeInvalidValue, "stream_options.include_obfuscation", "'stream_options.include_obfuscation' must be true or false.")
	}
	return nil
}
