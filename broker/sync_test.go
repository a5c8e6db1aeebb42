package broker

import (
	"strings"
	"testing"
)

// The password of a monitoring address is in no error, whatever is wrong with the address.
func TestWeakestSync_HidesPasswords(t *testing.T) {
	t.Parallel()
	for _, monitor := range []string{"http://user:CANARY@127.0.0.1:1", "http://user:CANARY@127.0.0.1:port", "ftp://user:CANARY@127.0.0.1"} {
		_, err := weakestSync(testContext(t), []string{monitor})
		if err == nil || strings.Contains(err.Error(), "CANARY") {
			t.Errorf("%v", err)
		}
	}
}
