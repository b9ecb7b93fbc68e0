package bundle

import (
	"os"

	"golang.org/x/sys/windows"
)

// errLocked is what tryLock gives where another process has the lock.
const errLocked = windows.ERROR_LOCK_VIOLATION

func tryLock(f *os.File) error {
	const how, allBytes = windows.LOCKFILE_EXCLUSIVE_LOCK | windows.LOCKFILE_FAIL_IMMEDIATELY, ^uint32(0)
	return windows.LockFileEx(windows.Handle(f.Fd()), how, 0, allBytes, allBytes, new(windows.Overlapped))
}

// removeLocked closes the file first, because an open one cannot be removed,
// and for the same reason does not remove one that another process has opened.
func removeLocked(f *os.File) {
	_ = f.Close()
	_ = os.Remove(f.Name())
}
