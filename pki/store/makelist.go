package store

import (
	"bytes"
	"context"
	"crypto/sha256"
	"database/sql"
	"errors"
	"fmt"
	"time"

	"mutual/pki"
	"mutual/pki/authority"
	"mutual/pki/crl"
)

// makeList signs the CRL that follows, and records it before any file of it
// appears: two different lists never share a number.
func (p *PKI) makeList(ctx context.Context, l *Published, ca *authority.CA, req publishRequest) error {
	settings, err := p.Settings(ctx)
	if err != nil {
		return err
	}
	lifetime := settings.CRLTTL
	if l.Issuer == pki.KindRoot {
		lifetime = settings.RootCRLTTL
	}
	last, err := p.lastList(ctx, l)
	if err != nil {
		return err
	}
	back := req.acceptClock && last.ThisUpdate.After(p.now())
	if back {
		last.ThisUpdate = time.Time{}
	}
	made, err := p.draftList(ctx, l, ca, req.anew || back, func(size int) (*authority.DraftCRL, error) {
		return ca.DraftCRL(last, lifetime, p.now(), size)
	})
	if err != nil {
		return err
	}
	sum := sha256.Sum256(made.DER)
	made.sha256, made.back = sum[:], back
	if err := p.recordList(ctx, l, ca, made, req); err != nil {
		l.der = l.bytes() // the last one is still the newest
		return err
	}
	l.Number, l.ThisUpdate, l.NextUpdate, l.Entries = made.Number, made.ThisUpdate, made.NextUpdate, made.Entries
	l.Made, l.InPlace, l.AtHand, l.Overdue, l.Incomplete, l.Skipped = true, true, true, false, nil, nil
	l.epoch, l.sha256, l.der = made.epoch, made.sha256, made.DER
	return nil
}

// madeList is a list that was signed, and the epoch up to which it says what is
// so.
type madeList struct {
	*authority.CRL
	epoch  int64
	sha256 []byte
	back   bool // thisUpdate is before that of the last list
}

// draftList makes the list, in one snapshot of the database: of the last one
// where that can be and it is not wanted anew, and else of everything that is
// revoked.
func (p *PKI) draftList(ctx context.Context, l *Published, ca *authority.CA, anew bool, begin func(size int) (*authority.DraftCRL, error)) (*madeList, error) {
	tx, err := p.db.BeginTx(ctx, &sql.TxOptions{ReadOnly: true})
	if err != nil {
		return nil, wrap("reading the revocations", err)
	}
	defer func() { _ = tx.Rollback() }() // nothing was written
	s := snapshot{p: p, ctx: ctx, tx: tx, list: l, ca: ca}
	if err := tx.QueryRowContext(ctx, `SELECT value FROM counters WHERE name = 'epoch'`).Scan(&s.epoch); err != nil {
		return nil, wrap("reading the epoch", err)
	}
	var made *authority.CRL
	err = crl.ErrCannotSplice
	if !anew {
		made, err = s.splice(begin)
	}
	if errors.Is(err, crl.ErrCannotSplice) {
		l.der = nil // not beside the one that is made anew
		made, err = s.rebuild(begin)
	}
	if err != nil {
		l.der = l.bytes() // as above
		return nil, err
	}
	return &madeList{CRL: made, epoch: s.epoch}, nil
}

// snapshot is the database at an epoch, of which a CA's list is made.
type snapshot struct {
	p     *PKI
	ctx   context.Context
	tx    *sql.Tx
	list  *Published // the CA's last one
	ca    *authority.CA
	epoch int64
	lost  int // revocations that were read whose certificate is not there
}

// rebuild puts everything that the CA has revoked into the list. Every row is
// checked, and so is that none is missing: the list would let those
// certificates in again.
func (s *snapshot) rebuild(begin func(size int) (*authority.DraftCRL, error)) (*authority.CRL, error) {
	var all int
	if err := s.tx.QueryRowContext(s.ctx, `SELECT COUNT(*) FROM revocation`).Scan(&all); err != nil {
		return nil, wrap("counting the revocations", err)
	}
	draft, err := begin(all)
	if err != nil {
		return nil, err
	}
	if err := s.eachRevoked("1 = 1", nil, draft.Put); err != nil {
		return nil, err
	}
	if err := s.checkNoneLost(); err != nil {
		return nil, err
	}
	if err := s.carried(draft.Put); err != nil {
		return nil, err
	}
	return draft.Issue(nil)
}

