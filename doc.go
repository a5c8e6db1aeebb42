// Command midstream streams AI responses from a log. Producers append Responses API and MCP events to NATS JetStream; any
// node serves any response from there, in canonical order, resumable from any event.
//
//	midstream serve              run a node; without any configuration, a demo
//	midstream tail RESPONSE_ID   follow a response in the terminal
//	midstream version
//
// This package is the only one that reads flags, the environment and the configuration file, and the only one that sees
// both faces of the node, which meet in the log:
//
//	Config ─▶ node ─┬─▶ sseserver ─┐
//	                └─▶ producers ─┴─▶ broker ─▶ NATS
//
// A node opens its parts in that order, the log first, and closes them in reverse. On the first SIGINT or SIGTERM it takes
// nothing new, cuts its streams so that their clients go on elsewhere, hands its runs over and exits with 0; a second
// signal ends it at once. arch_test.go holds all packages to the rules of docs/architecture.md.
package main
