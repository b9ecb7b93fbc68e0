package chain

import (
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/asn1"
	"math/big"
	"testing"
	"time"

	"mutual/pki"
	"mutual/pki/crl"
	"mutual/pki/keys"
)

// foreignList makes a list that crl.Create does not: with crypto/x509, and
// with what it lets be added.
func foreignList(t *testing.T, p *party, change func(*x509.RevocationList)) []byte {
	t.Helper()
	list := &x509.RevocationList{Number: big.NewInt(8), ThisUpdate: now.Add(-time.Hour), NextUpdate: now.Add(time.Hour)}
	change(list)
	der, err := x509.CreateRevocationList(nil, list, p.cert, p.key)
	if err != nil {
		t.Fatal(err)
	}
	return der
}

func at(this, next time.Duration) func(*crl.Template) {
	return func(t *crl.Template) { t.ThisUpdate, t.NextUpdate = now.Add(this), now.Add(next) }
}

func TestRevocation(t *testing.T) {
	for _, tt := range []struct {
		name    string
		change  func(*testing.T, *pkiOf)
		outcome Outcome
		reason  string
	}{
		{"leaf revoked", func(t *testing.T, p *pkiOf) { p.crls.Lists[0] = p.issuing.list(p.alice) },
			Bad, "revoked on 2026-11-01T10:00:00Z (keyCompromise)"},
		{"intermediate revoked", func(t *testing.T, p *pkiOf) { p.crls.Lists[1] = p.root.list(p.issuing) },
			Bad, "its issuer CN=Issuing: revoked on 2026-11-01T10:00:00Z (keyCompromise)"},
		{"the same serial of another issuer", func(t *testing.T, p *pkiOf) { p.crls.Lists[1] = p.root.list(p.alice) }, Good, ""},
		{"no list", func(t *testing.T, p *pkiOf) { p.crls.Lists = nil }, CouldNotTell, "no revocation list of CN=Issuing was given"},
		{"no list of the root", func(t *testing.T, p *pkiOf) { p.crls.Lists = p.crls.Lists[:1] },
			CouldNotTell, "its issuer CN=Issuing: no revocation list of CN=Root was given"},
		{"no list of the root, leaf revoked", func(t *testing.T, p *pkiOf) { p.crls.Lists = []*crl.List{p.issuing.list(p.alice)} },
			Bad, "revoked on 2026-11-01T10:00:00Z"},
		{"signed by another CA of the same name", func(t *testing.T, p *pkiOf) {
			other := newRoot(t, "Issuing")
			tmpl := other.template()
			tmpl.AuthorityKeyID = p.issuing.cert.SubjectKeyId
			p.crls.Lists[0] = other.sign(tmpl)
		}, CouldNotTell, "the revocation list of CN=Issuing is not signed by it: checking the signature"},
		{"of another CA of the same name below another anchor", func(t *testing.T, p *pkiOf) {
			other := newRoot(t, "Other Root").ca("Issuing", nil)
			p.crls.Lists[0] = other.list()
			p.crls.Candidates = certs(other)
		}, CouldNotTell, "who signed the revocation list of CN=Issuing leads to another trust anchor or to none"},
		{"key identifiers differ", func(t *testing.T, p *pkiOf) {
			tmpl := p.issuing.template()
			tmpl.AuthorityKeyID = []byte{1, 2, 3}
			p.crls.Lists[0] = p.issuing.sign(tmpl)
		}, CouldNotTell, "the revocation list of CN=Issuing is of another key (010203) than"},
		{"from the future", retimed(at(time.Minute, time.Hour)), CouldNotTell, "the revocation list of CN=Issuing is from the future (2026-11-01T12:01:00Z)"},
		{"expired", retimed(at(-72*time.Hour, -49*time.Hour)), CouldNotTell, "the revocation list of CN=Issuing expired 2 days ago (2026-10-30T11:00:00Z)"},
		{"at thisUpdate", retimed(at(0, time.Hour)), Good, ""},
		{"at nextUpdate", retimed(at(-time.Hour, 0)), Good, ""},
		{"too old for MaxAge", func(t *testing.T, p *pkiOf) { p.crls.MaxAge = time.Minute }, CouldNotTell, "the revocation list of CN=Issuing is 1 hour old"},
		{"no cRLSign", func(t *testing.T, p *pkiOf) {
			bare := certify(t, p.root, p.issuing.key, caTemplate("Issuing"), func(c *x509.Certificate) { c.KeyUsage = x509.KeyUsageCertSign })
			p.options.Intermediates = certs(bare)
		}, CouldNotTell, "(no cRLSign)"},
		{"no key usage", func(t *testing.T, p *pkiOf) {
			bare := certify(t, p.root, p.issuing.key, caTemplate("Issuing"), func(c *x509.Certificate) { c.KeyUsage = 0 })
			p.options.Intermediates = certs(bare)
		}, Good, ""},
		{"an older list has it", func(t *testing.T, p *pkiOf) {
			older := p.issuing.template(p.alice)
			older.ThisUpdate, older.Number = now.Add(-2*time.Hour), big.NewInt(6)
			p.crls.Lists = append(p.crls.Lists, p.issuing.sign(older))
		}, Bad, "revoked on 2026-11-01T10:00:00Z"},
		{"an expired list has it", func(t *testing.T, p *pkiOf) {
			older := p.issuing.template(p.alice)
			at(-2*time.Hour, -time.Hour)(&older)
			p.crls.Lists = append(p.crls.Lists, p.issuing.sign(older))
		}, Good, ""},
		{"on hold", func(t *testing.T, p *pkiOf) {
			tmpl := p.issuing.template(p.alice)
			tmpl.Entries[0].Reason = pki.CertificateHold
			p.crls.Lists[0] = p.issuing.sign(tmpl)
		}, Bad, "(certificateHold)"},
	} {
		t.Run(tt.name, func(t *testing.T) {
			p := newPKI(t)
			tt.change(t, p)
			wantResult(t, p.verify(p.alice), tt.outcome, tt.reason)
		})
	}
}

