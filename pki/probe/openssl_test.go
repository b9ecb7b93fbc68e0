package probe

import (
	"fmt"
	"testing"

	"mutual/pki/pkitest/tools"
)

// TestMatrixOpenSSL: with -Verify and without -verify_return_error any
// certificate will do.
func TestMatrixOpenSSL(t *testing.T) {
	t.Parallel()
	openssl := tools.Need(t, "openssl")
	f := newFixture()
	const required = `
		1.2 requested yes, none rejected tlsHandshake a40
		1.3 requested yes, none rejected tlsPostHandshake a116
		ok`
	accepted := func(how12, how13 string) string {
		return fmt.Sprintf(`
			1.2 requested yes, none rejected tlsHandshake a40, ours accepted %s
			1.3 requested yes, none rejected tlsPostHandshake a116, ours accepted %s
			ok`, how12, how13)
	}
	const rejected = `
		1.2 requested yes, none rejected tlsHandshake a40, ours rejected tlsHandshake a48
		1.3 requested yes, none rejected tlsPostHandshake a116, ours rejected tlsPostHandshake a48
		violated`
	for _, server := range []struct {
		name, scheme string
		args         []string
		accepted     string
		verifies     bool
	}{
		{"www", "", []string{"-www"}, accepted("http 200", "http 200"), false},
		{"www/verify_return_error", "", []string{"-www", "-verify_return_error"}, accepted("http 200", "http 200"), true},
		{"plain", "tls://", nil, accepted("tlsHandshake", "tlsPostHandshake"), false},
		{"plain/verify_return_error", "tls://", []string{"-verify_return_error"}, accepted("tlsHandshake", "tlsPostHandshake"), true},
		{"plain/no_ticket", "tls://", []string{"-verify_return_error", "-num_tickets", "0"}, accepted("tlsHandshake", "tlsPostHandshake"), true},
	} {
		t.Run(server.name, func(t *testing.T) {
			t.Parallel()
			files := f.write(t, t.TempDir())
			address := freeAddress(t)
			startServer(t, address, openssl, append([]string{"s_server", "-quiet", "-accept", address,
				"-cert", files.certificate, "-key", files.key, "-CAfile", files.clientCA, "-Verify", "3"}, server.args...)...)
			stranger := server.accepted
			if server.verifies {
				stranger = rejected
			}
			target := server.scheme + address
			checkSummary(t, run(t, f.config(t, target, nil)), required)
			checkSummary(t, run(t, f.config(t, target, f.good)), server.accepted)
			checkSummary(t, run(t, f.config(t, target, f.stranger)), stranger)
		})
	}
}
