package store

import (
	"context"
	"errors"
	"fmt"
	"slices"

	"mutual/pki"
	"mutual/pki/authority"
)

// verb is what an act of revoking makes of what is selected. It decides and
// writes nothing. chosen says that something was selected by itself, not by a
// pattern or a label.
type verb struct {
	act string
	// certificate gives what becomes of a certificate's revocation; nil: the act
	// is about identities only.
	certificate func(c Certificate, chosen bool) (next *authority.Revocation, changed bool, err error)
	// identity says whether an identity becomes blocked, or allowed.
	identity func(id Identity, chosen bool) (changed bool, err error)
	// done may refuse, when all that is selected was seen, what came of it.
	done func(o *Outcome) error

	blocks bool // identities; else it allows them
	reason pki.Reason
}

// Revoke revokes what is selected for the reason, blocks the selected
// identities, and publishes the CRLs. certificateHold holds instead. It is in
// force once it returns, with an *OverdueError also, which says that the CRL
// could not be made.
func (p *PKI) Revoke(ctx context.Context, s Selection, reason pki.Reason, dryRun bool) (*Outcome, error) {
	return p.act(ctx, p.revoking(reason), s, dryRun)
}

func (p *PKI) revoking(reason pki.Reason) verb {
	v := verb{act: "revoke", blocks: true, reason: reason}
	if reason == pki.CertificateHold {
		v.act = "hold"
	}
	v.certificate = func(c Certificate, _ bool) (*authority.Revocation, bool, error) {
		if err := authority.CheckReason(reason, c.Kind); err != nil {
			return nil, false, err
		}
		next, changed := authority.Revoke(c.Revocation, reason, p.now())
		return &next, changed, nil
	}
	v.identity = func(id Identity, _ bool) (bool, error) {
		changed := !id.Blocked || id.BlockReason == pki.CertificateHold && reason != pki.CertificateHold
		return changed, authority.CheckReason(reason, pki.KindClient) // nothing issued to a name is a CA's
	}
	return v
}

// Unhold ends holds: those certificates are valid again, and identities that
// were held may be issued to. A certificate or an identity that is revoked and
// not held is ErrNotHeld where it was selected itself or where all that was
// selected is so, and else stays so.
func (p *PKI) Unhold(ctx context.Context, s Selection, dryRun bool) (*Outcome, error) {
	var stays Certificate // the first that does
	others := false
	return p.act(ctx, verb{
		act: "unhold",
		certificate: func(c Certificate, chosen bool) (*authority.Revocation, bool, error) {
			switch {
			case !c.stays():
				others = true
				return nil, c.Revocation != nil, nil
			case chosen:
				return nil, false, c.errStays()
			case stays.Revocation == nil:
				stays = c
			}
			return c.Revocation, false, nil
		},
		identity: func(id Identity, chosen bool) (bool, error) {
			held := id.Blocked && id.BlockReason == pki.CertificateHold
			if id.Blocked && !held && chosen {
				return false, fmt.Errorf("%q: %w", id.Name, ErrNotHeld)
			}
			return held, nil
		},
		done: func(o *Outcome) error {
			if stays.Revocation != nil && !others && len(o.names) == 0 {
				return stays.errStays()
			}
			return nil
		},
	}, s, dryRun)
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
	return p.act(ctx, verb{act: "allow", identity: func(id Identity, _ bool) (bool, error) {
		if id.Blocked && id.BlockReason == pki.CertificateHold {
			return false, fmt.Errorf("%q is %w", id.Name, ErrHeld)
		}
		return id.Blocked, nil
	}}, Selection{Names: names}, dryRun)
}

