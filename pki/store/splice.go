package store

import (
	"database/sql"
	"fmt"

	"mutual/pki"
	"mutual/pki/authority"
	"mutual/pki/crl"
)

// splice makes the list of the last one and what has changed since, where the
// last one was made of this database and is there as it was signed: the octets
// that rebuild would give. It is crl.ErrCannotSplice wherever something is
// otherwise than it should be; rebuild then says what is wrong.
func (s *snapshot) splice(begin func(size int) (*authority.DraftCRL, error)) (*authority.CRL, error) {
	earlier, epoch, err := s.earlier()
	if err != nil {
		return nil, err
	}
	draft, err := begin(0)
	if err != nil {
		return nil, err
	}
	released, err := s.release(draft, epoch)
	if err != nil {
		return nil, err
	}
	err = s.eachRevoked("r.epoch > $2", []any{epoch}, func(r authority.Revoked) error {
		// What a list has carried is in the last one, and nothing else is.
		if _, listed := earlier.Lookup(r.Serial); listed != !r.ListedFrom.IsZero() && !released[r.Serial] && r.Listed(draft.Last()) {
			return fmt.Errorf("%w: serial %s", crl.ErrCannotSplice, r.Serial)
		}
		return draft.Put(r)
	})
	if err != nil {
		return nil, err
	}
	// Put drops what ended before a list that carried it.
	err = s.eachRevoked("r.epoch <= $2 AND c.revoked = 1 AND c.not_after >= $3 AND c.not_after < $4",
		[]any{epoch, earlier.EndsFrom.Unix(), draft.Last().Carried().Unix()}, draft.Put)
	if err != nil {
		return nil, err
	}
	if err := s.checkNoneLost(); err != nil {
		return nil, err
	}
	return draft.Issue(earlier)
}

// earlier gives the last list and the epoch that it covers.
func (s *snapshot) earlier() (*authority.EarlierCRL, int64, error) {
	var number, epoch int64
	var endsFrom sql.NullInt64
	err := s.tx.QueryRowContext(s.ctx, `SELECT number, epoch, ends_from FROM crl WHERE issuer = $1 ORDER BY number DESC LIMIT 1`, s.list.ca).
		Scan(&number, &epoch, &endsFrom)
	switch {
	case isNoRows(err):
		return nil, 0, crl.ErrCannotSplice
	case err != nil:
		return nil, 0, wrap("reading the CRLs", err)
	case !endsFrom.Valid || s.list.der == nil || !s.list.Number.IsInt64() || s.list.Number.Int64() != number:
		return nil, 0, crl.ErrCannotSplice
	}
	list, err := crl.Parse(s.list.der)
	if err != nil || list.Len() != s.list.Entries {
		return nil, 0, crl.ErrCannotSplice
	}
	return &authority.EarlierCRL{List: list, EndsFrom: fromUnix(endsFrom.Int64)}, epoch, nil
}

// release drops the entries of the holds that have ended since the epoch; one
// that began again is put afterwards.
func (s *snapshot) release(draft *authority.DraftCRL, epoch int64) (map[pki.Serial]bool, error) {
	rows, err := s.tx.QueryContext(s.ctx, `SELECT serial FROM released WHERE issuer = $1 AND epoch > $2`, s.list.ca, epoch)
	if err != nil {
		return nil, wrap("reading the holds that have ended", err)
	}
	defer func() { _ = rows.Close() }() // Err below reports what matters
	released := map[pki.Serial]bool{}
	for rows.Next() {
		var octets []byte
		if err := rows.Scan(&octets); err != nil {
			return nil, wrap("reading the holds that have ended", err)
		}
		serial, err := pki.SerialFromOctets(octets)
		if err != nil {
			return nil, errNeedsDigest
		}
		released[serial] = true
		if err := draft.Drop(serial); err != nil {
			return nil, err
		}
	}
	return released, wrap("reading the holds that have ended", rows.Err())
}
