package broker

import (
	"encoding/base64"
	"errors"
)

// The probe is a text that everybody knows, sealed with the key of those who seal here: whoever cannot open it has another key.
// It tells nothing of the key, which is 256 random bits, nor of what else that seals: its nonce is random, and no response or
// tenant has its scope.
var (
	probeText  = []byte("midstream")
	probeScope = []byte("probe of the secret key")
)

// errOtherKey says that this node would not be able to open what the others seal.
var errOtherKey = errors.New("the secret key is another one than that of this log, so this node could not open the credentials of " +
	"its runs: set secret_key to the key of the other nodes, or put " + keyFile + " back into the data directory of an embedded server; " +
	"to change the key, set secret_key to the new one and other_keys to the old one; if that is lost, start once with renew_key")

// prove checks the keys against the probe that is there, and returns the one that is to be there: the same, or one that is
// sealed anew, since there was none, or another of the keys has sealed it, or it is to be forgotten what has.
func (v *vault) prove(probe string, renew bool) (string, error) {
	if probe == "" {
		return v.probe(), nil
	}
	sealed, err := base64.StdEncoding.DecodeString(probe)
	first := false
	if err == nil {
		_, first, err = v.unlock(sealed, probeScope)
	}
	switch {
	case err != nil && !renew:
		return "", errOtherKey
	case first:
		return probe, nil
	}
	return v.probe(), nil
}

func (v *vault) probe() string {
	return base64.StdEncoding.EncodeToString(v.lock(probeText, probeScope))
}
