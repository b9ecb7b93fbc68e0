package store

import (
	"context"
	"crypto"
	"fmt"

	"mutual/pki"
	"mutual/pki/authority"
)

// IssueMany issues to client-1 to client-COUNT in one transaction, for tests
// that need a large inventory.
func IssueMany(ctx context.Context, p *PKI, count int, key crypto.PublicKey) error {
	ca, err := p.Issuing(ctx)
	if err != nil {
		return err
	}
	settings, err := p.Settings(ctx)
	if err != nil {
		return err
	}
	return p.update(ctx, nil, func(t *Tx) error {
		for i := range count {
			name, err := pki.ParseAnyName(fmt.Sprintf("client-%d", i+1))
			if err != nil {
				return err
			}
			req := IssueRequest{Kind: pki.KindClient, Name: name, PublicKey: key}
			asked, err := req.profile(settings, ca.Certificate(), p)
			if err != nil {
				return err
			}
			serial, err := authority.NewSerial(nil)
			if err != nil {
				return err
			}
			prepared, err := ca.Prepare(asked, authority.Subject{Name: name, Serial: serial}, p.now())
			if err != nil {
				return err
			}
			if _, err := prepared.Issue(t); err != nil {
				return err
			}
		}
		return nil
	})
}
