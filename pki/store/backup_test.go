package store

import (
	"bytes"
	"errors"
	"io/fs"
	"os"
	"path/filepath"
	"runtime"
	"slices"
	"strings"
	"testing"
	"time"

	"mutual/pki"
	"mutual/pki/keys"
)

// backup makes a backup beside the PKI and gives its path.
func (f *fixture) backup(changes ...func(*BackupRequest)) string {
	f.t.Helper()
	req := BackupRequest{Path: filepath.Join(f.t.TempDir(), "backup")}
	for _, change := range changes {
		change(&req)
	}
	_, err := f.Backup(f.t.Context(), req)
	f.must(err)
	return req.Path
}

// tryRestore restores a backup into a new place with the clock of f.
func (f *fixture) tryRestore(path string, req RestoreRequest) (*fixture, *Restored, error) {
	f.t.Helper()
	in, err := os.Open(path)
	f.must(err)
	defer func() { _ = in.Close() }()
	r := &fixture{t: f.t, dir: filepath.Join(f.t.TempDir(), "restored"), now: f.now, passphrase: f.passphrase}
	var done *Restored
	r.PKI, done, err = Restore(f.t.Context(), r.dir, in, req, r.options())
	if err != nil {
		if left := files(f.t, filepath.Dir(r.dir)); len(left) != 1 {
			f.t.Errorf("a restore that failed left %v", left)
		}
		return nil, nil, err
	}
	f.t.Cleanup(func() { _ = r.Close() }) // a test may have closed it
	return r, done, nil
}

// restore restores a backup and checks what it made.
func (f *fixture) restore(path string, compare ...string) (*fixture, *Restored) {
	f.t.Helper()
	r, done, err := f.tryRestore(path, RestoreRequest{Compare: compare})
	f.must(err)
	r.checkAll()
	return r, done
}

// checkAll checks the whole database of an open PKI and that nobody else can
// read it.
func (f *fixture) checkAll() {
	f.t.Helper()
	f.must(f.checkDatabase(f.t.Context()))
	if runtime.GOOS == "windows" {
		return
	}
	for _, file := range files(f.t, f.dir) {
		st, err := os.Stat(f.dir + file)
		f.must(err)
		want := fs.FileMode(0o600)
		switch {
		case file == "":
			want = 0o700
		case st.IsDir():
			want = 0o755
		case strings.HasSuffix(file, ".crt"), strings.HasSuffix(file, ".pem"), strings.HasSuffix(file, ".crl"):
			want = 0o644
		}
		if st.Mode().Perm() != want {
			f.t.Errorf("%s has the mode %o, want %o", file, st.Mode().Perm(), want)
		}
	}
}

// content is the database in text, without what a restore changes.
func (f *fixture) content() []string {
	f.t.Helper()
	var out []string
	for _, query := range []string{
		`SELECT hex(digest) || hex(der) || hex(serial) || label FROM certificate ORDER BY id`,
		`SELECT hex(digest) FROM revocation ORDER BY certificate`,
		`SELECT name || COALESCE(blocked, '') || COALESCE(block_reason, '') FROM identity ORDER BY id`,
		`SELECT name || '=' || value FROM setting ORDER BY name`,
		`SELECT hex(line) || hex(hash) || COALESCE(hex(signature), '') FROM journal WHERE number <= 8 ORDER BY number`,
		`SELECT epoch || what FROM change WHERE what <> 'restore' ORDER BY epoch`,
	} {
		rows, err := f.db.QueryContext(f.t.Context(), query)
		f.must(err)
		for rows.Next() {
			var s string
			f.must(rows.Scan(&s))
			out = append(out, s)
		}
		f.must(rows.Err())
	}
	return out
}

