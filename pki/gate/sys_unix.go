//go:build !windows

package gate

import (
	"errors"
	"os"
	"syscall"
)

// isRefused matches a socket that nobody listens at.
func isRefused(err error) bool { return errors.Is(err, syscall.ECONNREFUSED) }

// holdFile locks a file until it is closed or the process ends.
func holdFile(path string) (*os.File, error) {
	f, err := os.Open(path)
	if err != nil {
		return nil, err
	}
	if err := syscall.Flock(int(f.Fd()), syscall.LOCK_EX|syscall.LOCK_NB); err != nil {
		_ = f.Close() // the first error is the one to report
		return nil, err
	}
	return f, nil
}

// isHeld reports whether somebody holds a file.
func isHeld(path string) bool {
	f, err := holdFile(path)
	if err == nil {
		_ = f.Close()
	}
	return errors.Is(err, syscall.EWOULDBLOCK)
}
