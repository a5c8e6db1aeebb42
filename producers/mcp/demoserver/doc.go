// Package demoserver is an MCP server to try Midstream with: a few pleasant tools that need no network, no state and
// no credentials. The binary serves it beside the gateway, and the tests call it.
//
// Its answers depend on the arguments alone (roll_dice on its seed), except that slow_count takes its time: it counts
// aloud, one progress notification a number, and stops when its caller does.
package demoserver
