package store

import (
	"bytes"
	"context"
	"crypto/x509"
	"database/sql"
	"errors"
	"fmt"
	"time"

	"mutual/pki"
	"mutual/pki/authority"
	"mutual/pki/keys"
	"mutual/pki/profile"
)

func isNoRows(err error) bool { return errors.Is(err, sql.ErrNoRows) }

// InstallCA takes what was made where the root's key is: a certificate of the
// issuing CA for a key of this PKI, a list of a root, or both. The certificate
// must be signed by a root in use, for a key that is here, after the profile;
// the list must be signed by it, not be older than what is known, and lack no
// revocation that is known. Its revocations are recorded. What was installed
// already changes nothing: then Certificate and Taken are nil.
func (p *PKI) InstallCA(ctx context.Context, cert *x509.Certificate, list []byte) (*CARenewed, error) {
	release, err := p.queueForCAs(ctx)
	if err != nil {
		return nil, err
	}
	defer release()
	done := &CARenewed{Role: pki.KindIssuing}
	var key *authority.CA
	if cert != nil {
		var err error
		if key, err = p.keyOf(ctx, cert); err != nil {
			return nil, err
		}
	}
	changed := false
	var id int64
	err = p.update(ctx, p.signerAtHand(ctx), func(t *Tx) error {
		if list != nil {
			taken, err := t.installList(list)
			if err != nil {
				return err
			}
			done.Taken, changed = taken, taken != nil
		}
		if cert == nil {
			return nil
		}
		fresh, err := t.installCertificate(done, cert, &id)
		changed = changed || fresh
		return err
	})
	if err != nil || !changed {
		return done, err
	}
	if done.Certificate != nil && key != nil {
		p.cas.keep(id, key)
	}
	done.CRLs, err = p.publishCA(ctx)
	return done, err
}

// keyOf finds the key of a certificate that comes from elsewhere: that of an
// issuing CA in use, which need not be at hand, or one that waits for it.
func (p *PKI) keyOf(ctx context.Context, cert *x509.Certificate) (*authority.CA, error) {
	id, err := keys.KeyID(cert.PublicKey)
	if err != nil {
		return nil, err
	}
	cas, err := caRows(ctx, p.db)
	if err != nil {
		return nil, err
	}
	for _, r := range cas {
		if r.role == pki.KindIssuing && keys.Equal(r.cert.PublicKey, cert.PublicKey) {
			return nil, nil
		}
	}
	file := p.Path(byKey(pki.KindIssuing, id) + ".key")
	ca, err := p.loadFrom(caRow{role: pki.KindIssuing, cert: cert}, []string{file})
	if errors.Is(err, ErrNoKey) {
		return nil, fmt.Errorf("the certificate of %s is for a key that this PKI does not have: %w", cert.Subject, err)
	}
	return ca, err
}

// installCertificate checks the certificate and makes it the CA's.
func (t *Tx) installCertificate(done *CARenewed, cert *x509.Certificate, id *int64) (fresh bool, err error) {
	root, err := t.rootOf(cert.RawIssuer)
	if err != nil {
		return false, err
	}
	if err := profile.CheckIssuing(cert, root.cert, t.now); err != nil {
		return false, err
	}
	row, known, err := t.caOf(cert.SubjectKeyId)
	if err != nil {
		return false, err
	}
	if known {
		err = checkNotRevoked(t.ctx, t.tx, row.keyID)
	}
	if err != nil {
		return false, err
	}
	switch {
	case known && bytes.Equal(row.cert.Raw, cert.Raw):
		return false, nil
	case known && !bytes.Equal(row.cert.RawSubject, cert.RawSubject):
		return false, errOtherName
	case known:
		*id, done.Rekeyed = row.id, false
	default:
		if err := t.checkNewName(cert); err != nil {
			return false, err
		}
		if *id, err = t.addCA(pki.KindIssuing, cert.SubjectKeyId); err != nil {
			return false, err
		}
		done.Rekeyed = true
	}
	if err := t.storeForeign(cert, root); err != nil {
		return false, err
	}
	if err := t.replaces(cert, *id); err != nil {
		return false, err
	}
	done.Certificate = cert
	if done.Verified, err = t.verifyLeaves(); err != nil {
		return false, err
	}
	return true, t.recordCA("ca install", pki.KindIssuing, map[string]any{"key": shortID(cert.SubjectKeyId),
		"certificate": pki.FingerprintOf(cert.Raw), "verified": done.Verified})
}

// rootOf finds the root in use of a name.
func (t *Tx) rootOf(name []byte) (caRow, error) {
	cas, err := caRows(t.ctx, t.tx)
	if err != nil {
		return caRow{}, err
	}
	for _, r := range cas {
		if r.role == pki.KindRoot && bytes.Equal(r.cert.RawSubject, name) {
			return r, nil
		}
	}
	return caRow{}, errors.New("it is not signed by a root of this PKI")
}

// checkNewName: the name of a CA is that of one key (CRLs are found by it).
func (t *Tx) checkNewName(cert *x509.Certificate) error {
	others, err := t.pki.all(t.ctx, t.tx, "c.subject_ca IS NOT NULL")
	if err != nil {
		return err
	}
	for _, other := range others {
		var der []byte
		if err := t.tx.QueryRowContext(t.ctx, `SELECT der FROM certificate WHERE id = $1`, other.id).Scan(&der); err != nil {
			return wrap("reading the CAs", err)
		}
		if known, err := x509.ParseCertificate(der); err == nil && bytes.Equal(known.RawSubject, cert.RawSubject) {
			return fmt.Errorf("the name %s is that of another CA key, and would hide its CRL", cert.Subject)
		}
	}
	return nil
}

// storeForeign records a certificate that was signed elsewhere with our root's
// key. It may be known already: where that is this PKI.
func (t *Tx) storeForeign(cert *x509.Certificate, root caRow) error {
	f := pki.FingerprintOf(cert.Raw)
	var n int
	if err := t.tx.QueryRowContext(t.ctx, `SELECT COUNT(*) FROM certificate WHERE sha256 = $1`, f[:]).Scan(&n); err != nil {
		return wrap("looking the certificate up", err)
	}
	if n > 0 {
		return nil
	}
	r := authority.Record{IssuerKeyID: root.keyID, Serial: pki.NewSerial(cert.SerialNumber), Kind: pki.KindIssuing,
		NotBefore: cert.NotBefore, NotAfter: cert.NotAfter, Issued: t.now.Truncate(time.Second)}
	if err := t.Reserve(r); err != nil {
		return err
	}
	return t.Complete(r, cert.Raw)
}
