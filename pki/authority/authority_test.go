package authority_test

import (
	"bytes"
	"crypto/x509"
	"encoding/asn1"
	"errors"
	"io"
	"slices"
	"strings"
	"testing"
	"time"

	"mutual/pki"
	"mutual/pki/authority"
	"mutual/pki/keys"
	"mutual/pki/pkitest"
	"mutual/pki/profile"
)

func wantError(t *testing.T, err error, want string) {
	t.Helper()
	if err == nil || !strings.Contains(err.Error(), want) {
		t.Errorf("error %v, want %q in it", err, want)
	}
}

// prepare prepares a client's certificate under the serial.
func prepare(t *testing.T, h *pkitest.Hierarchy, serial pki.Serial) *authority.Prepared {
	t.Helper()
	name := pkitest.MustName(t, "alice", pki.KindClient)
	p, err := h.Issuing.Prepare(h.Request(t, pki.KindClient, "alice", "90d"), authority.Subject{Name: name, Label: "Pixel 8", Serial: serial}, pkitest.Now())
	if err != nil {
		t.Fatal(err)
	}
	return p
}

// Serials have 16 octets, are positive and never short.
func TestNewSerial(t *testing.T) {
	seen := map[pki.Serial]bool{}
	for range 1000 {
		s, err := authority.NewSerial(nil)
		if err != nil {
			t.Fatal(err)
		}
		if o := s.Octets(); len(o) != 16 || o[0] < 0x40 || o[0] > 0x7f || seen[s] {
			t.Fatalf("the serial %x, seen before: %v", o, seen[s])
		}
		seen[s] = true
	}
	for first := range 256 {
		s, err := authority.NewSerial(io.MultiReader(bytes.NewReader([]byte{byte(first)}), bytes.NewReader(make([]byte, 15))))
		if err != nil || len(s.Octets()) != 16 || s.Octets()[0] != byte(first)&0x7f|0x40 {
			t.Errorf("from %02x: %s, %v", first, s, err)
		}
	}
	s, err := authority.NewSerial(bytes.NewReader(make([]byte, 15)))
	wantError(t, err, "drawing a serial number: unexpected EOF")
	if !s.IsZero() {
		t.Errorf("a serial beside the error: %s", s)
	}
}

func TestNewCARefused(t *testing.T) {
	h := pkitest.NewHierarchy(t, pkitest.Config{})
	_, err := authority.NewCA(h.Issuing.Certificate(), pkitest.Key(t, "root-p256"))
	if !errors.Is(err, authority.ErrKeyMismatch) {
		t.Errorf("another CA's key: %v", err)
	}
	_, err = authority.NewCA(h.Issuing.Certificate(), pkitest.Key(t, "rsa2048"))
	if !errors.Is(err, authority.ErrKeyMismatch) {
		t.Errorf("a key of another kind: %v", err)
	}
	leaf := h.Leaf(t, h.Request(t, pki.KindClient, "alice", "90d"), "alice", pkitest.Serial(3))
	_, err = authority.NewCA(leaf, pkitest.Key(t, "leaf-p256"))
	wantError(t, err, "the certificate is not a CA's")
	_, err = authority.PrepareRoot(profile.Request{
		Kind: pki.KindRoot, Subject: profile.Subject{CommonName: "Root"}, PublicKey: pkitest.Key(t, "root-p256").Public(),
		Validity: profile.Validity{NotBefore: pkitest.Now(), NotAfter: pkitest.Now().AddDate(1, 0, 0)},
	}, pkitest.Key(t, "p384"), authority.Subject{Serial: pkitest.Serial(1)}, pkitest.Now())
	if !errors.Is(err, authority.ErrKeyMismatch) {
		t.Errorf("a root signed with another key: %v", err)
	}
}

func TestSignIsVerifiedByTheCertificate(t *testing.T) {
	h := pkitest.NewHierarchy(t, pkitest.Config{})
	signature, err := h.Issuing.Sign([]byte("the head"))
	if err != nil {
		t.Fatal(err)
	}
	if err := keys.Verify(h.Issuing.Certificate().PublicKey, []byte("the head"), signature); err != nil {
		t.Error(err)
	}
}

