package store

import (
	"context"
	"iter"
	"slices"

	"mutual/pki"
)

// Outcome is what an act of revoking did, or with a dry run would do. It
// remembers eight octets of each certificate and identity, and reads the rest
// again: an act may be about a million.
type Outcome struct {
	Selected int // certificates that the act looked at
	Changed  int // of these, the others were so already
	Epoch    int64
	CRLs     []Published

	pki     *PKI
	taken   []taken
	names   []int64         // identities that change
	blocks  bool            // they are blocked; else they are allowed
	would   *verb           // not nil: nothing was written
	issuers []int64         // whose lists it changes
	wants   map[int64]int64 // the epoch from which on the list of a CA says all that it asks for
}

// Changed is one certificate that an act looked at.
type Changed struct {
	Certificate
	Changed bool // false: it was so already
}

// taken is the row of a certificate that an act looked at, with two bits: it
// changes, and whether certificates are issued for its identity does.
type taken int64

const (
	takenChanged taken = 1 << iota
	takenNamed
	takenBits = iota
)

func (t taken) row() int64 { return int64(t >> takenBits) }

// take notes a certificate that the act looks at.
func (o *Outcome) take(c Certificate, changed, named bool) {
	t := taken(c.id) << takenBits
	if changed {
		t |= takenChanged
		o.Changed++
	}
	if named {
		t |= takenNamed
	}
	o.Selected++
	o.taken = append(o.taken, t)
	o.wantsList(c.issuer, c.epoch)
}

// wantsList notes that the act asks for something that the list of a CA says since an
// epoch; 0: it says nothing of it.
func (o *Outcome) wantsList(issuer, epoch int64) {
	if o.wants == nil {
		o.wants = map[int64]int64{}
	}
	o.wants[issuer] = max(o.wants[issuer], epoch)
}

// lacks reports whether a list does not say yet what the act asks for.
func (o *Outcome) lacks(l Published) bool {
	epoch := o.wants[l.ca]
	return epoch > 0 && (l.Number == nil || l.epoch < epoch)
}

// anyChange reports whether there is anything to write down.
func (o *Outcome) anyChange() bool { return o.Changed+len(o.names) > 0 }

// Blocked counts the identities that no certificate is issued for from now on.
func (o *Outcome) Blocked() int {
	if o.blocks {
		return len(o.names)
	}
	return 0
}

// Allowed counts the identities that certificates are issued for again.
func (o *Outcome) Allowed() int { return len(o.names) - o.Blocked() }

// Certificates gives the certificates that the act looked at, in the order in
// which they were selected, as they are now, or with a dry run would be.
func (o *Outcome) Certificates(ctx context.Context) iter.Seq2[Changed, error] {
	return func(yield func(Changed, error) bool) {
		for page := range slices.Chunk(o.taken, nextPage) {
			certs, err := o.read(ctx, page)
			if err != nil {
				yield(Changed{}, err)
				return
			}
			for _, c := range certs {
				if !yield(c, nil) {
					return
				}
			}
		}
	}
}

// read reads a page of what the act looked at.
func (o *Outcome) read(ctx context.Context, page []taken) ([]Changed, error) {
	ids := make([]int64, len(page))
	for i, t := range page {
		ids[i] = t.row()
	}
	certs, err := o.pki.byIDs(ctx, o.pki.db, ids)
	if err != nil {
		return nil, err
	}
	byID := make(map[int64]Certificate, len(certs))
	for _, c := range certs {
		byID[c.id] = c
	}
	out := make([]Changed, 0, len(page))
	for _, t := range page {
		c, known := byID[t.row()]
		if !known { // a probe's that was forgotten meanwhile
			continue
		}
		changed := t&takenChanged != 0
		if o.would != nil && o.would.blocks {
			if c.Revocation, _, err = o.would.certificate(c, false); err != nil {
				return nil, err
			}
		}
		if o.would != nil && t&takenNamed != 0 {
			c.NameBlocked = o.blocks
		}
		out = append(out, Changed{c, changed})
	}
	return out, nil
}

// Names gives the names of the identities that were blocked or allowed.
func (o *Outcome) Names(ctx context.Context) iter.Seq2[pki.Name, error] {
	return func(yield func(pki.Name, error) bool) {
		for page := range slices.Chunk(o.names, nextPage) {
			names, err := o.pki.namesOf(ctx, page)
			if err != nil {
				yield(pki.Name{}, err)
				return
			}
			for _, n := range names {
				if !yield(n, nil) {
					return
				}
			}
		}
	}
}
