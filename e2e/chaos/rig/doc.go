//go:build e2e

// Package rig is a small data centre of real processes on one machine, and what may go wrong in it: a NATS cluster,
// gateways and producers, each line between two of them a proxy of ours, a model server and an MCP server that count what
// they are asked, and clients that lose their connections.
//
// Its nouns:
//
//	Rig      all of it; Start and Stop
//	Process  one program, which can be killed, paused, ended and started again
//	Line     one proxied way between two processes
//	Fault    something that goes wrong, and is put right again
//	Model    the upstream: what it says follows from the request alone
//	Tools    the MCP server: it counts every execution
//	Client   posts one run, and follows it to its end over as many connections as it takes
package rig
