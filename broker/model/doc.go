// Package model is the naive twin of the broker's log: the same promises kept by a map and a mutex. The conformance suite
// and the simulation of package broker run against both, so that what the broker promises is written down twice, once in a
// way that can be read in a minute.
//
// It commits every event in a record of its own: how events are grouped is no promise of the log.
package model
