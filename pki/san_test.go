package pki_test

import (
	"crypto/ed25519"
	"crypto/x509"
	"math/big"
	"slices"
	"strings"
	"testing"
	"time"

	"mutual/pki"
)

// sanTypes are the ways to add a name, by its type.
func sanTypes() map[string]func(*pki.SAN, string) error {
	return map[string]func(*pki.SAN, string) error{
		"dns": (*pki.SAN).AddDNS, "ip": (*pki.SAN).AddIP, "email": (*pki.SAN).AddEmail, "uri": (*pki.SAN).AddURI,
	}
}

// label63 is the longest label of a host name.
var label63 = strings.Repeat("a", 63)

func TestSAN(t *testing.T) {
	for _, tt := range []struct{ kind, text, want string }{
		{"dns", "example.com", "example.com"},
		{"dns", "EXAMPLE.com", "example.com"},
		{"dns", "localhost", "localhost"},
		{"dns", "*.example.com", "*.example.com"},
		{"dns", "bücher.example", "xn--bcher-kva.example"},
		{"dns", "BÜCHER.example", "xn--bcher-kva.example"},
		{"dns", "*.bücher.example", "*.xn--bcher-kva.example"},
		{"dns", "xn--bcher-kva.example", "xn--bcher-kva.example"},
		{"dns", "日本.example", "xn--wgv71a.example"},
		{"dns", "4.example", "4.example"},
		{"dns", label63 + ".example", label63 + ".example"},
		{"ip", "192.0.2.7", "192.0.2.7"},
		{"ip", "2001:DB8:0::7", "2001:db8::7"},
		{"ip", "::ffff:192.0.2.7", "192.0.2.7"},
		{"email", "alice@example.com", "alice@example.com"},
		{"email", "Alice.B+tag@Example.com", "Alice.B+tag@Example.com"},
		{"email", "o'hara@localhost", "o'hara@localhost"},
		{"uri", "https://example.com/a?b=c#d", "https://example.com/a?b=c#d"},
		{"uri", "https://example.com:8443", "https://example.com:8443"},
		{"uri", "https://192.0.2.7/a", "https://192.0.2.7/a"},
		{"uri", "https://[2001:db8::7]/a", "https://[2001:db8::7]/a"},
		{"uri", "urn://example.com/a", "urn://example.com/a"},
		{"uri", "spiffe://example.com/ns/a/sa/b", "spiffe://example.com/ns/a/sa/b"},
		{"uri", "spiffe://my_domain/a", "spiffe://my_domain/a"},
	} {
		t.Run(tt.kind+" "+tt.text, func(t *testing.T) {
			var san pki.SAN
			for range 2 { // the second time it is there already
				if err := sanTypes()[tt.kind](&san, tt.text); err != nil {
					t.Fatal(err)
				}
			}
			if got, want := san.Strings(), []string{tt.kind + ":" + tt.want}; !slices.Equal(got, want) {
				t.Errorf("%q, want %q", got, want)
			}
		})
	}
}

