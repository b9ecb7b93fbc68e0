//go:build !windows

package gate

import (
	"errors"
	"syscall"
)

// isRefused matches a socket that nobody listens at.
func isRefused(err error) bool { return errors.Is(err, syscall.ECONNREFUSED) }
