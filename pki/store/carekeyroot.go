package store

import (
	"context"
	"crypto/x509"
	"errors"
	"fmt"

	"mutual/pki"
	"mutual/pki/authority"
	"mutual/pki/profile"
)

// rekeyRoot makes a new root beside the one before, which vouches for it, and
// lets it sign every issuing CA in use: what they have issued verifies under
// either root.
func (p *PKI) rekeyRoot(ctx context.Context, req CARenewal, former *authority.CA) (*CARenewed, error) {
	before, err := p.caRow(ctx, pki.KindRoot)
	if err != nil {
		return nil, err
	}
	key, err := p.newKey(ctx, before, req.Rekey)
	if err != nil {
		return nil, err
	}
	done := &CARenewed{Role: pki.KindRoot, Rekeyed: true, KeyFile: p.Path(keyFile(pki.KindRoot))}
	err = p.certify(ctx, key, func(t *Tx) error {
		asked := profile.Request{Kind: pki.KindRoot, PublicKey: key.signer.Public(), Subject: profile.SubjectOf(before.cert)}
		root, err := t.certifyNew(done, key, before, asked, nil, req.TTL)
		if err != nil {
			return err
		}
		if done.Cross, err = t.crossSign(root, former); err != nil {
			return err
		}
		if err := t.reissueAll(done, root); err != nil {
			return err
		}
		if done.Verified, err = t.verifyLeaves(); err != nil {
			return err
		}
		return t.recordCA("ca renew", pki.KindRoot, map[string]any{"key": shortID(key.id), "beside": shortID(before.keyID),
			"certificate": pki.FingerprintOf(done.Certificate.Raw), "cross": pki.FingerprintOf(done.Cross.Raw), "verified": done.Verified})
	})
	if err != nil {
		return nil, err
	}
	if req.Rekey.RootKeyOut != "" {
		done.KeyFile = req.Rekey.RootKeyOut
		return done, p.setAside(before)
	}
	return done, nil
}

// crossSign lets the former root vouch for the new one, to its own end.
func (t *Tx) crossSign(root, former *authority.CA) (*x509.Certificate, error) {
	cert := root.Certificate()
	validity, err := profile.Window{NotAfter: cert.NotAfter}.Resolve(pki.KindCross, former.Certificate(), t.now)
	if err != nil {
		return nil, err
	}
	who, err := newSerial()
	if err != nil {
		return nil, err
	}
	prepared, err := former.Prepare(profile.Request{Kind: pki.KindCross, Subject: profile.SubjectOf(cert), PublicKey: cert.PublicKey,
		Validity: validity}, who, t.now)
	if err != nil {
		return nil, err
	}
	cross, err := prepared.Issue(t)
	if err != nil {
		return nil, err
	}
	id, err := t.caByKey(cert.SubjectKeyId)
	if err != nil {
		return nil, err
	}
	return cross, t.belongsTo(cross, id)
}

// reissueAll signs every issuing CA in use with a new root. Each ends when it
// ended; one that is revoked or has expired is left as it is.
func (t *Tx) reissueAll(done *CARenewed, root *authority.CA) error {
	cas, err := caRows(t.ctx, t.tx)
	if err != nil {
		return err
	}
	for _, row := range cas {
		if row.role != pki.KindIssuing || !t.now.Before(row.cert.NotAfter) {
			continue
		}
		err := checkNotRevoked(t.ctx, t.tx, row.keyID)
		if errors.Is(err, ErrRevokedCA) {
			continue
		}
		if err != nil {
			return err
		}
		prepared, _, err := t.prepareNext(row, root, nil, profile.Window{NotAfter: row.cert.NotAfter})
		if err != nil {
			return fmt.Errorf("signing %s with the new root: %w", row.cert.Subject, err)
		}
		cert, err := t.issueNext(prepared, row)
		if err != nil {
			return fmt.Errorf("signing %s with the new root: %w", row.cert.Subject, err)
		}
		done.Reissued = append(done.Reissued, cert)
	}
	return nil
}
