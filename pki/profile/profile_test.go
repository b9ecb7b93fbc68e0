package profile_test

import (
	"crypto"
	"crypto/x509"
	"reflect"
	"strings"
	"testing"
	"time"

	"mutual/pki"
	"mutual/pki/pkitest"
	"mutual/pki/profile"
)

// leafRequest is a good request for NAME; tests spoil it.
func leafRequest(t *testing.T, h *pkitest.Hierarchy, kind pki.Kind, name string) profile.Request {
	t.Helper()
	return h.Request(t, kind, name, "90d")
}

func TestNewLeaf(t *testing.T) {
	h := pkitest.NewHierarchy(t, pkitest.Config{})
	clientAuth, serverAuth := []x509.ExtKeyUsage{x509.ExtKeyUsageClientAuth}, []x509.ExtKeyUsage{x509.ExtKeyUsageServerAuth}
	sign := x509.KeyUsageDigitalSignature
	for _, tt := range []struct {
		name, key string
		kind      pki.Kind
		usage     x509.KeyUsage
		extended  []x509.ExtKeyUsage
	}{
		{"alice@example.com", "leaf-p256", pki.KindClient, sign, clientAuth},
		{"alice@example.com", "rsa2048", pki.KindClient, sign, clientAuth},
		{"alice@example.com", "ed25519", pki.KindClient, sign, clientAuth},
		{"alice@example.com", "p384", pki.KindProbe, sign, clientAuth},
		{"api.example.com", "leaf-p256", pki.KindServer, sign, serverAuth},
		{"api.example.com", "ed25519", pki.KindServer, sign, serverAuth},
		{"api.example.com", "rsa2048", pki.KindServer, sign | x509.KeyUsageKeyEncipherment, serverAuth},
	} {
		t.Run(string(tt.kind)+" "+tt.key, func(t *testing.T) {
			req := leafRequest(t, h, tt.kind, tt.name)
			req.PublicKey = pkitest.Key(t, tt.key).Public()
			req.CRLURL = "http://crl.example.com/issuing.crl"
			template, err := profile.New(req, h.Issuing.Certificate())
			if err != nil {
				t.Fatal(err)
			}
			c := template.Certificate()
			if c.KeyUsage != tt.usage || !reflect.DeepEqual(c.ExtKeyUsage, tt.extended) || len(c.UnknownExtKeyUsage) > 0 {
				t.Errorf("key usage %b, extended %v", c.KeyUsage, c.ExtKeyUsage)
			}
			if c.IsCA || !c.BasicConstraintsValid || len(c.SubjectKeyId) != 20 || len(c.ExtraExtensions) > 0 {
				t.Errorf("CA %v, basic constraints %v, key id %x", c.IsCA, c.BasicConstraintsValid, c.SubjectKeyId)
			}
			if !reflect.DeepEqual(c.CRLDistributionPoints, []string{req.CRLURL}) || template.Kind() != tt.kind {
				t.Errorf("CRLs at %q, kind %s", c.CRLDistributionPoints, template.Kind())
			}
			template.Certificate().IsCA = true // a copy
			if template.Certificate().IsCA {
				t.Error("the template can be changed after the checks")
			}
		})
	}
}

func TestNewCA(t *testing.T) {
	h := pkitest.NewHierarchy(t, pkitest.Config{})
	root, issuing := h.Root.Certificate(), h.Issuing.Certificate()
	for _, c := range []*x509.Certificate{root, issuing} {
		if !c.IsCA || c.KeyUsage != x509.KeyUsageCertSign|x509.KeyUsageCRLSign || len(c.ExtKeyUsage)+len(c.UnknownExtKeyUsage) > 0 || len(c.SubjectKeyId) != 20 {
			t.Errorf("%s: CA %v, usage %b, extended %v", c.Subject, c.IsCA, c.KeyUsage, c.ExtKeyUsage)
		}
	}
	if root.MaxPathLen != -1 || issuing.MaxPathLen != 0 || !issuing.MaxPathLenZero {
		t.Errorf("path lengths %d and %d", root.MaxPathLen, issuing.MaxPathLen)
	}
}