func TestSANRefused(t *testing.T) {
	const (
		noDNS    = "is no DNS name"
		noIP     = "is no IP address"
		noEmail  = "is no email address of the form local@domain"
		noURI    = "is no absolute URI with a host"
		noSPIFFE = "is no SPIFFE ID: it is spiffe://trust-domain/path, without port, user, query or fragment"
	)
	for _, tt := range []struct{ kind, text, want string }{
		{"dns", "192.0.2.7", "is an IP address and no DNS name"},
		{"dns", "2001:db8::7", "is an IP address and no DNS name"},
		{"dns", "::1", "is an IP address and no DNS name"},
		{"dns", "1.2.3", "the last label is a number"},
		{"dns", "*.1.2.3.4", "the last label is a number"},
		{"dns", "", noDNS},
		{"dns", "*", noDNS},
		{"dns", "*.", noDNS},
		{"dns", "*.*.example.com", noDNS},
		{"dns", "a*.example.com", noDNS},
		{"dns", "a.*.example.com", noDNS},
		{"dns", ".example.com", noDNS},
		{"dns", "example.com.", noDNS},
		{"dns", "a..b", noDNS},
		{"dns", label63 + "a.example", noDNS},
		{"dns", strings.Repeat(label63+".", 4) + "example", noDNS},
		{"dns", strings.Repeat("x", 1<<20), "the DNS name is longer than 253 characters"},
		{"dns", "-a.example", noDNS},
		{"dns", "a-.example", noDNS},
		{"dns", "a_b.example", noDNS},
		{"dns", "a b.example", noDNS},
		{"dns", "a\x00.example", noDNS},
		{"dns", "example.com\n", noDNS},
		{"dns", "xn--a.example", noDNS},
		{"dns", "https://example.com", noDNS},
		{"dns", "example.com:443", noDNS},
		{"dns", "a,b.example", noDNS},
		{"dns", "\xff.example", noDNS},
		{"dns", "exam\u202eple.com", noDNS},
		{"ip", "", noIP},
		{"ip", "example.com", noIP},
		{"ip", "192.0.2", noIP},
		{"ip", "192.0.2.07", noIP},
		{"ip", "192.0.2.256", noIP},
		{"ip", "192.0.2.0/24", noIP},
		{"ip", "fe80::1%eth0", noIP},
		{"ip", "[::1]", noIP},
		{"email", "", noEmail},
		{"email", "alice", noEmail},
		{"email", "@example.com", noEmail},
		{"email", "alice@", noEmail},
		{"email", "a@b@example.com", noEmail},
		{"email", ".a@example.com", noEmail},
		{"email", "a..b@example.com", noEmail},
		{"email", "a.@example.com", noEmail},
		{"email", "<a@example.com>", noEmail},
		{"email", `"a"@example.com`, noEmail},
		{"email", "a@[192.0.2.7]", noEmail},
		{"email", "a@192.0.2.7", "the last label is a number"},
		{"email", "a@*.example.com", noEmail},
		{"email", strings.Repeat("a", 65) + "@example.com", noEmail},
		{"email", "a@" + strings.Repeat(label63+".", 4) + "example", "longer than 253 characters"},
		{"email", "ünï@example.com", `holds 'ü', and only printable ASCII is allowed`},
		{"email", "a@bücher.example", `holds 'ü', and only printable ASCII is allowed`},
		{"email", "a b@example.com", "only printable ASCII is allowed"},
		{"email", "a\x00@example.com", "only printable ASCII is allowed"},
		{"email", "\xff@example.com", "only printable ASCII is allowed"},
		{"uri", "", noURI},
		{"uri", "example.com/a", noURI},
		{"uri", "//example.com/a", noURI},
		{"uri", "https:/a", noURI},
		{"uri", "https:///a", noURI},
		{"uri", "mailto:alice@example.com", noURI},
		{"uri", "urn:uuid:f81d4fae-7dec-11d0-a765-00a0c91e6bf6", noURI},
		{"uri", "https://exa_mple.com/a", noURI},
		{"uri", "https://*.example.com/a", noURI},
		{"uri", "https://1.2.3/a", "the last label is a number"},
		{"uri", "https://example.com/%zz", noURI},
		{"uri", "https://example.com/ü", "only printable ASCII is allowed"},
		{"uri", "https://example.com/a b", "only printable ASCII is allowed"},
		{"uri", "https://example.com/a\n", "only printable ASCII is allowed"},
		{"uri", "https://example.com/" + strings.Repeat("a", 2048), "the URI is longer than 2048 characters"},
		{"uri", "spiffe://example.com", noSPIFFE},
		{"uri", "spiffe://example.com/", noSPIFFE},
		{"uri", "spiffe://example.com:8443/a", noSPIFFE},
		{"uri", "spiffe://user@example.com/a", noSPIFFE},
		{"uri", "spiffe://example.com/a?b", noSPIFFE},
		{"uri", "spiffe://example.com/a?", noSPIFFE},
		{"uri", "spiffe://example.com/a#b", noSPIFFE},
		{"uri", "SPIFFE://example.com/a?b", noSPIFFE},
	} {
		t.Run(tt.kind+" "+tt.text[:min(len(tt.text), 60)], func(t *testing.T) {
			var san pki.SAN
			wantError(t, sanTypes()[tt.kind](&san, tt.text), tt.want)
			if !san.IsEmpty() {
				t.Errorf("it was added: %q", san.Strings())
			}
		})
	}
}

