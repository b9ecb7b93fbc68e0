package chain

import (
	"crypto/rand"
	"crypto/rsa"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/asn1"
	"encoding/json"
	"net/url"
	"slices"
	"testing"
	"time"
)

func TestOutcome(t *testing.T) {
	var zero Outcome
	if zero != CouldNotTell {
		t.Error("the zero value is not couldNotTell")
	}
	text, err := json.Marshal([]Outcome{CouldNotTell, Good, Bad})
	if err != nil || string(text) != `["couldNotTell","good","bad"]` {
		t.Errorf("%s, %v", text, err)
	}
}

func TestGood(t *testing.T) {
	p := newPKI(t)
	r := p.verify(p.alice)
	wantResult(t, r, Good, "")
	if !slices.EqualFunc(r.Chain, certs(p.alice, p.issuing, p.root), (*x509.Certificate).Equal) {
		t.Errorf("the chain is %s", pathText(r.Chain))
	}
	for i, want := range []string{
		"CN=alice ← CN=Issuing ← CN=Root",
		"valid until 2026-12-01T12:00:00Z",
		"for client authentication",
		"not revoked: not in list 7 of 2026-11-01T11:00:00Z, which is valid until 2026-11-02T12:00:00Z",
	} {
		if r.Checks[i].Detail != want || r.Checks[i].Outcome != Good {
			t.Errorf("check %s: %v %q, want good with %q", r.Checks[i].Name, r.Checks[i].Outcome, r.Checks[i].Detail, want)
		}
	}
}

func TestIncomplete(t *testing.T) {
	p := newPKI(t)
	wantResult(t, Verify(nil, p.options), CouldNotTell, "no certificate was given")
	wantResult(t, Verify(&x509.Certificate{}, p.options), CouldNotTell, "no certificate was given")
	noTime := p.options
	noTime.At = time.Time{}
	wantResult(t, Verify(p.alice.cert, noTime), CouldNotTell, "no time was given")
	noAnchor := p.options
	noAnchor.Anchors = []*x509.Certificate{nil}
	wantResult(t, Verify(p.alice.cert, noAnchor), CouldNotTell, "no trust anchor was given")
	wantResult(t, Verify(p.alice.cert, p.options), CouldNotTell, "whether it is revoked is not known: no revocation list was given")
}

