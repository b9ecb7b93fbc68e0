//go:build unix

package durable

import (
	"errors"
	"os"
	"path/filepath"
	"syscall"
	"testing"
)

// TestUmask writes files whose mode neither a lax nor a strict umask changes.
// No test of this package runs beside it.
func TestUmask(t *testing.T) {
	for _, umask := range []int{0, 0o022, 0o277} {
		dir := t.TempDir()
		old := syscall.Umask(umask)
		for _, mode := range []os.FileMode{0o600, 0o644} {
			path := filepath.Join(dir, mode.String())
			if err := WriteFile(path, []byte("content"), mode); err != nil {
				t.Error(err)
			}
			wantFile(t, path, "content", mode)
		}
		private := filepath.Join(dir, "private")
		if err := Mkdir(private, 0o700); err != nil {
			t.Error(err)
		}
		if info, err := os.Stat(private); err != nil || info.Mode().Perm() != 0o700 {
			t.Errorf("umask %o: %v, %v", umask, info.Mode(), err)
		}
		syscall.Umask(old)
	}
}

// TestSymlink leaves alone what a link at the file's place points to.
func TestSymlink(t *testing.T) {
	dir := t.TempDir()
	target, path := filepath.Join(dir, "target"), filepath.Join(dir, "a.key")
	if err := os.Symlink(target, path); err != nil {
		t.Fatal(err)
	}
	s := stage(t, path, "content")
	wantError(t, s.Create(), "file exists")
	wantError(t, s.reserve(), "file exists")
	wantNames(t, dir, filepath.Base(s.Path()), "a.key")
	if err := s.Replace(); err != nil {
		t.Fatal(err)
	}
	if info, err := os.Lstat(path); err != nil || !info.Mode().IsRegular() {
		t.Errorf("%v, %v", info.Mode(), err)
	}
	wantNames(t, dir, "a.key")
}

// TestSet: files of a set have their modes whatever the umask is, and appear
// with their names.
func TestSet(t *testing.T) {
	for _, umask := range []int{0, 0o277} {
		dir := t.TempDir()
		old := syscall.Umask(umask)
		s, err := NewSet(dir)
		if err != nil {
			t.Fatal(err)
		}
		key, err := s.Stage("a.key", []byte("key"), 0o600)
		if err != nil {
			t.Fatal(err)
		}
		crt, err := s.Stage("a.crt", []byte("crt"), 0o644)
		if err != nil {
			t.Fatal(err)
		}
		wantNames(t, dir, filepath.Base(s.Dir()))
		if err := errors.Join(s.Flush(), key.Place(), crt.Place(), s.SyncNames(), s.Close(false)); err != nil {
			t.Fatal(err)
		}
		wantFile(t, filepath.Join(dir, "a.key"), "key", 0o600)
		wantFile(t, filepath.Join(dir, "a.crt"), "crt", 0o644)
		wantNames(t, dir, "a.crt", "a.key")
		syscall.Umask(old)
	}
}
