package broker

import (
	"crypto/aes"
	"crypto/cipher"
	"crypto/rand"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"

	"github.com/midstream-dev/midstream/schema"
)

// keyFile holds the key of the embedded default, beside the server's store.
const keyFile = "secret.key"

// vault seals with AES-256-GCM, under a random nonce and bound to a scope: what is moved elsewhere does not open. The first key
// seals, any of them opens.
type vault struct{ keys []cipher.AEAD }

func newVault(cfg Config) (*vault, error) {
	key := cfg.SecretKey
	if key == nil {
		var err error
		if key, err = loadKey(filepath.Join(cfg.DataDir, keyFile)); err != nil {
			return nil, err
		}
	}
	v := new(vault)
	for _, key := range append([][]byte{key}, cfg.OtherKeys...) {
		block, err := aes.NewCipher(key)
		if err != nil {
			return nil, fmt.Errorf("secret key: %w", err)
		}
		aead, err := cipher.NewGCMWithRandomNonce(block)
		if err != nil {
			return nil, fmt.Errorf("secret key: %w", err)
		}
		v.keys = append(v.keys, aead)
	}
	return v, nil
}

func (v *vault) lock(plain, scope []byte) []byte { return v.keys[0].Seal(nil, nil, plain, scope) }

// unlock opens what lock has sealed with any of the keys; first says that it was the one that seals.
func (v *vault) unlock(sealed, scope []byte) (plain []byte, first bool, err error) {
	for i, key := range v.keys {
		if plain, err = key.Open(nil, nil, sealed, scope); err == nil {
			return plain, i == 0, nil
		}
	}
	return nil, false, err
}

// loadKey reads the key, or makes one that nobody but the owner of the process can read.
func loadKey(path string) ([]byte, error) {
	key, err := os.ReadFile(path)
	if errors.Is(err, fs.ErrNotExist) {
		return makeKey(path)
	}
	if err != nil {
		return nil, fmt.Errorf("read secret key: %w", err)
	}
	if len(key) != keyBytes {
		return nil, fmt.Errorf("read secret key %s: %d bytes, not %d", path, len(key), keyBytes)
	}
	return key, nil
}

func makeKey(path string) ([]byte, error) {
	if err := os.MkdirAll(filepath.Dir(path), 0o700); err != nil {
		return nil, fmt.Errorf("make secret key: %w", err)
	}
	key := make([]byte, keyBytes)
	if _, err := rand.Read(key); err != nil {
		return nil, fmt.Errorf("make secret key: %w", err)
	}
	if err := os.WriteFile(path, key, 0o600); err != nil {
		return nil, fmt.Errorf("make secret key: %w", err)
	}
	return key, nil
}

// seal seals the secrets of a run command, for its response alone.
func (v *vault) seal(ref schema.Ref, secrets []byte) []byte {
	if len(secrets) == 0 {
		return nil
	}
	return v.lock(secrets, []byte(ref.String()))
}

func (v *vault) open(ref schema.Ref, sealed []byte) ([]byte, error) {
	if len(sealed) == 0 {
		return nil, nil
	}
	secrets, _, err := v.unlock(sealed, []byte(ref.String()))
	if err != nil {
		return nil, fmt.Errorf("secrets of %s: sealed with another key: every node needs the same secret key", ref)
	}
	return secrets, nil
}
