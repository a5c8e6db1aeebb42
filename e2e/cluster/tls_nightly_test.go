//go:build e2e && nightly

package cluster_test

import (
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/pem"
	"math/big"
	"net"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/nats-io/nats.go"

	"github.com/midstream-dev/midstream/e2e/cluster"
)

// TLS is what nats.conf says of it: two lines without their #, and three files. Servers and nodes then speak it, and
// who does not is refused.
func TestTLS(t *testing.T) {
	root, certificates := t.TempDir(), t.TempDir()
	writeCertificates(t, certificates)
	must(t, os.CopyFS(filepath.Join(root, "deploy/nats"), os.DirFS("../../deploy/nats")))
	must(t, os.CopyFS(filepath.Join(root, "deploy/midstream"), os.DirFS("../../deploy/midstream")))
	rewrite(t, filepath.Join(root, "deploy/nats/nats.conf"), "# include ./tls.conf", "include ./tls.conf")
	rewrite(t, filepath.Join(root, "deploy/nats/nats.conf"), "# include ./cluster-tls.conf", "include ./cluster-tls.conf")
	rewrite(t, filepath.Join(root, "deploy/nats/tls.conf"), "verify: false", "verify: true")
	for _, file := range []string{"tls.conf", "cluster-tls.conf"} {
		rewrite(t, filepath.Join(root, "deploy/nats", file), "/etc/nats/tls", certificates)
	}
	ca, crt, key := certificates+"/ca.crt", certificates+"/tls.crt", certificates+"/tls.key"
	c, err := cluster.Start(t.Context(), cluster.Config{
		Root: root, Dir: t.TempDir(), Midstream: programs.midstream, NATS: programs.nats, Gateways: 1, Producers: 1,
		Env: []string{"MIDSTREAM_NATS_CA=" + ca, "MIDSTREAM_NATS_CERT=" + crt, "MIDSTREAM_NATS_KEY=" + key},
	})
	must(t, err)
	t.Cleanup(func() { must(t, c.Stop()) })
	if answer := ask(t, "POST", c.Gateways[0].URL+"/v1/responses", `{"model":"demo","input":"Tell me about rivers."}`); !strings.Contains(answer, `"completed"`) {
		t.Error(answer)
	}
	if nc, err := nats.Connect(c.Servers[0].URL, nats.UserInfo(c.Node.Name, c.Node.Password), nats.RootCAs(ca)); err == nil {
		nc.Close()
		t.Error("a client without a certificate was let in")
	}
	log, err := os.ReadFile(c.Servers[0].Log)
	if err != nil || !strings.Contains(string(log), "TLS required for client connections") {
		t.Errorf("the server does not say that it asks for TLS: %v\n%s", err, log)
	}
}

func rewrite(t *testing.T, path, from, to string) {
	t.Helper()
	text, err := os.ReadFile(path)
	must(t, err)
	changed := strings.ReplaceAll(string(text), from, to)
	if changed == string(text) {
		t.Fatalf("%s has not: %s", path, from)
	}
	must(t, os.WriteFile(path, []byte(changed), 0o600))
}

// writeCertificates makes a CA, and a certificate of it that is good for servers and clients on loopback.
func writeCertificates(t *testing.T, dir string) {
	t.Helper()
	authority := &x509.Certificate{
		SerialNumber: big.NewInt(1), Subject: pkix.Name{CommonName: "test CA"}, NotAfter: time.Now().Add(time.Hour),
		IsCA: true, BasicConstraintsValid: true, KeyUsage: x509.KeyUsageCertSign,
	}
	leaf := &x509.Certificate{
		SerialNumber: big.NewInt(2), Subject: pkix.Name{CommonName: "nats"}, NotAfter: time.Now().Add(time.Hour),
		IPAddresses: []net.IP{net.IPv4(127, 0, 0, 1)}, KeyUsage: x509.KeyUsageDigitalSignature,
		ExtKeyUsage: []x509.ExtKeyUsage{x509.ExtKeyUsageServerAuth, x509.ExtKeyUsageClientAuth},
	}
	caKey, err1 := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	key, err2 := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	must(t, err1)
	must(t, err2)
	ca, err := x509.CreateCertificate(rand.Reader, authority, authority, &caKey.PublicKey, caKey)
	must(t, err)
	crt, err := x509.CreateCertificate(rand.Reader, leaf, authority, &key.PublicKey, caKey)
	must(t, err)
	secret, err := x509.MarshalPKCS8PrivateKey(key)
	must(t, err)
	for name, block := range map[string]*pem.Block{
		"ca.crt": {Type: "CERTIFICATE", Bytes: ca}, "tls.crt": {Type: "CERTIFICATE", Bytes: crt}, "tls.key": {Type: "PRIVATE KEY", Bytes: secret},
	} {
		must(t, os.WriteFile(filepath.Join(dir, name), pem.EncodeToMemory(block), 0o600))
	}
}
