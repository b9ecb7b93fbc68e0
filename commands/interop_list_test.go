package commands_test

import (
	"fmt"
	"path/filepath"
	"strings"
	"testing"

	"mutual/pki/pkitest/tools"
)

// TestInteropLists: real programs find the signatures of both CRLs good, and
// read number, entry and reason.
func TestInteropLists(t *testing.T) {
	t.Parallel()
	for _, keyType := range []string{"p256", "p384", "rsa2048", "ed25519"} {
		t.Run(keyType, func(t *testing.T) {
			t.Parallel()
			p := newInteropPKI(t, "--key-type", keyType)
			alice := p.issue("client", "alice", "--key-type", keyType)
			p.run("revoke", "alice", "--reason", "affiliationChanged")
			serial := readCertificates(t, alice)[0].SerialNumber
			lists := readLists(t, p.crls())
			if len(lists) != 2 || len(lists[0].RevokedCertificateEntries) != 1 || len(lists[1].RevokedCertificateEntries) != 0 {
				t.Fatalf("%s is not a list with one entry and an empty one", p.crls())
			}

			t.Run("openssl", func(t *testing.T) {
				tools.Need(t, "openssl")
				for _, name := range []string{"crl/issuing.pem", "crl/root.pem"} {
					mustProgram(t, "verify OK", "openssl", "crl", "-in", p.file(name), "-noout", "-verify", "-CAfile", p.trust())
				}
				show := []string{"crl", "-in", p.file("crl/issuing.pem"), "-noout", "-text"}
				mustProgram(t, fmt.Sprintf("Serial Number: %X", serial), "openssl", show...)
				mustProgram(t, "Affiliation Changed", "openssl", show...)
				mustProgram(t, lists[0].Number.String(), "openssl", show...)
				mustProgram(t, "No Revoked Certificates.", "openssl", "crl", "-in", p.file("crl/root.crl"), "-inform", "DER", "-noout", "-text")
			})
			t.Run("gnutls", func(t *testing.T) {
				tools.Need(t, "certtool")
				for _, ca := range []string{"issuing", "root"} {
					mustProgram(t, "Verification output: Verified. The certificate is trusted.", "certtool", "--verify-crl",
						"--load-ca-certificate", p.file(ca+".crt"), "--infile", p.file("crl/"+ca+".pem"))
				}
				show := []string{"--crl-info", "--infile", p.file("crl/issuing.pem")}
				mustProgram(t, fmt.Sprintf("Serial Number (hex): %x", serial), "certtool", show...)
				mustProgram(t, fmt.Sprintf("CRL Number (not critical): %x", lists[0].Number), "certtool", show...)
				mustProgram(t, "No revoked certificates.", "certtool", "--crl-info", "--infile", p.file("crl/root.pem"))
			})
			t.Run("keytool", func(t *testing.T) {
				tools.Need(t, "keytool")
				checkKeytool(t, p, alice, fmt.Sprintf("%x", serial))
			})
		})
	}
}

// checkKeytool: Java's own tool reads the chain and the list, and verifies the
// list with the issuing CA.
func checkKeytool(t *testing.T, p *interopPKI, chain, serial string) {
	t.Helper()
	store := []string{"-keystore", filepath.Join(t.TempDir(), "trust.p12"), "-storepass", "changeit"}
	mustProgram(t, "Certificate was added to keystore", "keytool",
		append(store, "-importcert", "-noprompt", "-alias", "issuing", "-file", p.file("issuing.crt"))...)
	_, output := program(t, "keytool", append(store, "-printcrl", "-file", p.file("crl/issuing.pem"))...)
	for _, want := range []string{"Verified by issuing in keystore", "Reason Code: AFFILIATION_CHANGED"} {
		if !strings.Contains(output, want) {
			t.Errorf("keytool -printcrl does not say %q:\n%s", want, output)
		}
	}
	mustProgram(t, "Serial number: "+serial, "keytool", "-printcert", "-file", chain)
}
