package store

import (
	"bytes"
	"context"
	"crypto/x509"
	"encoding/pem"
	"errors"
	"fmt"
	"io/fs"
	"os"

	"mutual/pki"
	"mutual/pki/authority"
	"mutual/pki/internal/durable"
	"mutual/pki/keys"
	"mutual/pki/profile"
)

// CARequest says what ca request should ask for.
type CARequest struct {
	Rekey *Rekey // nil: for the key that the issuing CA has
	Out   string // file of the request; empty: none is written
	Force bool   // replace that file
}

// CARequestMade is a certification request of an issuing CA.
type CARequestMade struct {
	PEM        []byte
	CommonName string
	Key        string // in short
	KeyFile    string // of a new key
}

// RequestCA makes a certification request for the issuing CA's key, or for a
// new key that waits in the PKI for its certificate: for a root that is
// elsewhere. See InstallCA.
func (p *PKI) RequestCA(ctx context.Context, req CARequest) (*CARequestMade, error) {
	release, err := p.queueForCAs(ctx)
	if err != nil {
		return nil, err
	}
	defer release()
	if _, err := os.Lstat(req.Out); req.Out != "" && err == nil && !req.Force {
		return nil, fmt.Errorf("writing the request: %s: %w", req.Out, fs.ErrExist)
	}
	row, err := p.caRow(ctx, pki.KindIssuing)
	if err != nil {
		return nil, err
	}
	var out *CARequestMade
	var der []byte
	if req.Rekey == nil {
		if err := checkNotRevoked(ctx, p.db, row.keyID); err != nil {
			return nil, err
		}
		ca, err := p.load(row, "")
		if err != nil {
			return nil, err
		}
		out = &CARequestMade{CommonName: row.cert.Subject.CommonName, Key: shortID(row.keyID)}
		der, err = ca.CreateRequest()
		if err != nil {
			return nil, err
		}
	} else {
		key, err := p.newKey(ctx, row, req.Rekey)
		if err != nil {
			return nil, err
		}
		out = &CARequestMade{CommonName: nextCAName(row.cert, key.id), Key: shortID(key.id), KeyFile: key.path}
		if der, err = authority.CreateRequest(key.signer, out.CommonName); err != nil {
			return nil, err
		}
	}
	out.PEM = pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE REQUEST", Bytes: der})
	err = p.update(ctx, p.signerAtHand(ctx), func(t *Tx) error {
		_, err := t.append("ca request", string(pki.KindIssuing), map[string]any{"key": out.Key, "new": req.Rekey != nil, "request": pki.FingerprintOf(der)})
		return err
	})
	if err != nil || req.Out == "" {
		return out, err
	}
	return out, durable.WriteFile(req.Out, out.PEM, 0o644)
}

// CASigning says how a request of an issuing CA is answered.
type CASigning struct {
	Window  profile.Window
	RootKey string // file of the root's key, where it lies elsewhere
}

// SignCA answers the request of an issuing CA with the root's key, where that
// is: for a key of this PKI with the next certificate of that CA, and for
// another key with one of a CA that lives elsewhere, whose name follows that
// of the issuing CA here.
func (p *PKI) SignCA(ctx context.Context, csr *x509.CertificateRequest, how CASigning) (*CARenewed, error) {
	if err := profile.CheckCARequest(csr); err != nil {
		return nil, err
	}
	root, err := p.caFor(ctx, pki.KindRoot, how.RootKey)
	if err != nil {
		return nil, err
	}
	if err := root.CheckValid(p.now()); err != nil {
		return nil, err
	}
	keyID, err := keys.KeyID(csr.PublicKey)
	if err != nil {
		return nil, err
	}
	done := &CARenewed{Role: pki.KindIssuing}
	err = p.update(ctx, p.signerAtHand(ctx), func(t *Tx) error {
		row, known, err := t.caOf(keyID)
		if err != nil {
			return err
		}
		if known {
			if err := checkNotRevoked(ctx, t.tx, keyID); err != nil {
				return err
			}
		} else {
			row.cert = withKey(row.cert, csr, nextCAName(row.cert, keyID))
		}
		prepared, clipped, err := t.prepareNext(row, root, nil, how.Window)
		if err != nil {
			return err
		}
		done.Clipped, done.Rekeyed = clipped, !known
		if !known {
			done.Certificate, err = prepared.Issue(t)
		} else if done.Certificate, err = t.issueNext(prepared, row); err == nil {
			done.Verified, err = t.verifyLeaves()
		}
		if err != nil {
			return err
		}
		return t.recordCA("ca sign", pki.KindIssuing, map[string]any{
			"key": shortID(keyID), "certificate": pki.FingerprintOf(done.Certificate.Raw), "elsewhere": !known})
	})
	if err != nil {
		return nil, err
	}
	if err := p.writeCertificates(ctx, p.dir); err != nil {
		return done, fmt.Errorf("%w: %w", ErrNotInFiles, err)
	}
	return done, nil
}

// caOf finds the issuing CA in use with a key, or else gives the newest one.
func (t *Tx) caOf(keyID []byte) (row caRow, known bool, err error) {
	var role string
	var retired *int64
	err = t.tx.QueryRowContext(t.ctx, `SELECT role, retired FROM ca WHERE key_id = $1`, keyID).Scan(&role, &retired)
	switch {
	case isNoRows(err):
	case err != nil:
		return caRow{}, false, wrap("looking the CA up", err)
	case role != string(pki.KindIssuing):
		return caRow{}, false, errors.New("the key is the root's: it certifies an issuing CA and is never one")
	case retired != nil:
		return caRow{}, false, ErrRetired
	}
	cas, err := caRows(t.ctx, t.tx)
	if err != nil {
		return caRow{}, false, err
	}
	for _, r := range cas {
		if bytes.Equal(r.keyID, keyID) {
			return r, true, nil
		}
	}
	row, err = newestCA(t.ctx, t.tx, pki.KindIssuing)
	return row, false, err
}

// withKey is a CA's certificate as a model for one of another key and name.
func withKey(model *x509.Certificate, csr *x509.CertificateRequest, commonName string) *x509.Certificate {
	next := *model
	next.PublicKey = csr.PublicKey
	next.Subject.CommonName = commonName
	return &next
}
