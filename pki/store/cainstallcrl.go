package store

import (
	"bytes"
	"crypto/sha256"
	"database/sql"
	"errors"
	"fmt"
	"math/big"
	"time"

	"mutual/pki"
	"mutual/pki/authority"
	"mutual/pki/crl"
)

// installList takes a root's list and gives its number, or nil where it is
// known.
func (t *Tx) installList(der []byte) (taken *big.Int, err error) {
	list, err := crl.Parse(der)
	if err != nil {
		return nil, fmt.Errorf("reading the root's CRL: %w", err)
	}
	root, err := t.rootOf(list.Issuer())
	if err != nil {
		return nil, fmt.Errorf("the CRL: %w", err)
	}
	sum := sha256.Sum256(der)
	if fresh, err := t.checkList(list, root, sum[:]); err != nil || !fresh {
		return nil, err
	}
	if err := t.takeListed(list, root); err != nil {
		return nil, err
	}
	epoch, err := t.counter("epoch")
	if err != nil {
		return nil, err
	}
	number, err := t.append("crl", string(pki.KindRoot), map[string]any{"key": shortID(root.keyID), "installed": true,
		"number": list.Number().String(), "thisUpdate": list.ThisUpdate(), "nextUpdate": list.NextUpdate(), "entries": list.Len(),
		"sha256": fmt.Sprintf("%x", sum)})
	if err != nil {
		return nil, err
	}
	if err := t.exec("recording the CRL", `INSERT INTO crl
		(issuer, number, this_update, next_update, entries, epoch, journal, signature, sha256, der)
		VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $9, $10)`,
		root.id, list.Number().Int64(), list.ThisUpdate().Unix(), list.NextUpdate().Unix(), list.Len(), epoch, number,
		list.Signature(), sum[:], der); err != nil {
		return nil, err
	}
	return list.Number(), t.takeDates(root.id, epoch, list)
}

// checkList refuses a list that is not the root's, not of now, older than what
// is known, or without a revocation that is known.
func (t *Tx) checkList(list *crl.List, root caRow, sum []byte) (fresh bool, err error) {
	if err := list.CheckSignature(root.cert); err != nil {
		return false, fmt.Errorf("the CRL is not signed by the root %s: %w", root.cert.Subject, err)
	}
	switch number := list.Number(); {
	case number == nil, !number.IsInt64():
		return false, errors.New("the CRL has no number, or none of ours")
	case list.NextUpdate().IsZero(), !t.now.Before(list.NextUpdate()):
		return false, fmt.Errorf("the CRL expired at %s", list.NextUpdate().Format(time.RFC3339))
	case list.ThisUpdate().After(t.now):
		return false, fmt.Errorf("the CRL is from the future (%s): servers would refuse everyone", list.ThisUpdate().Format(time.RFC3339))
	case len(list.AuthorityKeyID()) > 0 && !bytes.Equal(list.AuthorityKeyID(), root.keyID):
		return false, errors.New("the CRL names another key than the root's")
	}
	var last sql.NullInt64
	var known []byte
	err = t.tx.QueryRowContext(t.ctx, `SELECT number, sha256 FROM crl WHERE issuer = $1 ORDER BY number DESC LIMIT 1`, root.id).Scan(&last, &known)
	switch {
	case isNoRows(err):
	case err != nil:
		return false, wrap("reading the CRLs", err)
	case bytes.Equal(known, sum):
		return false, nil
	case list.Number().Cmp(big.NewInt(last.Int64)) <= 0:
		return false, fmt.Errorf("the CRL has number %s, and the newest that is known has %d: it would let revoked certificates back in", list.Number(), last.Int64)
	}
	revoked, err := t.pki.all(t.ctx, t.tx, "r.reason IS NOT NULL AND c.issuer = $1 AND c.not_after > $2", root.id, t.now.Unix())
	if err != nil {
		return false, err
	}
	for _, c := range revoked {
		if _, ok := list.Lookup(c.Serial); !ok {
			return false, fmt.Errorf("the CRL lacks serial %s, which is revoked here", c.Serial)
		}
	}
	return true, nil
}

// takeListed records what the list revokes and the inventory does not.
func (t *Tx) takeListed(list *crl.List, root caRow) error {
	issued, err := t.pki.all(t.ctx, t.tx, "c.issuer = $1 AND r.reason IS NULL", root.id)
	if err != nil {
		return err
	}
	w, err := t.change("revoke")
	if err != nil {
		return err
	}
	for _, c := range issued {
		e, ok := list.Lookup(c.Serial)
		if !ok || c.Kind == pki.KindRoot {
			continue
		}
		if err := w.revocation(c, &authority.Revocation{Reason: e.Reason, Done: e.RevocationDate, ListedFrom: e.RevocationDate}); err != nil {
			return err
		}
	}
	return w.end()
}

// takeDates gives the revocations that the list carries for the first time the
// date that they have in it.
func (t *Tx) takeDates(issuer, epoch int64, list *crl.List) error {
	fresh, err := t.pki.all(t.ctx, t.tx, "r.listed_from IS NULL AND r.reason IS NOT NULL AND r.epoch <= $1 AND c.issuer = $2", epoch, issuer)
	if err != nil {
		return err
	}
	for _, c := range fresh {
		if e, ok := list.Lookup(c.Serial); ok {
			c.Revocation.ListedFrom = e.RevocationDate
			if err := t.putRevocation(c); err != nil {
				return err
			}
		}
	}
	return nil
}
