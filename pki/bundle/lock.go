package bundle

import (
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"os"
	"path/filepath"
)

// ErrBusy says that another process is about to write the same files.
var ErrBusy = errors.New("another process is writing it at this moment")

// lock keeps two processes from preparing the same files at once, so that no
// certificate is issued whose place is taken a moment later. The kernel gives
// it up when its process ends: a file that a killed process left is no
// obstacle. Nothing relies on it: Commit decides who has a name.
type lock struct{ file *os.File }

// maxLockName is the longest Base that stands in the lock's name: with a longer
// one that would be too long for a file system.
const maxLockName = 200

// lockPath is .BASE.lock beside the files.
func (t Target) lockPath() string {
	base := t.Base
	if len(base) > maxLockName {
		sum := sha256.Sum256([]byte(base))
		base = hex.EncodeToString(sum[:])
	}
	return filepath.Join(t.Dir, "."+base+".lock")
}

// acquire takes the lock without waiting, because who has it may be asking a
// person for a passphrase. It is nil where the file system has no locks.
func (t Target) acquire() (*lock, error) {
	path := t.lockPath()
	for {
		f, err := os.OpenFile(path, os.O_RDONLY|os.O_CREATE, 0o600)
		if err != nil {
			return nil, fmt.Errorf("writing %q: %w", t.files().Certificate, errors.Unwrap(err))
		}
		switch err := tryLock(f); {
		case errors.Is(err, errLocked):
			_ = f.Close() // nothing was written to it
			return nil, fmt.Errorf("writing %q: %w", t.files().Certificate, ErrBusy)
		case err != nil:
			_ = f.Close() // as well
			_ = os.Remove(path)
			return nil, nil
		case isAt(f, path):
			return &lock{f}, nil
		}
		_ = f.Close() // whoever had it has removed it: it is nobody's any more
	}
}

// isAt reports whether an open file still has the name.
func isAt(f *os.File, path string) bool {
	open, err := f.Stat()
	if err != nil {
		return false
	}
	there, err := os.Stat(path)
	return err == nil && os.SameFile(open, there)
}

// release gives the lock up and removes its file.
func (l *lock) release() {
	if l == nil {
		return
	}
	removeLocked(l.file) // a file that stays is no obstacle
}
