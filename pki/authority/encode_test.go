package authority_test

import (
	"bytes"
	"crypto"
	"crypto/x509"
	"fmt"
	"strings"
	"testing"
	"time"

	"mutual/pki"
	"mutual/pki/authority"
	"mutual/pki/pkitest"
	"mutual/pki/profile"
)

// standard is what crypto/x509 signs where it is asked for what stands in a
// certificate.
func standard(t *testing.T, cert, issuer *x509.Certificate, signer crypto.Signer) []byte {
	t.Helper()
	c := *cert
	c.RawSubject, c.Extensions = nil, nil
	der, err := x509.CreateCertificate(nil, &c, issuer, c.PublicKey, signer)
	if err != nil {
		t.Fatal(err)
	}
	return der
}

// Every octet of a leaf is the one that crypto/x509 would have signed.
func TestLeafIsEncodedAsByTheStandardLibrary(t *testing.T) {
	subjects := []profile.Subject{
		{},
		{Organization: "Acme Inc", OrganizationalUnit: "R+D (1)", Country: "DE", State: "Bayern, Süd", Locality: "München"},
		{Organization: "a'b,c-d.e/f:g=h?", OrganizationalUnit: "star*", State: "at@", Locality: "under_score"},
	}
	compared := 0
	for _, ca := range []string{"issuing-p256", "p384", "rsa2048", "ed25519"} {
		h := pkitest.NewHierarchy(t, pkitest.Config{IssuingKey: ca})
		for _, key := range []string{"leaf-p256", "p384", "rsa3072", "ed25519"} {
			for _, kind := range []pki.Kind{pki.KindClient, pki.KindServer, pki.KindProbe} {
				for i, subject := range subjects {
					for _, name := range []string{"a.example.com", strings.Repeat("a", 63) + ".example.com"} {
						if kind != pki.KindServer && len(name) > pki.MaxClientName {
							continue
						}
						req := h.Request(t, kind, name, "90d")
						subject.CommonName = req.Subject.CommonName
						req.Subject, req.PublicKey = subject, pkitest.Key(t, key).Public()
						addEveryName(t, &req.SAN, i)
						req.CRLURL = []string{"", "http://crl.example.com/a.crl"}[i%2]
						cert := h.Leaf(t, req, name, pkitest.Serial(uint32(1+compared)))
						if want := standard(t, cert, h.Issuing.Certificate(), pkitest.Key(t, ca)); !bytes.Equal(cert.Raw, want) {
							t.Fatalf("%s %s by %s, subject %d:\n%x\n%x", kind, key, ca, i, cert.Raw, want)
						}
						compared++
					}
				}
			}
		}
	}
	if compared < 150 {
		t.Errorf("only %d certificates were compared", compared)
	}
}

// addEveryName adds n of every type.
func addEveryName(t *testing.T, san *pki.SAN, n int) {
	t.Helper()
	for i := range n {
		for _, err := range []error{
			san.AddDNS(fmt.Sprintf("*.d%d.example.com", i)), san.AddIP(fmt.Sprintf("192.0.2.%d", i)), san.AddIP(fmt.Sprintf("2001:db8::%d", i)),
			san.AddEmail(fmt.Sprintf("o'hara+%d@example.com", i)), san.AddURI(fmt.Sprintf("https://[2001:db8::7]:8443/%d?b#c", i)),
		} {
			if err != nil {
				t.Fatal(err)
			}
		}
	}
}

// The times of both encodings, and the ends of them.
func TestLeafTimesAreEncodedAsByTheStandardLibrary(t *testing.T) {
	h := pkitest.NewHierarchy(t, pkitest.Config{RootTTL: "110y", IssuingTTL: "100y"})
	for i, year := range []int{1950, 1999, 2049, 2050, 2120} {
		req := h.Request(t, pki.KindClient, "alice", "90d")
		at := time.Date(year, 12, 31, 23, 59, 59, 0, time.UTC)
		req.Validity = profile.Validity{NotBefore: at.Add(-24 * time.Hour), NotAfter: at}
		cert := h.Leaf(t, req, "alice", pkitest.Serial(uint32(1+i)))
		if want := standard(t, cert, h.Issuing.Certificate(), pkitest.Key(t, "issuing-p256")); !bytes.Equal(cert.Raw, want) {
			t.Errorf("%d:\n%x\n%x", year, cert.Raw, want)
		}
	}
}

// Whatever passes the profile is encoded as by the standard library.
func FuzzLeaf(f *testing.F) {
	f.Add("alice@example.com", "Acme & Söhne", "*.example.com", "2001:db8::1", "https://example.com/a b", uint32(90))
	f.Add("Ada Lovelace", "", "", "192.0.2.7", "", uint32(1))
	h := pkitest.NewHierarchy(f, pkitest.Config{})
	key, issuing := pkitest.Key(f, "leaf-p256"), pkitest.Key(f, "issuing-p256")
	f.Fuzz(func(t *testing.T, name, org, dns, ip, uri string, days uint32) {
		parsed, err := pki.ParseName(name, pki.KindClient)
		if err != nil {
			return
		}
		commonName, san, err := profile.Identify(pki.KindClient, parsed)
		if err != nil {
			return
		}
		_, _, _ = san.AddDNS(dns), san.AddIP(ip), san.AddURI(uri) // what is refused is not in it
		req := profile.Request{Kind: pki.KindClient, Subject: profile.Subject{CommonName: commonName, Organization: org}, SAN: san, PublicKey: key.Public(),
			Validity: profile.Validity{NotBefore: pkitest.Now(), NotAfter: pkitest.Now().Add(time.Duration(days%1000+1) * time.Hour)}}
		p, err := h.Issuing.Prepare(req, authority.Subject{Name: parsed, Serial: pkitest.Serial(7)}, pkitest.Now())
		if err != nil {
			return
		}
		cert, err := p.Issue(&pkitest.Ledger{})
		if err != nil {
			t.Fatal(err)
		}
		if want := standard(t, cert, h.Issuing.Certificate(), issuing); !bytes.Equal(cert.Raw, want) {
			t.Errorf("%x\n%x", cert.Raw, want)
		}
	})
}

// What was signed ahead is not signed again, and is given out by Issue alone.
func TestSignAhead(t *testing.T) {
	h := pkitest.NewHierarchy(t, pkitest.Config{})
	for _, fail := range []string{"", "Reserve", "Complete"} {
		p := prepare(t, h, pkitest.Serial(3))
		if err := p.SignAhead(); err != nil {
			t.Fatal(err)
		}
		ledger := &pkitest.Ledger{Fail: map[string]error{fail: authority.ErrIssuerExpired}}
		cert, err := p.Issue(ledger)
		if (fail == "") != (err == nil) || (fail == "") != (cert != nil) {
			t.Errorf("%q fails: %v, %v", fail, cert, err)
		}
		again, err := p.Issue(&pkitest.Ledger{})
		wantError(t, err, "already issued")
		if again != nil {
			t.Error("a second call gave the certificate")
		}
		if fail == "" && !bytes.Equal(cert.Raw, h.Leaf(t, h.Request(t, pki.KindClient, "alice", "90d"), "alice", pkitest.Serial(3)).Raw) {
			t.Error("signed ahead it is another certificate")
		}
	}
}
