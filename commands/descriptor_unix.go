//go:build unix

package commands

import (
	"fmt"
	"os"

	"golang.org/x/sys/unix"
)

// inheritedFile gives a file descriptor that this process was started with. What
// it has opened itself is closed when a program is started, and what it was given
// is not.
func inheritedFile(fd int) (*os.File, error) {
	flags, err := unix.FcntlInt(uintptr(fd), unix.F_GETFD, 0)
	if err != nil || flags&unix.FD_CLOEXEC != 0 {
		return nil, fmt.Errorf("file descriptor %d is not open", fd)
	}
	return os.NewFile(uintptr(fd), fmt.Sprintf("file descriptor %d", fd)), nil
}