// act is one transaction: each thing that is selected is read, decided on and
// written, and, unless nothing changes, journal and epoch; then the CRLs.
func (p *PKI) act(ctx context.Context, v verb, s Selection, dryRun bool) (*Outcome, error) {
	if s.CA { // only the root's list can say that the issuing CA is revoked
		if _, err := p.caFor(ctx, pki.KindRoot, s.RootKey); err != nil {
			return nil, err
		}
	}
	errDry := errors.New("dry run") // never leaves this function
	var o *Outcome
	err := p.update(ctx, p.signerAtHand(ctx), func(t *Tx) error {
		w, err := t.change(v.act)
		if err != nil {
			return err
		}
		o, w.dryRun = w.o, dryRun
		if err := w.selected(s, v); err != nil {
			return err
		}
		if v.done != nil {
			if err := v.done(o); err != nil {
				return err
			}
		}
		if dryRun {
			return errDry
		}
		return w.end()
	})
	switch {
	case err == errDry:
		o.would = &v
		return o, nil
	case err != nil:
		return nil, err
	case len(o.issuers) > 0:
		return o, p.publishAct(ctx, o)
	}
	// No list says anything else now, and one that should have said it may not be out.
	if o.CRLs, err = p.CRLs(ctx); err != nil {
		return o, err
	}
	if slices.ContainsFunc(o.CRLs, func(l Published) bool { return o.lacks(l) || o.wants[l.ca] > 0 && !l.InPlace }) {
		return o, p.publishAct(ctx, o)
	}
	return o, nil
}

// change is an act that is being written: a certificate or an identity after the
// other, and in the end its line in the journal. Its memory does not grow with
// their number but by what an Outcome keeps.
type change struct {
	t       *Tx
	act     string
	dryRun  bool
	epoch   int64 // that it will have
	subject string
	details actDetails
	o       *Outcome
}

// actDetails are what the journal says of an act: serials, reasons and names, at
// most a thousand of each; the rest can be found by the epoch.
type actDetails struct {
	Certificates []actDetail `json:"certificates,omitempty"`
	Count        int         `json:"count"`
	Blocked      []pki.Name  `json:"blocked,omitempty"`
	Allowed      []pki.Name  `json:"allowed,omitempty"`
}

type actDetail struct {
	Serial pki.Serial `json:"serial"`
	Reason string     `json:"reason,omitempty"`
}

const maxDetails = 1000

// change begins an act.
func (t *Tx) change(act string) (*change, error) {
	epoch, err := t.counter("epoch")
	return &change{t: t, act: act, epoch: epoch + 1, o: &Outcome{pki: t.pki}}, err
}

// revocation gives a certificate its next revocation; nil ends the one that it
// has.
func (w *change) revocation(c Certificate, next *authority.Revocation) error {
	d := &w.details
	if d.Count++; d.Count <= maxDetails {
		entry := actDetail{Serial: c.Serial}
		if next != nil {
			entry.Reason = next.Reason.String()
		}
		d.Certificates = append(d.Certificates, entry)
	}
	if d.Count == 1 {
		w.subject = subjectOf(c.Name, c.Kind)
	}
	if !slices.Contains(w.o.issuers, c.issuer) {
		w.o.issuers = append(w.o.issuers, c.issuer)
	}
	w.o.wantsList(c.issuer, w.epoch)
	if w.dryRun {
		return nil
	}
	if next == nil {
		return w.t.endHold(c, w.epoch)
	}
	c.Revocation, c.epoch = next, w.epoch
	return w.t.putRevocation(c)
}

// block blocks an identity, or allows it.
func (w *change) block(id Identity, blocks bool, reason pki.Reason) error {
	w.o.names = append(w.o.names, id.id)
	w.o.blocks = blocks
	names := &w.details.Allowed
	if blocks {
		names = &w.details.Blocked
	}
	if len(*names) < maxDetails {
		*names = append(*names, id.Name)
	}
	switch {
	case w.dryRun:
		return nil
	case blocks:
		return w.t.exec("blocking the identity", `UPDATE identity SET blocked = COALESCE(blocked, $1), block_reason = $2 WHERE id = $3`,
			w.t.now.Unix(), int64(reason), id.id)
	}
	return w.t.exec("allowing the identity", `UPDATE identity SET blocked = NULL, block_reason = NULL WHERE id = $1`, id.id)
}

// end writes journal and epoch of an act that has changed something.
func (w *change) end() error {
	d := &w.details
	for _, n := range slices.Concat(d.Blocked, d.Allowed) {
		if w.subject == "" {
			w.subject = n.String()
		}
	}
	if d.Count == 0 && len(w.o.names) == 0 {
		return nil
	}
	number, err := w.t.append(w.act, w.subject, d)
	if err != nil {
		return err
	}
	w.o.Epoch, err = w.t.nextEpoch(w.act, number, w.o.issuers...)
	return err
}