func TestSANHasOneSPIFFEID(t *testing.T) {
	var san, other pki.SAN
	for _, err := range []error{
		san.AddURI("spiffe://example.com/a"), san.AddURI("https://example.com/a"), san.AddURI("spiffe://example.com/a"),
		other.AddURI("SPIFFE://example.com/b"),
	} {
		if err != nil {
			t.Fatal(err)
		}
	}
	const want = "is a second SPIFFE ID, and a certificate has at most one"
	wantError(t, san.AddURI("spiffe://example.com/b"), want)
	wantError(t, san.Merge(&other), want)
	if len(san.URI()) != 2 {
		t.Errorf("%q", san.URI())
	}
}

func TestSANMerge(t *testing.T) {
	var a, b pki.SAN
	for _, err := range []error{
		a.AddDNS("a.example"), a.AddIP("192.0.2.1"),
		b.AddDNS("a.example"), b.AddDNS("b.example"), b.AddIP("::1"), b.AddEmail("a@example.com"), b.AddURI("https://example.com/"),
		a.Merge(&b), a.Merge(&b),
	} {
		if err != nil {
			t.Fatal(err)
		}
	}
	want := []string{"dns:a.example", "dns:b.example", "ip:192.0.2.1", "ip:::1", "email:a@example.com", "uri:https://example.com/"}
	if got := a.Strings(); !slices.Equal(got, want) {
		t.Errorf("%q, want %q", got, want)
	}
	a.DNS()[0] = "evil.example" // a copy
	if a.DNS()[0] != "a.example" {
		t.Error("DNS gives the set's own slice")
	}
}

// Whatever was accepted stands in a certificate that Go reads back with the
// same names: one bad name makes Go refuse the whole certificate.
func FuzzSAN(f *testing.F) {
	for _, s := range []string{
		"example.com", "*.bücher.example", "192.0.2.7", "::ffff:1.2.3.4", "alice@example.com", "ü@example.com",
		"https://example.com/a?b#c", "spiffe://my_domain/a", "https://[::1]/", "spiffe://a/b?", "https://a/%41\"", "a_b", "1.2.3",
	} {
		f.Add(s)
	}
	key := ed25519.NewKeyFromSeed(make([]byte, ed25519.SeedSize))
	f.Fuzz(func(t *testing.T, text string) {
		var san pki.SAN
		for kind, add := range sanTypes() {
			before := len(san.Strings())
			if err := add(&san, text); err != nil && len(san.Strings()) != before {
				t.Errorf("%s %q was refused and added", kind, text)
			}
		}
		if san.IsEmpty() {
			return
		}
		template := &x509.Certificate{
			SerialNumber: big.NewInt(1), NotAfter: time.Unix(1e9, 0),
			DNSNames: san.DNS(), IPAddresses: san.IPs(), EmailAddresses: san.Email(), URIs: san.URLs(),
		}
		der, err := x509.CreateCertificate(nil, template, template, key.Public(), key)
		if err != nil {
			t.Fatalf("%q: signing: %v", san.Strings(), err)
		}
		cert, err := x509.ParseCertificate(der)
		if err != nil {
			t.Fatalf("%q: reading back: %v", san.Strings(), err)
		}
		var again pki.SAN
		for _, name := range cert.DNSNames {
			if err := again.AddDNS(name); err != nil || !slices.Contains(san.DNS(), name) {
				t.Errorf("the DNS name %q came back of %q: %v", name, san.DNS(), err)
			}
		}
		if !slices.Equal(cert.EmailAddresses, san.Email()) || len(cert.URIs) != len(san.URI()) || len(cert.IPAddresses) != len(san.IP()) {
			t.Errorf("%q came back as %q, %q, %q", san.Strings(), cert.EmailAddresses, cert.URIs, cert.IPAddresses)
		}
	})
}
