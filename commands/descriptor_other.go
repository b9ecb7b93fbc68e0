//go:build !unix

package commands

import (
	"fmt"
	"os"
)

// inheritedFile gives a file handle that this process was started with.
func inheritedFile(fd int) (*os.File, error) {
	f := os.NewFile(uintptr(fd), fmt.Sprintf("file descriptor %d", fd))
	if f == nil {
		return nil, fmt.Errorf("file descriptor %d is not open", fd)
	}
	return f, nil
}
