package durable

import (
	"crypto/rand"
	"encoding/hex"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"strconv"
	"sync/atomic"
)

// Set is many files for one directory. They wait for their names in a hidden
// directory of their own in it, 0700, and go to the disk together where the
// system can do that, which takes the time of a few of them. Stage may be called
// by several goroutines at once.
type Set struct {
	dir, temp string
	disk      *disk
	count     atomic.Int64
}

// NewSet begins a set of files for a directory.
func NewSet(dir string) (*Set, error) {
	random := make([]byte, 8)
	_, _ = rand.Read(random) // never fails
	s := &Set{dir: dir, temp: filepath.Join(dir, ".mutual."+hex.EncodeToString(random)+".tmp")}
	if err := Mkdir(s.temp, 0o700); err != nil {
		return nil, err
	}
	var err error
	if s.disk, err = openDisk(s.temp); err != nil {
		_ = os.Remove(s.temp) // the first error is the one to tell
		return nil, fmt.Errorf("writing into %q: %w", dir, cause(err))
	}
	return s, nil
}

// Dir names the hidden directory.
func (s *Set) Dir() string { return s.temp }

// Stage writes data for the file with a name. It is durable after Flush. The
// file has exactly this mode, whatever the umask is; nobody else comes to it before
// it has its name.
func (s *Set) Stage(name string, data []byte, mode fs.FileMode) (*Staged, error) {
	staged := &Staged{path: filepath.Join(s.dir, name), temp: filepath.Join(s.temp, strconv.FormatInt(s.count.Add(1), 10))}
	f, err := os.OpenFile(staged.temp, os.O_WRONLY|os.O_CREATE|os.O_EXCL, mode)
	if err == nil {
		_, err = f.Write(data)
		err = s.disk.finish(f, err, mode)
		if err != nil {
			_ = os.Remove(staged.temp) // as above
		}
	}
	if err != nil {
		return nil, fmt.Errorf("writing %q: %w", staged.path, cause(err))
	}
	return staged, nil
}

// Flush brings all that is staged to the disk.
func (s *Set) Flush() error {
	if err := s.disk.flush(); err != nil {
		return fmt.Errorf("flushing what is written into %q: %w", s.dir, cause(err))
	}
	return nil
}

// SyncNames flushes the names that Staged.Place and Staged.PlaceOver gave.
func (s *Set) SyncNames() error { return SyncDir(s.dir) }

// Close ends the set. With keep, files that have no name yet stay in the hidden
// directory; otherwise they are removed.
func (s *Set) Close(keep bool) error {
	s.disk.close()
	remove := os.RemoveAll
	if keep {
		remove = os.Remove // which fails where something is in it
	}
	if err := remove(s.temp); err != nil && !keep && !errors.Is(err, fs.ErrNotExist) {
		return fmt.Errorf("removing temporary files: %w", err)
	}
	return nil
}
