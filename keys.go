package main

import (
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"slices"

	"github.com/midstream-dev/midstream/schema"
	"github.com/midstream-dev/midstream/sseserver"
)

// minKey is how short a key may be, in bytes: nobody guesses 16 random characters.
const minKey = 16

// keys returns what the face compares with. validateKeys has found nothing wrong.
func (c *Config) keys() []sseserver.Key {
	out := make([]sseserver.Key, 0, len(c.Keys))
	for i := range c.Keys {
		hash, _ := c.Keys[i].hash()
		key := sseserver.Key{Name: c.Keys[i].Name, Hash: hash, Tenant: c.Keys[i].Tenant}
		for _, scope := range c.Keys[i].Scopes {
			key.Scopes = append(key.Scopes, sseserver.Scope(scope))
		}
		out = append(out, key)
	}
	return out
}

func (k *KeyConfig) hash() (hash [sha256.Size]byte, err error) {
	switch {
	case (k.Secret == "") == (k.SHA256 == ""):
		return hash, errors.New("a key has a secret, or the sha256 of one")
	case k.Secret != "" && len(k.Secret) < minKey:
		return hash, fmt.Errorf("its secret has fewer than %d characters", minKey)
	case k.Secret != "":
		return sha256.Sum256([]byte(k.Secret.Reveal())), nil
	}
	raw, err := hex.DecodeString(k.SHA256)
	if err != nil || len(raw) != sha256.Size {
		return hash, errors.New("its sha256 is not 64 hex digits")
	}
	if hash = [sha256.Size]byte(raw); hash == sha256.Sum256(nil) {
		return hash, errors.New("its sha256 is that of no secret at all")
	}
	return hash, nil
}

// validateKeys quotes no secret.
func (c *Config) validateKeys() error {
	names := map[[sha256.Size]byte]string{}
	var errs []error
	for i := range c.Keys {
		k := &c.Keys[i]
		hash, err := k.hash()
		if err == nil {
			err = k.validate()
		}
		if other, taken := names[hash]; taken && err == nil {
			err = fmt.Errorf("it is the key of %s too", other)
		}
		names[hash] = k.Name
		if err != nil {
			errs = append(errs, fmt.Errorf("keys: %q: %w", k.Name, err))
		}
	}
	return errors.Join(errs...)
}

func (k *KeyConfig) validate() error {
	if !schema.ValidToken(k.Name) {
		return fmt.Errorf("its name is not 1 to %d letters, digits, _ or -", schema.MaxToken)
	}
	if k.Tenant != "" && !schema.ValidToken(k.Tenant) {
		return fmt.Errorf("its tenant %q is not 1 to %d letters, digits, _ or -", k.Tenant, schema.MaxToken)
	}
	for _, scope := range k.Scopes {
		if !slices.Contains(sseserver.Scopes, sseserver.Scope(scope)) {
			return fmt.Errorf("there is no scope %q: there are %q", scope, sseserver.Scopes)
		}
	}
	return nil
}
