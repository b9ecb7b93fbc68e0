package authority_test

import (
	"bytes"
	"crypto/x509"
	"flag"
	"os"
	"path/filepath"
	"testing"

	"mutual/pki"
	"mutual/pki/authority"
	"mutual/pki/pemfile"
	"mutual/pki/pkitest"
	"mutual/pki/profile"
)

var update = flag.Bool("update", false, "rewrite the golden files")

// golden compares PEM with a file of testdata/golden.
func golden(t *testing.T, name string, pem []byte) {
	t.Helper()
	path := filepath.Join(pkitest.Root(t), "testdata", "golden", name+".pem")
	if *update {
		if err := os.MkdirAll(filepath.Dir(path), 0o755); err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(path, pem, 0o644); err != nil {
			t.Fatal(err)
		}
		return
	}
	want, err := os.ReadFile(path)
	if err != nil {
		t.Fatalf("%v (go test ./pki/authority -run Golden -update writes it)", err)
	}
	if want = bytes.ReplaceAll(want, []byte("\r\n"), []byte("\n")); !bytes.Equal(pem, want) {
		t.Errorf("%s is not what was signed (-update rewrites it):\n%s", path, pem)
	}
}

// With the same keys, serials and times the same octets are signed: what a
// change of the code changes in our certificates shows here.
func TestGoldenCertificates(t *testing.T) {
	var constraints profile.Constraints
	for _, err := range []error{
		constraints.PermitDNS("example.com"), constraints.PermitEmail("example.com"),
		constraints.PermitURI(".example.com"), constraints.PermitIP("10.0.0.0/8"),
	} {
		if err != nil {
			t.Fatal(err)
		}
	}
	for _, ca := range []struct {
		suffix string
		config pkitest.Config
	}{
		{"", pkitest.Config{}},
		{"-rsa2048", pkitest.Config{RootKey: "rsa2048", IssuingKey: "rsa3072"}},
		{"-p384", pkitest.Config{RootKey: "p384"}},
		{"-ed25519", pkitest.Config{IssuingKey: "ed25519"}},
		{"-constrained", pkitest.Config{Constraints: constraints}},
	} {
		h := pkitest.NewHierarchy(t, ca.config)
		golden(t, "root"+ca.suffix, pemfile.EncodeCertificates(h.Root.Certificate()))
		golden(t, "issuing"+ca.suffix, pemfile.EncodeCertificates(h.Issuing.Certificate()))
		leaf := goldenLeaf(t, h, pki.KindClient, "alice@example.com", "leaf-p256")
		golden(t, "client"+ca.suffix, pemfile.EncodeCertificates(leaf))
	}
	h := pkitest.NewHierarchy(t, pkitest.Config{})
	for _, leaf := range []struct {
		file string
		kind pki.Kind
		name string
		key  string
	}{
		{"client-name-only", pki.KindClient, "Alice Müller", "leaf-p256"},
		{"client-spiffe", pki.KindClient, "spiffe://example.com/ns/a", "ed25519"},
		{"client-rsa", pki.KindClient, "alice@example.com", "rsa2048"},
		{"probe", pki.KindProbe, "alice@example.com", "leaf-p256"},
		{"server", pki.KindServer, "localhost", "leaf-p256"},
		{"server-wildcard", pki.KindServer, "*.example.com", "leaf-p256"},
		{"server-ip", pki.KindServer, "2001:db8::7", "leaf-p256"},
		{"server-rsa", pki.KindServer, "api.example.com", "rsa2048"},
		{"server-long-name", pki.KindServer, "a-label-of-more-than-forty-characters-is-allowed.of-a-host.example.com", "leaf-p256"},
	} {
		golden(t, leaf.file, pemfile.EncodeCertificates(goldenLeaf(t, h, leaf.kind, leaf.name, leaf.key)))
	}
}

// goldenLeaf has every attribute and extension that a request can ask for.
func goldenLeaf(t *testing.T, h *pkitest.Hierarchy, kind pki.Kind, name, key string) *x509.Certificate {
	t.Helper()
	req := h.Request(t, kind, name, "90d")
	req.PublicKey = pkitest.Key(t, key).Public()
	req.CRLURL = "http://crl.example.com/issuing.crl"
	if req.Subject.CommonName != "" {
		req.Subject.Organization, req.Subject.OrganizationalUnit = "Acme Inc", "Entwicklung & Prüfung"
		req.Subject.Country, req.Subject.State, req.Subject.Locality = "DE", "Berlin", "Berlin"
	}
	return h.Leaf(t, req, name, pkitest.Serial(3))
}

func TestGoldenCRLs(t *testing.T) {
	h := pkitest.NewHierarchy(t, pkitest.Config{})
	empty, err := pkitest.IssueCRL(h.Root, nil, authority.LastCRL{}, pkitest.MustLifetime(t, "1y"), pkitest.Now())
	if err != nil {
		t.Fatal(err)
	}
	golden(t, "crl-root", pemfile.EncodeCRL(empty.DER))
	var revoked []authority.Revoked
	for i, reason := range []pki.Reason{pki.Unspecified, pki.KeyCompromise, pki.CertificateHold, pki.PrivilegeWithdrawn} {
		revoked = append(revoked, revokedAt(uint32(9-i), reason, pkitest.Now()))
	}
	list, err := pkitest.IssueCRL(h.Issuing, revoked, authority.LastCRL{}, pkitest.MustLifetime(t, "30d"), pkitest.Now())
	if err != nil {
		t.Fatal(err)
	}
	golden(t, "crl-issuing", pemfile.EncodeCRL(list.DER))
}
