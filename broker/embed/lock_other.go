//go:build !unix

package embed

// lock does nothing where there is no flock: the operator keeps to one process.
func lock(string) (unlock func() error, err error) { return func() error { return nil }, nil }