// One fault in the leaf, a row each.
func TestLeaf(t *testing.T) {
	p := newPKI(t)
	p.issuing = p.root.ca("Constrained", func(c *x509.Certificate) {
		c.PermittedEmailAddresses = []string{"example.com", "bob@elsewhere.example", ".below.example"}
		c.PermittedURIDomains = []string{"example.com", ".below.example"}
		c.PermittedDNSDomains = []string{"example.com"}
		c.ExcludedEmailAddresses = []string{"excluded.example.com", "mallory@example.com"}
	})
	p.options.Intermediates = certs(p.issuing)
	p.crls.Lists = append(p.crls.Lists, p.issuing.list())
	uri := func(s string) func(*x509.Certificate) {
		return func(c *x509.Certificate) {
			u, err := url.Parse(s)
			if err != nil {
				t.Fatal(err)
			}
			c.URIs = []*url.URL{u}
		}
	}
	email := func(s string) func(*x509.Certificate) {
		return func(c *x509.Certificate) { c.EmailAddresses = []string{s} }
	}
	usage := func(u ...x509.ExtKeyUsage) func(*x509.Certificate) {
		return func(c *x509.Certificate) { c.ExtKeyUsage = u }
	}
	days := func(from, to int) func(*x509.Certificate) {
		return func(c *x509.Certificate) { c.NotBefore, c.NotAfter = now.AddDate(0, 0, from), now.AddDate(0, 0, to) }
	}
	for _, tt := range []struct {
		name    string
		change  func(*x509.Certificate)
		outcome Outcome
		reason  string
	}{
		{"expired", days(-9, -3), Bad, "expired 3 days ago (2026-10-29T12:00:00Z)"},
		{"not yet valid", days(1, 3), Bad, "not valid for another 1 day (2026-11-02T12:00:00Z)"},
		{"at notBefore", days(0, 3), Good, ""},
		{"at notAfter", days(-3, 0), Good, ""},
		{"a second after notAfter", func(c *x509.Certificate) { c.NotAfter = now.Add(-time.Second) }, Bad, "expired 1 second ago"},
		{"for servers", usage(x509.ExtKeyUsageServerAuth), Bad, "meant for server authentication, not client"},
		{"for both", usage(x509.ExtKeyUsageServerAuth, x509.ExtKeyUsageClientAuth), Good, ""},
		{"for any use", usage(x509.ExtKeyUsageAny), Bad, "meant for any usage (anyExtendedKeyUsage), not client"},
		{"for any use and clients", usage(x509.ExtKeyUsageAny, x509.ExtKeyUsageClientAuth), Good, ""},
		{"no extended key usage", usage(), Good, ""},
		{"for an unknown use", func(c *x509.Certificate) {
			c.ExtKeyUsage, c.UnknownExtKeyUsage = nil, []asn1.ObjectIdentifier{{1, 2, 3}}
		}, Bad, "meant for something else, not client"},
		{"no digitalSignature", func(c *x509.Certificate) { c.KeyUsage = x509.KeyUsageKeyEncipherment }, Bad, "its key usage does not allow digital signatures"},
		{"no key usage", func(c *x509.Certificate) { c.KeyUsage = 0 }, Good, ""},
		{"a CA", func(c *x509.Certificate) {
			c.IsCA, c.KeyUsage = true, x509.KeyUsageCertSign|x509.KeyUsageDigitalSignature
		}, Bad, "it is a CA's certificate, not a client's"},
		{"unknown critical extension", func(c *x509.Certificate) {
			c.ExtraExtensions = []pkix.Extension{{Id: asn1.ObjectIdentifier{1, 2, 3}, Critical: true, Value: []byte{5, 0}}}
		}, CouldNotTell, "it has the critical extension 1.2.3, which is not supported"},
		{"unknown extension", func(c *x509.Certificate) {
			c.ExtraExtensions = []pkix.Extension{{Id: asn1.ObjectIdentifier{1, 2, 3}, Value: []byte{5, 0}}}
		}, Good, ""},
		{"email on the host", email("a@EXAMPLE.com"), Good, ""},
		{"CVE-2026-78664: email below the host", email("a@sub.example.com"), Bad, `the email address "a@sub.example.com" is outside the name constraints of CN=Constrained`},
		{"email of the mailbox", email("bob@elsewhere.example"), Good, ""},
		{"email of another mailbox", email("Bob@elsewhere.example"), Bad, "outside the name constraints"},
		{"email below the domain", email("a@x.below.example"), Good, ""},
		{"email on the domain", email("a@below.example"), Bad, "outside the name constraints"},
		{"email excluded", email("mallory@example.com"), Bad, "outside the name constraints"},
		{"URI on the host", uri("https://example.com/a"), Good, ""},
		{"URI on the host with a port", uri("https://Example.com:8443/a"), Good, ""},
		{"CVE-2026-78665: URI below the host", uri("spiffe://sub.example.com/a"), Bad, `the URI "spiffe://sub.example.com/a" is outside the name constraints of CN=Constrained`},
		{"URI below the domain", uri("https://x.below.example/"), Good, ""},
		{"URI on the domain", uri("https://below.example/"), Bad, "outside the name constraints"},
		{"DNS name below", func(c *x509.Certificate) { c.DNSNames = []string{"sub.example.com"} }, Good, ""},
		{"DNS name elsewhere", func(c *x509.Certificate) { c.DNSNames = []string{"example.org"} }, Bad, `its names are outside the name constraints of a CA: DNS name "example.org" is not permitted`},
	} {
		t.Run(tt.name, func(t *testing.T) {
			wantResult(t, p.verify(p.issuing.client("alice", tt.change)), tt.outcome, tt.reason)
		})
	}
}

// Verify --at and crypto/x509 agree on the ends of the lifetime, in fractions
// of a second, too.
func TestLastSecond(t *testing.T) {
	p := newPKI(t)
	leaf := p.issuing.client("alice", func(c *x509.Certificate) { c.NotAfter = now })
	for _, tt := range []struct {
		at      time.Duration
		outcome Outcome
		reason  string
	}{{-time.Nanosecond, Good, ""}, {0, Good, ""}, {time.Nanosecond, Bad, "expired 1 second ago"}} {
		p.options.At = now.Add(tt.at)
		wantResult(t, p.verify(leaf), tt.outcome, tt.reason)
	}
}

func TestServerAndCA(t *testing.T) {
	p := newPKI(t)
	server := p.issuing.client("server", func(c *x509.Certificate) { c.ExtKeyUsage = []x509.ExtKeyUsage{x509.ExtKeyUsageServerAuth} })
	p.options.Purpose = Server
	wantResult(t, p.verify(server), Good, "")
	wantResult(t, p.verify(p.alice), Bad, "meant for client authentication, not server")
	p.options.Purpose = CA
	wantResult(t, p.verify(p.issuing), Good, "")
	wantResult(t, p.verify(p.alice), Bad, "it is no CA's certificate")
}

