package store

import (
	"bytes"
	"errors"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"mutual/pki"
)

// copyPKI copies a closed PKI with the modes that it must have.
func (f *fixture) copyPKI(from, to string) {
	f.t.Helper()
	f.must(os.CopyFS(to, os.DirFS(from)))
	f.must(os.Chmod(to, 0o700))
	for _, n := range []string{dbFile, "root.key", "issuing.key"} {
		f.must(os.Chmod(filepath.Join(to, n), 0o600))
	}
}

// putBack makes a PKI that publishes, revokes alice in it, and puts a copy of
// the whole PKI back that was made before.
func putBack(t *testing.T) (f *fixture, published string) {
	t.Helper()
	published = filepath.Join(t.TempDir(), "pub")
	f = newFixture(t, func(r *InitRequest) { r.Settings.Publish = published })
	f.issue("alice", "")
	f.must(f.Close())
	backup := filepath.Join(t.TempDir(), "pki")
	f.copyPKI(f.dir, backup)
	f.reopen()
	f.now = f.now.Add(time.Hour)
	f.revoke("alice")
	f.must(f.Close())
	f.must(os.RemoveAll(f.dir))
	f.copyPKI(backup, f.dir)
	f.now = f.now.Add(time.Hour)
	return f, published
}

// A PKI that was put back as a whole is found out by what servers read.
func TestRolledBackWhole(t *testing.T) {
	for _, gone := range []string{"", "crl/issuing.crl"} { // then the PEM file tells
		f, published := putBack(t)
		tells := "crl/issuing.crl"
		if gone != "" {
			f.must(os.Remove(filepath.Join(published, gone)))
			tells = "crl/issuing.pem"
		}
		before := read(t, filepath.Join(published, "crl/chain.pem"))
		wantError(t, f.open(), ErrRolledBack, filepath.Join(published, tells)+" has number ")
		if !bytes.Equal(before, read(t, filepath.Join(published, "crl/chain.pem"))) {
			t.Error("what servers read was replaced")
		}
	}
}

// For looking such a PKI opens and says so; no act is done in it.
func TestAllowRolledBack(t *testing.T) {
	f, published := putBack(t)
	opts := f.options()
	opts.AllowRolledBack = true
	p, err := Open(t.Context(), f.dir, opts)
	f.must(err)
	f.PKI = p
	wantError(t, f.RolledBack(), ErrRolledBack, published)
	if got := f.list(Filter{}); !slices.Contains(got, "alice") {
		t.Errorf("listed are %v", got)
	}
	s, err := f.Status(t.Context())
	f.must(err)
	if due := f.Due(s); len(due) != 1 || due[0].Remedy != RemedyRestore || !strings.HasPrefix(due[0].What, "the database is older") {
		t.Errorf("due is %v", due)
	}
	_, err = f.tryIssue("bob", "")
	wantError(t, err, ErrRolledBack, published)
	_, err = f.Refresh(t.Context(), RefreshRequest{})
	wantError(t, err, ErrRolledBack, published)
	_, err = f.Upkeep(t.Context())
	wantError(t, err, ErrRolledBack, published)
	_, err = f.Revoke(t.Context(), Selection{Names: []pki.Name{name("alice")}}, pki.Unspecified, false)
	wantError(t, err, ErrRolledBack, published)
}

// A list that appears after the PKI was opened is not replaced by an older one
// either.
func TestNewerListStays(t *testing.T) {
	f := newFixture(t)
	published := filepath.Join(t.TempDir(), "pub")
	_, _, err := f.Set(t.Context(), "publish", published)
	f.must(err)
	old := filepath.Join(t.TempDir(), "old")
	f.must(f.Close())
	f.copyPKI(f.dir, old)
	f.reopen()
	stale, err := Open(t.Context(), old, f.options())
	f.must(err)
	defer func() { _ = stale.Close() }() // only this test's
	f.now = f.now.Add(time.Hour)
	f.issue("alice", "")
	f.revoke("alice")
	f.now = f.now.Add(-30 * time.Minute)
	_, err = stale.Refresh(t.Context(), RefreshRequest{})
	var where *PublishError
	if !errors.As(err, &where) || where.Dir != published {
		t.Errorf("the error is %v", err)
	}
	wantError(t, err, ErrRolledBack, "publishing in "+published)
	if !bytes.Equal(read(t, f.Path("crl/issuing.crl")), read(t, filepath.Join(published, "crl/issuing.crl"))) {
		t.Error("the newer list was replaced")
	}
}

// Another CA's list, whatever its number, says nothing of this PKI's.
func TestForeignListIsNotNewer(t *testing.T) {
	f := newFixture(t)
	other := newFixtureAt(t, start().AddDate(1, 0, 0))
	published := t.TempDir()
	_, _, err := f.Set(t.Context(), "publish", published)
	f.must(err)
	write(t, filepath.Join(published, "crl/issuing.crl"), read(t, other.Path("crl/issuing.crl")))
	f.reopen()
	_, err = f.Upkeep(t.Context())
	f.must(err)
	if !bytes.Equal(read(t, f.Path("crl/issuing.crl")), read(t, filepath.Join(published, "crl/issuing.crl"))) {
		t.Error("another CA's list is there still")
	}
}