func retimed(change func(*crl.Template)) func(*testing.T, *pkiOf) {
	return func(t *testing.T, p *pkiOf) {
		tmpl := p.issuing.template()
		change(&tmpl)
		p.crls.Lists[0] = p.issuing.sign(tmpl)
	}
}

// Lists that Create does not make.
func TestForeignLists(t *testing.T) {
	extra := func(arc int, critical bool, value ...byte) func(*x509.RevocationList) {
		return func(l *x509.RevocationList) {
			l.ExtraExtensions = []pkix.Extension{{Id: asn1.ObjectIdentifier{2, 5, 29, arc}, Critical: critical, Value: value}}
		}
	}
	for _, tt := range []struct {
		name    string
		change  func(*x509.RevocationList)
		outcome Outcome
		reason  string
	}{
		{"nothing special", func(*x509.RevocationList) {}, Good, ""},
		{"only user certificates", extra(28, true, 0x30, 3, 0x81, 1, 0xff), Good, ""},
		{"only CAs", extra(28, true, 0x30, 3, 0x82, 1, 0xff), CouldNotTell, "covers only certificates of CAs"},
		{"another distribution point", extra(28, true, 0x30, 7, 0xa0, 5, 0xa0, 3, 0x86, 1, 'a'), CouldNotTell, "covers only certificates of another distribution point"},
		{"indirect", extra(28, true, 0x30, 3, 0x84, 1, 0xff), CouldNotTell, "cannot be applied: it is indirect"},
		{"delta", extra(27, true, 2, 1, 1), CouldNotTell, "cannot be applied: it is a delta list"},
		{"unknown critical extension", extra(99, true, 5, 0), CouldNotTell, "cannot be applied: it has the unknown critical extension 2.5.29.99"},
		{"unknown extension", extra(99, false, 5, 0), Good, ""},
	} {
		t.Run(tt.name, func(t *testing.T) {
			p := newPKI(t)
			p.crls.Lists = p.crls.Lists[1:]
			if err := p.crls.Add(foreignList(t, p.issuing, tt.change)); err != nil {
				t.Fatal(err)
			}
			wantResult(t, p.verify(p.alice), tt.outcome, tt.reason)
		})
	}
	// Beside a list that says that all is well, one that cannot be read
	// still counts if the CA signed it, and does not if it is another's.
	p := newPKI(t)
	if err := p.crls.Add(foreignList(t, newRoot(t, "Issuing"), extra(27, true, 2, 1, 1))); err != nil {
		t.Fatal(err)
	}
	wantResult(t, p.verify(p.alice), Good, "")
	if err := p.crls.Add(foreignList(t, p.issuing, extra(27, true, 2, 1, 1))); err != nil {
		t.Fatal(err)
	}
	wantResult(t, p.verify(p.alice), CouldNotTell, "cannot be applied: it is a delta list")
	if err := p.crls.Add([]byte("no list")); err == nil {
		t.Error("what is no list is accepted")
	}
}