// One fault above the leaf, a row each.
func TestIssuers(t *testing.T) {
	for _, tt := range []struct {
		name    string
		change  func(*x509.Certificate)
		outcome Outcome
		reason  string
	}{
		{"expired", func(c *x509.Certificate) { c.NotAfter = now.Add(-2 * time.Hour) }, Bad, "its issuer CN=Issuing: expired 2 hours ago (2026-11-01T10:00:00Z)"},
		{"not yet valid", func(c *x509.Certificate) { c.NotBefore = now.Add(time.Minute) }, Bad, "its issuer CN=Issuing: not valid for another 1 minute"},
		{"no CA", func(c *x509.Certificate) { c.IsCA, c.MaxPathLenZero = false, false }, Bad, "its issuer CN=Issuing may not sign certificates"},
		{"no keyCertSign", func(c *x509.Certificate) { c.KeyUsage = x509.KeyUsageCRLSign }, Bad, "its issuer CN=Issuing may not sign certificates"},
		{"for servers", func(c *x509.Certificate) { c.ExtKeyUsage = []x509.ExtKeyUsage{x509.ExtKeyUsageServerAuth} }, Bad, "the extended key usage of one of its CAs does not allow this purpose"},
		{"unknown critical extension", func(c *x509.Certificate) {
			c.ExtraExtensions = []pkix.Extension{{Id: asn1.ObjectIdentifier{1, 2, 3}, Critical: true, Value: []byte{5, 0}}}
		}, CouldNotTell, "its issuer CN=Issuing has the critical extension 1.2.3, which is not supported"},
		{"constraint on directory names, critical", directoryConstraint(true), CouldNotTell, "its issuer CN=Issuing has the critical extension 2.5.29.30, which is not supported"},
		{"constraint on directory names, not critical", directoryConstraint(false), CouldNotTell, "its issuer CN=Issuing has name constraints that are not supported"},
		{"a name for a terminal", func(c *x509.Certificate) {
			c.Subject.CommonName, c.NotAfter = "\x1b[2J\u202e", now.Add(-time.Hour)
		}, Bad, "its issuer CN=\ufffd[2J\ufffd: expired 1 hour ago"},
	} {
		t.Run(tt.name, func(t *testing.T) {
			p := newPKI(t)
			p.issuing = p.root.ca("Issuing", tt.change)
			p.options.Intermediates = certs(p.issuing)
			p.crls.Lists = append(p.crls.Lists, p.issuing.list())
			wantResult(t, p.verify(p.issuing.client("alice", nil)), tt.outcome, tt.reason)
		})
	}
}

// directoryConstraint permits only names below O=Acme.
func directoryConstraint(critical bool) func(*x509.Certificate) {
	value := []byte{0x30, 0x17, 0xa0, 0x15, 0x30, 0x13, 0xa4, 0x11, 0x30, 0x0f, 0x31, 0x0d, 0x30, 0x0b,
		0x06, 0x03, 0x55, 0x04, 0x0a, 0x0c, 0x04, 'A', 'c', 'm', 'e'}
	return func(c *x509.Certificate) {
		c.ExtraExtensions = []pkix.Extension{{Id: oidNameConstraints, Critical: critical, Value: value}}
	}
}

func TestUnknownIssuers(t *testing.T) {
	p, other := newPKI(t), newPKI(t)
	wantResult(t, p.verify(newRoot(t, "Mallory").client("alice", nil)), Bad, "signed by an unknown CA: issuer CN=Mallory")
	// The same names throughout, other keys.
	wantResult(t, p.verify(other.alice), Bad, "it has a signature that is not that of CN=Issuing")
	self := newParty(t, nil, &x509.Certificate{Subject: pkix.Name{CommonName: "stranger"}, KeyUsage: x509.KeyUsageDigitalSignature}, nil)
	wantResult(t, p.verify(self), Bad, "signed by itself and not trusted: CN=stranger")
	p.options.Intermediates = nil
	r := p.verify(p.alice)
	wantResult(t, r, Bad, "signed by an unknown CA: issuer CN=Issuing")
	if r.Checks[3].Outcome != CouldNotTell {
		t.Errorf("revocation without a chain is %v", r.Checks[3].Outcome)
	}
	p.options.Intermediates = certs(p.issuing, p.root)
	p.options.Anchors = certs(newRoot(t, "Elsewhere"))
	wantResult(t, p.verify(p.alice), Bad, "signed by itself and not trusted: CN=Root")
}

func TestPathLength(t *testing.T) {
	p := newPKI(t)
	below := p.issuing.ca("Below", nil)
	p.options.Intermediates = append(p.options.Intermediates, below.cert)
	p.crls.Lists = append(p.crls.Lists, below.list())
	wantResult(t, p.verify(below.client("alice", nil)), Bad, "CN=Issuing allows 0 CAs below it, and there are 1")
}

