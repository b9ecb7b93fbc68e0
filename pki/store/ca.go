package store

import (
	"context"
	"crypto"
	"crypto/x509"
	"database/sql"
	"errors"
	"fmt"
	"io/fs"
	"sync"

	"mutual/pki"
	"mutual/pki/authority"
	"mutual/pki/keys"
	"mutual/pki/pemfile"
)

// keyFile and certificateFile name the files of a CA: root or issuing.
func keyFile(role pki.Kind) string         { return string(role) + ".key" }
func certificateFile(role pki.Kind) string { return string(role) + ".crt" }

// caRow is a CA key in use.
type caRow struct {
	id      int64
	role    pki.Kind
	changed int64
	cert    *x509.Certificate
}

// caCache keeps the CAs whose keys were read, so that a passphrase is derived
// once.
type caCache struct {
	mu   sync.Mutex
	byID map[int64]*authority.CA
}

// caRows reads the CAs in use, the root first.
func caRows(ctx context.Context, q querier) ([]caRow, error) {
	rows, err := q.QueryContext(ctx, `SELECT ca.id, ca.role, ca.changed, c.der, c.sha256 FROM ca
		JOIN certificate c ON c.subject_ca = ca.id
		WHERE ca.retired IS NULL AND c.replaced_by IS NULL ORDER BY ca.role DESC, ca.id`)
	if err != nil {
		return nil, wrap("reading the CAs", err)
	}
	defer func() { _ = rows.Close() }() // Err below reports what matters
	var out []caRow
	for rows.Next() {
		var r caRow
		var role string
		var der, sum []byte
		if err := rows.Scan(&r.id, &role, &r.changed, &der, &sum); err != nil {
			return nil, wrap("reading the CAs", err)
		}
		if r.cert, err = parseStored(der, sum); err != nil {
			return nil, err
		}
		r.role = pki.Kind(role)
		out = append(out, r)
	}
	return out, wrap("reading the CAs", rows.Err())
}

// querier is what a database and a transaction have in common.
type querier interface {
	QueryContext(ctx context.Context, query string, args ...any) (*sql.Rows, error)
	QueryRowContext(ctx context.Context, query string, args ...any) *sql.Row
}

// parseStored parses a certificate from the database after checking that it is
// the one that was stored.
func parseStored(der, sum []byte) (*x509.Certificate, error) {
	if f := pki.FingerprintOf(der); string(f[:]) != string(sum) {
		return nil, errNeedsDigest
	}
	cert, err := x509.ParseCertificate(der)
	if err != nil {
		return nil, fmt.Errorf("%w: a stored certificate cannot be read: %v", ErrDamaged, err)
	}
	return cert, nil
}

func (p *PKI) caRow(ctx context.Context, role pki.Kind) (caRow, error) {
	rows, err := caRows(ctx, p.db)
	if err != nil {
		return caRow{}, err
	}
	for _, r := range rows {
		if r.role == role {
			return r, nil
		}
	}
	return caRow{}, fmt.Errorf("%w: it holds no %s CA", ErrDamaged, role)
}

// CACertificate returns the certificate of the root or the issuing CA.
func (p *PKI) CACertificate(ctx context.Context, role pki.Kind) (*x509.Certificate, error) {
	r, err := p.caRow(ctx, role)
	return r.cert, err
}

func issuingCertificates(ctx context.Context, q querier) ([]*x509.Certificate, error) {
	rows, err := caRows(ctx, q)
	if err != nil {
		return nil, err
	}
	var out []*x509.Certificate
	for _, r := range rows {
		if r.role == pki.KindIssuing {
			out = append(out, r.cert)
		}
	}
	if len(out) == 0 {
		return nil, errNoIssuing
	}
	return out, nil
}

// Issuing returns the issuing CA with its key; it may ask for the passphrase.
func (p *PKI) Issuing(ctx context.Context) (*authority.CA, error) {
	r, err := p.caRow(ctx, pki.KindIssuing)
	if err != nil {
		return nil, err
	}
	return p.load(r, "")
}

// load joins a CA with its key, from the PKI's directory or another file.
func (p *PKI) load(r caRow, keyPath string) (*authority.CA, error) {
	p.cas.mu.Lock()
	defer p.cas.mu.Unlock()
	if ca := p.cas.byID[r.id]; ca != nil {
		return ca, nil
	}
	if keyPath == "" {
		keyPath = p.Path(keyFile(r.role))
	}
	signer, err := p.readKey(keyPath)
	if errors.Is(err, fs.ErrNotExist) {
		return nil, fmt.Errorf("%w: %s is not there", ErrNoKey, keyPath)
	}
	if err != nil {
		return nil, fmt.Errorf("reading the key of the %s CA %s: %w", r.role, keyPath, err)
	}
	ca, err := authority.NewCA(r.cert, signer)
	if err != nil {
		return nil, fmt.Errorf("reading the key of the %s CA %s: %w", r.role, keyPath, err)
	}
	if p.cas.byID == nil {
		p.cas.byID = make(map[int64]*authority.CA)
	}
	p.cas.byID[r.id] = ca
	return ca, nil
}

func (p *PKI) readKey(path string) (crypto.Signer, error) {
	data, err := pemfile.ReadFile(path, pemfile.MaxFile)
	if err != nil {
		return nil, err
	}
	if err := checkMode(path, 0o600); err != nil {
		return nil, err
	}
	signer, err := pemfile.Key(data, nil)
	if !errors.Is(err, pemfile.ErrEncrypted) {
		return signer, err
	}
	if p.opts.Passphrase == nil {
		return nil, err
	}
	passphrase, bad := p.opts.Passphrase()
	if bad != nil {
		return nil, bad
	}
	return pemfile.Key(data, passphrase)
}

// KeyIsEncrypted reports whether the key of the root or the issuing CA in the
// PKI's directory needs a passphrase.
func (p *PKI) KeyIsEncrypted(role pki.Kind) (bool, error) {
	data, err := pemfile.ReadFile(p.Path(keyFile(role)), pemfile.MaxFile)
	if err != nil {
		return false, err
	}
	_, err = pemfile.Key(data, nil)
	if errors.Is(err, pemfile.ErrEncrypted) {
		return true, nil
	}
	return false, err
}

// encodeKey gives a CA key as PEM, encrypted where there is a passphrase.
func encodeKey(signer crypto.Signer, passphrase []byte) ([]byte, error) {
	if len(passphrase) == 0 {
		der, err := keys.MarshalPKCS8(signer)
		if err != nil {
			return nil, err
		}
		return pemfile.EncodeKey(der), nil
	}
	der, err := keys.MarshalEncryptedPKCS8(signer, passphrase)
	if err != nil {
		return nil, err
	}
	return pemfile.EncodeEncryptedKey(der), nil
}