// What goes in comes out: every row, and the keys as their files were.
func TestBackupAndRestore(t *testing.T) {
	if testing.Short() {
		t.Skip("not with -short: it derives many keys from passphrases")
	}
	t.Parallel()
	secret := []byte("a passphrase")
	for _, row := range []struct {
		what      string
		init      func(*InitRequest)
		ask       []byte // a passphrase for the backup alone
		encrypted bool
		keys      string
	}{
		{what: "plain", init: func(*InitRequest) {}, keys: "root issuing"},
		{what: "plain keys, encrypted backup", init: func(*InitRequest) {}, ask: secret, encrypted: true, keys: "root issuing"},
		{what: "encrypted keys", init: func(r *InitRequest) { r.Passphrase = secret }, encrypted: true, keys: "root issuing"},
		{what: "encrypted keys, offline root", encrypted: true, keys: "issuing",
			init: func(r *InitRequest) { r.Passphrase, r.RootKeyOut = secret, filepath.Join(t.TempDir(), "root.key") }},
	} {
		t.Run(row.what, func(t *testing.T) {
			f := newFixture(t, row.init)
			f.issue("alice", "phone")
			f.issue("bob", "")
			f.revoke("bob")
			f.now = f.now.Add(time.Hour)
			path := f.backup(func(r *BackupRequest) {
				if row.ask != nil {
					r.Passphrase = func() ([]byte, error) { return row.ask, nil }
					f.passphrase = row.ask
				}
			})
			if encrypted := bytes.HasPrefix(read(t, path), []byte(agePrefix)); encrypted != row.encrypted {
				t.Errorf("the archive is encrypted: %t", encrypted)
			}
			if st, err := os.Stat(path); err != nil || runtime.GOOS != "windows" && st.Mode() != 0o600 {
				t.Errorf("the archive has the mode %v, %v", st.Mode(), err)
			}
			r, done := f.restore(path)
			if got, want := r.content(), f.content(); !slices.Equal(got, want) {
				t.Error("the databases differ")
			}
			var kept []string
			for _, k := range done.Manifest.Keys {
				kept = append(kept, string(k.Role))
				if !bytes.Equal(read(t, r.Path(keyFile(k.Role))), read(t, f.Path(keyFile(k.Role)))) {
					t.Errorf("%s differs", keyFile(k.Role))
				}
			}
			if got := strings.Join(kept, " "); got != row.keys {
				t.Errorf("the keys are %q, want %q", got, row.keys)
			}
			for _, name := range []string{"ca.crt", "root.crt", "issuing.crt"} {
				if !bytes.Equal(read(t, r.Path(name)), read(t, f.Path(name))) {
					t.Errorf("%s differs", name)
				}
			}
			if done.Epoch != done.Manifest.Epoch+1 || done.Later.NeedsPerson() || len(done.Unchecked) > 0 {
				t.Errorf("restored as %+v", done)
			}
			r.checkLists(done, row.keys)
			r.issue("carol", "")
			r.checkAll()
		})
	}
}

// checkLists wants a new issuing CA's list, and a new root's where its key is
// there, else the backup's.
func (f *fixture) checkLists(done *Restored, kept string) {
	f.t.Helper()
	for _, l := range done.CRLs {
		hasKey := slices.Contains(strings.Fields(kept), string(l.Issuer))
		if l.Made != hasKey || !l.InPlace || l.Overdue || !hasKey && !errors.Is(l.Skipped, ErrNoKey) {
			f.t.Errorf("the list is %+v", l)
		}
	}
	if issuing, _ := f.crls(); issuing.Entries != 1 {
		f.t.Errorf("the list has %d entries", issuing.Entries)
	}
}

// The act is in the journal, the head of the backup before it, and the epoch
// stays.
func TestBackupIsJournaled(t *testing.T) {
	f := newFixture(t)
	before, err := f.Head(t.Context())
	f.must(err)
	b, err := f.Backup(t.Context(), BackupRequest{Path: filepath.Join(t.TempDir(), "backup")})
	f.must(err)
	if b.Head != before || b.Epoch != 0 {
		t.Errorf("the backup is of %v, epoch %d, want %v", b.Head, b.Epoch, before)
	}
	var last Line
	f.must(f.Journal(t.Context(), before.Number+1, func(l Line) error { last = l; return nil }))
	if last.Act != "backup" || !last.Signed || !strings.Contains(string(last.Details), b.SHA256) || !strings.Contains(string(last.Details), before.String()) {
		t.Errorf("the last line is %+v", last)
	}
	if part, err := partOfFile(b.Path); err != nil || part != (Part{b.Size, b.SHA256}) {
		t.Errorf("the file is %+v, %v, and the backup says %d, %s", part, err, b.Size, b.SHA256)
	}
	if left := slices.DeleteFunc(files(t, f.dir), func(s string) bool { return !strings.Contains(s, "tmp") }); len(left) > 0 {
		t.Errorf("left are %v", left)
	}
}

