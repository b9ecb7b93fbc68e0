package store

import (
	"errors"
	"os"
	"testing"
	"time"

	"mutual/pki"
	"mutual/pki/authority"
)

// A revocation that is gone from the database must not be gone from the list
// without a word.
func TestLostRevocation(t *testing.T) {
	for what, damage := range map[string]string{
		"row":         `DELETE FROM revocation`,
		"certificate": `UPDATE certificate SET sha256 = NULL WHERE kind = 'client'`,
	} {
		t.Run(what, func(t *testing.T) {
			f := newFixture(t)
			f.issue("alice", "")
			f.revoke("alice")
			f.sql(damage)
			if _, err := f.Refresh(t.Context(), RefreshRequest{}); !errors.Is(err, ErrDamaged) {
				t.Errorf("the list is made all the same: %v", err)
			}
			if _, _, err := f.VerifyJournal(t.Context(), nil); what == "row" && !as[*ChainError](err) {
				t.Errorf("the journal is good all the same: %v", err)
			}
		})
	}
}

func as[T error](err error) bool {
	_, ok := errors.AsType[T](err)
	return ok
}

// crl/ holds nothing that cannot be made again.
func TestListsDirectoryLost(t *testing.T) {
	f := newFixture(t)
	f.issue("alice", "")
	f.must(os.RemoveAll(f.Path(crlDir)))
	f.revoke("alice")
	if lists, err := f.CRLs(t.Context()); err != nil || !lists[0].InPlace || lists[0].Entries != 1 {
		t.Errorf("the lists are %+v, %v", lists, err)
	}
}

// A hold that becomes a revocation while its first list is being made keeps
// the date that the list gives it.
func TestDateOfAHoldThatBecomesARevocation(t *testing.T) {
	f := newFixture(t)
	c := f.issue("alice", "")
	record := func(reason pki.Reason, epoch int64) {
		c.Revocation, c.epoch = &authority.Revocation{Reason: reason, Done: f.now}, epoch
		f.must(f.update(t.Context(), nil, func(tx *Tx) error { return tx.putRevocation(c) }))
	}
	record(pki.CertificateHold, 1)
	snapshot, err := f.revokedBy(t.Context(), c.issuer)
	f.must(err)
	record(pki.KeyCompromise, 2)
	thisUpdate := f.now.Add(-10 * time.Minute)
	f.must(f.update(t.Context(), nil, func(tx *Tx) error { return tx.fixDates(snapshot.fresh, thisUpdate) }))
	got, err := f.Lookup(t.Context(), c.Fingerprint)
	f.must(err)
	if !got.Revocation.ListedFrom.Equal(thisUpdate) || got.Revocation.Reason != pki.KeyCompromise {
		t.Errorf("the revocation is %+v, and the list has the date %s", got.Revocation, thisUpdate)
	}
}
