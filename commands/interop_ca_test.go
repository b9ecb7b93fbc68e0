package commands_test

import (
	"encoding/json"
	"encoding/pem"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"mutual/pki/pkitest/tools"
)

// severalCAs are the real verifiers as they stand before a PKI that has older
// CAs in use: NSS reads one certificate and one list of a file, and gets every
// file.
func severalCAs(java *javaVerifier) []verifier {
	return []verifier{
		{name: "mutual", reason: true, judge: mutualVerdict},
		{name: "openssl", programs: []string{"openssl"}, judge: opensslVerdict},
		{name: "gnutls", programs: []string{"certtool"}, judge: gnutlsVerdict},
		{name: "nss", programs: []string{"certutil", "crlutil"}, judge: nssVerdictOfAll},
		{name: "java", programs: []string{"java"}, reason: true, judge: java.verdict},
	}
}

// nssVerdictOfAll is nssVerdict with every CA and every list.
func nssVerdictOfAll(p *interopPKI, leaf interopLeaf) string {
	p.t.Helper()
	db := "sql:" + p.t.TempDir()
	steps := [][]string{{"certutil", "-N", "-d", db, "--empty-password"}}
	for _, of := range []struct{ files, trust string }{{"root*.crt", "CT,,"}, {"issuing*.crt", ",,"}} {
		for _, file := range p.glob(of.files) {
			steps = append(steps, []string{"certutil", "-A", "-d", db, "-n", filepath.Base(file), "-t", of.trust, "-i", file})
		}
	}
	for _, file := range append(p.glob("crl/root*.crl"), p.glob("crl/issuing*.crl")...) {
		steps = append(steps, []string{"crlutil", "-I", "-d", db, "-t", "1", "-i", file})
	}
	steps = append(steps, []string{"certutil", "-A", "-d", db, "-n", "leaf", "-t", ",,", "-i", leaf.chain})
	return nssSays(p, db, leaf, steps)
}

func (p *interopPKI) glob(pattern string) []string {
	p.t.Helper()
	found, err := filepath.Glob(p.file(pattern))
	if err != nil || len(found) == 0 {
		p.t.Fatalf("%s: %v", pattern, err)
	}
	return found
}

// TestInteropRekey: after either CA has got a new key, real verifiers accept
// what was issued before and after, with the files of the PKI as they stand,
// and refuse what is revoked of each.
func TestInteropRekey(t *testing.T) {
	t.Parallel()
	java := &javaVerifier{t: t}
	for _, role := range []string{"issuing", "root"} {
		t.Run(role, func(t *testing.T) {
			t.Parallel()
			p := newInteropPKI(t)
			leaves := map[string]interopLeaf{}
			issue := func(suffix string) {
				for _, name := range []string{"alice", "bob"} {
					leaves[name+suffix] = interopLeaf{chain: p.issue("client", name+suffix)}
				}
				leaves["server"+suffix] = interopLeaf{chain: p.issue("server", "server"+suffix+".example.com"), server: true}
			}
			issue("-before")
			p.run("ca", "renew", role, "--rekey")
			issue("-after")
			check := func(want string) {
				for _, v := range severalCAs(java) {
					t.Run(want+"/"+v.name, func(t *testing.T) {
						v.need(t)
						for name, leaf := range leaves {
							wanted := "good"
							if strings.HasPrefix(name, "alice") {
								wanted = want
							}
							checkVerdict(t, v, p.with(t), leaf, wanted)
						}
					})
				}
			}
			check("good")
			for _, when := range []string{"-before", "-after"} {
				p.run("revoke", "alice"+when, "--reason", "keyCompromise")
			}
			check("revoked keyCompromise")
		})
	}
}

// TestInteropCross: who trusts only the root before accepts what was issued
// after, with the chain that its holder has.
func TestInteropCross(t *testing.T) {
	t.Parallel()
	tools.Need(t, "openssl", "certtool")
	p := newInteropPKI(t)
	old := filepath.Join(t.TempDir(), "root.crt")
	data, err := os.ReadFile(p.file("root.crt"))
	if err == nil {
		err = os.WriteFile(old, data, 0o600)
	}
	if err != nil {
		t.Fatal(err)
	}
	p.run("ca", "renew", "root", "--rekey")
	chain := p.issue("client", "alice")
	mustProgram(t, chain+": OK", "openssl", "verify", "-x509_strict", "-crl_check_all", "-purpose", "sslclient",
		"-CAfile", old, "-untrusted", chain, "-CRLfile", p.crls(), chain)
	mustProgram(t, "The certificate is trusted", "certtool", "--verify", "--verify-profile", "low", "--load-ca-certificate", old, "--infile", chain)
	for _, c := range readCertificates(t, chain)[1:] {
		t.Logf("%s, by %s", c.Subject, c.Issuer)
	}
}

