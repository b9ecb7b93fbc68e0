package store

import (
	"context"
	"crypto"
	"crypto/x509"
	"errors"
	"fmt"

	"mutual/pki"
	"mutual/pki/authority"
	"mutual/pki/profile"
)

// IssueRequest is what is asked for a client's, server's or probe's
// certificate.
type IssueRequest struct {
	Kind      pki.Kind
	Name      pki.Name
	PublicKey crypto.PublicKey
	Label     string
	Subject   profile.Subject // CommonName is set from Name
	SAN       pki.SAN         // beside the names that Name stands for
	Window    profile.Window  // a zero TTL without NotAfter is the PKI's default
	Place     Place           // where its files will lie; the zero value: nobody knows
	// Ready, where there is one, is waited for before the certificate is committed:
	// its error undoes everything.
	Ready func() error
}

// Issued is a certificate that was issued, with its chain below the root.
type Issued struct {
	Certificate *x509.Certificate
	Chain       []*x509.Certificate // leaf first; see IssuerChain
	Serial      pki.Serial
	Clipped     string // what cut the lifetime short, empty when nothing did
}

// CheckIssue makes every check of Issue but that of the public key, so that
// no key is made for a request that will be refused.
func (p *PKI) CheckIssue(ctx context.Context, req IssueRequest) error {
	ca, asked, err := p.asked(ctx, req)
	if err != nil {
		return err
	}
	if err := profile.Check(asked, ca.Certificate()); err != nil {
		return err
	}
	if err := p.checkClock(ctx); err != nil {
		return err
	}
	_, err = mayHave(ctx, p.db, req.Name)
	if errors.Is(err, ErrNotFound) && req.Kind != pki.KindProbe {
		return nil
	}
	return err
}

// asked turns a request into what the profile checks, with the CA that will
// sign it.
func (p *PKI) asked(ctx context.Context, req IssueRequest) (*authority.CA, profile.Request, error) {
	ca, err := p.issuingInForce(ctx)
	if err != nil {
		return nil, profile.Request{}, err
	}
	settings, err := p.Settings(ctx)
	if err != nil {
		return nil, profile.Request{}, err
	}
	asked, err := req.profile(settings, ca.Certificate(), p)
	return ca, asked, err
}

// Issue signs a certificate and remembers it: it is durable when Issue
// returns.
func (p *PKI) Issue(ctx context.Context, req IssueRequest) (*Issued, error) {
	return p.issue(ctx, req, func(t *Tx, issued *Issued) error {
		if req.Place.isZero() {
			return nil
		}
		id, err := t.certificateID(issued.Certificate)
		if err != nil {
			return err
		}
		return t.putPlace(id, req.Place)
	})
}

// issue is Issue, and in the same transaction also.
func (p *PKI) issue(ctx context.Context, req IssueRequest, also func(*Tx, *Issued) error) (*Issued, error) {
	ca, asked, err := p.asked(ctx, req)
	if err != nil {
		return nil, err
	}
	serial, err := authority.NewSerial(nil)
	if err != nil {
		return nil, err
	}
	prepared, err := ca.Prepare(asked, authority.Subject{Name: req.Name, Label: req.Label, Serial: serial}, p.now())
	if err != nil {
		return nil, err
	}
	issued := &Issued{Serial: serial, Clipped: asked.Validity.Clipped}
	err = p.update(ctx, ca, func(t *Tx) (err error) {
		if issued.Certificate, err = prepared.Issue(t); err != nil {
			return err
		}
		if err := also(t, issued); err != nil || req.Ready == nil {
			return err
		}
		return req.Ready()
	})
	if err != nil {
		return nil, err
	}
	above, err := p.chainAbove(ctx, ca.Certificate())
	issued.Chain = append([]*x509.Certificate{issued.Certificate}, above...)
	return issued, err
}

// profile turns the request into what the profile checks.
func (req IssueRequest) profile(settings Settings, issuer *x509.Certificate, p *PKI) (profile.Request, error) {
	commonName, san, err := profile.Identify(req.Kind, req.Name)
	if err != nil {
		return profile.Request{}, err
	}
	if err := san.Merge(&req.SAN); err != nil {
		return profile.Request{}, err
	}
	window := req.Window
	if window.TTL.IsZero() && window.NotAfter.IsZero() {
		window.TTL = settings.TTL
	}
	validity, err := window.Resolve(req.Kind, issuer, p.now())
	if err != nil && req.Window.TTL.IsZero() && req.Window.NotAfter.IsZero() { // nobody asked for it
		return profile.Request{}, fmt.Errorf("with the default lifetime of the PKI, %s: %v", settings.TTL, err)
	}
	if err != nil {
		return profile.Request{}, err
	}
	subject := req.Subject
	subject.CommonName = commonName
	return profile.Request{
		Kind: req.Kind, Subject: subject, SAN: san, PublicKey: req.PublicKey,
		Validity: validity, CRLURL: settings.CRLURL,
	}, nil
}

// issuingInForce gives the issuing CA with its key where what it signs would be
// accepted: it has neither expired nor been revoked.
func (p *PKI) issuingInForce(ctx context.Context) (*authority.CA, error) {
	ca, err := p.Issuing(ctx)
	if err != nil {
		return nil, err
	}
	if err := p.checkMaySign(ctx, ca); err != nil {
		return nil, err
	}
	return ca, checkNotRevoked(ctx, p.db, ca.Certificate().SubjectKeyId)
}

// checkNotRevoked: a CA whose key was certified twice is revoked with either
// certificate, for the reason may lie with the key.
func checkNotRevoked(ctx context.Context, q querier, keyID []byte) error {
	revoked, err := isRevokedCA(ctx, q, keyID, true)
	if err == nil && revoked {
		err = ErrRevokedCA
	}
	return err
}

// isRevokedCA reports whether a CA is revoked: also for as long as a hold lasts, or
// only for good.
func isRevokedCA(ctx context.Context, q querier, keyID []byte, held bool) (bool, error) {
	var n int
	err := q.QueryRowContext(ctx, `SELECT COUNT(*) FROM revocation r JOIN certificate c ON c.id = r.certificate
		JOIN ca ON ca.id = c.subject_ca WHERE ca.key_id = $1 AND ($2 OR r.reason <> 6)`, keyID, held).Scan(&n)
	return n > 0, wrap("looking for the issuing CA's revocation", err)
}
