//go:build !windows

package store

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"syscall"
)

// checkMode refuses a file or directory with more permissions than wanted.
func checkMode(path string, want fs.FileMode) error {
	st, err := os.Stat(path)
	if err != nil {
		return err
	}
	if mode := st.Mode().Perm(); mode&^want != 0 {
		return &LaxError{Path: path, Mode: mode, Want: want}
	}
	return nil
}

// keepsOthersOut reports whether only owner and group may enter a directory.
func keepsOthersOut(dir fs.FileInfo) bool { return dir.Mode().Perm()&0o001 == 0 }

// checkOwner refuses to write into a PKI of another user: what root would
// create there its owner could not read any more.
func checkOwner(path string) error {
	st, err := os.Stat(path)
	if err != nil {
		return fmt.Errorf("opening the PKI: %w", err)
	}
	if sys, ok := st.Sys().(*syscall.Stat_t); ok && int(sys.Uid) != os.Geteuid() {
		return fmt.Errorf("%w: %s is owned by user %d, and this is user %d", ErrWrongOwner, path, sys.Uid, os.Geteuid())
	}
	return nil
}

func flock(f *os.File) error {
	for {
		err := syscall.Flock(int(f.Fd()), syscall.LOCK_EX)
		if err != syscall.EINTR {
			return err
		}
	}
}

func isNotDir(err error) bool { return errors.Is(err, syscall.ENOTDIR) }
