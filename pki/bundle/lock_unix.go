//go:build !windows

package bundle

import (
	"os"
	"syscall"
)

// errLocked is what tryLock gives where another process has the lock.
const errLocked = syscall.EWOULDBLOCK

func tryLock(f *os.File) error {
	for {
		err := syscall.Flock(int(f.Fd()), syscall.LOCK_EX|syscall.LOCK_NB)
		if err != syscall.EINTR {
			return err
		}
	}
}

// removeLocked removes the file while it is locked, so that who opens it next
// and locks it finds that it has no name any more.
func removeLocked(f *os.File) {
	_ = os.Remove(f.Name())
	_ = f.Close()
}
