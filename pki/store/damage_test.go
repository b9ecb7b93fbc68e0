package store

import (
	"bytes"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"mutual/pki"
)

// A flipped bit in what a certificate's or a revocation's row says is found
// when the row is read.
func TestRowsAreChecked(t *testing.T) {
	const damaged = "the database is damaged: a row does not have the content that was written"
	all := func(f *fixture) error {
		return f.List(f.t.Context(), Filter{All: true}, func(Certificate) error { return nil })
	}
	der := func(f *fixture) error {
		known, err := f.Resolve(f.t.Context(), "alice")
		f.must(err)
		_, err = f.DER(f.t.Context(), known.Certificates[0].Fingerprint)
		return err
	}
	ca := func(f *fixture) error {
		_, err := f.CACertificate(f.t.Context(), pki.KindIssuing)
		return err
	}
	status := func(f *fixture) error {
		_, err := f.Status(f.t.Context())
		return err
	}
	const flip = `unhex(substr(hex(der), 1, 200) || CASE substr(hex(der), 201, 2) WHEN '00' THEN '01' ELSE '00' END || substr(hex(der), 203))`
	for _, row := range []struct {
		sql  string
		read func(*fixture) error
	}{
		{`UPDATE certificate SET serial = x'4000000000000000000000000000aaaa' WHERE kind = 'client'`, all},
		{`UPDATE certificate SET serial = x'00' || serial WHERE kind = 'client'`, all},
		{`UPDATE certificate SET kind = 'server' WHERE kind = 'client'`, all},
		{`UPDATE certificate SET label = 'Pixel 9' WHERE kind = 'client'`, all},
		{`UPDATE certificate SET not_before = not_before - 1 WHERE kind = 'client'`, all},
		{`UPDATE certificate SET not_after = not_after + 64 WHERE kind = 'client'`, all},
		{`UPDATE certificate SET issued = issued + 1 WHERE kind = 'client'`, all},
		{`UPDATE certificate SET backdated = 1 WHERE kind = 'client'`, all},
		{`UPDATE certificate SET sha256 = x'aa' || substr(sha256, 2) WHERE kind = 'client'`, all},
		{`UPDATE certificate SET digest = NULL WHERE kind = 'client'`, all},
		{`UPDATE certificate SET issuer = 1 WHERE kind = 'client'`, all},
		{`UPDATE identity SET name = 'malice'`, all},
		{`UPDATE identity SET name = 'a' || char(10)`, all},
		{`UPDATE revocation SET reason = 6`, all},
		{`UPDATE revocation SET done = done + 1`, all},
		{`UPDATE revocation SET listed_from = NULL`, all},
		{`UPDATE revocation SET listed_from = listed_from - 1`, all},
		{`UPDATE revocation SET epoch = epoch + 1`, all},
		{`UPDATE revocation SET certificate = (SELECT id FROM certificate WHERE kind = 'root')`, all},
		{`UPDATE certificate SET der = ` + flip + ` WHERE kind = 'client'`, der},
		{`UPDATE certificate SET der = ` + flip + ` WHERE kind = 'issuing'`, ca},
		{`UPDATE crl SET der = ` + flip + ` WHERE der IS NOT NULL`, status},
	} {
		t.Run(row.sql, func(t *testing.T) {
			t.Parallel()
			f := newFixture(t)
			f.issue("alice", "Pixel 8")
			f.revoke("alice")
			f.must(row.read(f))
			f.sql(row.sql)
			wantError(t, row.read(f), ErrDamaged, damaged)
		})
	}
}

// closed gives a PKI with a revocation whose database is one file.
func closed(t *testing.T) (*fixture, string) {
	f := newFixture(t)
	f.issue("alice", "")
	f.revoke("alice")
	f.must(f.Close())
	return f, f.Path(dbFile)
}