// Refused before anything is done, or without a trace.
func TestBackupRefuses(t *testing.T) {
	if testing.Short() {
		t.Skip("not with -short: it derives many keys from passphrases")
	}
	t.Parallel()
	out := t.TempDir()
	there, dir := filepath.Join(out, "there"), filepath.Join(out, "dir")
	write(t, there, []byte("precious"))
	if err := os.Mkdir(dir, 0o700); err != nil {
		t.Fatal(err)
	}
	for _, row := range []struct {
		what     string
		damage   func(*fixture)
		path     func(*fixture) string
		force    bool
		sentinel error
		text     string
	}{
		{what: "a file that is there", path: func(*fixture) string { return there }, sentinel: fs.ErrExist, text: "writing the backup: " + there},
		{what: "a directory", path: func(*fixture) string { return dir }, force: true, text: "is no regular file"},
		{what: "the database", path: func(f *fixture) string { return f.Path(dbFile) }, force: true, text: "is inside the PKI"},
		{what: "inside the PKI", path: func(f *fixture) string { return f.Path("crl/b") }, text: "is inside the PKI"},
		{what: "no directory", path: func(f *fixture) string { return filepath.Join(out, "no", "b") }, sentinel: fs.ErrNotExist, text: "writing the backup"},
		{what: "the wrong passphrase", damage: func(f *fixture) { f.passphrase = []byte("wrong") }, sentinel: keys.ErrPassphrase, text: "reading the key of the"},
		{what: "another key", damage: func(f *fixture) { write(t, f.Path("root.key"), read(t, f.Path("issuing.key"))) },
			text: "reading the key of the root CA: the private key does not belong to the certificate"},
		{what: "a key that is none", damage: func(f *fixture) { write(t, f.Path("root.key"), []byte("nothing")) }, text: "reading the key of the root CA"},
		{what: "a damaged row", damage: func(f *fixture) { f.sql(`UPDATE certificate SET label = 'x' WHERE kind = 'client'`) },
			sentinel: ErrDamaged, text: "a row does not have the content that was written"},
		{what: "a damaged certificate", damage: func(f *fixture) { f.sql(`UPDATE certificate SET der = X'00' WHERE kind = 'client'`) },
			sentinel: ErrDamaged, text: "a row does not have the content that was written"},
		{what: "a damaged journal", damage: func(f *fixture) { f.sql(`UPDATE journal SET line = X'00' WHERE number = 2`) },
			text: "the journal does not hold at line 2"},
	} {
		t.Run(row.what, func(t *testing.T) {
			f := newFixture(t, func(r *InitRequest) { r.Passphrase = []byte("right") })
			f.issue("alice", "")
			f.must(f.Close())
			f.reopen() // without the keys that it has read
			if row.damage != nil {
				row.damage(f)
			}
			path := filepath.Join(out, "backup")
			if row.path != nil {
				path = row.path(f)
			}
			before := files(t, f.dir)
			_, err := f.Backup(t.Context(), BackupRequest{Path: path, Force: row.force})
			wantError(t, err, row.sentinel, row.text)
			after := slices.DeleteFunc(files(t, f.dir), func(s string) bool { return s == "/"+backupLock })
			if !slices.Equal(before, after) {
				t.Errorf("the PKI held %v, and now %v", before, after)
			}
			if got := files(t, out); !slices.Equal(got, []string{"", "/dir", "/there"}) || string(read(t, there)) != "precious" {
				t.Errorf("left are %v", got)
			}
		})
	}
}

// Without a passphrase nothing that was encrypted leaves the PKI.
func TestBackupNeedsThePassphrase(t *testing.T) {
	if testing.Short() {
		t.Skip("not with -short: it derives many keys from passphrases")
	}
	f := newFixture(t, func(r *InitRequest) { r.Passphrase = []byte("right") })
	f.opts.Passphrase = nil
	_, err := f.Backup(t.Context(), BackupRequest{Path: filepath.Join(t.TempDir(), "b"), Passphrase: func() ([]byte, error) { return []byte("other"), nil }})
	wantError(t, err, nil, "the private key is encrypted, and no passphrase was given")
}

func TestBackupReplaces(t *testing.T) {
	f := newFixture(t)
	path := f.backup()
	old := read(t, path)
	f.issue("alice", "")
	f.backup(func(r *BackupRequest) { r.Path, r.Force = path, true })
	if bytes.Equal(read(t, path), old) {
		t.Error("it is still the old one")
	}
	if got := files(t, filepath.Dir(path)); len(got) != 2 {
		t.Errorf("left are %v", got)
	}
	r, _ := f.restore(path)
	if got := r.list(Filter{Kind: pki.KindClient}); !slices.Equal(got, []string{"alice"}) {
		t.Errorf("restored are %v", got)
	}
}

// The copy of the database is as private as the database, whatever the umask,
// and takes the place of one that a crash left.
func TestSnapshotIsPrivate(t *testing.T) {
	f := newFixture(t)
	write(t, f.Path(snapshotFile), []byte("left by a crash"))
	path, err := f.snapshot(t.Context())
	f.must(err)
	if st, err := os.Stat(path); err != nil || runtime.GOOS != "windows" && st.Mode() != 0o600 {
		t.Errorf("the copy has the mode %v, %v", st.Mode(), err)
	}
	if !bytes.HasPrefix(read(t, path), []byte("SQLite format 3")) {
		t.Error("the copy is no database")
	}
}

// A writer that fails is no backup: nothing is journaled.
func TestBackupToAWriter(t *testing.T) {
	f := newFixture(t)
	before, err := f.Head(t.Context())
	f.must(err)
	_, err = f.Backup(t.Context(), BackupRequest{To: brokenWriter{}})
	wantError(t, err, errBroken, "broken")
	if after, _ := f.Head(t.Context()); after != before {
		t.Error("a backup that failed is in the journal")
	}
	var out bytes.Buffer
	b, err := f.Backup(t.Context(), BackupRequest{To: &out})
	f.must(err)
	if b.SHA256 != partOf(out.Bytes()).SHA256 {
		t.Error("the sum is another one")
	}
	path := filepath.Join(t.TempDir(), "b")
	write(t, path, out.Bytes())
	f.restore(path)
}

var errBroken = errors.New("broken")

type brokenWriter struct{}

func (brokenWriter) Write([]byte) (int, error) { return 0, errBroken }
