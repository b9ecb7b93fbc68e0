package authority

import (
	"bytes"
	"crypto"
	"crypto/x509"
	"errors"
	"fmt"
	"net"
	"slices"
	"time"

	"mutual/pki"
	"mutual/pki/keys"
	"mutual/pki/profile"
)

// ErrIssuerExpired says that a CA's own certificate has expired: it signs
// nothing any more.
var ErrIssuerExpired = errors.New("the issuing CA has expired")

// Prepared is a certificate that has passed every check and may be signed,
// once.
type Prepared struct {
	ca       *CA
	template *profile.Template
	record   Record
	signed   *x509.Certificate // by SignAhead
	used     bool
}

// Subject says whose certificate it is, beside what stands in it.
type Subject struct {
	Name   pki.Name
	Label  string
	Serial pki.Serial // as NewSerial draws it
}

// Prepare checks what is asked for against the profile of its kind and this
// CA. A profile.RequestError says that the request alone is wrong.
func (ca *CA) Prepare(req profile.Request, who Subject, now time.Time) (*Prepared, error) {
	if err := ca.CheckValid(now); err != nil {
		return nil, err
	}
	template, err := profile.New(req, ca.cert)
	if err != nil {
		return nil, err
	}
	return prepare(ca, template, req, who, now), nil
}

// PrepareRoot is Prepare for a root, which signs itself with the given key.
func PrepareRoot(req profile.Request, signer crypto.Signer, who Subject, now time.Time) (*Prepared, error) {
	template, err := profile.New(req, nil)
	if err != nil {
		return nil, err
	}
	if !keys.Equal(signer.Public(), req.PublicKey) {
		return nil, ErrKeyMismatch
	}
	return prepare(&CA{cert: template.Certificate(), signer: signer}, template, req, who, now), nil
}

// PrepareSelf is PrepareRoot for the key of a root that has a certificate
// already: the next one.
func (ca *CA) PrepareSelf(req profile.Request, who Subject, now time.Time) (*Prepared, error) {
	return PrepareRoot(req, ca.signer, who, now)
}

func prepare(ca *CA, template *profile.Template, req profile.Request, who Subject, now time.Time) *Prepared {
	return &Prepared{ca: ca, template: template, record: Record{
		IssuerKeyID: ca.cert.SubjectKeyId,
		Serial:      who.Serial,
		Kind:        req.Kind,
		Name:        who.Name,
		Label:       who.Label,
		NotBefore:   req.Validity.NotBefore,
		NotAfter:    req.Validity.NotAfter,
		Issued:      now.UTC().Truncate(time.Second),
		Backdated:   req.Validity.NotBefore.Before(ca.cert.NotBefore) || !req.Validity.NotAfter.After(now),
	}}
}

// CheckValid says whether the CA may sign at the given time.
func (ca *CA) CheckValid(now time.Time) error {
	if now.After(ca.cert.NotAfter) {
		return fmt.Errorf("%w: %s, at %s", ErrIssuerExpired, ca.cert.Subject, ca.cert.NotAfter.UTC().Format(time.RFC3339))
	}
	if now.Before(ca.cert.NotBefore) {
		return fmt.Errorf("the issuing CA %s is not valid before %s", ca.cert.Subject, ca.cert.NotBefore.UTC().Format(time.RFC3339))
	}
	return nil
}

// Record returns what the inventory will keep.
func (p *Prepared) Record() Record { return p.record }

// SignAhead signs, and checks what was signed, before Issue asks the ledger: of
// a thousand certificates that share a transaction the signatures would hold
// the other writers up, on one core. The order of Issue is kept in what counts:
// the certificate is in this value alone, which only Issue opens, after the
// ledger has made every check of its own and stored it; and the caller lets it
// out when the ledger's transaction is committed. If that does not come to
// pass, a signature was made that nobody has seen.
func (p *Prepared) SignAhead() (err error) {
	p.signed, err = p.sign()
	return err
}

// Issue records the certificate, signs it unless SignAhead has, checks what was
// signed, and stores it. It works once; a second call is an error.
func (p *Prepared) Issue(l Ledger) (*x509.Certificate, error) {
	if p.used {
		return nil, errors.New("the certificate was already issued")
	}
	p.used = true
	if err := l.Reserve(p.record); err != nil {
		return nil, err
	}
	if p.signed == nil {
		if err := p.SignAhead(); err != nil {
			return nil, err
		}
	}
	cert := p.signed
	if err := l.Complete(p.record, cert.Raw); err != nil {
		return nil, err
	}
	return cert, nil
}

