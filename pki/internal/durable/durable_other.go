//go:build !windows

package durable

import (
	"errors"
	"fmt"
	"os"
	"syscall"
)

func rename(from, to string) error { return os.Rename(from, to) }

// SyncDir flushes the names in a directory to the disk.
func SyncDir(dir string) error {
	f, err := os.Open(dir)
	if err != nil {
		return fmt.Errorf("flushing the directory %q: %w", dir, cause(err))
	}
	err = f.Sync()
	if closed := f.Close(); err == nil {
		err = closed
	}
	// A file system that cannot flush directories says EINVAL or ENOTSUP (some
	// network ones do): there is nothing more to be done there.
	if err != nil && !errors.Is(err, syscall.EINVAL) && !errors.Is(err, syscall.ENOTSUP) {
		return fmt.Errorf("flushing the directory %q: %w", dir, cause(err))
	}
	return nil
}
