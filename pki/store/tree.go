package store

import (
	"context"
	"fmt"

	"mutual/pki"
)

// Branch is a certificate and what it has issued.
type Branch struct {
	Certificate
	Issued []*Branch
}

// Tree gives the roots in use, the newest first, below each the issuing CAs in
// use that it has signed, and below those their leaves that have not expired,
// the one that expires first first. The certificate by which an older root
// vouches for the next stands below the older one.
func (p *PKI) Tree(ctx context.Context) ([]*Branch, error) {
	rows, err := caRows(ctx, p.db)
	if err != nil {
		return nil, err
	}
	var roots []*Branch
	byCA := map[int64]*Branch{}
	for _, r := range rows { // the roots come first
		known, err := p.Lookup(ctx, pki.FingerprintOf(r.cert.Raw))
		if err != nil {
			return nil, err
		}
		b := &Branch{Certificate: known}
		byCA[r.id] = b
		above := byCA[known.issuer]
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
	return roots, p.List(ctx, Filter{}, func(c Certificate) error {
		if by := byCA[c.issuer]; by != nil && (!c.Kind.IsCA() || c.Kind == pki.KindCross) {
			by.Issued = append(by.Issued, &Branch{Certificate: c})
		}
		return nil
	})
}
