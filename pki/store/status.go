package store

import (
	"context"
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
	Revoked   bool
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
	s := &Status{Counts: map[State]int{}}
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
			Revoked: known.Revocation != nil, KeyIsHere: p.keyHere(r) != "",
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

func (p *PKI) countLeaves(ctx context.Context, s *Status) error {
	now := p.now().Unix()
	var valid, expired, early, held, revoked int
	err := p.db.QueryRowContext(ctx, `SELECT
		COALESCE(SUM(CASE WHEN r.reason IS NULL AND c.not_after > $1 AND c.not_before <= $1 THEN 1 ELSE 0 END), 0),
		COALESCE(SUM(CASE WHEN r.reason IS NULL AND c.not_after <= $1 THEN 1 ELSE 0 END), 0),
		COALESCE(SUM(CASE WHEN r.reason IS NULL AND c.not_before > $1 THEN 1 ELSE 0 END), 0),
		COALESCE(SUM(CASE WHEN r.reason = 6 THEN 1 ELSE 0 END), 0),
		COALESCE(SUM(CASE WHEN r.reason <> 6 THEN 1 ELSE 0 END), 0),
		COALESCE(SUM(CASE WHEN r.reason IS NULL AND c.not_after > $1 AND c.not_before <= $1 AND c.not_after <= $2 AND c.replaced_by IS NULL THEN 1 ELSE 0 END), 0)
		FROM certificate c LEFT JOIN revocation r ON r.certificate = c.id WHERE c.kind IN ('client', 'server')`,
		now, now+30*24*3600).Scan(&valid, &expired, &early, &held, &revoked, &s.Soon)
	s.Counts[Valid], s.Counts[Expired], s.Counts[NotYetValid], s.Counts[Held], s.Counts[Revoked] = valid, expired, early, held, revoked
	return wrap("counting the certificates", err)
}
