// Package e2e runs the built binary against things that nobody here wrote: OpenAI's clients in Node, Python and Go, a
// browser, model servers, and MCP servers. It has no code of its own besides the tests, under the build tag e2e:
//
//	make e2e
//
// Every story ends in the same way: the response is replayed from the log as raw bytes, the strict checker of package
// schema accepts them, and they say what the client saw.
//
// The programs in clients/ are those of the README: short, whole, and run here as they stand.
package e2e