// checkNoneLost refuses a database that has lost revocations: rows of them, or
// of their certificates among those that were read.
func (s *snapshot) checkNoneLost() error {
	missing, err := missingRevocations(s.ctx, s.tx)
	if err != nil {
		return err
	}
	if missing += s.lost; missing != 0 {
		return fmt.Errorf("%w: %d revocations that were recorded are not in it", ErrDamaged, missing)
	}
	return nil
}

// missingRevocations counts the revocations that were recorded and are gone. A
// database from before they were counted cannot tell.
func missingRevocations(ctx context.Context, q querier) (int, error) {
	var missing int
	err := q.QueryRowContext(ctx, `SELECT COALESCE((SELECT value FROM counters WHERE name = 'revocations') - (SELECT COUNT(*) FROM revocation), 0)`).Scan(&missing)
	return missing, wrap("counting the revocations", err)
}

// eachRevoked goes through what the CA has revoked, with a condition. It reads
// only what the digests are made of: the list may have a million entries. The +
// keeps the query from going through all certificates of the CA.
func (s *snapshot) eachRevoked(where string, args []any, do func(authority.Revoked) error) error {
	rows, err := s.tx.QueryContext(s.ctx, `SELECT c.serial, c.kind, i.name, c.label, c.not_before, c.not_after, c.issued, c.backdated,
		c.sha256, c.digest, r.reason, r.done, r.listed_from, r.epoch, r.digest
		FROM revocation r JOIN certificate c ON c.id = r.certificate LEFT JOIN identity i ON i.id = c.identity
		WHERE +c.issuer = $1 AND `+where, append([]any{s.list.ca}, args...)...)
	if err != nil {
		return wrap("reading the revocations", err)
	}
	defer func() { _ = rows.Close() }() // Err below reports what matters
	keyID := s.ca.Certificate().SubjectKeyId
	for rows.Next() {
		r, ok, err := scanRevoked(rows, keyID)
		if err != nil {
			return err
		}
		if !ok {
			s.lost++
			continue
		}
		if err := do(r); err != nil {
			return err
		}
	}
	return wrap("reading the revocations", rows.Err())
}

// scanRevoked reads a row and checks that it is the one that was written. It is
// not ok where there is no certificate.
func scanRevoked(rows *sql.Rows, issuerKeyID []byte) (out authority.Revoked, ok bool, err error) {
	record := authority.Record{IssuerKeyID: issuerKeyID}
	var serial, sum, digest, revocationSum sql.RawBytes
	var kind string
	var name sql.NullString
	var notBefore, notAfter, issued, reason, done, epoch int64
	var listed sql.NullInt64
	if err := rows.Scan(&serial, &kind, &name, &record.Label, &notBefore, &notAfter, &issued, &record.Backdated,
		&sum, &digest, &reason, &done, &listed, &epoch, &revocationSum); err != nil {
		return out, false, wrap("reading the revocations", err)
	}
	if sum == nil {
		return out, false, nil
	}
	if record.Serial, err = pki.SerialFromOctets(serial); err != nil {
		return out, false, errNeedsDigest
	}
	if name.Valid {
		if record.Name, err = pki.ParseAnyName(name.String); err != nil {
			return out, false, errNeedsDigest
		}
	}
	record.Kind = pki.Kind(kind)
	record.NotBefore, record.NotAfter, record.Issued = fromUnix(notBefore), fromUnix(notAfter), fromUnix(issued)
	out = authority.Revoked{Serial: record.Serial, NotAfter: record.NotAfter,
		Revocation: authority.Revocation{Reason: pki.Reason(reason), Done: fromUnix(done)}}
	if listed.Valid {
		out.ListedFrom = fromUnix(listed.Int64)
	}
	var fingerprint pki.Fingerprint
	copy(fingerprint[:], sum)
	if !bytes.Equal(recordDigest(record, fingerprint), digest) || !bytes.Equal(revocationDigest(sum, out.Revocation, epoch), revocationSum) {
		return out, false, errNeedsDigest
	}
	return out, true, nil
}

