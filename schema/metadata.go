package schema

import (
	"maps"
	"slices"
	"unicode/utf8"

	"github.com/go-json-experiment/json"
	"github.com/go-json-experiment/json/jsontext"
)

// Metadata is pairs of strings that a client keeps with what it makes.
type Metadata map[string]string

// UnmarshalJSONFrom refuses null for a string, which a decoder takes for an empty one, as a *[Error].
func (m *Metadata) UnmarshalJSONFrom(dec *jsontext.Decoder) error {
	var pairs map[string]*string
	if err := json.UnmarshalDecode(dec, &pairs); err != nil || pairs == nil {
		*m = nil
		return err
	}
	*m = make(Metadata, len(pairs))
	for _, name := range slices.Sorted(maps.Keys(pairs)) {
		if pairs[name] == nil {
			return Refuse(CodeInvalidValue, cutParam("metadata."+name), "Invalid type for 'metadata.%.64s': null is no string.", name)
		}
		(*m)[name] = *pairs[name]
	}
	return nil
}

func (r *CreateRequest) validateMetadata() *Error { return checkMetadata(r.Metadata) }

func checkMetadata(metadata Metadata) *Error {
	if len(metadata) > MaxMetadata {
		return Refuse(CodeInvalidValue, "metadata", "'metadata' has more than %d pairs.", MaxMetadata)
	}
	for k, v := range metadata {
		if utf8.RuneCountInString(k) > MaxMetadataKey || utf8.RuneCountInString(v) > MaxMetadataValue {
			return Refuse(CodeInvalidValue, "metadata", "'metadata' has keys of at most %d characters, and values of at most %d.",
				MaxMetadataKey, MaxMetadataValue)
		}
	}
	return nil
}
