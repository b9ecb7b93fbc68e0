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

// Tree gives the root with the issuing CAs in use below it, and below each its
// leaves that have not expired, the one that expires first first.
func (p *PKI) Tree(ctx context.Context) (*Branch, error) {
	rows, err := caRows(ctx, p.db)
	if err != nil {
		return nil, err
	}
	var root *Branch
	byCA := map[int64]*Branch{}
	for _, r := range rows { // the root comes first
		known, err := p.Lookup(ctx, pki.FingerprintOf(r.cert.Raw))
		if err != nil {
			return nil, err
		}
		b := &Branch{Certificate: known}
		byCA[r.id] = b
		if root == nil {
			root = b
		} else {
			root.Issued = append(root.Issued, b)
		}
	}
	if root == nil {
		return nil, fmt.Errorf("%w: it holds no root", ErrDamaged)
	}
	return root, p.List(ctx, Filter{}, func(c Certificate) error {
		if by := byCA[c.issuer]; by != nil && !c.Kind.IsCA() {
			by.Issued = append(by.Issued, &Branch{Certificate: c})
		}
		return nil
	})
}