// recordList stores a signed list and fixes the dates of the entries that it
// carries for the first time.
func (p *PKI) recordList(ctx context.Context, l *Published, by *authority.CA, made *madeList, req publishRequest) error {
	var der []byte
	if l.Issuer == pki.KindRoot { // an offline root cannot be asked again
		der = made.DER
	}
	signer := p.signerAtHand(ctx)
	if signer == nil && l.Issuer == pki.KindIssuing {
		signer = by
	}
	return p.update(ctx, signer, func(t *Tx) error {
		if err := t.tickFor(req.acceptClock); err != nil {
			return err
		}
		number, err := t.append("crl", string(l.Issuer), map[string]any{
			"key":    l.Key,
			"number": made.Number.String(), "thisUpdate": made.ThisUpdate, "nextUpdate": made.NextUpdate, "entries": made.Entries,
			"sha256": fmt.Sprintf("%x", made.sha256), "clockAccepted": req.acceptClock,
		})
		if err != nil {
			return err
		}
		if err := t.exec("recording the CRL", `INSERT INTO crl
			(issuer, number, this_update, next_update, entries, epoch, journal, signature, sha256, der, ends_from)
			VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $9, $10, $11)`,
			l.ca, made.Number.Int64(), made.ThisUpdate.Unix(), made.NextUpdate.Unix(), made.Entries, made.epoch, number,
			made.Signature, made.sha256, der, made.EndsFrom.Unix()); err != nil {
			return err
		}
		if err := t.exec("recording what the CRL no longer lists", `DELETE FROM released WHERE issuer = $1 AND epoch <= $2`, l.ca, made.epoch); err != nil {
			return err
		}
		return t.fixDates(l.ca, made)
	})
}

// unlisted is a revocation whose date in the lists is not fixed: no list has
// carried it, or one whose time was wrong.
type unlisted struct {
	id          int64
	serial      pki.Serial
	fingerprint []byte
	authority.Revocation
	epoch  int64
	digest []byte
}

// fixDates gives the revocations that a list carries for the first time the
// date that they have in it, for good. Since it was made a hold may have become
// a revocation, which keeps the date, or have ended. It goes page by page:
// there may be hundreds of thousands. A list that goes back in time takes the
// dates after it back, too.
func (t *Tx) fixDates(issuer int64, made *madeList) error {
	const page = 1000
	which := "r.listed_from IS NULL"
	if made.back {
		which = fmt.Sprintf("(r.listed_from IS NULL OR r.listed_from > %d)", made.ThisUpdate.Unix())
	}
	for after := int64(0); ; {
		found, err := t.unlistedAfter(issuer, after, page, which)
		if err != nil || len(found) == 0 {
			return err
		}
		for _, u := range found {
			after = u.id
			e, ok := made.List.Lookup(u.serial)
			if !ok {
				continue
			}
			u.ListedFrom = e.RevocationDate
			if err := t.exec("recording the dates in the CRL", `UPDATE revocation SET listed_from = $1, digest = $2 WHERE certificate = $3`,
				u.ListedFrom.Unix(), revocationDigest(u.fingerprint, u.Revocation, u.epoch), u.id); err != nil {
				return err
			}
		}
	}
}

// unlistedAfter gives the next of the revocations of a CA whose dates are not
// fixed, by the number of the certificate.
func (t *Tx) unlistedAfter(issuer, after int64, most int, which string) ([]unlisted, error) {
	rows, err := t.tx.QueryContext(t.ctx, `SELECT r.certificate, c.serial, c.sha256, r.reason, r.done, r.listed_from, r.epoch, r.digest
		FROM revocation r JOIN certificate c ON c.id = r.certificate
		WHERE `+which+` AND r.certificate > $1 AND +c.issuer = $2 AND c.sha256 IS NOT NULL
		ORDER BY r.certificate LIMIT $3`, after, issuer, most)
	if err != nil {
		return nil, wrap("reading the revocations", err)
	}
	defer func() { _ = rows.Close() }() // Err below reports what matters
	out := make([]unlisted, 0, most)
	for rows.Next() {
		var u unlisted
		var serial []byte
		var reason, done int64
		var listed sql.NullInt64
		if err := rows.Scan(&u.id, &serial, &u.fingerprint, &reason, &done, &listed, &u.epoch, &u.digest); err != nil {
			return nil, wrap("reading the revocations", err)
		}
		if listed.Valid {
			u.ListedFrom = fromUnix(listed.Int64)
		}
		u.Reason, u.Done = pki.Reason(reason), fromUnix(done)
		if u.serial, err = pki.SerialFromOctets(serial); err != nil || !bytes.Equal(revocationDigest(u.fingerprint, u.Revocation, u.epoch), u.digest) {
			return nil, errNeedsDigest
		}
		out = append(out, u)
	}
	return out, wrap("reading the revocations", rows.Err())
}
