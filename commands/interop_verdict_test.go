package commands_test

import (
	"crypto/x509"
	"encoding/json"
	"fmt"
	"path/filepath"
	"strings"
	"testing"

	"mutual/pki/pkitest/tools"
)

// interopLeaf is an end entity's certificate.
type interopLeaf struct {
	chain  string // file: the leaf, then the issuing CA
	server bool
}

// choose gives the word that a verifier has for the leaf's purpose.
func (l interopLeaf) choose(client, server string) string {
	if l.server {
		return server
	}
	return client
}

// verifier is a program that judges a leaf under the PKI's root and with its
// CRLs. The verdict is "good", "revoked", "revoked REASON" where the program
// tells the reason, or else all that it said.
type verifier struct {
	name     string
	programs []string
	without  string // a key type that it does not know
	reason   bool   // it tells the reason
	judge    func(p *interopPKI, leaf interopLeaf) string
}

func (v verifier) need(t *testing.T) {
	t.Helper()
	if len(v.programs) > 0 {
		tools.Need(t, v.programs...)
	}
}

func verifiers(java *javaVerifier) []verifier {
	return []verifier{
		{name: "mutual", reason: true, judge: mutualVerdict},
		{name: "go", reason: true, judge: goVerdict},
		{name: "openssl", programs: []string{"openssl"}, judge: opensslVerdict},
		{name: "gnutls", programs: []string{"certtool"}, judge: gnutlsVerdict},
		{name: "nss", programs: []string{"certutil", "crlutil"}, without: "ed25519", judge: nssVerdict},
		{name: "java", programs: []string{"java"}, reason: true, judge: java.verdict},
	}
}

// interopStages are what happens to alice, one after the other, and what that
// makes of her certificate.
var interopStages = []struct {
	act  []string // none: nothing yet
	want string
}{
	{nil, "good"},
	{[]string{"hold", "alice"}, "revoked certificateHold"},
	{[]string{"unhold", "alice"}, "good"},
	{[]string{"revoke", "alice", "--reason", "keyCompromise"}, "revoked keyCompromise"},
}

// TestInteropVerdicts holds the verdicts of real verifiers on alice, a client,
// and on bob and a server, to whom nothing happens, against each other: under
// CAs of every kind of key, with the files of the PKI as they stand.
func TestInteropVerdicts(t *testing.T) {
	t.Parallel()
	java := &javaVerifier{t: t}
	for _, keyType := range []string{"p256", "p384", "rsa2048", "ed25519"} {
		t.Run(keyType, func(t *testing.T) {
			t.Parallel()
			p := newInteropPKI(t, "--key-type", keyType)
			alice := interopLeaf{chain: p.issue("client", "alice", "--key-type", keyType)}
			others := []interopLeaf{
				{chain: p.issue("client", "bob@example.com", "--key-type", keyType)},
				{chain: p.issue("server", "localhost", "--key-type", keyType), server: true},
			}
			for _, stage := range interopStages {
				if stage.act != nil {
					p.run(stage.act...)
				}
				for _, v := range verifiers(java) {
					if v.without == keyType {
						continue
					}
					t.Run(stage.want+"/"+v.name, func(t *testing.T) {
						v.need(t)
						checkVerdict(t, v, p.with(t), alice, stage.want)
						for _, other := range others {
							checkVerdict(t, v, p.with(t), other, "good")
						}
					})
				}
			}
		})
	}
}

// TestInteropLeafKeys: a CA signs for every type of key, and a server may be
// revoked like a client.
func TestInteropLeafKeys(t *testing.T) {
	t.Parallel()
	java := &javaVerifier{t: t}
	p := newInteropPKI(t)
	for _, keyType := range []string{"p256", "p384", "rsa2048", "rsa3072", "ed25519"} {
		client := interopLeaf{chain: p.issue("client", "c-"+keyType, "--key-type", keyType)}
		server := interopLeaf{chain: p.issue("server", "s-"+keyType+".example.com", "--key-type", keyType), server: true}
		p.run("revoke", "s-"+keyType+".example.com", "--reason", "cessationOfOperation")
		for _, v := range verifiers(java) {
			if v.without == keyType {
				continue
			}
			t.Run(keyType+"/"+v.name, func(t *testing.T) {
				v.need(t)
				checkVerdict(t, v, p.with(t), client, "good")
				checkVerdict(t, v, p.with(t), server, "revoked cessationOfOperation")
			})
		}
	}
}