func TestDamagedDatabase(t *testing.T) {
	for _, row := range []struct {
		name   string
		damage func([]byte) []byte
		err    string
	}{
		{"empty", func([]byte) []byte { return nil }, "it has no schema of ours (version 0)"},
		{"garbage", func(b []byte) []byte { return bytes.Repeat([]byte("garbage\n"), len(b)/8) }, "file is not a database"},
		{"half of it", func(b []byte) []byte { return b[:len(b)/2] }, "the database is damaged"},
		{"a page and a bit", func(b []byte) []byte { return b[:5000] }, "the database is damaged"},
		{"the header's end", func(b []byte) []byte { return b[:60] }, "the database is damaged"},
		{"zeros inside", func(b []byte) []byte { clear(b[4096 : len(b)-4096]); return b }, "the database is damaged"},
	} {
		t.Run(row.name, func(t *testing.T) {
			f, path := closed(t)
			write(t, path, row.damage(read(t, path)))
			before := files(t, f.dir)
			wantError(t, f.open(), ErrDamaged, row.err)
			if after := files(t, f.dir); len(after) > len(before) {
				t.Errorf("files appeared: %v, before %v", after, before)
			}
		})
	}
}

// A write-ahead log that is not this database's is not read.
func TestJunkInTheWAL(t *testing.T) {
	f, path := closed(t)
	write(t, path+"-wal", bytes.Repeat([]byte{0xa5}, 9000))
	f.reopen()
	if got := f.state(); got != "revoked unspecified +0h, blocked" {
		t.Errorf("alice is %q", got)
	}
	f.issue("bob", "")
	if _, _, err := f.VerifyJournal(t.Context(), nil); err != nil {
		t.Error(err)
	}
}

// The next list of a database that was put back would let alice in again.
func TestDatabaseOlderThanTheCRL(t *testing.T) {
	f := newFixture(t)
	f.issue("alice", "")
	f.must(f.Close())
	old := read(t, f.Path(dbFile))
	f.reopen()
	f.now = f.now.Add(time.Hour)
	f.revoke("alice")
	f.must(f.Close())
	write(t, f.Path(dbFile), old)
	wantError(t, f.open(), ErrRolledBack, "the database is older than the published CRL: restored or damaged: "+f.Path("crl/issuing.crl")+" has number 17726")
}

func TestVersions(t *testing.T) {
	f := newFixture(t)
	newer := fmt.Sprintf("it has version %d, and this program knows %d", schemaVersion+1, schemaVersion)
	f.sql(fmt.Sprintf("PRAGMA user_version = %d", schemaVersion+1))
	_, err := f.tryIssue("alice", "") // it became newer while it was open
	wantError(t, err, ErrNewer, "the database was written by a newer version: "+newer)
	wantError(t, f.open(), ErrNewer, "the database was written by a newer version: "+newer)
}

func TestNoPKI(t *testing.T) {
	dir := t.TempDir()
	write(t, filepath.Join(dir, "file"), nil)
	for _, path := range []string{dir, filepath.Join(dir, "nosuch"), filepath.Join(dir, "file")} {
		_, err := Open(t.Context(), path, Options{})
		wantError(t, err, ErrNoPKI, "there is no PKI in "+path)
	}
	if got := files(t, dir); len(got) != 2 {
		t.Errorf("files appeared: %v", got)
	}
}

// A CA key that is not what its certificate says signs nothing.
func TestWrongKeys(t *testing.T) {
	for _, row := range []struct {
		name   string
		damage func(f *fixture, key string)
		err    string
	}{
		{"another's", func(f *fixture, key string) { write(f.t, key, read(f.t, f.Path("root.key"))) },
			"the private key does not belong to the certificate"},
		{"truncated", func(f *fixture, key string) { write(f.t, key, read(f.t, key)[:100]) }, "reading the key of the issuing CA "},
		{"garbage", func(f *fixture, key string) { write(f.t, key, []byte("garbage")) }, "reading the key of the issuing CA "},
		{"empty", func(f *fixture, key string) { write(f.t, key, nil) }, "reading the key of the issuing CA "},
		{"missing", func(f *fixture, key string) { f.must(os.Remove(key)) }, "the CA's key is not here: "},
	} {
		t.Run(row.name, func(t *testing.T) {
			f := newFixture(t)
			f.issue("alice", "")
			key := f.Path("issuing.key")
			row.damage(f, key)
			f.reopen()
			_, err := f.tryIssue("bob", "")
			wantError(t, err, nil, row.err)
			wantError(t, err, nil, key)
			if got := f.list(Filter{Glob: "bob"}); len(got) > 0 {
				t.Errorf("listed are %v", got)
			}
			f.checkOverdue()
		})
	}
}

