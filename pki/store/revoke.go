package store

import (
	"context"
	"errors"
	"fmt"
	"slices"

	"mutual/pki"
	"mutual/pki/authority"
)

// Changed is one certificate that an act looked at.
type Changed struct {
	Certificate
	Changed bool // false: it was so already
}

// Outcome is what an act of revoking did, or with a dry run would do.
type Outcome struct {
	Certificates []Changed
	Blocked      []pki.Name // identities that no certificate is issued for from now on
	Allowed      []pki.Name // identities that certificates are issued for again
	Epoch        int64
	CRLs         []Published

	issuers []int64 // whose lists it changes
}

// anyChange reports whether there is anything to write down.
func (o *Outcome) anyChange() bool {
	return len(o.Blocked)+len(o.Allowed) > 0 ||
		slices.ContainsFunc(o.Certificates, func(c Changed) bool { return c.Changed })
}

// Revoke revokes what is selected for the reason, blocks the selected
// identities, and publishes the CRLs. certificateHold holds instead. It is in
// force once it returns, with an *OverdueError also, which says that the CRL
// could not be made.
func (p *PKI) Revoke(ctx context.Context, s Selection, reason pki.Reason, dryRun bool) (*Outcome, error) {
	act := "revoke"
	if reason == pki.CertificateHold {
		act = "hold"
	}
	return p.act(ctx, act, s, dryRun, func(t *Tx, o *Outcome, certs []Certificate, ids []Identity) error {
		for _, c := range certs {
			if err := authority.CheckReason(reason, c.Kind); err != nil {
				return err
			}
			next, changed := authority.Revoke(c.Revocation, reason, t.now)
			c.Revocation = &next
			o.Certificates = append(o.Certificates, Changed{c, changed})
		}
		for _, id := range ids {
			if err := authority.CheckReason(reason, pki.KindClient); err != nil { // nothing issued to a name is a CA's
				return err
			}
			if !id.Blocked || id.BlockReason == pki.CertificateHold && reason != pki.CertificateHold {
				o.Blocked = append(o.Blocked, id.Name)
			}
		}
		return nil
	}, func(t *Tx, o *Outcome, epoch int64) error {
		for i := range o.Certificates {
			if c := &o.Certificates[i]; c.Changed {
				c.epoch = epoch
				if err := t.putRevocation(c.Certificate); err != nil {
					return err
				}
			}
		}
		for _, name := range o.Blocked {
			if err := t.exec("blocking the identity", `UPDATE identity SET blocked = COALESCE(blocked, $1), block_reason = $2 WHERE name = $3`,
				t.now.Unix(), int64(reason), name.String()); err != nil {
				return err
			}
		}
		return nil
	})
}

// Unhold ends holds: those certificates are valid again, and identities that
// were held may be issued to. A certificate or an identity that is revoked and
// not held is ErrNotHeld where it was selected itself or where all that was
// selected is so, and else stays so.
func (p *PKI) Unhold(ctx context.Context, s Selection, dryRun bool) (*Outcome, error) {
	return p.act(ctx, "unhold", s, dryRun, func(t *Tx, o *Outcome, certs []Certificate, ids []Identity) error {
		for _, c := range certs {
			if c.stays() && slices.Contains(s.Certificates, c.Fingerprint) {
				return c.errStays()
			}
			o.Certificates = append(o.Certificates, Changed{c, c.Revocation != nil && !c.stays()})
		}
		for _, id := range ids {
			switch {
			case id.Blocked && id.BlockReason == pki.CertificateHold:
				o.Allowed = append(o.Allowed, id.Name)
			case id.Blocked && slices.Contains(s.Names, id.Name):
				return fmt.Errorf("%q: %w", id.Name, ErrNotHeld)
			}
		}
		if len(certs) > 0 && len(o.Allowed) == 0 && !slices.ContainsFunc(certs, func(c Certificate) bool { return !c.stays() }) {
			return certs[0].errStays()
		}
		return nil
	}, func(t *Tx, o *Outcome, epoch int64) error {
		for _, c := range o.Certificates {
			if c.Changed {
				if err := t.endHold(c.Certificate, epoch); err != nil {
					return err
				}
			}
		}
		for i := range o.Certificates {
			if o.Certificates[i].Changed {
				o.Certificates[i].Revocation = nil
			}
		}
		return t.allow(o.Allowed)
	})
}

// stays reports whether a certificate is revoked for good.
func (c Certificate) stays() bool {
	return c.Revocation != nil && c.Revocation.Reason != pki.CertificateHold
}

func (c Certificate) errStays() error {
	return fmt.Errorf("%s, serial %s: %w", subjectOf(c.Name, c.Kind), c.Serial, ErrNotHeld)
}