// TestInteropConstraints: a name-constrained CA's certificates are good
// everywhere, and revoked everywhere. The client has a DNS name because Java
// takes its common name for one where DNS names are constrained.
func TestInteropConstraints(t *testing.T) {
	t.Parallel()
	java := &javaVerifier{t: t}
	p := newInteropPKI(t, "--permit-dns", "example.com", "--permit-email", "example.com", "--permit-ip", "192.0.2.0/24", "--permit-uri", "example.com")
	alice := interopLeaf{chain: p.issue("client", "alice@example.com", "--dns", "alice.example.com", "--uri", "spiffe://example.com/alice")}
	server := interopLeaf{chain: p.issue("server", "api.example.com", "--ip", "192.0.2.7"), server: true}
	for _, want := range []string{"good", "revoked keyCompromise"} {
		if want != "good" {
			p.run("revoke", "alice@example.com", "--reason", "keyCompromise")
		}
		for _, v := range verifiers(java) {
			t.Run(want+"/"+v.name, func(t *testing.T) {
				v.need(t)
				checkVerdict(t, v, p.with(t), alice, want)
				checkVerdict(t, v, p.with(t), server, "good")
			})
		}
	}
}

func checkVerdict(t *testing.T, v verifier, p *interopPKI, leaf interopLeaf, want string) {
	t.Helper()
	if !v.reason {
		want, _, _ = strings.Cut(want, " ")
	}
	if got := v.judge(p, leaf); got != want {
		t.Errorf("%s on %s: %s, want %s", v.name, filepath.Base(leaf.chain), got, want)
	}
}

// mutualVerdict asks our own verifier twice: by the files, and by the
// inventory.
func mutualVerdict(p *interopPKI, leaf interopLeaf) string {
	p.t.Helper()
	words := []string{"verify", leaf.chain, "--json", "--purpose", leaf.choose("client", "server")}
	byFiles := mutualOutcome(p, append(words, "--ca", p.file("root.crt"), "--crl", p.crls())...)
	if byPKI := mutualOutcome(p, words...); byPKI != byFiles {
		return "by the inventory " + byPKI + ", by the files " + byFiles
	}
	return byFiles
}

func mutualOutcome(p *interopPKI, words ...string) string {
	p.t.Helper()
	code, stdout, stderr := p.try(words...)
	var v struct{ Outcome, Reason string }
	if err := json.Unmarshal([]byte(stdout), &v); err != nil {
		p.t.Fatalf("mutual %q exits with %d: %v\n%s%s", words, code, err, stdout, stderr)
	}
	_, reason, _ := strings.Cut(strings.TrimSuffix(v.Reason, ")"), "(")
	switch {
	case code == 0 && v.Outcome == "good":
		return "good"
	case code == 3 && v.Outcome == "bad" && strings.HasPrefix(v.Reason, "revoked on "):
		return "revoked " + reason
	}
	return fmt.Sprintf("exit %d: %s", code, stdout)
}

// goVerdict is what crypto/x509 alone says: the chain, then for each
// certificate below the root the list of its issuer.
func goVerdict(p *interopPKI, leaf interopLeaf) string {
	p.t.Helper()
	certs := readCertificates(p.t, leaf.chain)
	roots, intermediates := x509.NewCertPool(), x509.NewCertPool()
	roots.AddCert(readCertificates(p.t, p.file("root.crt"))[0])
	intermediates.AddCert(certs[1])
	usage := x509.ExtKeyUsageClientAuth
	if leaf.server {
		usage = x509.ExtKeyUsageServerAuth
	}
	chains, err := certs[0].Verify(x509.VerifyOptions{Roots: roots, Intermediates: intermediates, KeyUsages: []x509.ExtKeyUsage{usage}})
	if err != nil {
		return err.Error()
	}
	chain := chains[0]
	for i, issuer := range chain[1:] {
		if verdict := goRevocation(p, chain[i], issuer); verdict != "good" {
			return verdict
		}
	}
	return "good"
}