// checkOverdue revokes alice, which no CRL can say: it is in force all the
// same, and due.
func (f *fixture) checkOverdue() {
	f.t.Helper()
	o, err := f.Revoke(f.t.Context(), Selection{Names: []pki.Name{name("alice")}}, pki.Unspecified, false)
	late, ok := err.(*OverdueError)
	if !ok || o.Changed != 1 {
		f.t.Fatalf("the outcome is %v, %v", o, err)
	}
	if !strings.HasPrefix(late.Error(), "the act is recorded, but the CRL with it is not out: reading the key ") &&
		!strings.HasPrefix(late.Error(), "the act is recorded, but the CRL with it is not out: the CA's key is not here: ") {
		f.t.Error(late)
	}
	if got := f.state(); got != "revoked unspecified +0h, blocked" {
		f.t.Errorf("alice is %q", got)
	}
	s, err := f.Status(f.t.Context())
	f.must(err)
	if due := f.Due(s); len(due) == 0 || due[0].What != "the CRL of the issuing CA lacks a revocation" {
		f.t.Errorf("due is %v", due)
	}
}

func TestPassphrase(t *testing.T) {
	if testing.Short() {
		t.Skip("not with -short: it derives many keys from passphrases")
	}
	f := newFixture(t, func(r *InitRequest) { r.Passphrase = []byte("correct horse") })
	for _, key := range []string{"root.key", "issuing.key"} {
		if !bytes.HasPrefix(read(t, f.Path(key)), []byte("-----BEGIN ENCRYPTED PRIVATE KEY-----\n")) {
			t.Errorf("%s is not encrypted", key)
		}
	}
	f.reopen()
	f.issue("alice", "")
	f.passphrase = []byte("wrong")
	f.reopen()
	_, err := f.tryIssue("bob", "")
	wantError(t, err, nil, "reading the key of the issuing CA "+f.Path("issuing.key")+": block 1 (line 1): decrypting a private key: wrong passphrase")
	f.checkOverdue()
	f.passphrase = []byte("correct horse")
	f.reopen()
	if lists, err := f.Upkeep(t.Context()); err != nil || lists[0].Overdue || lists[0].Entries != 1 {
		t.Errorf("the list is %+v, %v", lists[0], err)
	}
}

// A schema that has lost a column, a row that is always there and is not, and a
// value that is never written are called damage.
func TestDamagedSchemaIsSaid(t *testing.T) {
	for _, row := range []struct {
		damage string
		read   func(*fixture) error
	}{
		{`ALTER TABLE crl RENAME COLUMN sha256 TO x`, func(f *fixture) error { _, err := f.CRLs(t.Context()); return err }},
		{`UPDATE counters SET name = 'x' WHERE name = 'epoch'`, func(f *fixture) error { _, err := f.Status(t.Context()); return err }},
		{`UPDATE counters SET value = 'many' WHERE name = 'epoch'`, func(f *fixture) error { _, err := f.Status(t.Context()); return err }},
	} {
		f := newFixture(t)
		if err := row.read(f); err != nil {
			t.Fatalf("%s: whole: %v", row.damage, err)
		}
		if _, err := f.db.ExecContext(t.Context(), row.damage); err != nil {
			t.Errorf("%s: %v", row.damage, err)
			continue
		}
		if err := row.read(f); !errors.Is(err, ErrDamaged) {
			t.Errorf("%s: %v", row.damage, err)
		}
	}
}