// sign signs with no random reader: ECDSA is then deterministic (RFC 6979),
// and the same key, serial and request give the same octets.
func (p *Prepared) sign() (*x509.Certificate, error) {
	t := p.template.Certificate()
	t.SerialNumber = p.record.Serial.Big()
	if !p.record.Kind.IsCA() {
		der, err := signLeaf(t, p.ca.cert, p.ca.signer)
		if err != nil {
			return nil, fmt.Errorf("signing the certificate: %w", err)
		}
		return p.check(der)
	}
	alg, err := keys.SignatureAlgorithm(p.ca.signer.Public())
	if err != nil {
		return nil, err
	}
	t.SignatureAlgorithm = alg
	parent := p.ca.cert
	if p.template.Kind() == pki.KindRoot {
		parent = t
	}
	der, err := x509.CreateCertificate(nil, t, parent, t.PublicKey, p.ca.signer)
	if err != nil {
		return nil, fmt.Errorf("signing the certificate: %w", err)
	}
	return p.check(der)
}

// check parses what was signed and holds it against what was asked for:
// nothing leaves that a verifier would read otherwise.
func (p *Prepared) check(der []byte) (*x509.Certificate, error) {
	cert, err := x509.ParseCertificate(der)
	if err != nil {
		return nil, fmt.Errorf("reading back what was signed: %w", err)
	}
	issuer, issuerKeyID := p.ca.cert.RawSubject, p.ca.cert.SubjectKeyId
	if p.template.Kind() == pki.KindRoot {
		issuer, issuerKeyID = cert.RawSubject, cert.AuthorityKeyId
	}
	switch {
	case pki.NewSerial(cert.SerialNumber) != p.record.Serial,
		!cert.NotBefore.Equal(p.record.NotBefore), !cert.NotAfter.Equal(p.record.NotAfter),
		!bytes.Equal(cert.RawIssuer, issuer), !bytes.Equal(cert.AuthorityKeyId, issuerKeyID),
		cert.Subject.String() != p.template.Certificate().Subject.String(), cert.IsCA != p.record.Kind.IsCA(),
		!keys.Equal(cert.PublicKey, p.template.Certificate().PublicKey),
		!sameContent(cert, p.template.Certificate()):
		return nil, errors.New("what was signed is not what was asked for")
	}
	return cert, nil
}

// sameConstraints compares the name constraints of CAs, which here only permit.
func sameConstraints(signed, asked *x509.Certificate) bool {
	sameRange := func(a, b *net.IPNet) bool { return a.String() == b.String() }
	return signed.PermittedDNSDomainsCritical == asked.PermittedDNSDomainsCritical &&
		slices.Equal(signed.PermittedDNSDomains, asked.PermittedDNSDomains) &&
		slices.Equal(signed.PermittedEmailAddresses, asked.PermittedEmailAddresses) &&
		slices.Equal(signed.PermittedURIDomains, asked.PermittedURIDomains) &&
		slices.EqualFunc(signed.PermittedIPRanges, asked.PermittedIPRanges, sameRange) &&
		len(signed.ExcludedDNSDomains)+len(signed.ExcludedEmailAddresses)+len(signed.ExcludedURIDomains)+len(signed.ExcludedIPRanges) == 0
}

// sameContent compares what a verifier decides by.
func sameContent(signed, asked *x509.Certificate) bool {
	uris := func(c *x509.Certificate) (out []string) {
		for _, u := range c.URIs {
			out = append(out, u.String())
		}
		return out
	}
	sameIPs := slices.EqualFunc(signed.IPAddresses, asked.IPAddresses, net.IP.Equal)
	return sameIPs && signed.KeyUsage == asked.KeyUsage && slices.Equal(signed.ExtKeyUsage, asked.ExtKeyUsage) &&
		slices.Equal(signed.DNSNames, asked.DNSNames) && slices.Equal(signed.EmailAddresses, asked.EmailAddresses) &&
		slices.Equal(uris(signed), uris(asked)) && bytes.Equal(signed.SubjectKeyId, asked.SubjectKeyId) &&
		slices.Equal(signed.CRLDistributionPoints, asked.CRLDistributionPoints) &&
		(!asked.IsCA || signed.MaxPathLen == asked.MaxPathLen && signed.MaxPathLenZero == asked.MaxPathLenZero) &&
		sameConstraints(signed, asked)
}
