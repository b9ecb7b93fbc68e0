package store

import (
	"context"
	"database/sql"
	"time"

	"mutual/pki"
)

// CAStatus is a CA at a glance.
type CAStatus struct {
	Role      pki.Kind
	Key       string // which of the role's keys, in short
	Older     bool   // another of its role has followed it
	Subject   string
	NotAfter  time.Time
	Revoked   bool // or held
	Held      bool
	KeyIsHere bool
}

// Status is a PKI at a glance.
type Status struct {
	CAs     []CAStatus
	CRLs    []Published
	Publish string        // directory that servers read; empty: none
	Counts  map[State]int // of leaves
	Soon    int           // leaves that end within 30 days
	Epoch   int64
	Head    Head
}

// Status reads the PKI at a glance.
func (p *PKI) Status(ctx context.Context) (*Status, error) {
	s := &Status{}
	rows, err := caRows(ctx, p.db)
	if err != nil {
		return nil, err
	}
	for _, r := range rows {
		known, err := p.Lookup(ctx, pki.FingerprintOf(r.cert.Raw))
		if err != nil {
			return nil, err
		}
		s.CAs = append(s.CAs, CAStatus{
			Role: r.role, Key: shortID(r.keyID), Older: !r.newest, Subject: r.cert.Subject.String(), NotAfter: r.cert.NotAfter,
			Revoked: known.Revocation != nil, Held: known.Revocation != nil && known.Revocation.Reason == pki.CertificateHold, KeyIsHere: p.keyHere(r) != "",
		})
	}
	if s.CRLs, err = p.CRLs(ctx); err != nil {
		return nil, err
	}
	settings, err := p.Settings(ctx)
	if err != nil {
		return nil, err
	}
	s.Publish = settings.Publish
	if err := p.countLeaves(ctx, s); err != nil {
		return nil, err
	}
	if err := p.db.QueryRowContext(ctx, `SELECT value FROM counters WHERE name = 'epoch'`).Scan(&s.Epoch); err != nil {
		return nil, wrap("reading the epoch", err)
	}
	s.Head, err = p.Head(ctx)
	return s, err
}

// soon is how long before its end a certificate counts as one that ends soon.
const soon = 30 * 24 * 60 * 60

// countLeaves counts the leaves by state: from what is kept by hour of expiry,
// from the rows of the hours in which one state becomes another, and from those
// of certificates that were made to begin later. A clock behind what was signed
// finds others that have not begun, and an older database keeps no numbers: then
// all rows are counted.
func (p *PKI) countLeaves(ctx context.Context, s *Status) error {
	now := p.now().Unix()
	var clock int64
	if err := p.db.QueryRowContext(ctx, `SELECT value FROM counters WHERE name = 'clock'`).Scan(&clock); err != nil {
		return wrap("reading the clock's counter", err)
	}
	if now < clock || p.schema.Load() < versionScale {
		return p.countRows(ctx, s, now)
	}
	tx, err := p.db.BeginTx(ctx, &sql.TxOptions{ReadOnly: true}) // all of it at one moment
	if err != nil {
		return wrap("counting the certificates", err)
	}
	defer func() { _ = tx.Rollback() }() // nothing was written
	var inForce, expired, ended, endSoon, early, earlySoon, held, revoked int
	if err := tx.QueryRowContext(ctx, `SELECT COALESCE(SUM(in_force), 0), COALESCE(SUM(held), 0), COALESCE(SUM(revoked), 0),
		COALESCE(SUM(CASE WHEN hour < $1 THEN in_force ELSE 0 END), 0),
		COALESCE(SUM(CASE WHEN hour < $1 THEN in_force - replaced ELSE 0 END), 0),
		COALESCE(SUM(CASE WHEN hour < $2 THEN in_force - replaced ELSE 0 END), 0) FROM expiry`, hourOf(now), hourOf(now+soon)).
		Scan(&inForce, &held, &revoked, &expired, &ended, &endSoon); err != nil {
		return wrap("counting the certificates", err)
	}
	for _, of := range []struct {
		until        int64
		all, current *int
	}{{now, &expired, &ended}, {now + soon, new(int), &endSoon}} {
		var all, current int
		if err := tx.QueryRowContext(ctx, `SELECT COUNT(*), COALESCE(SUM(CASE WHEN replaced_by IS NULL THEN 1 ELSE 0 END), 0)
			FROM certificate WHERE revoked = 0 AND not_after >= $1 AND not_after <= $2 AND kind IN ('client', 'server') AND sha256 IS NOT NULL`,
			hourOf(of.until)*3600, of.until).Scan(&all, &current); err != nil {
			return wrap("counting the certificates", err)
		}
		*of.all += all
		*of.current += current
	}
	if err := tx.QueryRowContext(ctx, `SELECT COUNT(*),
		COALESCE(SUM(CASE WHEN not_after > $1 AND not_after <= $2 AND replaced_by IS NULL THEN 1 ELSE 0 END), 0)
		FROM certificate WHERE not_before > issued AND not_before > $1 AND revoked = 0 AND kind IN ('client', 'server') AND sha256 IS NOT NULL`,
		now, now+soon).Scan(&early, &earlySoon); err != nil {
		return wrap("counting the certificates", err)
	}
	s.Counts = map[State]int{Valid: inForce - expired - early, Expired: expired, NotYetValid: early, Held: held, Revoked: revoked}
	s.Soon = endSoon - ended - earlySoon
	return nil
}

// countRows is countLeaves from the rows.
func (p *PKI) countRows(ctx context.Context, s *Status, now int64) error {
	var valid, expired, early, held, revoked int
	err := p.db.QueryRowContext(ctx, `SELECT
		COALESCE(SUM(CASE WHEN r.reason IS NULL AND c.not_after > $1 AND c.not_before <= $1 THEN 1 ELSE 0 END), 0),
		COALESCE(SUM(CASE WHEN r.reason IS NULL AND c.not_after <= $1 THEN 1 ELSE 0 END), 0),
		COALESCE(SUM(CASE WHEN r.reason IS NULL AND c.not_after > $1 AND c.not_before > $1 THEN 1 ELSE 0 END), 0),
		COALESCE(SUM(CASE WHEN r.reason = 6 THEN 1 ELSE 0 END), 0),
		COALESCE(SUM(CASE WHEN r.reason <> 6 THEN 1 ELSE 0 END), 0),
		COALESCE(SUM(CASE WHEN r.reason IS NULL AND c.not_after > $1 AND c.not_before <= $1 AND c.not_after <= $2 AND c.replaced_by IS NULL THEN 1 ELSE 0 END), 0)
		FROM certificate c LEFT JOIN revocation r ON r.certificate = c.id WHERE c.kind IN ('client', 'server') AND c.sha256 IS NOT NULL`,
		now, now+soon).Scan(&valid, &expired, &early, &held, &revoked, &s.Soon)
	s.Counts = map[State]int{Valid: valid, Expired: expired, NotYetValid: early, Held: held, Revoked: revoked}
	return wrap("counting the certificates", err)
}
