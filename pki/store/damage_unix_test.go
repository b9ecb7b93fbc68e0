//go:build !windows

package store

import (
	"os"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
)

// A pipe where a list should lie is not waited for.
func TestCompareWithPipe(t *testing.T) {
	f := newFixture(t)
	path := filepath.Join(t.TempDir(), "issuing.crl")
	f.must(syscall.Mkfifo(path, 0o644))
	if err := (&comparison{pki: f.PKI}).readLists(t.Context(), path); err == nil || !strings.Contains(err.Error(), "is no regular file") {
		t.Errorf("%v", err)
	}
}

func TestModes(t *testing.T) {
	f := newFixture(t)
	for path, mode := range map[string]os.FileMode{
		"": 0o700, "mutual.db": 0o600, "root.key": 0o600, "issuing.key": 0o600,
		"root.crt": 0o644, "issuing.crt": 0o644, "ca.crt": 0o644, "crl/issuing.crl": 0o644, "crl/chain.pem": 0o644,
	} {
		st, err := os.Stat(filepath.Join(f.dir, path))
		if err != nil || st.Mode().Perm() != mode {
			t.Errorf("%q has the mode %v, %v", path, st.Mode(), err)
		}
	}
	for _, row := range []struct {
		path       string
		mode, back os.FileMode
		err        string
	}{
		{"", 0o710, 0o700, " is open to others: its mode is 0710 and must be 0700 or less"},
		{"", 0o701, 0o700, " is open to others: its mode is 0701 and must be 0700 or less"},
		{"/mutual.db", 0o640, 0o600, "/mutual.db is open to others: its mode is 0640 and must be 0600 or less"},
		{"/mutual.db", 0o604, 0o600, "/mutual.db is open to others: its mode is 0604 and must be 0600 or less"},
		{"/root.key", 0o644, 0o600, "/root.key is open to others: its mode is 0644 and must be 0600 or less"},
		{"/issuing.key", 0o602, 0o600, "/issuing.key is open to others: its mode is 0602 and must be 0600 or less"},
	} {
		path := f.dir + row.path
		f.must(os.Chmod(path, row.mode))
		wantError(t, f.open(), nil, f.dir+row.err)
		f.must(os.Chmod(path, row.back))
	}
	f.must(os.Chmod(f.Path("issuing.key"), 0o400))
	f.reopen()
}

// What servers read is readable by everybody, whatever the umask is, and
// replaced by rename: who has a file open goes on reading the old one.
func TestPublishedModes(t *testing.T) {
	defer syscall.Umask(syscall.Umask(0o077))
	dir := filepath.Join(t.TempDir(), "srv", "pki")
	f := newFixture(t, func(r *InitRequest) { r.Settings.Publish = dir })
	for path, mode := range map[string]os.FileMode{
		"": 0o755, "crl": 0o755, "ca.crt": 0o644, "root.crt": 0o644, "issuing.crt": 0o644, "crl/chain.pem": 0o644,
		"crl/issuing.crl": 0o644, "crl/issuing.pem": 0o644, "crl/root.crl": 0o644, "crl/root.pem": 0o644,
	} {
		st, err := os.Stat(filepath.Join(dir, path))
		if err != nil || st.Mode().Perm() != mode {
			t.Errorf("%q has the mode %v, %v", path, st.Mode(), err)
		}
	}
	if got := len(files(t, dir)); got != 10 {
		t.Errorf("there are %v", files(t, dir))
	}
	held, err := os.Open(filepath.Join(dir, "crl", "issuing.crl"))
	f.must(err)
	defer func() { _ = held.Close() }()
	before, err := held.Stat()
	f.must(err)
	f.issue("alice", "")
	f.revoke("alice")
	now, err := os.Stat(held.Name())
	f.must(err)
	if os.SameFile(before, now) {
		t.Error("the file was written in place")
	}
	if string(read(t, held.Name())) != string(read(t, f.Path("crl/issuing.crl"))) {
		t.Error("the published list is not the newest")
	}
}

// A PKI of another user's is only read: what root would write its owner could
// not read any more.
func TestWrongOwner(t *testing.T) {
	if os.Geteuid() != 0 {
		t.Skip("only root can give a directory away")
	}
	f := newFixture(t)
	f.issue("alice", "")
	f.must(os.Chown(f.dir, 12345, 12345))
	f.reopen()
	if got := f.list(Filter{Glob: "alice"}); len(got) != 1 {
		t.Errorf("listed are %v", got)
	}
	_, err := f.tryIssue("bob", "")
	wantError(t, err, ErrWrongOwner, f.dir+" is owned by user 12345, and this is user 0")
	_, err = f.Refresh(t.Context(), RefreshRequest{})
	wantError(t, err, ErrWrongOwner, "the PKI belongs to another user")
}