func TestWeak(t *testing.T) {
	p := newPKI(t)
	large, err := rsa.GenerateKey(rand.Reader, 2048)
	if err != nil {
		t.Fatal(err)
	}
	small, err := rsa.GenerateKey(rand.Reader, 1024)
	if err != nil {
		t.Fatal(err)
	}
	leaf := func(public any, change func(*x509.Certificate)) *party {
		template := *p.alice.cert
		template.SignatureAlgorithm = 0
		if change != nil {
			change(&template)
		}
		return &party{t, mustCert(t, mustIssue(t, &template, p.issuing.cert, public, p.issuing.key)), nil}
	}
	wantResult(t, p.verify(leaf(large.Public(), nil)), Good, "")
	wantResult(t, p.verify(leaf(small.Public(), nil)), Bad, "it has a weak key (RSA 1024): RSA needs at least 2048 bits")
	wantResult(t, p.verify(leaf(&rsa.PublicKey{N: large.N, E: 3}, nil)), CouldNotTell, "it has a key that is not supported")
	sha1 := leaf(p.alice.key.Public(), func(c *x509.Certificate) { c.SignatureAlgorithm = x509.ECDSAWithSHA1 })
	wantResult(t, p.verify(sha1), Bad, "it has a signature by ECDSA-SHA1, which is broken")
}

// The root is certified by two others: a good chain makes it good, whatever
// is wrong with the other.
func TestAllChainsAreTried(t *testing.T) {
	p := newPKI(t)
	old, young := newRoot(t, "Old"), newRoot(t, "Young")
	expired := certify(t, old, p.root.key, caTemplate("Root"), func(c *x509.Certificate) { c.NotBefore, c.NotAfter = now.AddDate(-2, 0, 0), now.AddDate(-1, 0, 0) })
	fresh := certify(t, young, p.root.key, caTemplate("Root"), nil)
	for _, order := range [][]*x509.Certificate{certs(p.issuing, expired, fresh), certs(fresh, p.issuing, expired)} {
		p.options.Anchors, p.options.Intermediates = certs(old, young), order
		lists := p.crls.Lists
		p.crls.Lists = append(slices.Clone(lists), old.list(), young.list())
		wantResult(t, p.verify(p.alice), Good, "")
		p.crls.Lists = append(slices.Clone(lists), old.list(), young.list(fresh))
		wantResult(t, p.verify(p.alice), Bad, "its issuer CN=Root: revoked on 2026-11-01T10:00:00Z (keyCompromise)")
		p.options.Intermediates = certs(p.issuing, expired)
		wantResult(t, p.verify(p.alice), Bad, "its issuer CN=Root: expired 365 days ago")
		p.crls.Lists = lists
	}
	// Two current ones; one is revoked, of the other nothing is known.
	second := certify(t, old, p.root.key, caTemplate("Root"), nil)
	p.options.Intermediates = certs(p.issuing, second, fresh)
	p.crls.Lists = append(p.crls.Lists, young.list(fresh))
	wantResult(t, p.verify(p.alice), CouldNotTell, "its issuer CN=Root: no revocation list of CN=Old was given")
	// But alice is revoked in every one of them.
	p.crls.Lists = append(p.crls.Lists, p.issuing.list(p.alice))
	wantResult(t, p.verify(p.alice), Bad, "revoked on 2026-11-01T10:00:00Z (keyCompromise)")
}

// A certificate that is itself an anchor needs nobody.
func TestAnchorItself(t *testing.T) {
	p := newPKI(t)
	self := newParty(t, nil, &x509.Certificate{Subject: pkix.Name{CommonName: "pinned"}, KeyUsage: x509.KeyUsageDigitalSignature}, nil)
	p.options.Anchors = certs(self)
	wantResult(t, p.verify(self), Good, "")
}

// Any octets as leaf, as intermediate and as list: an answer, and good only
// for the certificate that is.
func FuzzVerify(f *testing.F) {
	p := newPKI(f)
	mallory := newRoot(f, "Root")
	for _, c := range certs(p.alice, p.issuing, p.root, mallory, mallory.client("alice", nil)) {
		f.Add(c.Raw, p.issuing.cert.Raw, p.issuing.list().Raw())
	}
	good := p.alice.cert
	f.Fuzz(func(t *testing.T, leaf, other, list []byte) {
		c, err := x509.ParseCertificate(leaf)
		if err != nil {
			return
		}
		o := p.options
		if extra, err := x509.ParseCertificate(other); err == nil {
			o.Intermediates = append(slices.Clone(o.Intermediates), extra)
		}
		lists := p.crls
		lists.Lists = slices.Clone(lists.Lists)
		lists.Candidates = o.Intermediates
		_ = lists.Add(list) // a malformed one is not there
		o.Revocation = FromCRLs(lists)
		r := Verify(c, o)
		if r.Outcome == Good && !c.Equal(good) || r.Outcome != Good && r.Reason == "" || len(r.Checks) != 4 {
			t.Fatalf("%v: %q", r.Outcome, r.Reason)
		}
	})
}