// TestInteropNginxRekey: an nginx that has read the files again after the
// rekey lets both in, and refuses each once it is revoked.
func TestInteropNginxRekey(t *testing.T) {
	t.Parallel()
	nginx := tools.Need(t, "nginx", "curl")
	for _, role := range []string{"issuing", "root"} {
		t.Run(role, func(t *testing.T) {
			t.Parallel()
			p := newInteropPKI(t)
			address := freeAddress(t)
			config := newServerFiles(p).template("nginx.conf", address)
			s := startServer(t, address, nginx, "-p", filepath.Dir(config), "-c", config, "-e", "stderr")
			p.run("ca", "renew", role, "--rekey")
			for _, name := range []string{"carol", "dave"} {
				p.issue("client", name)
			}
			s.reload()
			in := []string{"alice", "bob", "carol", "dave"}
			for _, revoked := range []string{"alice", "carol", ""} {
				for _, version := range []string{"1.2", "1.3"} {
					checkCall(t, p, s, version, "nobody", "400 ")
					s.says("client sent no required SSL certificate")
					for _, who := range []string{"alice", "bob", "carol", "dave"} {
						if slices.Contains(in, who) {
							checkCall(t, p, s, version, who, "200 ")
							continue
						}
						checkCall(t, p, s, version, who, "400 ")
						s.says("client SSL certificate verify error: (23:certificate revoked)")
					}
				}
				if revoked == "" {
					break
				}
				p.run("revoke", revoked)
				in = slices.DeleteFunc(in, func(who string) bool { return who == revoked })
				s.reload()
			}
		})
	}
}

// TestInteropRenewCA: after each CA has a new certificate for the same key,
// everybody verifies what was issued before.
func TestInteropRenewCA(t *testing.T) {
	t.Parallel()
	java := &javaVerifier{t: t}
	p := newInteropPKI(t)
	alice, bob := interopLeaf{chain: p.issue("client", "alice")}, interopLeaf{chain: p.issue("client", "bob")}
	p.run("revoke", "bob", "--reason", "superseded")
	for _, role := range []string{"issuing", "root", "issuing"} {
		var done struct{ Verified int }
		if err := json.Unmarshal([]byte(p.run("ca", "renew", role, "--json")), &done); err != nil || done.Verified != 1 {
			t.Errorf("ca renew %s has verified %d, %v", role, done.Verified, err)
		}
		for _, v := range severalCAs(java) {
			v.need(t)
			checkVerdict(t, v, p, alice, "good")
		}
	}
	if got := opensslVerdict(p, bob); got != "revoked" {
		t.Errorf("bob is %s", got)
	}
}

// TestZlintOfCAs: the linter finds nothing in the certificates of CAs that
// were renewed, replaced and signed by each other.
func TestZlintOfCAs(t *testing.T) {
	t.Parallel()
	var files []string
	for _, keyType := range []string{"p256", "rsa2048", "ed25519"} {
		p := newInteropPKI(t, "--permit-email", "example.com")
		for i, words := range [][]string{{"issuing"}, {"root"}, {"issuing", "--rekey", "--key-type", keyType}, {"root", "--rekey", "--key-type", keyType}} {
			p.run(append([]string{"ca", "renew"}, words...)...)
			for _, name := range []string{"root.crt", "issuing.crt"} {
				for j, c := range readCertificates(t, p.file(name)) {
					files = append(files, writeCertificate(t, fmt.Sprintf("%s-%d-%d-%s", keyType, i, j, name), c.Raw))
				}
			}
		}
		for _, c := range readCertificates(t, p.issue("client", "alice@example.com")) {
			files = append(files, writeCertificate(t, keyType+"-"+c.Subject.CommonName+".crt", c.Raw))
		}
		files = append(files, p.glob("crl/*.pem")...)
	}
	slices.Sort(files)
	lint(t, slices.DeleteFunc(files, func(f string) bool { return filepath.Base(f) == "chain.pem" })...)
}

// writeCertificate writes one certificate into a file of its own.
func writeCertificate(t *testing.T, name string, der []byte) string {
	t.Helper()
	path := filepath.Join(t.TempDir(), name)
	if err := os.WriteFile(path, pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: der}), 0o600); err != nil {
		t.Fatal(err)
	}
	return path
}
