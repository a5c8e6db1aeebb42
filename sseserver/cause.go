package sseserver

import (
	"cmp"
	"net/http"

	"github.com/midstream-dev/midstream/schema"
)

// cause is what the reason of a failed run means in HTTP: the status, and the error's type if the log names none.
type cause struct {
	status int
	kind   string
}

// causeOfCode goes before causeOfType: a code says more than a type. Those without a name in schema are the words of
// producers, and of OpenAI.
var causeOfCode = map[string]cause{
	schema.CodeModelNotFound:    {http.StatusNotFound, schema.TypeInvalidRequest},
	schema.CodeRateLimit:        {http.StatusTooManyRequests, schema.TypeRateLimit},
	"insufficient_quota":        {http.StatusTooManyRequests, schema.TypeRateLimit},
	"upstream_timeout":          {http.StatusGatewayTimeout, schema.TypeUpstream},
	"upstream_unavailable":      {http.StatusBadGateway, schema.TypeUpstream},
	schema.CodeUpstreamProtocol: {http.StatusBadGateway, schema.TypeUpstream},
	schema.CodeRunExpired:       {http.StatusGatewayTimeout, schema.TypeServer},
	schema.CodeTurns:            {http.StatusInternalServerError, schema.TypeServer},
	schema.CodeAttempts:         {http.StatusInternalServerError, schema.TypeServer},
}

var causeOfType = map[string]cause{
	schema.TypeConnector:      {http.StatusFailedDependency, schema.TypeConnector},
	schema.TypeInvalidRequest: {http.StatusBadRequest, schema.TypeInvalidRequest},
	schema.TypeRateLimit:      {http.StatusTooManyRequests, schema.TypeRateLimit},
	schema.TypeUpstream:       {http.StatusBadGateway, schema.TypeUpstream},
}

func causeOf(e *schema.ResponseError) cause {
	if c, ok := causeOfCode[e.Code]; ok {
		return c
	}
	if c, ok := causeOfType[e.Type]; ok {
		return c
	}
	return cause{http.StatusInternalServerError, schema.TypeServer}
}

// failure is the HTTP error of a run that failed before it had anything to show but lists of tools. Whatever it had to
// show else is worth more to the caller than a status: then it is nil, and the response itself tells.
func failure(resp *schema.Response) *schema.Error {
	if resp.Status != schema.StatusFailed || resp.Error == nil {
		return nil
	}
	for i := range resp.Output {
		if resp.Output[i].Type != schema.KindListTools {
			return nil
		}
	}
	e, c := resp.Error, causeOf(resp.Error)
	return &schema.Error{
		Status: c.status, Message: e.Message, Type: cmp.Or(e.Type, c.kind), Param: e.Param, Code: e.Code,
	}
}
