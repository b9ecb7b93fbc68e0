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
	CAs    []CAStatus
	CRLs   []Published
	Counts map[State]int // of leaves
	Soon   int           // leaves that end within 30 days
	Epoch  int64
	Head   Head
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

// Due is something that needs a person.
type Due struct {
	What string
	List *Published // the list that must be made, or nil
	CA   *CAStatus  // else the CA that it is about
}

// caWarning is how long before its end a CA needs somebody: whatever it issues
// is clipped to it.
const caWarning = 90 * 24 * time.Hour

// Due lists what needs a person: lists that lack something, that have lost two
// thirds of their life, or half of it where no command can make them because
// the key is elsewhere; and CAs that are revoked or end soon.
func (p *PKI) Due(s *Status) []Due {
	var out []Due
	now := p.now()
	for i := range s.CRLs {
		l := &s.CRLs[i]
		refresh, warn := l.Due()
		keyHere := true
		for _, ca := range s.CAs {
			if ca.Role == l.Issuer && ca.Key == l.Key {
				keyHere = ca.KeyIsHere
			}
		}
		name := "the CRL of the " + l.CA() + " "
		switch {
		case l.Older && !now.Before(l.Ends): // what it would say has expired, too
		case l.Number == nil:
			out = append(out, Due{What: name + "has never been made", List: l})
		case !now.Before(l.NextUpdate):
			out = append(out, Due{What: name + "has expired, and servers refuse everyone", List: l})
		case l.Overdue:
			out = append(out, Due{What: name + "lacks a revocation", List: l})
		case now.After(warn), now.After(refresh) && !keyHere:
			out = append(out, Due{What: name + "ends at " + l.NextUpdate.Format(time.RFC3339), List: l})
		case !l.InPlace:
			out = append(out, Due{What: name + "is not in its files", List: l})
		}
	}
	for i := range s.CAs {
		if what := s.CAs[i].due(now); what != "" {
			out = append(out, Due{What: what, CA: &s.CAs[i]})
		}
	}
	return out
}

// due says what a CA needs somebody for, or nothing. One that another has
// followed only has to go once it has expired.
func (ca *CAStatus) due(now time.Time) string {
	switch {
	case ca.Older && now.Before(ca.NotAfter):
		return ""
	case ca.Older:
		return "the older " + string(ca.Role) + " CA " + ca.Key + " has expired"
	case ca.Revoked:
		return "the " + string(ca.Role) + " CA is revoked"
	case !now.Before(ca.NotAfter):
		return "the " + string(ca.Role) + " CA has expired"
	case ca.NotAfter.Sub(now) < caWarning:
		return "the " + string(ca.Role) + " CA ends at " + ca.NotAfter.UTC().Format(time.RFC3339)
	}
	return ""
}
