package commands_test

import (
	"crypto/rand"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/pem"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"mutual/pki/pkitest"
)

// signed is what a CA has signed, in files.
type signed struct {
	p      *interopPKI
	leaves []signedLeaf
	lists  []string // in the order in which they were made, the issuing CA's and then the root's
}

// signedLeaf is a certificate, and what of it the command line said.
type signedLeaf struct {
	chain, kind, commonName string
	san                     []string // as "dns:example.com"
}

func (s *signed) files() []string {
	files := append([]string{s.p.file("root.crt")}, s.lists...)
	for _, leaf := range s.leaves {
		files = append(files, leaf.chain) // with the issuing CA
	}
	return files
}

// signedNames are names of every form: what is written, what becomes the
// common name, and the alternative names.
var signedNames = []struct {
	words      []string
	commonName string
	san        []string
}{
	{[]string{"client", "alice"}, "alice", nil},
	{[]string{"client", "bob@example.com"}, "bob@example.com", []string{"email:bob@example.com"}},
	{[]string{"client", "host.example.com"}, "host.example.com", []string{"dns:host.example.com"}},
	{[]string{"client", "spiffe://example.com/ns/sa"}, "spiffe://example.com/ns/sa", []string{"uri:spiffe://example.com/ns/sa"}},
	{[]string{
		"client", "Zoë Müller", "--org", "Acme GmbH & Co. KG", "--unit", "Entwicklung", "--country", "DE",
		"--state", "Bayern", "--locality", "München",
	}, "Zoë Müller", nil},
	{[]string{
		"client", "several", "--dns", "a.example.com", "--dns", "*.b.example.com", "--dns", "bücher.example", "--ip", "192.0.2.1",
		"--ip", "2001:db8::1", "--email", "a@example.com", "--uri", "https://example.com/a?b=c,d", "--uri", longURI(),
	}, "several", []string{
		"dns:a.example.com", "dns:*.b.example.com", "dns:xn--bcher-kva.example", "ip:192.0.2.1", "ip:2001:db8::1",
		"email:a@example.com", "uri:https://example.com/a?b=c,d", "uri:" + longURI(),
	}},
	{[]string{"server", "localhost"}, "localhost", []string{"dns:localhost", "ip:127.0.0.1", "ip:::1"}},
	{[]string{"server", "*.example.com"}, "*.example.com", []string{"dns:*.example.com"}},
	{[]string{"server", "bücher.example"}, "xn--bcher-kva.example", []string{"dns:xn--bcher-kva.example"}},
	{[]string{"server", "192.0.2.7"}, "192.0.2.7", []string{"ip:192.0.2.7"}},
	{[]string{"server", "2001:db8::7"}, "2001:db8::7", []string{"ip:2001:db8::7"}},
	{[]string{"server", longHost()}, "", []string{"dns:" + longHost()}},
	{[]string{"server", "longest.example.com", "--ttl", "825d"}, "longest.example.com", []string{"dns:longest.example.com"}},
	{[]string{"client", "ever", "--ttl", "50y"}, "ever", nil},
}

func longURI() string  { return "spiffe://example.com/" + strings.Repeat("workload/", 20) + "a" }
func longHost() string { return strings.Repeat("a", 60) + ".example.com" }

// sign issues to every name, and for keys of the given types, and revokes for
// every reason.
func sign(t *testing.T, p *interopPKI, keyTypes ...string) *signed {
	t.Helper()
	s := &signed{p: p}
	s.keepLists("empty")
	for _, name := range signedNames {
		s.add(p.issue(name.words[0], name.words[1], name.words[2:]...), name.words[0], name.commonName, name.san...)
	}
	for _, keyType := range keyTypes {
		request := writeRequest(t, keyType)
		s.add(p.issue("client", "c-"+keyType, "--csr", request), "client", "c-"+keyType)
		host := "s-" + keyType + ".example.com"
		s.add(p.chainOf("sign", request, "--as", "server", "--name", host), "server", host, "dns:"+host)
		s.add(p.chainOf("sign", request, "--as", "client", "--name", "n-"+keyType, "--accept-names"),
			"client", "n-"+keyType, "dns:requested.example.com")
	}
	s.revokeForEveryReason()
	return s
}

