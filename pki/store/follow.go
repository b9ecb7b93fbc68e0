package store

import (
	"context"
	"crypto/x509"
	"database/sql"
	"encoding/hex"
	"errors"
	"fmt"
	"iter"
	"os"
	"path/filepath"
	"time"

	"mutual/pki"
)

// Epoch is a change of who is let in: its number, and the hash of the line of the
// journal that records it. Whoever remembers one can tell later whether the PKI
// still has it. The zero value stands before the first change.
type Epoch struct {
	Number int64  `json:"number"`
	Hash   string `json:"hash"`
}

// Epoch returns the newest change of who is let in.
func (p *PKI) Epoch(ctx context.Context) (Epoch, error) {
	return scanEpoch(p.db.QueryRowContext(ctx, `SELECT c.epoch, j.hash FROM change c LEFT JOIN journal j ON j.number = c.journal
		ORDER BY c.epoch DESC LIMIT 1`))
}

// HasEpoch reports whether a change that was seen earlier is still on record. It
// is not where an older copy of the database has taken its place.
func (p *PKI) HasEpoch(ctx context.Context, seen Epoch) (bool, error) {
	if seen.Number == 0 {
		return true, nil
	}
	now, err := scanEpoch(p.db.QueryRowContext(ctx, `SELECT c.epoch, j.hash FROM change c LEFT JOIN journal j ON j.number = c.journal
		WHERE c.epoch = $1`, seen.Number))
	return now == seen, err
}

// scanEpoch gives the zero value where there is no such change.
func scanEpoch(row *sql.Row) (Epoch, error) {
	var e Epoch
	var hash []byte
	err := row.Scan(&e.Number, &hash)
	switch {
	case errors.Is(err, sql.ErrNoRows):
		return Epoch{}, nil
	case err != nil:
		return Epoch{}, wrap("reading the epoch", err)
	case len(hash) == 0:
		return Epoch{}, fmt.Errorf("reading the epoch: %w: the journal lacks the line of epoch %d", ErrDamaged, e.Number)
	}
	e.Hash = hex.EncodeToString(hash)
	return e, nil
}

// Identity returns what tells this PKI from every other for as long as it
// lives: the hash of the first line of its journal.
func (p *PKI) Identity(ctx context.Context) (string, error) {
	var hash []byte
	err := p.db.QueryRowContext(ctx, `SELECT hash FROM journal ORDER BY number LIMIT 1`).Scan(&hash)
	return hex.EncodeToString(hash), wrap("reading the journal", err)
}

// Taken is a certificate that was revoked or held.
type Taken struct {
	Fingerprint pki.Fingerprint
	Reason      pki.Reason
	At          time.Time // UTC, whole seconds
}

// RevokedSince goes through the certificates that were revoked or held at a later
// epoch than the given one and are so still. onlyThat reports whether nothing else
// has changed who is let in since: no CA has come, gone, changed or been revoked.
func (p *PKI) RevokedSince(ctx context.Context, epoch int64) (revoked iter.Seq2[Taken, error], onlyThat bool, err error) {
	var others int
	if err := p.db.QueryRowContext(ctx, `SELECT (SELECT COUNT(*) FROM change WHERE epoch > $1
		AND what NOT IN ('revoke', 'hold', 'unhold', 'allow', 'supersede')) + (SELECT COUNT(*) FROM revocation r
		JOIN certificate c ON c.id = r.certificate WHERE r.epoch > $1 AND c.subject_ca IS NOT NULL)`, epoch).Scan(&others); err != nil {
		return nil, false, wrap("reading the changes", err)
	}
	return func(yield func(Taken, error) bool) {
		rows, err := p.db.QueryContext(ctx, `SELECT c.sha256, r.reason, r.done FROM revocation r JOIN certificate c ON c.id = r.certificate
			WHERE r.epoch > $1 AND c.sha256 IS NOT NULL`, epoch)
		if err != nil {
			yield(Taken{}, wrap("reading what was revoked", err))
			return
		}
		defer func() { _ = rows.Close() }() // Err below reports what matters
		for rows.Next() {
			var sum []byte
			var reason, done int64
			err := rows.Scan(&sum, &reason, &done)
			taken := Taken{Reason: pki.Reason(reason), At: fromUnix(done)}
			copy(taken.Fingerprint[:], sum)
			if !yield(taken, wrap("reading what was revoked", err)) || err != nil {
				return
			}
		}
		if err := rows.Err(); err != nil {
			yield(Taken{}, wrap("reading what was revoked", err))
		}
	}, others == 0, nil
}

// Trusted returns the certificates of the CAs in use: the roots, and the issuing
// CAs. What any of them has signed is to be judged.
func (p *PKI) Trusted(ctx context.Context) (roots, issuing []*x509.Certificate, err error) {
	rows, err := caRows(ctx, p.db)
	for _, r := range rows {
		if r.role == pki.KindRoot {
			roots = append(roots, r.cert)
		} else {
			issuing = append(issuing, r.cert)
		}
	}
	return roots, issuing, err
}

// InPlace reports whether the database that is open is the one that lies in the
// PKI's directory: not when that was moved, removed or restored meanwhile.
func (p *PKI) InPlace() (bool, error) {
	st, err := os.Stat(filepath.Join(p.dir, dbFile))
	if err != nil {
		return false, err
	}
	return os.SameFile(p.file, st), nil
}
