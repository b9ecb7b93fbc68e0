package store

import (
	"errors"
	"io/fs"
	"os"
	"path/filepath"
	"runtime"
	"testing"
	"time"

	"mutual/pki"
)

func openV1(t *testing.T, database []byte) *fixture {
	t.Helper()
	return openOld(t, pkiV1, database)
}

// openOld opens a copy of a PKI of an older version, with another database if
// one is given.
func openOld(t *testing.T, from string, database []byte) *fixture {
	t.Helper()
	f := &fixture{t: t, dir: filepath.Join(t.TempDir(), "pki"), now: start().Add(2 * time.Hour)}
	f.must(os.CopyFS(f.dir, os.DirFS(from)))
	if database != nil {
		write(t, filepath.Join(f.dir, dbFile), database)
	}
	private(t, f.dir)
	var err error
	f.PKI, err = Open(t.Context(), f.dir, f.options())
	f.must(err)
	t.Cleanup(func() { _ = f.Close() }) // a test may have closed it
	return f
}

// private gives a copied PKI the modes that copying does not keep.
func private(t *testing.T, dir string) {
	t.Helper()
	err := filepath.WalkDir(dir, func(path string, d fs.DirEntry, err error) error {
		switch {
		case err != nil:
			return err
		case d.IsDir():
			return os.Chmod(path, 0o700)
		}
		return os.Chmod(path, 0o600)
	})
	if err != nil {
		t.Fatal(err)
	}
}

// A database of version 1 is read as it is, and the first act that writes
// brings it to this version, after a copy.
func TestMigrateVersion1(t *testing.T) {
	f := openV1(t, nil)
	known, err := f.Resolve(t.Context(), "bob")
	f.must(err)
	bob := known.Certificates[0]
	f.must(f.Settle(t.Context()))
	placed, err := f.Placed(t.Context())
	if err != nil || placed != nil {
		t.Errorf("the places are %v, %v", placed, err)
	}
	if pending, err := f.Pending(t.Context(), bob.Fingerprint); err != nil || pending != nil {
		t.Errorf("pending is %v, %v", pending, err)
	}
	if at, err := f.PlaceOf(t.Context(), bob.Fingerprint); err != nil || !at.isZero() {
		t.Errorf("the place is %v, %v", at, err)
	}
	if list, err := f.Renewable(t.Context(), name("bob")); err != nil || len(list) != 1 {
		t.Errorf("to renew are %v, %v", list, err)
	}
	f.wantVersion(1)
	backup := f.Path("mutual.db.v1")
	if _, err := os.Stat(backup); !errors.Is(err, fs.ErrNotExist) {
		t.Errorf("reading made a copy: %v", err)
	}

	f.renewed(bob)
	f.wantVersion(schemaVersion)
	if st, err := os.Stat(backup); err != nil || runtime.GOOS != "windows" && st.Mode().Perm() != 0o600 {
		t.Errorf("the copy is %v, %v", st, err)
	}
	f.now = f.now.Add(48 * time.Hour)
	f.reopen()
	f.upkeep()
	if f.reload(&bob); bob.Revocation == nil || bob.Revocation.Reason != pki.Superseded {
		t.Errorf("bob is %+v", bob)
	}

	restored := openV1(t, read(t, backup))
	restored.wantVersion(1)
	if c, err := restored.Lookup(t.Context(), bob.Fingerprint); err != nil || c.Replaced || c.Revocation != nil {
		t.Errorf("the copy says %+v, %v", c, err)
	}
}

func (f *fixture) wantVersion(want int) {
	f.t.Helper()
	if v, err := f.version(f.t.Context()); v != want || err != nil {
		f.t.Errorf("the version is %d, %v, want %d", v, err, want)
	}
}

// A new database has what the migrations make of an old one.
func TestMigrationsLeadHere(t *testing.T) {
	if 1+len(migrations()) != schemaVersion {
		t.Errorf("%d migrations lead to version %d", len(migrations()), schemaVersion)
	}
	old := openV1(t, nil)
	old.must(old.update(t.Context(), nil, func(*Tx) error { return nil }))
	fresh := newFixture(t)
	if a, b := old.tables(), fresh.tables(); a != b {
		t.Errorf("a migrated database has\n%s\nand a new one\n%s", a, b)
	}
}

func (f *fixture) tables() string {
	f.t.Helper()
	var out string
	f.must(f.db.QueryRowContext(f.t.Context(), "SELECT group_concat(sql, char(10)) FROM (SELECT sql FROM sqlite_master ORDER BY type, name)").Scan(&out))
	return out
}

// A failed migration leaves the database as it was.
func TestMigrationFails(t *testing.T) {
	f := openV1(t, nil)
	f.sql("CREATE TABLE replacement (x)") // in the way of the last step
	err := f.update(t.Context(), nil, func(*Tx) error { return nil })
	wantError(t, err, nil, "migrating the database")
	f.wantVersion(1)
	if _, err := f.db.ExecContext(t.Context(), "SELECT 1 FROM place"); err == nil {
		t.Error("half of the migration remained")
	}
}
