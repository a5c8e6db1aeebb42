package main

import (
	"bytes"
	"encoding/base64"
	"strings"
	"testing"
)

// TestConfig_Keys promises that the secret key and the others reach the broker from the file and from the environment, and that
// one which is no key is refused without being shown.
func TestConfig_Keys(t *testing.T) {
	key := func(n byte) string { return base64.StdEncoding.EncodeToString(bytes.Repeat([]byte{n}, 32)) }
	t.Setenv("MIDSTREAM_NATS_SECRET_KEY", key(1))
	fromFile := "nats: {other_keys: ['" + key(2) + "', '" + key(3) + "'], renew_key: true}"
	for name, text := range map[string]string{"file": fromFile, "environment": ""} {
		if text == "" {
			t.Setenv("MIDSTREAM_NATS_OTHER_KEYS", key(2)+","+key(3))
			t.Setenv("MIDSTREAM_NATS_RENEW_KEY", "true")
		}
		got, err := mustLoad(t, text).broker()
		if err != nil {
			t.Fatal(err)
		}
		if got.SecretKey[0] != 1 || len(got.OtherKeys) != 2 || got.OtherKeys[0][0] != 2 || got.OtherKeys[1][0] != 3 || !got.RenewKey {
			t.Errorf("%s: keys %v and %v, renew %t", name, got.SecretKey, got.OtherKeys, got.RenewKey)
		}
	}
	for _, spoilt := range []string{"hush", key(1)[4:]} {
		t.Setenv("MIDSTREAM_NATS_OTHER_KEYS", spoilt)
		if _, err := mustLoad(t, "").broker(); err == nil || !strings.Contains(err.Error(), "nats.other_keys: not 32 bytes") || strings.Contains(err.Error(), spoilt) {
			t.Errorf("%q: %v", spoilt, err)
		}
	}
}
