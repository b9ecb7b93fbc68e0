package store

import (
	"context"
	"crypto"
	"crypto/x509"
	"database/sql"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"sync"

	"mutual/pki"
	"mutual/pki/authority"
	"mutual/pki/keys"
	"mutual/pki/pemfile"
)

// caRow is a CA key in use, with the certificate that counts: of an issuing CA
// the one that no other replaces, of a root the one that it signed itself.
type caRow struct {
	id      int64
	role    pki.Kind
	keyID   []byte
	changed int64
	newest  bool // of its role: the one that signs certificates
	alone   bool // there never was another key of the role
	cert    *x509.Certificate
}

// caCache keeps the CAs whose keys were read, so that a passphrase is derived
// once.
type caCache struct {
	mu   sync.Mutex
	byID map[int64]*authority.CA
}

// keep remembers a CA whose key is at hand.
func (c *caCache) keep(id int64, ca *authority.CA) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.byID == nil {
		c.byID = make(map[int64]*authority.CA)
	}
	c.byID[id] = ca
}

// caRows reads the CAs in use: the roots first, and of each role the newest
// key first.
func caRows(ctx context.Context, q querier) ([]caRow, error) {
	rows, err := q.QueryContext(ctx, `SELECT ca.id, ca.role, ca.key_id, ca.changed, c.der, c.sha256,
		(SELECT COUNT(*) FROM ca o WHERE o.role = ca.role)
		FROM ca JOIN certificate c ON c.subject_ca = ca.id
		WHERE ca.retired IS NULL AND c.replaced_by IS NULL AND c.kind = ca.role ORDER BY ca.role DESC, ca.id DESC`)
	if err != nil {
		return nil, wrap("reading the CAs", err)
	}
	defer func() { _ = rows.Close() }() // Err below reports what matters
	var out []caRow
	for rows.Next() {
		var r caRow
		var role string
		var der, sum []byte
		var keys int
		if err := rows.Scan(&r.id, &role, &r.keyID, &r.changed, &der, &sum, &keys); err != nil {
			return nil, wrap("reading the CAs", err)
		}
		if r.cert, err = parseStored(der, sum); err != nil {
			return nil, err
		}
		r.role, r.alone = pki.Kind(role), keys == 1
		r.newest = len(out) == 0 || out[len(out)-1].role != r.role
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

// caRow gives the newest CA of a role.
func (p *PKI) caRow(ctx context.Context, role pki.Kind) (caRow, error) {
	return newestCA(ctx, p.db, role)
}

func newestCA(ctx context.Context, q querier, role pki.Kind) (caRow, error) {
	rows, err := caRows(ctx, q)
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

func (p *PKI) caRowByID(ctx context.Context, id int64) (caRow, error) {
	rows, err := caRows(ctx, p.db)
	if err != nil {
		return caRow{}, err
	}
	for _, r := range rows {
		if r.id == id {
			return r, nil
		}
	}
	return caRow{}, ErrRetired
}

// CACertificate returns the certificate of the newest root or issuing CA.
func (p *PKI) CACertificate(ctx context.Context, role pki.Kind) (*x509.Certificate, error) {
	r, err := p.caRow(ctx, role)
	return r.cert, err
}

// CACertificates returns the certificates of all roots or issuing CAs in use,
// the newest first. What any of them has signed is to be judged.
func (p *PKI) CACertificates(ctx context.Context, role pki.Kind) ([]*x509.Certificate, error) {
	rows, err := caRows(ctx, p.db)
	if err != nil {
		return nil, err
	}
	var out []*x509.Certificate
	for _, r := range rows {
		if r.role == role {
			out = append(out, r.cert)
		}
	}
	return out, nil
}

// RevokedCAs gives the key identifiers of the CAs in use that are revoked for good:
// what they have issued is let in nowhere.
func (p *PKI) RevokedCAs(ctx context.Context) (map[string]bool, error) {
	rows, err := caRows(ctx, p.db)
	if err != nil {
		return nil, err
	}
	out := map[string]bool{}
	for _, r := range rows {
		if out[string(r.keyID)], err = isRevokedCA(ctx, p.db, r.keyID, false); err != nil {
			return nil, err
		}
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

// load joins a CA with its key, from the PKI's directory or, for a root, from
// the file keyPath if it is that root's.
func (p *PKI) load(r caRow, keyPath string) (*authority.CA, error) {
	p.cas.mu.Lock()
	ca := p.cas.byID[r.id]
	p.cas.mu.Unlock()
	if ca != nil {
		return ca.WithCertificate(r.cert) // which may be another by now
	}
	files := p.keyPlaces(r)
	if keyPath != "" && r.role == pki.KindRoot {
		files = []string{keyPath}
	}
	ca, err := p.loadFrom(r, files)
	if err != nil {
		return nil, err
	}
	p.cas.keep(r.id, ca)
	return ca, nil
}

// loadFrom takes the first file that holds the CA's key.
func (p *PKI) loadFrom(r caRow, files []string) (*authority.CA, error) {
	err := fmt.Errorf("%w: %s is not there", ErrNoKey, files[len(files)-1])
	for _, file := range files {
		if _, err := os.Stat(file); errors.Is(err, fs.ErrNotExist) {
			continue // what else may not be there is not the key
		}
		signer, bad := p.readKey(file)
		var ca *authority.CA
		if bad == nil {
			ca, bad = authority.NewCA(r.cert, signer)
		}
		switch {
		case bad == nil:
			return ca, nil
		case errors.Is(bad, authority.ErrKeyMismatch) && !r.alone: // another CA's of the same role
			err = fmt.Errorf("%w: %s holds another key than that of %s", ErrNoKey, file, r.cert.Subject)
		default:
			return nil, fmt.Errorf("reading the key of the %s CA %s: %w", r.role, file, bad)
		}
	}
	return nil, err
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
