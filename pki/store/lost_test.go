package store

import (
	"errors"
	"os"
	"testing"

	"mutual/pki"
	"mutual/pki/authority"
	"mutual/pki/pkitest"
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
	made, err := pkitest.IssueCRL(ca, []authority.Revoked{{Serial: c.Serial, NotAfter: c.NotAfter, Revocation: *c.Revocation}},
		authority.LastCRL{}, lifetime("30d"), f.now)
	f.must(err)
	record(pki.KeyCompromise, 2)
	f.must(f.update(t.Context(), nil, func(tx *Tx) error { return tx.fixDates(c.issuer, &madeList{CRL: made}) }))
	got, err := f.Lookup(t.Context(), c.Fingerprint)
	f.must(err)
	if !got.Revocation.ListedFrom.Equal(made.ThisUpdate) || got.Revocation.Reason != pki.KeyCompromise {
		t.Errorf("the revocation is %+v, and the list has the date %s", got.Revocation, made.ThisUpdate)
	}
}

// Acts that a database has lost, with no list of theirs out, are noticed.
func TestLostActs(t *testing.T) {
	f := newFixture(t)
	f.issue("alice", "")
	f.must(f.Close())
	old := read(t, f.Path(dbFile))
	f.reopen()
	f.issue("bob", "")
	f.must(f.Close())
	whole := read(t, f.Path(dbFile))
	note := read(t, f.Path(headFile))

	write(t, f.Path(dbFile), old)
	wantError(t, f.open(), ErrLost, "the database has lost acts that were done: restored or damaged: the journal ends at line 6, and line 7 was written")
	opts := f.options()
	opts.AllowRolledBack = true
	p, err := Open(t.Context(), f.dir, opts)
	f.must(err)
	if !errors.Is(p.RolledBack(), ErrLost) || !errors.Is(p.Publish(t.Context()), ErrLost) {
		t.Errorf("it is written to: %v", p.RolledBack())
	}
	f.must(p.Close())

	// Another history: the old database has gone on by itself.
	f.must(os.Remove(f.Path(headFile)))
	f.reopen()
	f.issue("mallory", "")
	f.must(f.Close())
	write(t, f.Path(headFile), note)
	wantError(t, f.open(), ErrLost, "line 7 of the journal is not the one that was written")

	// A note that is older, cut or damaged says nothing.
	write(t, f.Path(dbFile), whole)
	for _, data := range [][]byte{nil, note[:20], append([]byte("9"), note[1:]...)} {
		write(t, f.Path(headFile), data)
		f.must(f.open())
		f.must(f.Close())
	}
}