func (s *signed) add(chain, kind, commonName string, san ...string) {
	s.leaves = append(s.leaves, signedLeaf{chain: chain, kind: kind, commonName: commonName, san: san})
}

func (s *signed) revokeForEveryReason() {
	s.p.t.Helper()
	s.p.run("revoke", "alice")
	s.keepLists("unspecified")
	for i, reason := range []string{"keyCompromise", "affiliationChanged", "superseded", "cessationOfOperation", "privilegeWithdrawn"} {
		s.p.run("revoke", signedNames[1+i].words[1], "--reason", reason)
		s.keepLists(reason)
	}
	s.p.run("hold", "localhost")
	s.keepLists("held")
	s.p.run("unhold", "localhost")
	s.keepLists("unheld")
	s.p.run("crl", "refresh")
	s.keepLists("refreshed") // like all before it, made of the last one
	if err := os.Remove(s.p.file("crl/issuing.crl")); err != nil {
		s.p.t.Fatal(err)
	}
	s.p.run("crl", "refresh")
	s.keepLists("rebuilt")
}

// keepLists copies both lists of the moment.
func (s *signed) keepLists(when string) {
	s.p.t.Helper()
	for _, ca := range []string{"issuing", "root"} {
		data, err := os.ReadFile(s.p.file("crl/" + ca + ".pem"))
		if err != nil {
			s.p.t.Fatal(err)
		}
		path := filepath.Join(filepath.Dir(s.p.dir), when+"-"+ca+".pem")
		if err := os.WriteFile(path, data, 0o600); err != nil {
			s.p.t.Fatal(err)
		}
		s.lists = append(s.lists, path)
	}
}

// writeRequest makes a certification request that asks for more than it gets:
// another common name, and a DNS name.
func writeRequest(t *testing.T, keyType string) string {
	t.Helper()
	fixtures := map[string]string{"p256": "leaf-p256"}
	name, ok := fixtures[keyType]
	if !ok {
		name = keyType
	}
	der, err := x509.CreateCertificateRequest(rand.Reader, &x509.CertificateRequest{
		Subject:  pkix.Name{CommonName: "requested", Organization: []string{"Requested"}},
		DNSNames: []string{"requested.example.com"},
	}, pkitest.Key(t, name))
	if err != nil {
		t.Fatal(err)
	}
	path := filepath.Join(t.TempDir(), keyType+".csr")
	data := pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE REQUEST", Bytes: der})
	if err := os.WriteFile(path, data, 0o600); err != nil {
		t.Fatal(err)
	}
	return path
}

// TestZlintOfWhatWeSign: the linter finds nothing in anything that the
// commands sign, under CAs of every type of key and with name constraints.
func TestZlintOfWhatWeSign(t *testing.T) {
	t.Parallel()
	every := []string{"p256", "p384", "rsa2048", "rsa3072", "rsa4096", "ed25519"}
	files := sign(t, newInteropPKI(t, "--crl-url", "http://crl.example.com/issuing.crl"), every...).files()
	for _, keyType := range every[1:] {
		files = append(files, sign(t, newInteropPKI(t, "--key-type", keyType, "--test"), "p256").files()...)
	}
	constrained := newInteropPKI(t, "--permit-dns", "example.com", "--permit-email", "example.com", "--permit-email", ".example.com",
		"--permit-email", "carol@example.org", "--permit-uri", "example.com", "--permit-uri", ".example.com",
		"--permit-ip", "192.0.2.0/24", "--permit-ip", "2001:db8::/32")
	files = append(files, constrained.file("root.crt"),
		constrained.issue("client", "bob", "--dns", "b.example.com", "--email", "carol@example.org", "--ip", "192.0.2.9", "--uri", "https://example.com/b"),
		constrained.issue("server", "*.example.com", "--ip", "2001:db8::9"))
	slices.Sort(files)
	lint(t, files...)
}
