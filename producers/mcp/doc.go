// Package mcp talks to Model Context Protocol servers on behalf of runs. It wraps the client of
// github.com/mark3labs/mcp-go and closes what that client leaves open to a server that hangs, lies or floods.
//
// The nouns:
//
//   - A [Server] is what a run names: a URL (streamable HTTP, or the older HTTP+SSE), or a command that the operator
//     configured (stdio), with the credentials for it.
//   - A [Pool] holds sessions. A session belongs to one tenant, one server and one set of credentials, and is never
//     shared beyond these; runs that agree on all three share it.
//   - A [Tool] and a [Result] carry the bytes that the server sent: schemas, annotations and content blocks are not
//     decoded into Go values on the way, so nothing in them is lost.
//   - An [Error] says what the wire may say: a kind, a code and a text without addresses or credentials. What lies
//     beneath it is for errors.Is and for logs.
//
// What the package promises:
//
//   - A URL that a client named reaches public addresses on ports 443 and 8443 by TLS, and the networks of
//     [Config.AllowPrivate]; nothing else. [CheckURL] refuses what can be seen in the text, and the dialer judges every
//     address after it has been resolved, so that a name which changes its address between two look-ups gains nothing.
//     Redirects are not followed, proxies from the environment are not used, and a request never leaves the origin that
//     the server was named by.
//   - A server sees its own credentials, on every request, and no other's.
//   - Every wait has an end, every buffer a bound (see [Config]), and no goroutine outlives [Pool.Close].
//   - A call is sent again only when the server has said that it did not take it: the session is gone, the protocol
//     version is not spoken, or a mirrored header is missing. A call whose fate is unknown is never repeated here.
//   - One bad tool does not cost the list, and an answer to another request is not taken as the answer to this one.
//
// Progress and other notifications are dropped unread: mcp-go's servers deliver some of them after the result, so
// nothing can be built on them. Sampling, elicitation and roots are not offered; a server that asks is told so.
package mcp
