// Package e2e runs the built binary against things that nobody here wrote: OpenAI's clients in Node, Python and Go, the
// AI SDK, OpenAI's agents, LangChain, the types of the Open Responses specification, a browser, model servers, and MCP
// servers. It has no code of its own besides the tests, under the build tag e2e:
//
//	make e2e
//
// Every story ends in the same way: the response is replayed from the log as raw bytes, the strict checker of package
// schema accepts them, and they say what the client saw.
//
// The programs in clients/ are short, whole, and run here as they stand; those of the README are among them. Text goes to
// stdout, one event a line to stderr.
package e2e
