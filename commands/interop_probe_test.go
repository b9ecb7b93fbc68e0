package commands_test

import (
	"net"
	"path/filepath"
	"strings"
	"testing"

	"mutual/pki/pkitest/tools"
)

// TestPeerCertigoExitCode: certigo and s_client end with 0 although the server
// has rejected their certificate, for in TLS 1.3 it says so after the
// handshake. Our probe ends with 3, and names the alert.
func TestPeerCertigoExitCode(t *testing.T) {
	t.Parallel()
	openssl := tools.Need(t, "openssl")
	p, stranger := newInteropPKI(t), newInteropPKI(t)
	files := newServerFiles(p)
	stranger.issue("client", "alice")
	p.run("revoke", "bob")
	files.writeBundles()
	address := freeAddress(t)
	startServer(t, address, openssl, append(files.sServer(address), "-tls1_3", "-CAfile", files.trustAndCRLs, "-crl_check_all")...)
	_, port, _ := net.SplitHostPort(address)

	for _, tt := range []struct {
		name string
		cert string // without .crt and .key; empty: none
		code int
		want string
	}{
		{"nobody", "", 0, "alert certificate_required (116)"},
		{"good", filepath.Join(p.out, "alice"), 0, "LOCKED"},
		{"revoked", filepath.Join(p.out, "bob"), 3, "your certificate is refused, as everyone: the server sent the alert certificate_revoked (44)"},
		{"stranger", filepath.Join(stranger.out, "alice"), 3, "your certificate is refused, as everyone: the server sent the alert unknown_ca (48)"},
	} {
		words := []string{"probe", "tls://localhost:" + port, "--ca", p.file("root.crt")}
		if tt.cert != "" {
			words = append(words, "--cert", tt.cert+".crt", "--key", tt.cert+".key")
		}
		code, stdout, stderr := p.try(words...)
		if code != tt.code || !strings.Contains(stdout, tt.want) {
			t.Errorf("%s: mutual %q exits with %d, want %d and %q:\n%s%s", tt.name, words, code, tt.code, tt.want, stdout, stderr)
		}
	}
}