// What must be remembered is remembered before it is signed, and once.
func TestIssueRecordsBeforeItSigns(t *testing.T) {
	h := pkitest.NewHierarchy(t, pkitest.Config{})
	p := prepare(t, h, pkitest.Serial(3))
	ledger := &pkitest.Ledger{}
	cert, err := p.Issue(ledger)
	if err != nil {
		t.Fatal(err)
	}
	if len(ledger.Reserved) != 1 || len(ledger.Completed) != 1 {
		t.Fatalf("%d reserved, %d completed", len(ledger.Reserved), len(ledger.Completed))
	}
	r := p.Record()
	if r.Serial != pkitest.Serial(3) || r.Kind != pki.KindClient || r.Name.String() != "alice" || r.Label != "Pixel 8" ||
		!r.NotBefore.Equal(cert.NotBefore) || !r.NotAfter.Equal(cert.NotAfter) || !r.Issued.Equal(pkitest.Now()) || r.Backdated ||
		!bytes.Equal(r.IssuerKeyID, h.Issuing.Certificate().SubjectKeyId) {
		t.Errorf("the record is %+v", r)
	}
	again, err := p.Issue(ledger)
	wantError(t, err, "the certificate was already issued")
	if again != nil || len(ledger.Reserved) != 1 {
		t.Error("a second call issued again")
	}
}

func TestIssueFailsWithTheLedger(t *testing.T) {
	h := pkitest.NewHierarchy(t, pkitest.Config{})
	disk := errors.New("the disk is full")
	for _, step := range []string{"Reserve", "Complete"} {
		p := prepare(t, h, pkitest.Serial(3))
		ledger := &pkitest.Ledger{Fail: map[string]error{step: disk}}
		cert, err := p.Issue(ledger)
		if !errors.Is(err, disk) || cert != nil || len(ledger.Completed) != 0 {
			t.Errorf("%s fails: %v, %v", step, cert, err)
		}
		_, err = p.Issue(&pkitest.Ledger{})
		wantError(t, err, "the certificate was already issued")
	}
}

func TestPrepareNeedsAValidIssuer(t *testing.T) {
	h := pkitest.NewHierarchy(t, pkitest.Config{IssuingTTL: "30d"})
	end, begin := h.Issuing.Certificate().NotAfter, h.Issuing.Certificate().NotBefore
	req := h.Request(t, pki.KindClient, "alice", "1d")
	_, err := h.Issuing.Prepare(req, authority.Subject{Serial: pkitest.Serial(3)}, end.Add(time.Second))
	if !errors.Is(err, authority.ErrIssuerExpired) {
		t.Errorf("after its end: %v", err)
	}
	wantError(t, err, "the issuing CA has expired: CN=Test Issuing CA, at 2026-12-01T12:00:00Z")
	_, err = pkitest.IssueCRL(h.Issuing, nil, authority.LastCRL{}, pkitest.MustLifetime(t, "30d"), end.Add(time.Hour))
	if !errors.Is(err, authority.ErrIssuerExpired) {
		t.Errorf("a CRL after its end: %v", err)
	}
	_, err = h.Issuing.Prepare(req, authority.Subject{Serial: pkitest.Serial(3)}, begin.Add(-time.Second))
	wantError(t, err, "the issuing CA CN=Test Issuing CA is not valid before 2026-11-01T11:50:00Z")
	if _, err := h.Issuing.Prepare(req, authority.Subject{Serial: pkitest.Serial(3)}, end); err != nil {
		t.Errorf("at its end: %v", err) // notAfter belongs to the validity: RFC 5280, Section 4.1.2.5
	}
}

