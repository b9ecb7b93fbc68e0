package store

import (
	"bytes"
	"context"
	"crypto/x509"
	"errors"
	"math/big"

	"mutual/pki"
	"mutual/pki/authority"
	"mutual/pki/profile"
)

// CARenewal says what ca renew should do.
type CARenewal struct {
	Role    pki.Kind // root or issuing
	TTL     pki.Lifetime
	RootKey string // file of the root's key, where it lies elsewhere

	Rekey *Rekey // nil: the same key
}

// CARenewed is what an act on a CA has done.
type CARenewed struct {
	Role        pki.Kind
	Certificate *x509.Certificate
	Clipped     string              // what cut the lifetime short, empty when nothing did
	Rekeyed     bool                // the key is new, and the one before stays in use
	Cross       *x509.Certificate   // the new root, signed by the root before it
	Reissued    []*x509.Certificate // the issuing CAs, signed by the new root
	KeyFile     string              // of a new key
	Verified    int                 // live leaves that verify under the CAs as they are now
	Taken       *big.Int            // number of the root's CRL that was installed
	CRLs        []Published
}

// RenewCA gives the newest CA of a role a new certificate with a new validity,
// for the same key and so that every leaf keeps verifying, or with Rekey a new
// key beside the one before. Every live leaf is verified against the CAs as
// they will be; one that does not verify any more is an error that changes
// nothing. ErrNotInFiles says that the act is recorded and its files are not
// all written.
func (p *PKI) RenewCA(ctx context.Context, req CARenewal) (*CARenewed, error) {
	release, err := p.queueForCAs(ctx)
	if err != nil {
		return nil, err
	}
	defer release()
	root, err := p.caFor(ctx, pki.KindRoot, req.RootKey)
	if err != nil {
		return nil, err
	}
	if req.Role == pki.KindIssuing || req.Rekey != nil { // it signs more than itself
		if err := p.checkMaySign(ctx, root); err != nil {
			return nil, err
		}
	}
	var done *CARenewed
	switch {
	case req.Rekey == nil:
		done, err = p.renewSameKey(ctx, req, root)
	case req.Role == pki.KindRoot:
		done, err = p.rekeyRoot(ctx, req, root)
	default:
		done, err = p.rekeyIssuing(ctx, req, root)
	}
	if err != nil {
		return nil, err
	}
	done.CRLs, err = p.publishCA(ctx)
	return done, err
}

// renewSameKey: subject, key and what the CA may sign stay as they are.
func (p *PKI) renewSameKey(ctx context.Context, req CARenewal, root *authority.CA) (*CARenewed, error) {
	done := &CARenewed{Role: req.Role}
	err := p.update(ctx, p.signerAtHand(ctx), func(t *Tx) error {
		row, err := newestCA(ctx, t.tx, req.Role)
		if err != nil {
			return err
		}
		if err := checkNotRevoked(ctx, t.tx, row.keyID); err != nil {
			return err
		}
		by := root
		if req.Role == pki.KindRoot {
			by = nil
		}
		prepared, clipped, err := t.prepareNext(row, by, root, profile.Window{TTL: req.TTL})
		if err != nil {
			return err
		}
		done.Clipped = clipped
		if done.Certificate, err = t.issueNext(prepared, row); err != nil {
			return err
		}
		if done.Verified, err = t.verifyLeaves(); err != nil {
			return err
		}
		return t.recordCA("ca renew", req.Role, map[string]any{
			"key": shortID(row.keyID), "certificate": pki.FingerprintOf(done.Certificate.Raw),
			"replaces": pki.FingerprintOf(row.cert.Raw), "verified": done.Verified,
		})
	})
	return done, err
}