// Without number or nextUpdate: refused, unless allowed. Such a list can
// revoke all the same.
func TestIncompleteLists(t *testing.T) {
	strip := func(p *party, number, next bool, revoked ...*party) *crl.List {
		template := p.template(revoked...)
		der := withoutFields(t, p, template, number, next)
		l, err := crl.Parse(der)
		if err != nil {
			t.Fatal(err)
		}
		return l
	}
	for _, tt := range []struct {
		name         string
		number, next bool
		reason       string
	}{
		{"no number", true, false, "the revocation list of CN=Issuing has no CRL number"},
		{"no nextUpdate", false, true, "the revocation list of CN=Issuing does not say until when it is valid (no nextUpdate)"},
	} {
		t.Run(tt.name, func(t *testing.T) {
			p := newPKI(t)
			p.crls.Lists[0] = strip(p.issuing, tt.number, tt.next)
			wantResult(t, p.verify(p.alice), CouldNotTell, tt.reason)
			p.crls.AllowIncomplete = true
			wantResult(t, p.verify(p.alice), Good, "")
			p.crls.AllowIncomplete = false
			p.crls.Lists[0] = strip(p.issuing, tt.number, tt.next, p.alice)
			wantResult(t, p.verify(p.alice), Bad, "revoked on")
		})
	}
}

// tbsCertList is what withoutFields takes apart.
type tbsCertList struct {
	Version             int
	Signature           pkix.AlgorithmIdentifier
	Issuer              asn1.RawValue
	ThisUpdate          time.Time
	NextUpdate          time.Time                 `asn1:"optional"`
	RevokedCertificates []pkix.RevokedCertificate `asn1:"optional"`
	Extensions          []pkix.Extension          `asn1:"optional,explicit,tag:0"`
}

// withoutFields makes a list and signs it again without a field.
func withoutFields(t *testing.T, p *party, template crl.Template, number, next bool) []byte {
	t.Helper()
	var tbs tbsCertList
	list, err := x509.ParseRevocationList(p.sign(template).Raw())
	if err != nil {
		t.Fatal(err)
	}
	if _, err := asn1.Unmarshal(list.RawTBSRevocationList, &tbs); err != nil {
		t.Fatal(err)
	}
	if number {
		tbs.Extensions = tbs.Extensions[:1]
	}
	if next {
		tbs.NextUpdate = time.Time{}
	}
	return resign(t, p, tbs)
}

// A CA with two keys: its certificate is signed with one, its list with the
// other.
func TestKeyRollover(t *testing.T) {
	p := newPKI(t)
	next := p.root.ca("Issuing", nil)
	p.crls.Lists[0] = next.list()
	wantResult(t, p.verify(p.alice), CouldNotTell, "the revocation list of CN=Issuing is of another key")
	p.crls.Candidates = certs(next)
	wantResult(t, p.verify(p.alice), Good, "")
	p.crls.Lists[0] = next.list(p.alice)
	wantResult(t, p.verify(p.alice), Bad, "revoked on 2026-11-01T10:00:00Z (keyCompromise)")
	// The other key must not be revoked itself, nor too weak or expired.
	p.crls.Lists = []*crl.List{next.list(), p.root.list(next)}
	wantResult(t, p.verify(p.alice), CouldNotTell, "who signed the revocation list of CN=Issuing is itself revoked, weak, or not known to be good")
	past := certify(t, p.root, next.key, caTemplate("Issuing"), func(c *x509.Certificate) { c.NotAfter = now.Add(-time.Hour) })
	p.crls = CRLs{Lists: []*crl.List{next.list(), p.root.list()}, Candidates: certs(past)}
	wantResult(t, p.verify(p.alice), CouldNotTell, "leads to another trust anchor or to none")
	// Nor an end entity that bears the CA's name.
	leaf := p.root.client("Issuing", func(c *x509.Certificate) { c.KeyUsage |= x509.KeyUsageCRLSign })
	p.crls = CRLs{Lists: []*crl.List{leaf.list(), p.root.list()}, Candidates: certs(leaf)}
	wantResult(t, p.verify(p.alice), CouldNotTell, "the revocation list of CN=Issuing is of another key")
	// Two keys that vouch only for each other vouch for nobody.
	a := certify(t, p.issuing, next.key, caTemplate("Issuing"), nil)
	p.crls = CRLs{Lists: []*crl.List{a.list(), p.root.list()}, Candidates: certs(a)}
	if r := p.verify(p.alice); r.Outcome == Good {
		t.Error("a key that nobody but itself speaks for is believed")
	}
}

// resign signs a tbsCertList.
func resign(t *testing.T, p *party, tbs tbsCertList) []byte {
	t.Helper()
	content, err := asn1.Marshal(tbs)
	if err != nil {
		t.Fatal(err)
	}
	signature, err := keys.Sign(p.key, content)
	if err != nil {
		t.Fatal(err)
	}
	der, err := asn1.Marshal(struct {
		TBS       asn1.RawValue
		Algorithm pkix.AlgorithmIdentifier
		Signature asn1.BitString
	}{asn1.RawValue{FullBytes: content}, tbs.Signature, asn1.BitString{Bytes: signature, BitLength: 8 * len(signature)}})
	if err != nil {
		t.Fatal(err)
	}
	return der
}
