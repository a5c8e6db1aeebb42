// Command bench measures the built binary from outside: a node in a process of its own, with real HTTP on both sides.
// This process is the upstream that sends tokens and the clients that receive them, so that one clock times both ends.
// Beside each figure stands that of a plain in-memory relay, which forwards the same upstream's stream without order, log
// or resume: the price of durability is the ratio.
//
//	go build -o midstream . && go run ./e2e/bench -binary ./midstream -sync always
//
// Figures are for comparing, on one machine, in one run. They gate nothing.
package main