// Allow lets certificates be issued again for identities that were revoked.
// What is revoked stays so. One that is held is ErrHeld.
func (p *PKI) Allow(ctx context.Context, names []pki.Name, dryRun bool) (*Outcome, error) {
	return p.act(ctx, "allow", Selection{Names: names}, dryRun, func(t *Tx, o *Outcome, _ []Certificate, ids []Identity) error {
		for _, id := range ids {
			if id.Blocked && id.BlockReason == pki.CertificateHold {
				return fmt.Errorf("%q is %w", id.Name, ErrHeld)
			}
			if id.Blocked {
				o.Allowed = append(o.Allowed, id.Name)
			}
		}
		return nil
	}, func(t *Tx, o *Outcome, _ int64) error { return t.allow(o.Allowed) })
}

func (t *Tx) allow(names []pki.Name) error {
	for _, name := range names {
		if err := t.exec("allowing the identity", `UPDATE identity SET blocked = NULL, block_reason = NULL WHERE name = $1`, name.String()); err != nil {
			return err
		}
	}
	return nil
}

// act is one transaction: select, decide, and, unless nothing changes, write
// journal, epoch and the changes; then the CRLs.
func (p *PKI) act(ctx context.Context, name string, s Selection, dryRun bool,
	decide func(*Tx, *Outcome, []Certificate, []Identity) error,
	write func(t *Tx, o *Outcome, epoch int64) error,
) (*Outcome, error) {
	o := &Outcome{}
	errDry := errors.New("dry run") // never leaves this function
	if s.CA {                       // only the root's list can say that the issuing CA is revoked
		if _, err := p.caFor(ctx, pki.KindRoot, s.RootKey); err != nil {
			return nil, err
		}
	}
	signer := p.signerAtHand(ctx)
	err := p.update(ctx, signer, func(t *Tx) error {
		certs, ids, err := t.selected(s)
		if err != nil {
			return err
		}
		if err := decide(t, o, certs, ids); err != nil {
			return err
		}
		o.markNames()
		if dryRun {
			return errDry
		}
		if !o.anyChange() {
			return nil
		}
		return t.record(name, o, write)
	})
	switch {
	case err == errDry:
		return o, nil
	case err != nil:
		return nil, err
	case len(o.issuers) == 0: // no list says anything else now
		o.CRLs, err = p.CRLs(ctx)
		return o, err
	}
	return o, p.publishAct(ctx, o)
}

// markNames makes the certificates say whether their names will be blocked.
func (o *Outcome) markNames() {
	blocked := map[pki.Name]bool{}
	for _, n := range o.Blocked {
		blocked[n] = true
	}
	for _, n := range o.Allowed {
		blocked[n] = false
	}
	for i := range o.Certificates {
		c := &o.Certificates[i]
		if after, changes := blocked[c.Name]; changes {
			c.NameBlocked = after
		}
	}
}

// record writes journal, epoch and changes of an act.
func (t *Tx) record(name string, o *Outcome, write func(*Tx, *Outcome, int64) error) error {
	number, err := t.append(name, o.subject(), o.details())
	if err != nil {
		return err
	}
	for _, c := range o.Certificates {
		if c.Changed && !slices.Contains(o.issuers, c.issuer) {
			o.issuers = append(o.issuers, c.issuer)
		}
	}
	if o.Epoch, err = t.nextEpoch(name, number, o.issuers...); err != nil {
		return err
	}
	return write(t, o, o.Epoch)
}

// subject is what the journal's line is about: the first few names.
func (o *Outcome) subject() string {
	for _, c := range o.Certificates {
		if c.Changed {
			return subjectOf(c.Name, c.Kind)
		}
	}
	for _, n := range append(o.Blocked, o.Allowed...) {
		return n.String()
	}
	return ""
}

// details lists serials, reasons and names, at most a thousand of each: the
// rest can be found by the epoch.
func (o *Outcome) details() any {
	const most = 1000
	type one struct {
		Serial pki.Serial `json:"serial"`
		Reason string     `json:"reason,omitempty"`
	}
	d := struct {
		Certificates []one      `json:"certificates,omitempty"`
		Count        int        `json:"count"`
		Blocked      []pki.Name `json:"blocked,omitempty"`
		Allowed      []pki.Name `json:"allowed,omitempty"`
	}{Blocked: o.Blocked[:min(most, len(o.Blocked))], Allowed: o.Allowed[:min(most, len(o.Allowed))]}
	for _, c := range o.Certificates {
		if !c.Changed {
			continue
		}
		if d.Count++; d.Count <= most {
			entry := one{Serial: c.Serial}
			if c.Revocation != nil {
				entry.Reason = c.Revocation.Reason.String()
			}
			d.Certificates = append(d.Certificates, entry)
		}
	}
	return d
}
