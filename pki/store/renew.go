package store

import (
	"context"
	"crypto"
	"crypto/x509"
	"fmt"
	"time"

	"mutual/pki"
	"mutual/pki/profile"
)

// RenewRequest asks for the certificate that takes the place of another one.
type RenewRequest struct {
	Old       pki.Fingerprint
	PublicKey crypto.PublicKey
	TTL       pki.Lifetime // zero: as long as the old one was made for

	Place    Place         // where its files will lie
	Remember bool          // keep Place
	Grace    time.Duration // how long the old one stays valid once the new one is in its place
	KeepOld  bool          // it stays valid until it expires
	Force    bool          // also where something has replaced it already
}

// renewQueue is the lock that renewals hold while they replace files.
const renewQueue = "renew.lock"

// QueueRenewal waits until no other process renews, and returns what lets the
// next one in: two that replaced the same files would not know what the other
// has left.
func (p *PKI) QueueRenewal(ctx context.Context) (release func(), err error) {
	if err := p.checkMayWrite(); err != nil {
		return nil, err
	}
	return p.queue(ctx, renewQueue, "another renewal")
}

// CheckRenew makes every check of Renew that needs no key, and gives what the
// inventory knows of the certificate. ErrRevoked, ErrBlocked and ErrReplaced
// say why one is not renewed.
func (p *PKI) CheckRenew(ctx context.Context, old pki.Fingerprint, force bool) (Certificate, error) {
	c, err := p.Lookup(ctx, old)
	if err != nil {
		return c, err
	}
	if err := checkRenewable(c, force); err != nil {
		return c, err
	}
	_, err = p.issuingInForce(ctx)
	return c, err
}

// checkRenewable refuses whoever is not let in any more: a renewal must never
// be the way back of a stolen key.
func checkRenewable(c Certificate, force bool) error {
	switch {
	case c.Kind.IsCA() || c.Kind == pki.KindProbe:
		return fmt.Errorf("the certificate %s is a %s's, and only a client's or a server's is renewed", c.Serial, c.Kind)
	case c.Revocation != nil && c.Revocation.Reason == pki.CertificateHold:
		return fmt.Errorf("%s, serial %s is %w", c.Name, c.Serial, ErrHeld)
	case c.NameBlocked:
		return blocked(c.Name)
	case c.Replaced && !force && (c.Revocation == nil || c.Revocation.Reason == pki.Superseded):
		return fmt.Errorf("%s, serial %s is %w", c.Name, c.Serial, ErrReplaced)
	case c.Revocation != nil:
		return fmt.Errorf("%s, serial %s is %w", c.Name, c.Serial, ErrRevoked)
	}
	return nil
}

// Renew issues a certificate with what the old one had, and remembers that it
// is about to take its place. The old one stays as it is until FinishRenewal.
func (p *PKI) Renew(ctx context.Context, req RenewRequest) (*Issued, error) {
	old, err := p.CheckRenew(ctx, req.Old, req.Force)
	if err != nil {
		return nil, err
	}
	asked, err := p.again(ctx, old, req)
	if err != nil {
		return nil, err
	}
	return p.issue(ctx, asked, func(t *Tx, issued *Issued) error {
		now, err := t.pki.all(t.ctx, t.tx, "c.sha256 = $1", old.Fingerprint[:])
		if err != nil {
			return err
		}
		if len(now) == 0 {
			return notFound(old.Fingerprint.String())
		}
		if err := checkRenewable(now[0], req.Force); err != nil { // revoked a moment ago
			return err
		}
		return t.beginReplacement(now[0], issued, req)
	})
}

// Renewable gives the certificates of an identity that renewing its name means:
// the valid ones that nothing has replaced, without those that a renewal issued
// and that never got to their place.
func (p *PKI) Renewable(ctx context.Context, name pki.Name) ([]Certificate, error) {
	id, err := p.identityNamed(ctx, name)
	if err != nil {
		return nil, err
	}
	if id.Blocked {
		return nil, blocked(name)
	}
	where := "c.identity = $1 AND c.kind <> 'probe' AND c.not_after > $2 AND c.replaced_by IS NULL AND r.reason IS NULL"
	known, err := p.knowsPlaces(ctx)
	if err != nil {
		return nil, err
	}
	if known {
		where += " AND c.id NOT IN (SELECT new FROM replacement WHERE due IS NULL)"
	}
	return p.all(ctx, p.db, where+" ORDER BY c.not_after, c.id", id.id, p.now().Unix())
}

// again asks for what a certificate has.
func (p *PKI) again(ctx context.Context, old Certificate, req RenewRequest) (IssueRequest, error) {
	der, err := p.DER(ctx, old.Fingerprint)
	if err != nil {
		return IssueRequest{}, err
	}
	cert, err := x509.ParseCertificate(der)
	if err != nil {
		return IssueRequest{}, fmt.Errorf("%w: a stored certificate cannot be read: %v", ErrDamaged, err)
	}
	asked := IssueRequest{Kind: old.Kind, Name: old.Name, PublicKey: req.PublicKey, Label: old.Label, Subject: subjectIn(cert)}
	if asked.SAN, err = namesIn(cert); err != nil {
		return IssueRequest{}, fmt.Errorf("the names of the certificate %s: %w", old.Serial, err)
	}
	life := old.NotAfter.Sub(old.Issued)
	switch {
	case !req.TTL.IsZero():
		asked.Window.TTL = req.TTL
	case life <= 0:
		return IssueRequest{}, fmt.Errorf("the certificate %s had expired when it was issued: how long the new one shall be valid must be said", old.Serial)
	default:
		asked.Window.NotAfter = p.now().Add(life)
	}
	return asked, nil
}

// subjectIn reads the attributes of a subject that we put there; the common
// name comes from the NAME.
func subjectIn(cert *x509.Certificate) profile.Subject {
	first := func(values []string) string {
		if len(values) == 0 {
			return ""
		}
		return values[0]
	}
	s := cert.Subject
	return profile.Subject{
		Organization: first(s.Organization), OrganizationalUnit: first(s.OrganizationalUnit),
		Country: first(s.Country), State: first(s.Province), Locality: first(s.Locality),
	}
}

// namesIn reads the subject alternative names, each checked as one given by
// hand.
func namesIn(cert *x509.Certificate) (pki.SAN, error) {
	return profile.NamesOf(&x509.CertificateRequest{
		DNSNames: cert.DNSNames, IPAddresses: cert.IPAddresses, EmailAddresses: cert.EmailAddresses, URIs: cert.URIs,
	})
}