// One row for each rule.
func TestNewRefused(t *testing.T) {
	h := pkitest.NewHierarchy(t, pkitest.Config{})
	root, issuing := h.Root.Certificate(), h.Issuing.Certificate()
	key := func(name string) crypto.PublicKey { return pkitest.Key(t, name).Public() }
	for _, tt := range []struct {
		name    string
		kind    pki.Kind
		issuer  *x509.Certificate
		spoil   func(*profile.Request)
		want    string
		request bool
	}{
		{"RSA 1024", pki.KindClient, issuing, func(r *profile.Request) { r.PublicKey = key("rsa1024") },
			"the public key cannot be certified: the key (RSA 1024) is too weak", false},
		{"no key", pki.KindClient, issuing, func(r *profile.Request) { r.PublicKey = nil }, "the public key cannot be certified", false},
		{"no issuer", pki.KindClient, nil, func(*profile.Request) {}, "a root has no issuer, and everything else has one", false},
		{"a root with an issuer", pki.KindRoot, root, func(*profile.Request) {}, "a root has no issuer", false},
		{"an unknown kind", "codeSigner", issuing, func(*profile.Request) {}, `there is no profile for the kind "codeSigner"`, false},
		{"a CA below the issuing CA", pki.KindIssuing, issuing, func(r *profile.Request) { r.SAN = pki.SAN{} },
			"path length of 0 allows no CA below it", false},
		{"it outlives its issuer", pki.KindClient, issuing, func(r *profile.Request) { r.Validity.NotAfter = issuing.NotAfter.Add(time.Second) },
			"would outlive its issuer", false},
		{"no time", pki.KindClient, issuing, func(r *profile.Request) { r.Validity.NotAfter = r.Validity.NotBefore }, "would end before it begins", true},
		{"nobody", pki.KindClient, issuing, func(r *profile.Request) { r.SAN, r.Subject = pki.SAN{}, profile.Subject{} }, "would name nobody", true},
		{"a CA without a name", pki.KindIssuing, root, func(r *profile.Request) { r.SAN, r.Subject = pki.SAN{}, profile.Subject{Organization: "Acme"} },
			"a CA needs a common name", true},
		{"a CA with a SAN", pki.KindIssuing, root, func(*profile.Request) {}, "a CA has no subject alternative names", true},
		{"a constrained root", pki.KindRoot, nil, func(r *profile.Request) {
			r.SAN = pki.SAN{}
			_ = r.Constraints.PermitDNS("example.com")
		}, "name constraints belong on the issuing CA", true},
		{"a constrained leaf", pki.KindClient, issuing, func(r *profile.Request) { _ = r.Constraints.PermitDNS("example.com") }, "only a CA has name constraints", true},
		{"a server without a host", pki.KindServer, issuing, func(r *profile.Request) {
			r.SAN = pki.SAN{}
			_ = r.SAN.AddEmail("a@example.com")
		}, "a server's certificate needs a DNS name or an IP address", true},
		{"a server's CN that is no SAN", pki.KindServer, issuing, func(r *profile.Request) { r.Subject.CommonName = "other.example.com" },
			`the common name "other.example.com" of a server is none of its DNS names`, true},
		{"CN of 65", pki.KindClient, issuing, func(r *profile.Request) { r.Subject.CommonName = strings.Repeat("ü", 65) },
			"the commonName has 65 characters, and at most 64 are allowed", true},
		{"O of 65", pki.KindClient, issuing, func(r *profile.Request) { r.Subject.Organization = strings.Repeat("o", 65) },
			"the organization has 65 characters, and at most 64", true},
		{"OU of 65", pki.KindClient, issuing, func(r *profile.Request) { r.Subject.OrganizationalUnit = strings.Repeat("o", 65) },
			"the organizationalUnit has 65 characters, and at most 64", true},
		{"ST of 129", pki.KindClient, issuing, func(r *profile.Request) { r.Subject.State = strings.Repeat("o", 129) }, "the state has 129 characters, and at most 128", true},
		{"L of 129", pki.KindClient, issuing, func(r *profile.Request) { r.Subject.Locality = strings.Repeat("o", 129) }, "the locality has 129 characters", true},
		{"C in lower case", pki.KindClient, issuing, func(r *profile.Request) { r.Subject.Country = "de" }, `the country "de" is not two upper-case letters`, true},
		{"C of three", pki.KindClient, issuing, func(r *profile.Request) { r.Subject.Country = "DEU" }, "is not two upper-case letters", true},
		{"C of two octets", pki.KindClient, issuing, func(r *profile.Request) { r.Subject.Country = "Ü" }, "is not two upper-case letters", true},
		{"a blank attribute", pki.KindClient, issuing, func(r *profile.Request) { r.Subject.Organization = " " }, "begins or ends with a space", true},
		{"a NUL", pki.KindClient, issuing, func(r *profile.Request) { r.Subject.Organization = "a\x00b" }, "holds the character U+0000, which cannot be seen", true},
		{"a right-to-left override", pki.KindClient, issuing, func(r *profile.Request) { r.Subject.Locality = "a\u202eb" }, "holds the character U+202E", true},
		{"not UTF-8", pki.KindClient, issuing, func(r *profile.Request) { r.Subject.Organization = "\xff" }, "the organization is not valid UTF-8", true},
		{"a CRL over https", pki.KindClient, issuing, func(r *profile.Request) { r.CRLURL = "https://example.com/a.crl" },
			"is no CRL address: it is an absolute http: URL", true},
	} {
		t.Run(tt.name, func(t *testing.T) {
			kind := tt.kind
			if kind != pki.KindServer {
				kind = pki.KindClient
			}
			req := leafRequest(t, h, kind, "api.example.com")
			req.Kind = tt.kind
			tt.spoil(&req)
			_, err := profile.New(req, tt.issuer)
			wantError(t, err, tt.want, tt.request)
		})
	}
}

func TestCRLURL(t *testing.T) {
	for _, good := range []string{"http://example.com/a.crl", "http://192.0.2.7:8080/a.crl?b", "http://[::1]/a.crl"} {
		if err := profile.CheckCRLURL(good); err != nil {
			t.Errorf("%s: %v", good, err)
		}
	}
	for _, bad := range []string{
		"", "example.com/a.crl", "https://example.com/a.crl", "ldap://example.com/", "file:///a.crl", "http:///a.crl",
		"http://user@example.com/a.crl", "http://example.com/a.crl#b", "http://exämple.com/a.crl", "http://example.com/\n", "http:a.crl",
	} {
		t.Run(bad, func(t *testing.T) { wantError(t, profile.CheckCRLURL(bad), "is no CRL address", true) })
	}
}
