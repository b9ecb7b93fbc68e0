package store

import (
	"context"
	"crypto/x509"
	"database/sql"
	"errors"
	"time"

	"mutual/pki"
)

// beginReplacement records that a certificate is about to take the place of
// another, and of those that an earlier renewal issued for it and that never
// got there.
func (t *Tx) beginReplacement(old Certificate, issued *Issued, req RenewRequest) error {
	id, err := t.certificateID(issued.Certificate)
	if err != nil {
		return err
	}
	var grace sql.NullInt64
	if !req.KeepOld {
		grace = sql.NullInt64{Int64: int64(req.Grace / time.Second), Valid: true}
	}
	if err := t.exec("recording the renewal", `INSERT INTO replacement
		(old, new, key_file, certificate_file, combined_file, remember, grace)
		SELECT r.new, $2, $3, $4, $5, $6, $7 FROM replacement r WHERE r.old = $1 AND r.due IS NULL
		ON CONFLICT (old) DO NOTHING`,
		old.id, id, req.Place.Key, req.Place.Certificate, req.Place.Combined, req.Remember, grace); err != nil {
		return err
	}
	if err := t.exec("recording the renewal", `UPDATE replacement SET new = $2,
		key_file = $3, certificate_file = $4, combined_file = $5, remember = $6, grace = $7
		WHERE due IS NULL AND old <> $1 AND new IN (SELECT new FROM replacement WHERE old = $1)`,
		old.id, id, req.Place.Key, req.Place.Certificate, req.Place.Combined, req.Remember, grace); err != nil {
		return err
	}
	return t.exec("recording the renewal", `INSERT INTO replacement
		(old, new, key_file, certificate_file, combined_file, remember, grace) VALUES ($1, $2, $3, $4, $5, $6, $7)
		ON CONFLICT (old) DO UPDATE SET new = $2, key_file = $3, certificate_file = $4, combined_file = $5,
		remember = $6, grace = $7, due = NULL`,
		old.id, id, req.Place.Key, req.Place.Certificate, req.Place.Combined, req.Remember, grace)
}

// PendingRenewal is a renewal that issued a certificate and did not say that it
// is in its place.
type PendingRenewal struct {
	Issued
	Place Place
}

// AdjustRenewal gives a renewal that is open the options of the command that
// goes on with it.
func (p *PKI) AdjustRenewal(ctx context.Context, cert *x509.Certificate, keepOld bool, grace time.Duration, remember bool) error {
	return p.update(ctx, p.signerAtHand(ctx), func(t *Tx) error {
		id, err := t.certificateID(cert)
		if err != nil {
			return err
		}
		value := sql.NullInt64{Int64: int64(grace / time.Second), Valid: !keepOld}
		return t.exec("recording the renewal", `UPDATE replacement SET remember = $1, grace = $2 WHERE new = $3 AND due IS NULL`, remember, value, id)
	})
}

// Pending gives the renewal of a certificate that was begun and not finished,
// or nil. One whose certificate was revoked since is none: it is issued anew.
func (p *PKI) Pending(ctx context.Context, old pki.Fingerprint) (*PendingRenewal, error) {
	if known, err := p.knowsPlaces(ctx); err != nil || !known {
		return nil, err
	}
	r := &PendingRenewal{}
	var der, sum []byte
	var issuer int64
	err := p.db.QueryRowContext(ctx, `SELECT r.key_file, r.certificate_file, r.combined_file, n.der, n.sha256, n.issuer
		FROM replacement r JOIN certificate o ON o.id = r.old JOIN certificate n ON n.id = r.new
		WHERE o.sha256 = $1 AND r.due IS NULL AND n.id NOT IN (SELECT certificate FROM revocation)`, old[:]).Scan(&r.Place.Key, &r.Place.Certificate, &r.Place.Combined, &der, &sum, &issuer)
	if errors.Is(err, sql.ErrNoRows) {
		return nil, nil
	}
	if err != nil {
		return nil, wrap("reading the renewal", err)
	}
	if r.Certificate, err = parseStored(der, sum); err != nil {
		return nil, err
	}
	r.Serial = pki.NewSerial(r.Certificate.SerialNumber)
	row, err := p.caRowByID(ctx, issuer)
	if errors.Is(err, ErrRetired) {
		return nil, nil // it is issued anew
	}
	if err != nil {
		return nil, err
	}
	above, err := p.chainAbove(ctx, row.cert)
	r.Chain = append([]*x509.Certificate{r.Certificate}, above...)
	return r, err
}

