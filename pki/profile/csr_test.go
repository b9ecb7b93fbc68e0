package profile_test

import (
	"bytes"
	"crypto"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/asn1"
	"net"
	"net/url"
	"slices"
	"testing"

	"mutual/pki/pkitest"
	"mutual/pki/profile"
)

// request makes a request with the key and the extensions.
func request(t testing.TB, key crypto.Signer, template x509.CertificateRequest) *x509.CertificateRequest {
	t.Helper()
	der, err := x509.CreateCertificateRequest(nil, &template, key)
	if err != nil {
		t.Fatal(err)
	}
	csr, err := x509.ParseCertificateRequest(der)
	if err != nil {
		t.Fatal(err)
	}
	return csr
}

func extension(critical bool, value []byte, oid ...int) pkix.Extension {
	return pkix.Extension{Id: asn1.ObjectIdentifier(oid), Critical: critical, Value: value}
}

// The values of BasicConstraints.
var (
	caTrue    = []byte{0x30, 3, 1, 1, 0xff}
	caTrue0   = []byte{0x30, 6, 1, 1, 0xff, 2, 1, 0}
	caFalse   = []byte{0x30, 0}
	caGarbage = []byte{0x30, 3, 1, 1, 0x17}
)

func TestCheckCSR(t *testing.T) {
	for _, key := range []string{"leaf-p256", "p384", "rsa2048", "rsa4096", "ed25519"} {
		csr := request(t, pkitest.Key(t, key), x509.CertificateRequest{
			Subject: pkix.Name{CommonName: "alice"}, DNSNames: []string{"a.example"},
			ExtraExtensions: []pkix.Extension{
				extension(true, caFalse, 2, 5, 29, 19),
				extension(true, []byte{3, 2, 7, 0x80}, 2, 5, 29, 15),
				extension(false, []byte{5, 0}, 1, 2, 3, 4),
			},
		})
		if err := profile.CheckCSR(csr); err != nil {
			t.Errorf("%s: %v", key, err)
		}
	}
}

func TestCheckCSRRefused(t *testing.T) {
	for _, tt := range []struct {
		name, key  string
		extensions []pkix.Extension
		want       string
	}{
		{"RSA 1024", "rsa1024", nil, "the request's public key cannot be certified: the key (RSA 1024) is too weak"},
		{"CA:TRUE", "leaf-p256", []pkix.Extension{extension(true, caTrue, 2, 5, 29, 19)}, "asks for a CA certificate (CA:TRUE)"},
		{"CA:TRUE, not critical", "leaf-p256", []pkix.Extension{extension(false, caTrue, 2, 5, 29, 19)}, "asks for a CA certificate (CA:TRUE)"},
		{"CA:TRUE, path length", "leaf-p256", []pkix.Extension{extension(true, caTrue0, 2, 5, 29, 19)}, "asks for a CA certificate (CA:TRUE)"},
		{"no BOOLEAN of DER", "leaf-p256", []pkix.Extension{extension(true, caGarbage, 2, 5, 29, 19)}, "reading the request's basic constraints"},
		{"no SEQUENCE", "leaf-p256", []pkix.Extension{extension(true, []byte{4, 0}, 2, 5, 29, 19)}, "reading the request's basic constraints"},
		{"an unknown critical extension", "leaf-p256", []pkix.Extension{extension(true, []byte{5, 0}, 1, 2, 3, 4)},
			"asks for the critical extension 1.2.3.4, which is not known here"},
		{"name constraints", "leaf-p256", []pkix.Extension{extension(true, []byte{0x30, 0}, 2, 5, 29, 30)},
			"asks for the critical extension 2.5.29.30, which is not known here"},
	} {
		t.Run(tt.name, func(t *testing.T) {
			csr := request(t, pkitest.Key(t, tt.key), x509.CertificateRequest{Subject: pkix.Name{CommonName: "alice"}, ExtraExtensions: tt.extensions})
			wantError(t, profile.CheckCSR(csr), tt.want, false)
		})
	}
}

