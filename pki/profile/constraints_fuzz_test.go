package profile_test

import (
	"crypto/ed25519"
	"crypto/rand"
	"crypto/x509"
	"math/big"
	"net"
	"slices"
	"testing"
	"time"

	"mutual/pki/profile"
)

// FuzzPermit: what is permitted is kept in one way, is permitted again as the
// same, and comes back from a certificate; what is refused adds nothing.
func FuzzPermit(f *testing.F) {
	for _, seed := range []string{
		"example.com", "EXAMPLE.com", ".example.com", "*.example.com", "..example.com", "example.com.", "localhost", "bücher.example",
		"xn--bcher-kva.example", "", ".", "@example.com", "ada@example.com", "Ada@Example.COM", `"a b"@example.com`, "ada@[192.0.2.7]",
		"192.0.2.7", "10.0.0.0/8", "10.0.0.1/8", "10.0.0.0/33", "0.0.0.0/0", "::/0", "2001:db8::/32", "fe80::1%eth0", "::ffff:192.0.2.7",
		"::ffff:192.0.2.0/120", "010.0.0.0/8", "https://example.com", "example.com:443", "a\x00b.example", "_srv.example.com",
	} {
		f.Add(seed)
	}
	_, key, err := ed25519.GenerateKey(rand.Reader)
	if err != nil {
		f.Fatal(err)
	}
	f.Fuzz(func(t *testing.T, s string) {
		for kind, permit := range map[string]func(*profile.Constraints, string) error{
			"dns": (*profile.Constraints).PermitDNS, "email": (*profile.Constraints).PermitEmail,
			"uri": (*profile.Constraints).PermitURI, "ip": (*profile.Constraints).PermitIP,
		} {
			var c, again profile.Constraints
			if err := permit(&c, s); err != nil {
				if !c.IsEmpty() {
					t.Errorf("%s %q is refused and kept: %+v", kind, s, c)
				}
				continue
			}
			kept := permittedForms(&c)
			if len(kept) != 1 {
				t.Fatalf("%s %q is kept as %q", kind, s, kept)
			}
			if err := permit(&again, kept[0]); err != nil || !slices.Equal(permittedForms(&again), kept) {
				t.Errorf("%s %q is kept as %q, and that as %q, %v", kind, s, kept, permittedForms(&again), err)
			}
			if got := throughCertificate(t, key, &c); !slices.Equal(got, kept) {
				t.Errorf("%s %q is kept as %q, and is %q in a certificate", kind, s, kept, got)
			}
		}
	})
}

func permittedForms(c *profile.Constraints) []string {
	out := slices.Concat(c.DNS, c.Email, c.URI)
	for _, prefix := range c.IP {
		out = append(out, prefix.String())
	}
	return out
}

// throughCertificate gives the constraints as a verifier reads them.
func throughCertificate(t *testing.T, key ed25519.PrivateKey, c *profile.Constraints) []string {
	t.Helper()
	template := &x509.Certificate{
		SerialNumber: big.NewInt(1), NotBefore: time.Unix(0, 0), NotAfter: time.Unix(1, 0), BasicConstraintsValid: true, IsCA: true,
		PermittedDNSDomainsCritical: true, PermittedDNSDomains: c.DNS, PermittedEmailAddresses: c.Email, PermittedURIDomains: c.URI,
	}
	for _, prefix := range c.IP {
		template.PermittedIPRanges = append(template.PermittedIPRanges, &net.IPNet{
			IP: prefix.Addr().AsSlice(), Mask: net.CIDRMask(prefix.Bits(), prefix.Addr().BitLen()),
		})
	}
	der, err := x509.CreateCertificate(rand.Reader, template, template, key.Public(), key)
	if err != nil {
		t.Errorf("%+v does not fit into a certificate: %v", c, err)
		return nil
	}
	cert, err := x509.ParseCertificate(der)
	if err != nil {
		t.Errorf("%+v does not come out of a certificate: %v", c, err)
		return nil
	}
	out := slices.Concat(cert.PermittedDNSDomains, cert.PermittedEmailAddresses, cert.PermittedURIDomains)
	for _, r := range cert.PermittedIPRanges {
		out = append(out, r.String())
	}
	return out
}
