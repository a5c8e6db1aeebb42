//go:build e2e

package rig

import "testing"

// Two processes of one run never get the same address, though neither listens there yet when the second one is chosen.
func TestFreePorts_NeverTwice(t *testing.T) {
	seen := map[string]bool{}
	for range 300 {
		ports, err := freePorts(3)
		if err != nil {
			t.Fatal(err)
		}
		for _, addr := range ports {
			if seen[addr] {
				t.Fatalf("%s was given twice", addr)
			}
			seen[addr] = true
		}
	}
}
