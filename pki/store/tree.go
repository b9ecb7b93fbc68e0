package store

import (
	"context"
	"fmt"
	"iter"
	"math"

	"mutual/pki"
)

// Branch is a CA's certificate and what it has issued: other CAs' certificates,
// and leaves, which may be many.
type Branch struct {
	Certificate
	Issued []*Branch
	Leaves int // how many have not expired

	pki *PKI
	ca  int64 // 0: the certificate by which a root vouches for another
}

// Tree gives the roots in use, the newest first, and below each the issuing CAs
// in use that it has signed. The certificate by which an older root vouches for
// the next stands below the older one.
func (p *PKI) Tree(ctx context.Context) ([]*Branch, error) {
	rows, err := caRows(ctx, p.db)
	if err != nil {
		return nil, err
	}
	var roots []*Branch
	byCA := map[int64]*Branch{}
	for _, r := range rows { // the roots come first
		b := &Branch{pki: p, ca: r.id}
		if b.Certificate, err = p.Lookup(ctx, pki.FingerprintOf(r.cert.Raw)); err != nil {
			return nil, err
		}
		if b.Leaves, err = p.countIssued(ctx, r.id); err != nil {
			return nil, err
		}
		byCA[r.id] = b
		above := byCA[b.issuer]
		switch {
		case r.role == pki.KindRoot:
			roots = append(roots, b)
		case above != nil:
			above.Issued = append(above.Issued, b)
		default: // its root is retired
			roots = append(roots, b)
		}
	}
	if len(roots) == 0 {
		return nil, fmt.Errorf("%w: it holds no root", ErrDamaged)
	}
	return roots, p.List(ctx, Filter{Kind: pki.KindCross}, func(c Certificate) error {
		if by := byCA[c.issuer]; by != nil {
			by.Issued = append(by.Issued, &Branch{Certificate: c})
		}
		return nil
	})
}

// aLeaf is the condition for the leaves that a tree shows.
const aLeaf = "c.sha256 IS NOT NULL AND c.kind IN ('client', 'server')"

// countIssued counts the leaves of a CA that have not expired: from what is kept
// by hour, and from the rows of this hour.
func (p *PKI) countIssued(ctx context.Context, ca int64) (int, error) {
	now := p.now().Unix()
	until, kept := int64(math.MaxInt64), 0
	if p.schema.Load() >= versionScale {
		until = (hourOf(now) + 1) * 3600
		if err := p.db.QueryRowContext(ctx, `SELECT COALESCE(SUM(in_force + held + revoked), 0) FROM expiry WHERE issuer = $1 AND hour > $2`,
			ca, hourOf(now)).Scan(&kept); err != nil {
			return 0, wrap("counting the certificates", err)
		}
	}
	var rows int
	err := p.db.QueryRowContext(ctx, `SELECT COUNT(*) FROM certificate c WHERE c.not_after > $1 AND c.not_after < $2 AND COALESCE(c.issuer, 0) = $3
		AND `+aLeaf, now, until, ca).Scan(&rows)
	return kept + rows, wrap("counting the certificates", err)
}

// All gives the leaves that have not expired, the one that expires first first.
// Only the hours are read in which one of this CA ends.
func (b *Branch) All(ctx context.Context) iter.Seq2[Certificate, error] {
	return func(yield func(Certificate, error) bool) {
		if b.Leaves == 0 {
			return
		}
		hours, err := b.hours(ctx)
		if err != nil {
			yield(Certificate{}, err)
			return
		}
		for _, hour := range hours {
			if !b.within(ctx, hour, yield) {
				return
			}
		}
	}
}

// span is a part of time, in seconds: from after the one to before the other.
type span struct{ after, before int64 }

// hours gives the hours from now on in which a leaf ends. An older database does
// not say which: then it is one long one.
func (b *Branch) hours(ctx context.Context) ([]span, error) {
	now := b.pki.now().Unix()
	if b.pki.schema.Load() < versionScale {
		return []span{{now, math.MaxInt64}}, nil
	}
	rows, err := b.pki.db.QueryContext(ctx, `SELECT hour FROM expiry WHERE issuer = $1 AND hour >= $2 AND in_force + held + revoked > 0
		ORDER BY hour`, b.ca, hourOf(now))
	if err != nil {
		return nil, wrap("counting the certificates", err)
	}
	defer func() { _ = rows.Close() }() // Err below reports what matters
	var out []span
	for rows.Next() {
		var hour int64
		if err := rows.Scan(&hour); err != nil {
			return nil, wrap("counting the certificates", err)
		}
		out = append(out, span{max(now, hour*3600-1), (hour + 1) * 3600})
	}
	return out, wrap("counting the certificates", rows.Err())
}

// within yields the leaves that end within a span, and reports whether more are
// wanted.
func (b *Branch) within(ctx context.Context, s span, yield func(Certificate, error) bool) bool {
	after := position{s.after, math.MaxInt64}
	for limit := firstPage; ; limit = nextPage {
		page, err := b.pki.all(ctx, b.pki.db, fmt.Sprintf(`(c.not_after, c.id) > ($1, $2) AND c.not_after < $3 AND COALESCE(c.issuer, 0) = $4
			AND %s ORDER BY c.not_after, c.id LIMIT %d`, aLeaf, limit), after.notAfter, after.id, s.before, b.ca)
		if err != nil {
			return yield(Certificate{}, err) && false
		}
		for _, c := range page {
			after = position{c.NotAfter.Unix(), c.id}
			if !yield(c, nil) {
				return false
			}
		}
		if len(page) < limit {
			return true
		}
	}
}
