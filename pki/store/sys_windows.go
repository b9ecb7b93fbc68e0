package store

import (
	"io/fs"
	"os"

	"golang.org/x/sys/windows"
)

// checkMode only looks whether the file is there: on Windows the mode bits say
// nothing.
func checkMode(path string, _ fs.FileMode) error {
	_, err := os.Stat(path)
	return err
}

// keepsOthersOut knows nothing here: access lists decide.
func keepsOthersOut(fs.FileInfo) bool { return false }

// checkOwner has no meaning on Windows, where access lists decide.
func checkOwner(string) error { return nil }

func flock(f *os.File) error {
	const allBytes = ^uint32(0)
	return windows.LockFileEx(windows.Handle(f.Fd()), windows.LOCKFILE_EXCLUSIVE_LOCK, 0, allBytes, allBytes, new(windows.Overlapped))
}

func isNotDir(error) bool { return false }
