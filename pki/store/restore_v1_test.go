package store

import (
	"os"
	"path/filepath"
	"slices"
	"testing"
	"time"

	"mutual/pki"
)

// backupV1 is a backup in format 1 of testdata/pki-v1, encrypted with this
// passphrase: made once, and restored by every later program.
const (
	backupV1           = "../../testdata/backup-v1.age"
	backupV1Passphrase = "for tests"
)

// TestMakeBackupV1 writes testdata/backup-v1.age when asked with -update and
// there is none.
func TestMakeBackupV1(t *testing.T) {
	if !*update {
		t.Skip("-update is not given")
	}
	if _, err := os.Stat(backupV1); err == nil {
		t.Skip("a version that was made is not made again")
	}
	if backupFormat != 1 || schemaVersion != 1 {
		t.Fatal("this program writes another version")
	}
	f := &fixture{t: t, now: start().Add(2 * time.Hour), dir: filepath.Join(t.TempDir(), "pki")}
	f.must(os.CopyFS(f.dir, os.DirFS(pkiV1)))
	f.must(os.Chmod(f.dir, 0o700))
	for _, secret := range []string{"mutual.db", "root.key", "issuing.key"} {
		f.must(os.Chmod(filepath.Join(f.dir, secret), 0o600))
	}
	var err error
	f.PKI, err = Open(t.Context(), f.dir, f.options())
	f.must(err)
	t.Cleanup(func() { _ = f.Close() }) // everything is durable
	_, err = f.Backup(t.Context(), BackupRequest{Path: backupV1, Passphrase: func() ([]byte, error) { return []byte(backupV1Passphrase), nil }})
	f.must(err)
}

func TestRestoreBackupV1(t *testing.T) {
	if testing.Short() {
		t.Skip("not with -short: it derives many keys from passphrases")
	}
	f := &fixture{t: t, now: start().Add(3 * time.Hour), passphrase: []byte(backupV1Passphrase)}
	r, done := f.restore(backupV1)
	if done.Manifest.Format != 1 || len(done.Manifest.Keys) != 2 || done.Later.NeedsPerson() {
		t.Errorf("restored is %+v", done)
	}
	if got, want := r.list(Filter{Revoked: true}), []string{"alice@example.com", "alice@example.com", "carol"}; !slices.Equal(got, want) {
		t.Errorf("revoked are %v, want %v", got, want)
	}
	if got := len(r.list(Filter{Kind: pki.KindServer})); got != 1 {
		t.Errorf("there are %d servers", got)
	}
	r.issue("dora", "")
	r.checkAll()
}
