package store

import (
	"context"
	"crypto/x509"
	"database/sql"
	"errors"

	"mutual/pki"
)

// Place is where the files of a certificate lie: absolute paths, empty for what
// is not there. Combined holds key and certificate.
type Place struct{ Key, Certificate, Combined string }

func (p Place) isZero() bool { return p == Place{} }

// main is the file in which the certificate is.
func (p Place) main() string {
	if p.Certificate != "" {
		return p.Certificate
	}
	return p.Combined
}

// Placed is a certificate whose files the PKI knows.
type Placed struct {
	Certificate
	Place   Place
	Pending bool // a renewal of it was begun and not finished
}

// knowsPlaces reports whether the database has the tables of renewals: one of
// version 1, to which nobody has written since, has not.
func (p *PKI) knowsPlaces(ctx context.Context) (bool, error) {
	version, err := p.version(ctx)
	return version >= 2, err
}

// Placed gives the certificates whose files the PKI knows and that nothing has
// replaced, whatever their state, the one that expires first first.
func (p *PKI) Placed(ctx context.Context) ([]Placed, error) {
	if known, err := p.knowsPlaces(ctx); err != nil || !known {
		return nil, err
	}
	tx, err := p.db.BeginTx(ctx, &sql.TxOptions{ReadOnly: true}) // all of it at one moment
	if err != nil {
		return nil, wrap("reading the places", err)
	}
	defer func() { _ = tx.Rollback() }() // nothing was written
	places, err := readPlaces(ctx, tx)
	if err != nil {
		return nil, err
	}
	var out []Placed
	err = p.each(ctx, tx, "c.replaced_by IS NULL AND c.id IN (SELECT certificate FROM place) ORDER BY c.not_after, c.id", nil, func(c Certificate) error {
		at := places[c.id]
		at.Certificate = c
		out = append(out, at)
		return nil
	})
	return out, err
}

func readPlaces(ctx context.Context, q querier) (map[int64]Placed, error) {
	rows, err := q.QueryContext(ctx, `SELECT p.certificate, p.key_file, p.certificate_file, p.combined_file,
		EXISTS (SELECT 1 FROM replacement r WHERE r.old = p.certificate AND r.due IS NULL) FROM place p`)
	if err != nil {
		return nil, wrap("reading the places", err)
	}
	defer func() { _ = rows.Close() }() // Err below reports what matters
	out := map[int64]Placed{}
	for rows.Next() {
		var id int64
		var at Placed
		if err := rows.Scan(&id, &at.Place.Key, &at.Place.Certificate, &at.Place.Combined, &at.Pending); err != nil {
			return nil, wrap("reading the places", err)
		}
		out[id] = at
	}
	return out, wrap("reading the places", rows.Err())
}

// PlaceOf gives where the files of a certificate lie; the zero value says that
// the PKI does not know.
func (p *PKI) PlaceOf(ctx context.Context, f pki.Fingerprint) (Place, error) {
	if known, err := p.knowsPlaces(ctx); err != nil || !known {
		return Place{}, err
	}
	var at Place
	err := p.db.QueryRowContext(ctx, `SELECT key_file, certificate_file, combined_file FROM place
		WHERE certificate = (SELECT id FROM certificate WHERE sha256 = $1)`, f[:]).Scan(&at.Key, &at.Certificate, &at.Combined)
	if errors.Is(err, sql.ErrNoRows) {
		return Place{}, nil
	}
	return at, wrap("reading a certificate's place", err)
}

// Forget drops what the PKI knows of where the files of certificates lie, and
// says how many it knew. It is journaled.
func (p *PKI) Forget(ctx context.Context, certs []Certificate) (int, error) {
	forgotten := 0
	err := p.update(ctx, nil, func(t *Tx) error {
		forgotten = 0
		for _, c := range certs {
			result, err := t.tx.ExecContext(t.ctx, `DELETE FROM place WHERE certificate = $1`, c.id)
			if err != nil {
				return wrap("forgetting a place", err)
			}
			n, err := result.RowsAffected()
			if err != nil {
				return wrap("forgetting a place", err)
			}
			if n == 0 {
				continue
			}
			forgotten++
			if _, err := t.append("forget", subjectOf(c.Name, c.Kind), map[string]any{"serial": c.Serial}); err != nil {
				return err
			}
		}
		return nil
	})
	return forgotten, err
}

// putPlace remembers where a certificate's files lie. A file holds one
// certificate: what else was remembered there is forgotten.
func (t *Tx) putPlace(id int64, at Place) error {
	if err := t.exec("forgetting a place", `DELETE FROM place WHERE certificate = $1 OR certificate_file = $2 AND combined_file = $3`,
		id, at.Certificate, at.Combined); err != nil {
		return err
	}
	return t.exec("remembering a place", `INSERT INTO place (certificate, key_file, certificate_file, combined_file) VALUES ($1, $2, $3, $4)`,
		id, at.Key, at.Certificate, at.Combined)
}

// certificateID gives the row of a certificate that was just issued.
func (t *Tx) certificateID(cert *x509.Certificate) (int64, error) {
	var id int64
	fingerprint := pki.FingerprintOf(cert.Raw)
	err := t.tx.QueryRowContext(t.ctx, `SELECT id FROM certificate WHERE sha256 = $1`, fingerprint[:]).Scan(&id)
	return id, wrap("looking the certificate up", err)
}