// The inventory marks what was backdated on purpose.
func TestBackdatedIsRecorded(t *testing.T) {
	h := pkitest.NewHierarchy(t, pkitest.Config{})
	for _, tt := range []struct {
		name        string
		from, until time.Duration // from now
		want        bool
	}{
		{"usual", -10 * time.Minute, time.Hour, false},
		{"begins before its issuer", -11 * time.Minute, time.Hour, true},
		{"has expired", -10 * time.Minute, 0, true},
	} {
		req := h.Request(t, pki.KindClient, "alice", "1d")
		req.Validity = profile.Validity{NotBefore: pkitest.Now().Add(tt.from), NotAfter: pkitest.Now().Add(tt.until)}
		p, err := h.Issuing.Prepare(req, authority.Subject{Serial: pkitest.Serial(3)}, pkitest.Now())
		if err != nil {
			t.Fatal(err)
		}
		if p.Record().Backdated != tt.want {
			t.Errorf("%s: backdated is %v", tt.name, p.Record().Backdated)
		}
	}
}

func TestPrepareRefusesWhatTheProfileRefuses(t *testing.T) {
	h := pkitest.NewHierarchy(t, pkitest.Config{})
	req := h.Request(t, pki.KindClient, "alice", "1d")
	req.Subject.Country = "de"
	p, err := h.Issuing.Prepare(req, authority.Subject{Serial: pkitest.Serial(3)}, pkitest.Now())
	if !isRequestError(err) || p != nil {
		t.Errorf("%v, %v", p, err)
	}
}

func isRequestError(err error) bool {
	_, ok := errors.AsType[*profile.RequestError](err)
	return ok
}

// What is signed is the profile's, with every kind of key on both sides.
func TestSigned(t *testing.T) {
	for _, ca := range []string{"issuing-p256", "p384", "rsa2048", "rsa4096", "ed25519"} {
		h := pkitest.NewHierarchy(t, pkitest.Config{IssuingKey: ca})
		issuing, root := h.Issuing.Certificate(), h.Root.Certificate()
		for _, key := range []string{"leaf-p256", "rsa3072", "ed25519"} {
			req := h.Request(t, pki.KindClient, "alice@example.com", "90d")
			req.PublicKey = pkitest.Key(t, key).Public()
			leaf := h.Leaf(t, req, "alice@example.com", pkitest.Serial(3))
			if err := leaf.CheckSignatureFrom(issuing); err != nil {
				t.Errorf("%s by %s: %v", key, ca, err)
			}
			if !bytes.Equal(leaf.RawIssuer, issuing.RawSubject) || !bytes.Equal(leaf.AuthorityKeyId, issuing.SubjectKeyId) {
				t.Errorf("%s by %s: issuer %s, authority key id %x", key, ca, leaf.Issuer, leaf.AuthorityKeyId)
			}
			if want, _ := keys.SignatureAlgorithm(issuing.PublicKey); leaf.SignatureAlgorithm != want {
				t.Errorf("%s by %s: %s, want %s", key, ca, leaf.SignatureAlgorithm, want)
			}
		}
		if len(root.AuthorityKeyId) != 0 || !bytes.Equal(issuing.AuthorityKeyId, root.SubjectKeyId) {
			t.Errorf("authority key ids %x of the root, %x of the issuing CA", root.AuthorityKeyId, issuing.AuthorityKeyId)
		}
	}
}

// critical gives which extensions are critical and which are not.
func critical(cert *x509.Certificate) (yes, no []string) {
	for _, e := range cert.Extensions {
		if e.Critical {
			yes = append(yes, e.Id.String())
		} else {
			no = append(no, e.Id.String())
		}
	}
	slices.Sort(yes)
	slices.Sort(no)
	return yes, no
}

const (
	ski, aki, keyUsage, san, basic, names = "2.5.29.14", "2.5.29.35", "2.5.29.15", "2.5.29.17", "2.5.29.19", "2.5.29.30"
	extUsage, crlPoint                    = "2.5.29.37", "2.5.29.31"
)

