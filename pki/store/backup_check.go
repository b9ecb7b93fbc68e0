package store

import (
	"context"
	"database/sql"
	"encoding/hex"
	"fmt"
	"net/url"
	"path/filepath"
	"reflect"
	"strconv"

	"mutual/pki"
)

// openCopy opens a database that nobody else has open and does not change it.
// Nothing that its schema says is trusted.
func (p *PKI) openCopy(path string) (*PKI, error) {
	u := url.URL{Scheme: "file", Opaque: (&url.URL{Path: filepath.ToSlash(path)}).EscapedPath()}
	u.RawQuery = "mode=ro&immutable=1&_pragma=trusted_schema(0)&_pragma=cell_size_check(1)"
	db, err := openDB(u.String())
	if err != nil {
		return nil, wrap("opening the copy of the database", err)
	}
	return &PKI{dir: filepath.Dir(path), db: db, opts: p.opts}, nil
}

// checkDatabase reads everything: SQLite's own structures, every row against
// its SHA-256, every certificate, and the journal.
func (p *PKI) checkDatabase(ctx context.Context) error {
	if err := p.checkSchema(ctx); err != nil {
		return err
	}
	if err := p.checkIntegrity(ctx); err != nil {
		return err
	}
	if err := p.each(ctx, p.db, "1 = 1", nil, func(Certificate) error { return nil }); err != nil {
		return err
	}
	if err := p.checkStored(ctx); err != nil {
		return err
	}
	if _, err := p.CRLs(ctx); err != nil { // checks what is kept of the lists
		return err
	}
	_, _, err := p.VerifyJournal(ctx, nil)
	return err
}

// checkSchema refuses a database of a version that is not ours, and one with
// anything in it that could act when it is read: a view, a trigger, a table
// that is none.
func (p *PKI) checkSchema(ctx context.Context) error {
	var strange int
	err := p.db.QueryRowContext(ctx, `SELECT COUNT(*) FROM sqlite_master WHERE type NOT IN ('table', 'index') OR sql LIKE 'CREATE VIRTUAL%'`).Scan(&strange)
	if err != nil {
		return wrap("reading the database's schema", err)
	}
	if strange > 0 {
		return fmt.Errorf("reading the database's schema: %w: there is something in it that is no table", ErrDamaged)
	}
	return p.checkVersion(ctx)
}

func (p *PKI) checkIntegrity(ctx context.Context) error {
	var found string
	if err := p.db.QueryRowContext(ctx, "PRAGMA integrity_check(1)").Scan(&found); err != nil {
		return wrap("checking the database", err)
	}
	if found != "ok" {
		return fmt.Errorf("checking the database: %w: %s", ErrDamaged, found)
	}
	rows, err := p.db.QueryContext(ctx, "PRAGMA foreign_key_check")
	if err != nil {
		return wrap("checking the database", err)
	}
	defer func() { _ = rows.Close() }() // Err below reports what matters
	if rows.Next() {
		return fmt.Errorf("checking the database: %w: a row refers to one that is not there", ErrDamaged)
	}
	return wrap("checking the database", rows.Err())
}

// checkStored holds every certificate against the fingerprint in its row.
func (p *PKI) checkStored(ctx context.Context) error {
	rows, err := p.db.QueryContext(ctx, `SELECT der, sha256 FROM certificate`)
	if err != nil {
		return wrap("reading the certificates", err)
	}
	defer func() { _ = rows.Close() }() // Err below reports what matters
	for rows.Next() {
		var der, sum sql.RawBytes
		if err := rows.Scan(&der, &sum); err != nil {
			return wrap("reading the certificates", err)
		}
		if f := pki.FingerprintOf(der); string(f[:]) != string(sum) {
			return errNeedsDigest
		}
	}
	return wrap("reading the certificates", rows.Err())
}

// describe fills in what a manifest says of a database.
func (p *PKI) describe(ctx context.Context, m *Manifest) error {
	root, err := p.CACertificate(ctx, pki.KindRoot)
	if err != nil {
		return err
	}
	m.Root = pki.FingerprintOf(root.Raw).String()
	if m.Head, err = p.Head(ctx); err != nil {
		return err
	}
	if err := p.db.QueryRowContext(ctx, `SELECT value FROM counters WHERE name = 'epoch'`).Scan(&m.Epoch); err != nil {
		return wrap("reading the epoch", err)
	}
	rows, err := p.db.QueryContext(ctx, `SELECT ca.role, ca.key_id, MAX(crl.number) FROM crl JOIN ca ON ca.id = crl.issuer GROUP BY ca.id ORDER BY ca.id`)
	if err != nil {
		return wrap("reading the CRL numbers", err)
	}
	defer func() { _ = rows.Close() }() // Err below reports what matters
	for rows.Next() {
		var role string
		var keyID []byte
		var number int64
		if err := rows.Scan(&role, &keyID, &number); err != nil {
			return wrap("reading the CRL numbers", err)
		}
		m.CRLs = append(m.CRLs, ManifestCRL{pki.Kind(role), hex.EncodeToString(keyID), strconv.FormatInt(number, 10)})
	}
	return wrap("reading the CRL numbers", rows.Err())
}

// checkManifest refuses a manifest that is another database's.
func (p *PKI) checkManifest(ctx context.Context, m *Manifest) error {
	found := Manifest{Format: m.Format, Created: m.Created, Keys: m.Keys, Database: m.Database}
	if err := p.describe(ctx, &found); err != nil {
		return err
	}
	if !reflect.DeepEqual(&found, m) {
		return fmt.Errorf("%w: the manifest is not of this database", ErrBackup)
	}
	return nil
}