func TestCheckCSRBadSignature(t *testing.T) {
	csr := request(t, pkitest.Key(t, "leaf-p256"), x509.CertificateRequest{Subject: pkix.Name{CommonName: "alice"}})
	const want = "the request's signature does not prove possession of its key"
	// Another name under the same signature.
	der := bytes.Replace(csr.Raw, []byte("alice"), []byte("admin"), 1)
	forged, err := x509.ParseCertificateRequest(der)
	if err != nil {
		t.Fatal(err)
	}
	wantError(t, profile.CheckCSR(forged), want, false)
	// Somebody else's key in a request that its owner did not sign.
	other := request(t, pkitest.Key(t, "issuing-p256"), x509.CertificateRequest{Subject: pkix.Name{CommonName: "alice"}})
	at := bytes.Index(csr.Raw, csr.RawSubjectPublicKeyInfo)
	der = slices.Clone(csr.Raw)
	copy(der[at:], other.RawSubjectPublicKeyInfo)
	if forged, err = x509.ParseCertificateRequest(der); err != nil {
		t.Fatal(err)
	}
	wantError(t, profile.CheckCSR(forged), want, false)
}

func TestNamesOf(t *testing.T) {
	csr := request(t, pkitest.Key(t, "leaf-p256"), x509.CertificateRequest{
		DNSNames: []string{"A.example", "*.b.example"}, EmailAddresses: []string{"a@example.com"},
		IPAddresses: []net.IP{net.IPv4(192, 0, 2, 7), net.ParseIP("2001:db8::7")},
		URIs:        []*url.URL{{Scheme: "spiffe", Host: "example.com", Path: "/a"}},
	})
	san, err := profile.NamesOf(csr)
	want := []string{"dns:a.example", "dns:*.b.example", "ip:192.0.2.7", "ip:2001:db8::7", "email:a@example.com", "uri:spiffe://example.com/a"}
	if err != nil || !slices.Equal(san.Strings(), want) {
		t.Errorf("%q, %v; want %q", san.Strings(), err, want)
	}
	for _, tt := range []struct {
		template x509.CertificateRequest
		want     string
	}{
		{x509.CertificateRequest{DNSNames: []string{"192.0.2.7"}}, "is an IP address and no DNS name"},
		{x509.CertificateRequest{DNSNames: []string{"a\x00.evil.example"}}, "is no DNS name"},
		{x509.CertificateRequest{DNSNames: []string{"ok.example", "*"}}, "is no DNS name"},
		{x509.CertificateRequest{EmailAddresses: []string{"alice"}}, "is no email address"},
		{x509.CertificateRequest{URIs: []*url.URL{{Scheme: "urn", Opaque: "a:b"}}}, "is no absolute URI with a host"},
	} {
		san, err := profile.NamesOf(request(t, pkitest.Key(t, "leaf-p256"), tt.template))
		wantError(t, err, tt.want, false)
		if !san.IsEmpty() {
			t.Errorf("names beside the error: %q", san.Strings())
		}
	}
}

// Whatever the request, it is refused or its names are ones that may be
// signed; nothing panics.
func FuzzCSR(f *testing.F) {
	key := pkitest.Key(f, "leaf-p256")
	for _, template := range []x509.CertificateRequest{
		{Subject: pkix.Name{CommonName: "alice"}, DNSNames: []string{"a.example"}},
		{ExtraExtensions: []pkix.Extension{extension(true, caTrue, 2, 5, 29, 19)}},
		{ExtraExtensions: []pkix.Extension{extension(true, caGarbage, 2, 5, 29, 19), extension(true, nil, 1, 2, 3)}},
	} {
		f.Add(request(f, key, template).Raw)
	}
	f.Fuzz(func(t *testing.T, der []byte) {
		csr, err := x509.ParseCertificateRequest(der)
		if err != nil {
			return
		}
		refused := profile.CheckCSR(csr)
		for _, e := range csr.Extensions {
			if refused == nil && e.Id.String() == "2.5.29.19" && bytes.HasPrefix(e.Value, caTrue) {
				t.Error("a request for a CA passes")
			}
		}
		if _, err := profile.NamesOf(csr); err != nil {
			return
		}
	})
}