// The extensions of each kind, and which of them are critical.
func TestExtensions(t *testing.T) {
	var constraints profile.Constraints
	if err := constraints.PermitEmail("example.com"); err != nil {
		t.Fatal(err)
	}
	plain, constrained := pkitest.NewHierarchy(t, pkitest.Config{}), pkitest.NewHierarchy(t, pkitest.Config{Constraints: constraints})
	leaf := func(kind pki.Kind, name, crlURL string) *x509.Certificate {
		req := plain.Request(t, kind, name, "90d")
		req.CRLURL = crlURL
		return plain.Leaf(t, req, name, pkitest.Serial(3))
	}
	for _, tt := range []struct {
		name    string
		cert    *x509.Certificate
		yes, no []string
	}{
		{"root", plain.Root.Certificate(), []string{keyUsage, basic}, []string{ski}},
		{"issuing", plain.Issuing.Certificate(), []string{keyUsage, basic}, []string{ski, aki}},
		{"issuing, constrained", constrained.Issuing.Certificate(), []string{keyUsage, basic, names}, []string{ski, aki}},
		{"client, name only", leaf(pki.KindClient, "alice", ""), []string{keyUsage, basic}, []string{ski, aki, extUsage}},
		{"client", leaf(pki.KindClient, "a@example.com", ""), []string{keyUsage, basic}, []string{ski, san, aki, extUsage}},
		{"client with CRL", leaf(pki.KindClient, "a@example.com", "http://example.com/a"), []string{keyUsage, basic}, []string{ski, san, crlPoint, aki, extUsage}},
		{"server", leaf(pki.KindServer, "a.example.com", ""), []string{keyUsage, basic}, []string{ski, san, aki, extUsage}},
		{"server without CN", leaf(pki.KindServer, strings.Repeat("a", 63)+".example.com", ""), []string{keyUsage, san, basic}, []string{ski, aki, extUsage}},
	} {
		yes, no := critical(tt.cert)
		slices.Sort(tt.yes)
		slices.Sort(tt.no)
		if !slices.Equal(yes, tt.yes) || !slices.Equal(no, tt.no) {
			t.Errorf("%s: critical %q, not critical %q; want %q, %q", tt.name, yes, no, tt.yes, tt.no)
		}
	}
	if subject := leaf(pki.KindServer, strings.Repeat("a", 63)+".example.com", "").RawSubject; !bytes.Equal(subject, []byte{0x30, 0}) {
		t.Errorf("the subject without CN is %x", subject)
	}
}

// Attributes are PrintableString where they fit, else UTF8String (RFC 5280,
// Section 4.1.2.4).
func TestSubjectStrings(t *testing.T) {
	h := pkitest.NewHierarchy(t, pkitest.Config{})
	for text, tag := range map[string]int{"Acme Inc": asn1.TagPrintableString, "Acme & Söhne": asn1.TagUTF8String, "Acme_Inc": asn1.TagUTF8String} {
		req := h.Request(t, pki.KindClient, "alice", "1d")
		req.Subject.Organization = text
		raw := h.Leaf(t, req, "alice", pkitest.Serial(3)).RawSubject
		want := append([]byte{byte(tag), byte(len(text))}, text...)
		if !bytes.Contains(raw, want) {
			t.Errorf("%q is not encoded with the tag %d in %x", text, tag, raw)
		}
	}
}

// A name of every type comes through signing.
func TestNamesAreSigned(t *testing.T) {
	h := pkitest.NewHierarchy(t, pkitest.Config{})
	req := h.Request(t, pki.KindClient, "alice", "1d")
	for _, err := range []error{
		req.SAN.AddDNS("bücher.example"), req.SAN.AddIP("2001:db8::7"), req.SAN.AddEmail("o'hara@example.com"),
		req.SAN.AddURI("https://[2001:db8::7]:8443/a?b#c"), req.SAN.AddURI("spiffe://my_domain/a"),
	} {
		if err != nil {
			t.Fatal(err)
		}
	}
	cert := h.Leaf(t, req, "alice", pkitest.Serial(3))
	if !slices.Equal(cert.DNSNames, req.SAN.DNS()) || !slices.Equal(cert.EmailAddresses, req.SAN.Email()) ||
		len(cert.IPAddresses) != 1 || len(cert.URIs) != 2 || cert.URIs[0].String() != req.SAN.URI()[0] {
		t.Errorf("%q, %q, %v, %v", cert.DNSNames, cert.EmailAddresses, cert.IPAddresses, cert.URIs)
	}
}
