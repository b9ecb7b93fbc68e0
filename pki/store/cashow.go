package store

import (
	"context"
	"crypto/x509"
	"database/sql"
	"encoding/hex"
	"errors"
	"path/filepath"
	"time"

	"mutual/pki"
	"mutual/pki/keys"
	"mutual/pki/pemfile"
)

// CAState is where a CA key stands.
type CAState string

// The states of a CA key.
const (
	CAActive    CAState = "active"    // the newest of its role: it signs certificates
	CAOlder     CAState = "older"     // it signs only its CRL, and what it has issued is in force
	CAOut       CAState = "retired"   // out of the files and without a CRL
	CARevoked   CAState = "revoked"   // a root's list has it
	CARequested CAState = "requested" // a key that waits for its certificate
)

// CAInfo is a CA key that is or was in use, or waits for its certificate.
type CAInfo struct {
	Role         pki.Kind
	Key          string // in short, as its files and its common name have it
	KeyID        string // whole, in hexadecimal
	KeyType      string
	State        CAState
	Created      time.Time
	Retired      time.Time       // zero: it is not
	Certificates []CACertificate // the one that counts first
	KeyFile      string          // where the key lies; empty: not in the PKI
	Encrypted    bool
	Live         int // leaves that depend on it
}

// CACertificate is one certificate of a CA key.
type CACertificate struct {
	Certificate
	Subject string
	Issuer  string
}

// CAs gives every CA key of the PKI: the roots first, of each role the newest
// first, and last the keys that wait for a certificate.
func (p *PKI) CAs(ctx context.Context) ([]CAInfo, error) {
	t, end, err := p.readOnly(ctx) // one moment: CAs come and go meanwhile
	if err != nil {
		return nil, err
	}
	defer end()
	inUse, err := caRows(ctx, t.tx)
	if err != nil {
		return nil, err
	}
	rows, err := t.tx.QueryContext(ctx, `SELECT id, role, key_id, created, retired FROM ca ORDER BY role DESC, id DESC`)
	if err != nil {
		return nil, wrap("reading the CAs", err)
	}
	defer func() { _ = rows.Close() }() // Err below reports what matters
	var out []CAInfo
	var of []caRow
	known := map[string]bool{}
	for rows.Next() {
		r := caRow{}
		var role string
		var created int64
		var retired *int64
		if err := rows.Scan(&r.id, &role, &r.keyID, &created, &retired); err != nil {
			return nil, wrap("reading the CAs", err)
		}
		r.role = pki.Kind(role)
		info := CAInfo{Role: r.role, Key: shortID(r.keyID), KeyID: hex.EncodeToString(r.keyID), State: CAOut, Created: fromUnix(created)}
		for _, u := range inUse {
			if u.id == r.id {
				r, info.State = u, CAOlder
				if u.newest {
					info.State = CAActive
				}
			}
		}
		if retired != nil {
			info.Retired = fromUnix(*retired)
		}
		known[byKey(r.role, r.keyID)+".key"] = true
		out, of = append(out, info), append(of, r)
	}
	if err := rows.Err(); err != nil {
		return nil, wrap("reading the CAs", err)
	}
	for i := range out {
		if err := t.describeCA(of[i], &out[i]); err != nil {
			return nil, err
		}
	}
	waiting, err := p.requestedKeys(known)
	return append(out, waiting...), err
}

// describeCA adds certificates, key and leaves of a CA.
func (t *Tx) describeCA(r caRow, info *CAInfo) error {
	certs, err := t.all("c.subject_ca = $1 ORDER BY c.kind = 'cross', c.replaced_by IS NOT NULL, c.id DESC", r.id)
	if err != nil {
		return err
	}
	for _, c := range certs {
		der, err := t.pki.DER(t.ctx, c.Fingerprint)
		if err != nil {
			return err
		}
		cert, err := x509.ParseCertificate(der)
		if err != nil {
			return errNeedsDigest
		}
		if info.KeyType == "" {
			info.KeyType = keys.Describe(cert.PublicKey)
		}
		if c.Revocation != nil && c.Kind == r.role && info.State != CAOut {
			info.State = CARevoked
		}
		info.Certificates = append(info.Certificates, CACertificate{c, cert.Subject.String(), cert.Issuer.String()})
	}
	info.KeyFile = t.pki.keyHere(r)
	info.Encrypted = isEncrypted(info.KeyFile)
	if info.State == CAOut {
		return nil
	}
	info.Live, err = t.dependents(r)
	return err
}

// readOnly is a transaction that only reads.
func (p *PKI) readOnly(ctx context.Context) (*Tx, func(), error) {
	tx, err := p.db.BeginTx(ctx, &sql.TxOptions{ReadOnly: true})
	if err != nil {
		return nil, nil, wrap("reading the PKI", err)
	}
	return &Tx{pki: p, ctx: unwatched{ctx}, tx: tx, now: p.now()}, func() { _ = tx.Rollback() }, nil // nothing was written
}

// requestedKeys finds the keys that ca request has made and no certificate has
// come for.
func (p *PKI) requestedKeys(known map[string]bool) ([]CAInfo, error) {
	files, err := keyFiles(p.dir)
	if err != nil {
		return nil, err
	}
	var out []CAInfo
	for _, path := range files {
		m := keyName.FindStringSubmatch(filepath.Base(path))
		if m[2] == "" || known[m[0]] {
			continue
		}
		out = append(out, CAInfo{Role: pki.Kind(m[1]), Key: m[2][1:], State: CARequested, KeyFile: path, Encrypted: isEncrypted(path)})
	}
	return out, nil
}

// isEncrypted reports whether a file holds a key that wants a passphrase.
func isEncrypted(path string) bool {
	if path == "" {
		return false
	}
	data, err := pemfile.ReadFile(path, pemfile.MaxFile)
	if err != nil {
		return false
	}
	_, err = pemfile.Key(data, nil)
	return errors.Is(err, pemfile.ErrEncrypted)
}
