package chain

import (
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/x509"
	"crypto/x509/pkix"
	"math/big"
	"strings"
	"testing"
	"time"

	"mutual/pki"
	"mutual/pki/crl"
	"mutual/pki/keys"
)

var now = time.Date(2026, 11, 1, 12, 0, 0, 0, time.UTC)

// party is a certificate with its key, as a test needs it.
type party struct {
	t    testing.TB
	cert *x509.Certificate
	key  *ecdsa.PrivateKey
}

// newParty issues a certificate; a nil issuer makes it sign itself.
func newParty(t testing.TB, issuer *party, template *x509.Certificate, change func(*x509.Certificate)) *party {
	t.Helper()
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	return certify(t, issuer, key, template, change)
}

// certify issues a certificate for a key.
func certify(t testing.TB, issuer *party, key *ecdsa.PrivateKey, template *x509.Certificate, change func(*x509.Certificate)) *party {
	t.Helper()
	id, err := keys.KeyID(key.Public())
	if err != nil {
		t.Fatal(err)
	}
	serial, err := rand.Int(rand.Reader, new(big.Int).Lsh(big.NewInt(1), 120))
	if err != nil {
		t.Fatal(err)
	}
	template.SerialNumber = serial
	template.SubjectKeyId = id
	template.BasicConstraintsValid = true
	if template.NotBefore.IsZero() {
		template.NotBefore, template.NotAfter = now.AddDate(0, -1, 0), now.AddDate(0, 1, 0)
	}
	if change != nil {
		change(template)
	}
	parent, signer := template, key
	if issuer != nil {
		parent, signer = issuer.cert, issuer.key
	}
	return &party{t, mustCert(t, mustIssue(t, template, parent, key.Public(), signer)), key}
}

func caTemplate(name string) *x509.Certificate {
	return &x509.Certificate{Subject: pkix.Name{CommonName: name}, IsCA: true, KeyUsage: x509.KeyUsageCertSign | x509.KeyUsageCRLSign}
}

func newRoot(t testing.TB, name string) *party { return newParty(t, nil, caTemplate(name), nil) }

func (p *party) ca(name string, change func(*x509.Certificate)) *party {
	p.t.Helper()
	return newParty(p.t, p, caTemplate(name), change)
}

func (p *party) client(name string, change func(*x509.Certificate)) *party {
	p.t.Helper()
	return newParty(p.t, p, &x509.Certificate{
		Subject: pkix.Name{CommonName: name}, KeyUsage: x509.KeyUsageDigitalSignature,
		ExtKeyUsage: []x509.ExtKeyUsage{x509.ExtKeyUsageClientAuth},
	}, change)
}

func (p *party) template(revoked ...*party) crl.Template {
	t := crl.Template{
		Issuer: p.cert.RawSubject, AuthorityKeyID: p.cert.SubjectKeyId, Number: big.NewInt(7),
		ThisUpdate: now.Add(-time.Hour), NextUpdate: now.Add(24 * time.Hour),
	}
	for _, r := range revoked {
		t.Entries = append(t.Entries, crl.Entry{Serial: pki.NewSerial(r.cert.SerialNumber), RevocationDate: now.Add(-2 * time.Hour), Reason: pki.KeyCompromise})
	}
	return t
}

// list makes a current list of a CA.
func (p *party) list(revoked ...*party) *crl.List {
	p.t.Helper()
	return p.sign(p.template(revoked...))
}

func (p *party) sign(t crl.Template) *crl.List {
	p.t.Helper()
	der, err := crl.Create(t, p.key)
	if err != nil {
		p.t.Fatal(err)
	}
	l, err := crl.Parse(der)
	if err != nil {
		p.t.Fatal(err)
	}
	return l
}

func certs(parties ...*party) []*x509.Certificate {
	var out []*x509.Certificate
	for _, p := range parties {
		out = append(out, p.cert)
	}
	return out
}

// pkiOf is the hierarchy that most cases begin with.
type pkiOf struct {
	root, issuing, alice *party
	options              Options
	crls                 CRLs
}

func newPKI(t testing.TB) *pkiOf {
	t.Helper()
	root := newRoot(t, "Root")
	issuing := root.ca("Issuing", func(c *x509.Certificate) { c.MaxPathLenZero = true })
	p := &pkiOf{root: root, issuing: issuing, alice: issuing.client("alice", nil)}
	p.options = Options{Anchors: certs(root), Intermediates: certs(issuing), Purpose: Client, At: now}
	p.crls = CRLs{Lists: []*crl.List{issuing.list(), root.list()}}
	return p
}

func (p *pkiOf) verify(leaf *party) Result {
	p.options.Revocation = FromCRLs(p.crls)
	return Verify(leaf.cert, p.options)
}

func wantResult(t *testing.T, r Result, outcome Outcome, reason string) {
	t.Helper()
	if r.Outcome != outcome || !strings.Contains(r.Reason, reason) || (reason == "") != (r.Reason == "") {
		t.Errorf("%v: %q, want %v with %q", r.Outcome, r.Reason, outcome, reason)
	}
	if len(r.Checks) != 4 {
		t.Errorf("there are %d checks", len(r.Checks))
	}
	for _, c := range r.Checks {
		if c.Detail == "" || strings.ContainsAny(c.Detail, "\n\r\x1b") {
			t.Errorf("the detail of %s is %q", c.Name, c.Detail)
		}
	}
}
