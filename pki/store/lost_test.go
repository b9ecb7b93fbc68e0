package store

import (
	"errors"
	"os"
	"testing"

	"mutual/pki"
	"mutual/pki/authority"
)

// A revocation that is gone from the database must not be gone from the list
// without a word.
func TestLostRevocation(t *testing.T) {
	f := newFixture(t)
	f.issue("alice", "")
	f.revoke("alice")
	f.sql(`DELETE FROM revocation`)
	if _, err := f.Refresh(t.Context(), RefreshRequest{}); !errors.Is(err, ErrDamaged) {
		t.Errorf("the list is made all the same: %v", err)
	}
	if _, _, err := f.VerifyJournal(t.Context(), nil); !as[*ChainError](err) {
		t.Errorf("the journal is good all the same: %v", err)
	}
}

// A revocation whose certificate is gone stays in the list that is made of the
// last one, and is missed by one that is made anew.
func TestLostCertificate(t *testing.T) {
	f := newFixture(t)
	c := f.issue("alice", "")
	f.revoke("alice")
	f.sql(`UPDATE certificate SET sha256 = NULL WHERE kind = 'client'`)
	_, err := f.Refresh(t.Context(), RefreshRequest{})
	f.must(err)
	f.entry(c.Serial)
	f.must(os.Remove(f.Path("crl/issuing.crl")))
	if _, err := f.Refresh(t.Context(), RefreshRequest{}); !errors.Is(err, ErrDamaged) {
		t.Errorf("the list is made all the same: %v", err)
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
	ca, err := f.Issuing(t.Context())
	f.must(err)
	made, err := ca.IssueCRL([]authority.Revoked{{Serial: c.Serial, NotAfter: c.NotAfter, Revocation: *c.Revocation}},
		authority.LastCRL{}, lifetime("30d"), f.now)
	f.must(err)
	record(pki.KeyCompromise, 2)
	f.must(f.update(t.Context(), nil, func(tx *Tx) error { return tx.fixDates(c.issuer, made.DER) }))
	got, err := f.Lookup(t.Context(), c.Fingerprint)
	f.must(err)
	if !got.Revocation.ListedFrom.Equal(made.ThisUpdate) || got.Revocation.Reason != pki.KeyCompromise {
		t.Errorf("the revocation is %+v, and the list has the date %s", got.Revocation, made.ThisUpdate)
	}
}
