// Package cluster runs what deploy/ describes on this machine, without containers: three NATS servers on the very files
// of deploy/nats, and gateways and producers of the built binary on deploy/midstream. `make cluster` shows it to people,
// and the tests of this package break it.
//
// Everything listens on loopback and on ports that were free. A [Member] is one process: it can be killed, stopped and
// started again on the address and the data that it had. What the processes write is in one file each.
//
// [Start] returns when every process serves, which is before a first leader is elected. [Cluster.Stop] returns when every
// process, and whatever it has started, has ended.
package cluster
