package durable

import (
	"io/fs"
	"os"

	"golang.org/x/sys/unix"
)

// disk is the file system of a directory. It is opened before anything is
// written: what fails to be written from then on is told by flush (since Linux
// 5.8; an older one tells nothing).
type disk struct{ dir *os.File }

func openDisk(dir string) (*disk, error) {
	f, err := os.Open(dir)
	return &disk{f}, err
}

// finish gives a new file its mode, if the umask has kept it from having that;
// flush brings it to the disk.
func (d *disk) finish(f *os.File, err error, mode fs.FileMode) error {
	var info fs.FileInfo
	if err == nil {
		info, err = f.Stat()
	}
	if err == nil && info.Mode().Perm() != mode {
		err = f.Chmod(mode)
	}
	if closed := f.Close(); err == nil {
		err = closed
	}
	return err
}

// flush writes the whole file system out: of a thousand new files it takes one
// commit of its journal, where fsync takes one for each. What other programs
// have written to it goes along.
func (d *disk) flush() error { return unix.Syncfs(int(d.dir.Fd())) }

func (d *disk) close() { _ = d.dir.Close() } // nothing was written to it

// moveNew is a rename that takes the name from nobody, in one step. Not every
// file system has it.
func moveNew(from, to string) error {
	return unix.Renameat2(unix.AT_FDCWD, from, unix.AT_FDCWD, to, unix.RENAME_NOREPLACE)
}
