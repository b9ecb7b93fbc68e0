package store

import (
	"context"
	"crypto/rand"
	"crypto/sha256"
	"fmt"
	"time"

	"mutual/pki"
)

// record writes, in one transaction, that the PKI was restored, and what is
// taken over. The epoch grows by one: whoever remembers a pair of epoch and
// journal hash finds either the same pair or, for every epoch after the
// backup's, another hash. A random value in the line makes it so for two PKIs
// that were restored from one backup.
func (r *restorer) record(ctx context.Context, c *comparison) error {
	return r.pki.update(ctx, r.pki.signerAtHand(ctx), func(t *Tx) error {
		if err := t.tick(); err != nil {
			return err
		}
		m := r.done.Manifest
		number, err := t.append("restore", m.Head.String(), map[string]any{
			"backup": m.Created, "epoch": m.Epoch, "revoked": len(c.take), "blocked": c.blockNames(), "lists": c.listNumbers(),
			"id": rand.Text(),
		})
		if err != nil {
			return err
		}
		issuers, err := c.issuers(t, r.keys)
		if err != nil {
			return err
		}
		if r.done.Epoch, err = t.nextEpoch("restore", number, issuers...); err != nil {
			return err
		}
		if err := t.putCounter(restoredCounter, t.now.Unix()); err != nil {
			return err
		}
		if err := t.takeRevocations(c, r.done.Epoch); err != nil {
			return err
		}
		return t.adoptLists(c, m.Epoch, number)
	})
}

// issuers are the CAs whose lists must be made anew: the issuing ones, whose
// published list may know more than this PKI, those whose keys came with the
// backup, and those with something new.
func (c *comparison) issuers(t *Tx, keys map[int64]bool) ([]int64, error) {
	rows, err := caRows(t.ctx, t.tx)
	if err != nil {
		return nil, err
	}
	changed := map[int64]bool{}
	for _, taken := range c.take {
		changed[taken.issuer] = true
	}
	var out []int64
	for _, row := range rows {
		adopted := c.lists[row.id] != nil && c.lists[row.id].unknown > 0
		if row.role == pki.KindIssuing || keys[row.id] || changed[row.id] || adopted {
			out = append(out, row.id)
		}
	}
	return out, nil
}

func (t *Tx) putCounter(name string, v int64) error {
	return t.exec("writing the counter "+name,
		`INSERT INTO counters (name, value) VALUES ($1, $2) ON CONFLICT (name) DO UPDATE SET value = $2`, name, v)
}

func (t *Tx) takeRevocations(c *comparison, epoch int64) error {
	for _, taken := range c.take {
		taken.epoch = epoch
		if err := t.putRevocation(taken); err != nil {
			return err
		}
	}
	for _, b := range c.later.Blocked {
		if !b.Taken {
			continue
		}
		if err := t.exec("blocking the identity", `UPDATE identity SET blocked = $1, block_reason = $2 WHERE name = $3`,
			t.now.Unix(), int64(b.Reason), b.Name.String()); err != nil {
			return err
		}
	}
	return nil
}

// adoptLists records the newest lists that are known beyond the backup: the
// next ones come after them, and they stay in the files where their CA's key is
// not at hand. epoch is one that they certainly cover.
func (t *Tx) adoptLists(c *comparison, epoch, journal int64) error {
	for ca, known := range c.lists {
		l := known.list
		sum := sha256.Sum256(l.Raw())
		if err := t.exec("recording the CRL", `INSERT INTO crl
			(issuer, number, this_update, next_update, entries, epoch, journal, signature, sha256, der)
			VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $9, $10)`,
			ca, l.Number().Int64(), l.ThisUpdate().Unix(), l.NextUpdate().Unix(), l.Len(), epoch, journal,
			l.Signature(), sum[:], l.Raw()); err != nil {
			return err
		}
		if known.unknown > 0 {
			if err := t.putCounter(adoptedCounter(ca), l.Number().Int64()); err != nil {
				return err
			}
		}
	}
	return nil
}

// blockNames and listNumbers are for the journal.
func (c *comparison) blockNames() []pki.Name {
	var out []pki.Name
	for _, b := range c.later.Blocked {
		if b.Taken {
			out = append(out, b.Name)
		}
	}
	return out[:min(len(out), 1000)]
}

func (c *comparison) listNumbers() []string {
	var out []string
	for _, l := range c.lists {
		out = append(out, fmt.Sprintf("%s, %s", l.list.Number(), l.list.ThisUpdate().Format(time.RFC3339)))
	}
	return out
}
