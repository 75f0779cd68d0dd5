package main

import (
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/pem"
	"fmt"
	"math/big"
	"net"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/nats-io/nats.go"

	"github.com/osctl/eventd/cmd/osctl-eventd-nats/internal/fleettest"
	"github.com/osctl/eventd/dbusapi/apitest"
)

// certificate creates a self-signed certificate for 127.0.0.1: ca.pem and key.pem in a directory.
func certificate(t *testing.T) (dir string) {
	t.Helper()
	dir = t.TempDir()
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	template := &x509.Certificate{
		SerialNumber: big.NewInt(1), Subject: pkix.Name{CommonName: "test"}, IsCA: true, BasicConstraintsValid: true,
		NotBefore: time.Now().Add(-time.Hour), NotAfter: time.Now().Add(time.Hour), IPAddresses: []net.IP{net.IPv4(127, 0, 0, 1)},
	}
	cert, err := x509.CreateCertificate(rand.Reader, template, template, &key.PublicKey, key)
	if err != nil {
		t.Fatal(err)
	}
	private, err := x509.MarshalPKCS8PrivateKey(key)
	if err != nil {
		t.Fatal(err)
	}
	for name, block := range map[string]*pem.Block{"ca.pem": {Type: "CERTIFICATE", Bytes: cert}, "key.pem": {Type: "PRIVATE KEY", Bytes: private}} {
		if err := os.WriteFile(filepath.Join(dir, name), pem.EncodeToMemory(block), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	return dir
}

// TestTLS checks that a bridge forwards only to a server whose certificate its ca.pem verifies, and that it
// does not forward to a server without TLS by a tls URL.
func TestTLS(t *testing.T) {
	e, dir, other := fleettest.StartEventd(t, 10), certificate(t), certificate(t)
	ca := filepath.Join(dir, "ca.pem")
	server := fleettest.StartServer(t, fmt.Sprintf("tls { cert_file: %q, key_file: %q }", ca, filepath.Join(dir, "key.pem")))
	stream := server.MakeStream(t, nil, nats.RootCAs(ca))
	cursor := e.Commit(t, 3)
	says := func(p *process, text string) {
		t.Helper()
		apitest.Eventually(t, "the bridge logs "+text, func() bool { return strings.Contains(p.Err.String(), text) })
	}
	stranger := launch(t, nil, bridge(t, server, e.Bus.Address(), "--credentials", other)...)
	says(stranger, "failed to verify certificate")
	plain := fleettest.StartServer(t, "")
	unprotected := launch(t, nil, bridge(t, plain, e.Bus.Address(), "--server", strings.Replace(plain.URL, "nats:", "tls:", 1))...)
	says(unprotected, "secure connection not available")
	if at := fleettest.Cursor(t.Context(), stream, host); at != "" {
		t.Errorf("the stream is at %s", at)
	}
	// The directory as systemd passes it.
	given := t.TempDir()
	text, err := os.ReadFile(ca)
	if err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(filepath.Join(given, "osctl-eventd-nats_ca.pem"), text, 0o600); err != nil {
		t.Fatal(err)
	}
	launch(t, []string{"CREDENTIALS_DIRECTORY=" + given}, bridge(t, server, e.Bus.Address())...)
	fleettest.AwaitCursor(t, stream, host, cursor)
}