// prepareNext prepares the next certificate of a CA, signed by a root or, where
// that is nil, by self.
func (t *Tx) prepareNext(row caRow, by, self *authority.CA, window profile.Window) (*authority.Prepared, string, error) {
	var issuer *x509.Certificate
	if by != nil {
		issuer = by.Certificate()
	}
	validity, err := window.Resolve(row.role, issuer, t.now)
	if err != nil {
		return nil, "", err
	}
	constraints, err := profile.ConstraintsOf(row.cert)
	if err != nil {
		return nil, "", err
	}
	asked := profile.Request{Kind: row.role, Subject: profile.SubjectOf(row.cert), PublicKey: row.cert.PublicKey,
		Validity: validity, Constraints: constraints}
	who, err := newSerial()
	if err != nil {
		return nil, "", err
	}
	var prepared *authority.Prepared
	if by == nil {
		prepared, err = self.PrepareSelf(asked, who, t.now)
	} else {
		prepared, err = by.Prepare(asked, who, t.now)
	}
	return prepared, validity.Clipped, err
}

var errOtherName = errors.New("the CA's name would change with its certificate, and its CRLs and leaves would not find it")

// issueNext signs the next certificate of a CA and lets it take the place of
// the one before.
func (t *Tx) issueNext(prepared *authority.Prepared, row caRow) (*x509.Certificate, error) {
	cert, err := prepared.Issue(t)
	if err != nil {
		return nil, err
	}
	if !bytes.Equal(cert.RawSubject, row.cert.RawSubject) {
		return nil, errOtherName
	}
	return cert, t.replaces(cert, row.id)
}

// rekeyIssuing makes a new issuing CA beside the one before.
func (p *PKI) rekeyIssuing(ctx context.Context, req CARenewal, root *authority.CA) (*CARenewed, error) {
	before, err := p.caRow(ctx, pki.KindIssuing)
	if err != nil {
		return nil, err
	}
	key, err := p.newKey(ctx, before, req.Rekey)
	if err != nil {
		return nil, err
	}
	done := &CARenewed{Role: pki.KindIssuing, Rekeyed: true}
	err = p.certify(ctx, key, func(t *Tx) error {
		constraints, err := profile.ConstraintsOf(before.cert)
		if err != nil {
			return err
		}
		asked := profile.Request{Kind: pki.KindIssuing, PublicKey: key.signer.Public(), Constraints: constraints,
			Subject: profile.SubjectOf(before.cert)}
		if _, err := t.certifyNew(done, key, before, asked, root, req.TTL); err != nil {
			return err
		}
		if done.Verified, err = t.verifyLeaves(); err != nil {
			return err
		}
		return t.recordCA("ca renew", pki.KindIssuing, map[string]any{"key": shortID(key.id), "beside": shortID(before.keyID),
			"certificate": pki.FingerprintOf(done.Certificate.Raw), "verified": done.Verified})
	})
	if err != nil {
		return nil, err
	}
	done.KeyFile = p.Path(keyFile(pki.KindIssuing))
	return done, nil
}

// certifyNew records a new CA key and issues its certificate; by is nil for a
// root.
func (t *Tx) certifyNew(done *CARenewed, key *newKey, before caRow, asked profile.Request, by *authority.CA, ttl pki.Lifetime) (*authority.CA, error) {
	id, err := t.addCA(asked.Kind, key.id)
	if err != nil {
		return nil, err
	}
	asked.Subject.CommonName = nextCAName(before.cert, key.id)
	var issuer *x509.Certificate
	if by != nil {
		issuer = by.Certificate()
	}
	if asked.Validity, err = (profile.Window{TTL: ttl}).Resolve(asked.Kind, issuer, t.now); err != nil {
		return nil, err
	}
	done.Clipped = asked.Validity.Clipped
	who, err := newSerial()
	if err != nil {
		return nil, err
	}
	var prepared *authority.Prepared
	if by == nil {
		prepared, err = authority.PrepareRoot(asked, key.signer, who, t.now)
	} else {
		prepared, err = by.Prepare(asked, who, t.now)
	}
	if err != nil {
		return nil, err
	}
	if done.Certificate, err = prepared.Issue(t); err != nil {
		return nil, err
	}
	ca, err := authority.NewCA(done.Certificate, key.signer)
	if err != nil {
		return nil, err
	}
	key.becomes(t.pki, id, ca)
	return ca, t.belongsTo(done.Certificate, id)
}