func goRevocation(p *interopPKI, cert, issuer *x509.Certificate) string {
	p.t.Helper()
	names := map[int]string{1: "keyCompromise", 5: "cessationOfOperation", 6: "certificateHold"}
	for _, list := range readLists(p.t, p.crls()) {
		if list.CheckSignatureFrom(issuer) != nil {
			continue
		}
		for _, entry := range list.RevokedCertificateEntries {
			if entry.SerialNumber.Cmp(cert.SerialNumber) == 0 {
				return "revoked " + names[entry.ReasonCode]
			}
		}
		return "good"
	}
	return "no list that " + issuer.Subject.String() + " has signed"
}

func opensslVerdict(p *interopPKI, leaf interopLeaf) string {
	p.t.Helper()
	code, output := program(p.t, "openssl", "verify", "-x509_strict", "-crl_check_all",
		"-purpose", leaf.choose("sslclient", "sslserver"),
		"-CAfile", p.trust(), "-CRLfile", p.crls(), leaf.chain)
	switch {
	case code == 0 && strings.Contains(output, leaf.chain+": OK"):
		return "good"
	case code == 2 && strings.Contains(output, "error 23 at 0 depth lookup: certificate revoked"):
		return "revoked"
	}
	return output
}

func gnutlsVerdict(p *interopPKI, leaf interopLeaf) string {
	p.t.Helper()
	code, output := program(p.t, "certtool", "--verify", "--verify-profile", "low",
		"--verify-purpose", leaf.choose("1.3.6.1.5.5.7.3.2", "1.3.6.1.5.5.7.3.1"),
		"--load-ca-certificate", p.trust(), "--load-crl", p.crls(), "--infile", leaf.chain)
	checked := strings.Count(output, "Checked against CRL[")
	// One root in 127 has a name by which GnuTLS finds that it trusts the key of the
	// certificate by which an older root vouches, and leaves that out.
	switch {
	case code == 0 && checked >= 2 && checked <= len(readCertificates(p.t, leaf.chain)) && strings.Contains(output, "Chain verification output: Verified. The certificate is trusted."):
		return "good"
	case code == 1 && checked >= 2 && strings.Contains(output, "Chain verification output: Not verified. The certificate is NOT trusted. The certificate chain is revoked."):
		return "revoked"
	}
	return output
}

// nssVerdict uses a fresh database: NSS keeps a list that it has when the
// next one is of the same second.
func nssVerdict(p *interopPKI, leaf interopLeaf) string {
	p.t.Helper()
	db := "sql:" + p.t.TempDir()
	return nssSays(p, db, leaf, [][]string{
		{"certutil", "-N", "-d", db, "--empty-password"},
		{"certutil", "-A", "-d", db, "-n", "root", "-t", "CT,,", "-i", p.file("root.crt")},
		{"certutil", "-A", "-d", db, "-n", "issuing", "-t", ",,", "-i", p.file("issuing.crt")},
		{"crlutil", "-I", "-d", db, "-t", "1", "-i", p.file("crl/root.crl")},
		{"crlutil", "-I", "-d", db, "-t", "1", "-i", p.file("crl/issuing.crl")},
		{"certutil", "-A", "-d", db, "-n", "leaf", "-t", ",,", "-i", leaf.chain},
	})
}

// nssSays fills a database step by step and asks for its leaf.
func nssSays(p *interopPKI, db string, leaf interopLeaf, steps [][]string) string {
	p.t.Helper()
	for _, words := range steps {
		if code, output := program(p.t, words[0], words[1:]...); code != 0 {
			return fmt.Sprintf("%q exits with %d: %s", words, code, output)
		}
	}
	code, output := program(p.t, "certutil", "-V", "-d", db, "-n", "leaf", "-e", "-u", leaf.choose("C", "V"))
	switch {
	case code == 0 && strings.Contains(output, "certutil: certificate is valid"):
		return "good"
	case code == 255 && strings.Contains(output, "certutil: certificate is invalid: Peer's Certificate has been revoked."):
		return "revoked"
	}
	return output
}
