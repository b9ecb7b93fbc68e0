package gate

import (
	"errors"

	"golang.org/x/sys/windows"
)

// isRefused matches a socket that nobody listens at.
func isRefused(err error) bool { return errors.Is(err, windows.WSAECONNREFUSED) }
