//go:build e2e

// Package chaos kills, pauses, cuts off and powers down real processes under load, and then holds what is in the log, what
// clients got and what tools did to everything that Midstream promises.
//
//	make chaos
//
// Each story draws its faults from a seed, which it prints first; `-seed` plays the same faults again. [rig] has the
// processes and the faults, [check] the rules, powercut a disk that forgets what was not fsynced, mutants the proof that the
// stories go red when a defence is taken out.
package chaos
