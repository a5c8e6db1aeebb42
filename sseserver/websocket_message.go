package sseserver

import (
	"bytes"
	"net/http"
	"strings"
	"time"

	"github.com/go-json-experiment/json"
	"github.com/go-json-experiment/json/jsontext"

	"github.com/midstream-dev/midstream/schema"
)

// The types of messages that a client may send.
const (
	messageCreate = "response.create"
	messageSteer  = "response.steer"
)

// The codes of errors that only a WebSocket has. They are OpenAI's.
const (
	codeStreamID    = "invalid_stream_id"
	codeLanes       = "websocket_stream_limit_reached"
	codeSocketAge   = "websocket_connection_limit_reached"
	codeNoSteering  = "steering_not_supported"
	codeMessageKind = "unsupported_message"
)

// maxStreamID bounds the name of a lane, in bytes.
const maxStreamID = 256

// message is one message of a client.
type message struct {
	kind string
	lane string         // its stream_id, "" for the lane without one
	body jsontext.Value // all that is not of the WebSocket alone
	size int64          // as it came
	at   time.Time
}

// readMessage reads the envelope of a message. A message that is refused has its lane all the same, if it names one: the
// refusal goes there.
func readMessage(data []byte) (*message, *schema.Error) {
	m := &message{size: int64(len(data)), at: time.Now()}
	if refusal := schema.CheckJSON(data); refusal != nil {
		refusal.Message = strings.Replace(refusal.Message, "The body", "The message", 1)
		return m, refusal
	}
	var in struct {
		Type     jsontext.Value `json:"type"`
		StreamID jsontext.Value `json:"stream_id"`
		Stream   jsontext.Value `json:"stream"` // goes without saying here; @openai/agents says it
		Body     jsontext.Value `json:",embed"`
	}
	if err := json.Unmarshal(data, &in); err != nil || jsontext.Value(data).Kind() != '{' {
		return m, schema.Refuse(schema.CodeInvalidValue, "", "A message must be a JSON object with a 'type'.")
	}
	var ok bool
	if m.lane, ok = readStreamID(in.StreamID); !ok {
		return m, schema.Refuse(codeStreamID, "stream_id", "'stream_id' must be 1 to %d letters, digits, '_', '-' or '.'.", maxStreamID)
	}
	switch err := json.Unmarshal(in.Type, &m.kind); {
	case len(in.Type) == 0:
		return m, schema.Refuse(schema.CodeMissing, "type", "Missing required parameter: 'type'.")
	case err != nil, m.kind != messageCreate && m.kind != messageSteer:
		return m, schema.Refuse(schema.CodeInvalidValue, "type", "'type' must be '%s' or '%s'.", messageCreate, messageSteer)
	}
	m.body = in.Body
	return m, nil
}

// readStreamID reads the name of a lane. Absent and null are the lane without a name.
func readStreamID(raw jsontext.Value) (string, bool) {
	if len(raw) == 0 || raw.Kind() == 'n' {
		return "", true
	}
	var id string
	if json.Unmarshal(raw, &id) != nil || id == "" || len(id) > maxStreamID {
		return "", false
	}
	for _, b := range []byte(id) {
		if !schema.ValidToken(string(b)) && b != '.' {
			return "", false
		}
	}
	return id, true
}

// create returns the message as the body of POST /v1/responses that asks for the same: a WebSocket always streams.
func (m *message) create() []byte {
	members := bytes.TrimPrefix(bytes.TrimSpace(m.body), []byte("{"))
	if members = bytes.TrimSpace(members); len(members) == 0 {
		members = []byte("}")
	}
	body := []byte(`{"stream":true`)
	if members[0] != '}' {
		body = append(body, ',')
	}
	return append(body, members...)
}

// previous returns the response that the message asks to go on from, "" for none.
func (m *message) previous() string {
	var in struct {
		ID string `json:"previous_response_id"`
	}
	if json.Unmarshal(m.body, &in) != nil {
		return ""
	}
	return in.ID
}

// tag returns an event with the name of the lane that it belongs to. The event is the log's, byte for byte, but for that.
func tag(event []byte, lane string) []byte {
	if lane == "" {
		return event
	}
	tagged := make([]byte, 0, len(event)+len(lane)+len(`,"stream_id":""`))
	tagged = append(tagged, bytes.TrimSuffix(event, []byte("}"))...)
	tagged = append(tagged, `,"stream_id":"`...)
	tagged = append(tagged, lane...)
	return append(tagged, `"}`...)
}

// errorEvent is what a WebSocket has in place of an answer with an error status.
func errorEvent(refusal *schema.Error, cause error) ([]byte, error) {
	return json.Marshal(struct {
		Type   string `json:"type"`
		Status int    `json:"status"`
		Error  any    `json:"error"`
	}{string(schema.ErrorEvent), refusal.Status, body(refusal, cause).Error}, oneForm)
}

// steerFailed gives back what a client wanted to put into a response that runs. A run reads its input once, when it
// begins: what is said into it later would be lost with the attempt, and in no log.
func steerFailed(m *message) ([]byte, error) {
	var in struct {
		PreviousResponseID string         `json:"previous_response_id"`
		Input              jsontext.Value `json:"input"`
	}
	refused := struct {
		Code    string `json:"code"`
		Message string `json:"message"`
		Type    string `json:"type"`
	}{codeNoSteering, "A response that runs cannot be steered here. Wait for its end, or cancel it, and send the input with " +
		"'response.create' and 'previous_response_id'.", schema.TypeInvalidRequest}
	if err := json.Unmarshal(m.body, &in); err != nil || in.PreviousResponseID == "" || len(in.Input) == 0 {
		refused.Code, refused.Message = "invalid_input", "A steer has a 'previous_response_id' and an 'input'."
	}
	if len(in.Input) == 0 {
		in.Input = jsontext.Value("null")
	}
	return json.Marshal(struct {
		Type           string `json:"type"`
		SequenceNumber int64  `json:"sequence_number"`
		Error          any    `json:"error"`
		Steer          any    `json:"steer"`
	}{"response.steer.failed", 0, refused, in}, oneForm)
}

func tooManyLanes(most int) *schema.Error {
	return schema.Refuse(codeLanes, "stream_id", "More than %d names of lanes on one connection: use one of those again, or open another one.", most)
}

func notText() *schema.Error {
	e := schema.Refuse(codeMessageKind, "", "Only text messages are read: one JSON object in each.")
	e.Status = http.StatusUnsupportedMediaType
	return e
}
