package mcp

import (
	"context"
	"fmt"
	"slices"
	"sync/atomic"
	"time"

	"github.com/go-json-experiment/json"
	"github.com/go-json-experiment/json/jsontext"
	"github.com/mark3labs/mcp-go/client/transport"
	mcpgo "github.com/mark3labs/mcp-go/mcp"
)

// wire stands between mcp-go's client and its transport, and sees every message as it came. It gives the raw results
// and errors to the exchange in the context, and to mcp-go what it can bear.
type wire struct {
	transport.Interface
	limits Config
	// lost is done when the connection is: mcp-go would wait for the answer until the deadline.
	lost context.Context
	// spawn runs a function in a goroutine that the pool waits for.
	spawn func(func())
	// http is false for stdio, where mcp-go announces cancellation itself.
	http    bool
	version atomic.Value // string: the protocol version in effect
}

// httpWire adds what makes mcp-go treat a transport as HTTP: protocol headers, and their rules.
type httpWire struct{ *wire }

var (
	_ transport.HTTPConnection         = httpWire{}
	_ transport.BidirectionalInterface = (*wire)(nil)
)

// SetProtocolVersion implements [transport.HTTPConnection].
func (w httpWire) SetProtocolVersion(version string) {
	w.version.Store(version)
	if inner, ok := w.Interface.(transport.HTTPConnection); ok {
		inner.SetProtocolVersion(version)
	}
}

// SetRequestHandler implements [transport.BidirectionalInterface]: pings are answered, all else is refused by mcp-go,
// for which no handler is set.
func (w *wire) SetRequestHandler(handler transport.RequestHandler) {
	if inner, ok := w.Interface.(transport.BidirectionalInterface); ok {
		inner.SetRequestHandler(handler)
	}
}

func (w *wire) isModern() bool {
	version, _ := w.version.Load().(string)
	return mcpgo.IsModernProtocol(version)
}

// SendRequest implements [transport.Interface].
func (w *wire) SendRequest(ctx context.Context, req transport.JSONRPCRequest) (*transport.JSONRPCResponse, error) {
	x := exchangeOf(ctx)
	if req.Method == string(mcpgo.MethodInitialize) && x.hopeless() {
		return nil, errNoConnection
	}
	resp, err := w.send(ctx, x, req)
	if err == nil && w.refusesItsOwnVersion(resp) {
		resp, err = w.send(ctx, x, req)
	}
	if err != nil {
		return nil, err
	}
	return w.read(x, req, resp), nil
}

// SendNotification implements [transport.Interface].
func (w *wire) SendNotification(ctx context.Context, n mcpgo.JSONRPCNotification) error {
	exchangeOf(ctx).reset()
	bound, stop := w.bind(ctx)
	defer stop()
	return w.Interface.SendNotification(bound, n)
}

func (w *wire) send(ctx context.Context, x *exchange, req transport.JSONRPCRequest) (*transport.JSONRPCResponse, error) {
	x.reset()
	bound, stop := w.bind(ctx)
	defer stop()
	resp, err := w.Interface.SendRequest(bound, req)
	switch {
	case err != nil && ctx.Err() != nil:
		w.announceCancel(req)
		return nil, err
	case err != nil && w.lost.Err() != nil:
		return nil, fmt.Errorf("%w: %w", errLost, context.Cause(w.lost))
	case err != nil:
		return nil, err
	case resp.Error == nil && resp.ID.String() != req.ID.String():
		return nil, errWrongID
	}
	return resp, nil
}

// bind ends a request with its connection.
func (w *wire) bind(ctx context.Context) (context.Context, func()) {
	bound, cancel := context.WithCancel(ctx)
	stop := context.AfterFunc(w.lost, cancel)
	return bound, func() { stop(); cancel() }
}

// refusesItsOwnVersion finds the answer "unsupported protocol version" that lists the very version which was used:
// servers give it to the first request after a restart, and mcp-go gives up on it.
func (w *wire) refusesItsOwnVersion(resp *transport.JSONRPCResponse) bool {
	version, _ := w.version.Load().(string)
	return version != "" && resp.Error != nil && resp.Error.Code == mcpgo.UNSUPPORTED_PROTOCOL_VERSION &&
		slices.Contains(supported(rpcErrorOf(resp)), version)
}

// supported are the versions that an unsupported-version error lists.
func supported(rpc *rpcError) []string {
	var data struct {
		Supported []string `json:"supported"`
	}
	if json.Unmarshal(rpc.data, &data, lenient) != nil {
		return nil
	}
	return data.Supported
}

func rpcErrorOf(resp *transport.JSONRPCResponse) *rpcError {
	data, _ := json.Marshal(resp.Error.Data) // came from JSON; at worst there is no data
	return &rpcError{code: resp.Error.Code, message: resp.Error.Message, data: data}
}

// announceCancel tells a legacy server over HTTP that nobody waits any more. A modern one knows by the closed
// connection, and over stdio mcp-go does it.
func (w *wire) announceCancel(req transport.JSONRPCRequest) {
	if !w.http || w.isModern() || (req.Method != string(mcpgo.MethodToolsCall) && req.Method != string(mcpgo.MethodToolsList)) {
		return
	}
	n := mcpgo.JSONRPCNotification{JSONRPC: mcpgo.JSONRPC_VERSION}
	n.Method = string(mcpgo.MethodNotificationCancelled)
	n.Params.AdditionalFields = map[string]any{"requestId": req.ID, "reason": "the client no longer waits"}
	w.spawn(func() {
		ctx, cancel := context.WithTimeout(context.WithoutCancel(w.lost), cancelTimeout)
		defer cancel()
		_ = w.SendNotification(ctx, n) // best effort: the caller has gone
	})
}

// cancelTimeout bounds the word to a server that its call is no longer wanted.
const cancelTimeout = 2 * time.Second

// read takes from a response what mcp-go would lose, and makes it fit for mcp-go.
func (w *wire) read(x *exchange, req transport.JSONRPCRequest, resp *transport.JSONRPCResponse) *transport.JSONRPCResponse {
	if resp.Error != nil {
		x.rejected(rpcErrorOf(resp))
		return resp
	}
	switch req.Method {
	case string(mcpgo.MethodServerDiscover):
		if !speaksModern(jsontext.Value(resp.Result)) {
			return transport.NewJSONRPCErrorResponse(req.ID, mcpgo.METHOD_NOT_FOUND, "no modern protocol version", nil)
		}
	case string(mcpgo.MethodToolsList):
		page := w.limits.parsePage(jsontext.Value(resp.Result), w.http && w.isModern())
		x.listed(page)
		resp.Result = []byte(page.forClient())
	case string(mcpgo.MethodToolsCall):
		if wantsInput(jsontext.Value(resp.Result)) {
			x.askedBack()
			break
		}
		x.called(jsontext.Value(resp.Result))
		resp.Result = []byte(`{"content":[]}`)
	}
	return resp
}

// speaksModern checks what mcp-go takes for granted: legacy servers exist that answer any method with an empty result.
func speaksModern(result jsontext.Value) bool {
	var discovered struct {
		Versions []string `json:"supportedVersions"`
	}
	err := json.Unmarshal(result, &discovered, lenient)
	return err == nil && mcpgo.IsModernProtocol(mcpgo.NegotiateMutuallySupportedVersion(discovered.Versions))
}

// wantsInput finds a result that asks to be called again (SEP-2322), which mcp-go does.
func wantsInput(result jsontext.Value) bool {
	var r struct {
		Type string `json:"resultType"`
	}
	return json.Unmarshal(result, &r, lenient) == nil && r.Type == string(mcpgo.ResultTypeInputRequired)
}
