package bundle_test

import (
	"errors"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"sync/atomic"
	"testing"

	"mutual/pki/bundle"
)

// TestOneAtATime lets many prepare the same files at once: one goes on, the
// others are refused before anything would be issued for them.
func TestOneAtATime(t *testing.T) {
	dir := t.TempDir()
	target := bundle.Target{Dir: filepath.Join(dir, "out"), Base: "alice", WithKey: true}
	var staged atomic.Int32
	var all sync.WaitGroup
	for range 16 {
		all.Go(func() {
			p, err := bundle.Stage(target, []byte(keyPEM))
			switch {
			case err == nil:
				staged.Add(1)
				if _, err := p.Commit([]byte(chainPEM)); err != nil {
					t.Error(err)
				}
			case !errors.Is(err, bundle.ErrBusy) && !errors.Is(err, fs.ErrExist):
				t.Error(err)
			}
		})
	}
	all.Wait()
	if n := staged.Load(); n != 1 {
		t.Errorf("%d were prepared", n)
	}
	wantFiles(t, target.Dir, "alice.crt", chainPEM, "alice.key", keyPEM)
}

// TestLock is held from Stage to Discard or Commit, also with force, and only
// for these files. What a killed process left is no obstacle.
func TestLock(t *testing.T) {
	dir := t.TempDir()
	write(t, dir, ".alice.lock", "")
	target := bundle.Target{Dir: dir, Base: "alice", WithKey: true, Force: true}
	first := stage(t, target)
	_, err := bundle.Stage(target, []byte(keyPEM))
	wantError(t, err, "alice.crt\": another process is writing it at this moment")
	if !errors.Is(err, bundle.ErrBusy) {
		t.Errorf("%v is not ErrBusy", err)
	}
	for _, base := range []string{"bob", strings.Repeat("a", 240)} {
		if err := stage(t, bundle.Target{Dir: dir, Base: base, WithKey: true}).Discard(); err != nil {
			t.Error(err)
		}
	}
	if err := first.Discard(); err != nil {
		t.Error(err)
	}
	second := stage(t, target)
	if _, err := second.Commit([]byte(chainPEM)); err != nil {
		t.Error(err)
	}
	wantFiles(t, dir, "alice.crt", chainPEM, "alice.key", keyPEM)
	if _, err := os.Stat(filepath.Join(dir, ".alice.lock")); !errors.Is(err, fs.ErrNotExist) {
		t.Errorf("the lock is left: %v", err)
	}
}