// FinishRenewal records that the new certificate is where it belongs: the old
// one is replaced by it, and superseded when the grace is over, at the time
// that it gives (zero: never). Again it changes nothing.
func (p *PKI) FinishRenewal(ctx context.Context, cert *x509.Certificate) (superseded time.Time, err error) {
	err = p.update(ctx, p.signerAtHand(ctx), func(t *Tx) error {
		id, err := t.certificateID(cert)
		if err != nil {
			return err
		}
		superseded, err = t.finishReplacement(id)
		return err
	})
	return superseded, err
}

// openReplacement is a row of replacement that waits for the new files.
type openReplacement struct {
	old      int64
	place    Place
	remember bool
	grace    sql.NullInt64
}

func (t *Tx) openReplacements(id int64) ([]openReplacement, error) {
	rows, err := t.tx.QueryContext(t.ctx, `SELECT old, key_file, certificate_file, combined_file, remember, grace
		FROM replacement WHERE new = $1 AND due IS NULL ORDER BY old`, id)
	if err != nil {
		return nil, wrap("reading the renewal", err)
	}
	defer func() { _ = rows.Close() }() // Err below reports what matters
	var out []openReplacement
	for rows.Next() {
		var r openReplacement
		if err := rows.Scan(&r.old, &r.place.Key, &r.place.Certificate, &r.place.Combined, &r.remember, &r.grace); err != nil {
			return nil, wrap("reading the renewal", err)
		}
		out = append(out, r)
	}
	return out, wrap("reading the renewal", rows.Err())
}

func (t *Tx) finishReplacement(id int64) (superseded time.Time, err error) {
	open, err := t.openReplacements(id)
	if err != nil {
		return time.Time{}, err
	}
	if len(open) == 0 { // another act has seen the files and finished it
		return t.supersededAt(id)
	}
	successor, err := t.byID(id)
	if err != nil {
		return time.Time{}, err
	}
	for _, r := range open {
		old, err := t.byID(r.old)
		if err != nil {
			return time.Time{}, err
		}
		at, err := t.replace(old, successor, r.grace)
		if err != nil {
			return time.Time{}, err
		}
		if !at.IsZero() {
			superseded = at
		}
	}
	if !open[0].remember {
		return superseded, nil
	}
	return superseded, t.putPlace(id, open[0].place)
}

// replace marks one certificate as replaced, and when it shall be revoked.
func (t *Tx) replace(old, successor Certificate, grace sql.NullInt64) (at time.Time, err error) {
	if err := t.exec("marking the certificate as replaced", `UPDATE certificate SET replaced_by = $1 WHERE id = $2`, successor.id, old.id); err != nil {
		return at, err
	}
	t.count(old, -1)
	old.Replaced = true
	t.count(old, +1)
	if err := t.exec("forgetting a place", `DELETE FROM place WHERE certificate = $1`, old.id); err != nil {
		return at, err
	}
	details := map[string]any{"serial": old.Serial, "replacedBy": successor.Serial}
	held := old.Revocation != nil && old.Revocation.Reason == pki.CertificateHold // superseding waits for its end
	if grace.Valid && (old.Revocation == nil || held) && t.now.Before(old.NotAfter) {
		at = t.now.Truncate(time.Second).Add(time.Duration(grace.Int64) * time.Second)
		details["superseded"] = at
		err = t.exec("recording the renewal", `UPDATE replacement SET due = $1 WHERE old = $2`, at.Unix(), old.id)
	} else {
		err = t.exec("recording the renewal", `DELETE FROM replacement WHERE old = $1`, old.id)
	}
	if err != nil {
		return at, err
	}
	_, err = t.append("replace", subjectOf(old.Name, old.Kind), details)
	return at, err
}

// supersededAt reads when what a certificate has replaced will be revoked.
func (t *Tx) supersededAt(id int64) (time.Time, error) {
	var due sql.NullInt64
	err := t.tx.QueryRowContext(t.ctx, `SELECT MAX(due) FROM replacement WHERE new = $1`, id).Scan(&due)
	if err != nil || !due.Valid {
		return time.Time{}, wrap("reading the renewal", err)
	}
	return fromUnix(due.Int64), nil
}

func (t *Tx) byID(id int64) (Certificate, error) {
	found, err := t.pki.all(t.ctx, t.tx, "c.id = $1", id)
	if err != nil {
		return Certificate{}, err
	}
	if len(found) == 0 {
		return Certificate{}, errNeedsDigest
	}
	return found[0], nil
}
