// Package durable writes files that are whole or not there, also after a
// crash or a loss of power.
//
// The content goes to a temporary file named .NAME.RANDOM.tmp beside its
// place and is flushed to the disk; then the file gets its name in one step,
// and the directory is flushed. A process killed between the two leaves the
// temporary file and nothing else. On Windows directories cannot be flushed:
// there the name may be lost with the power, but not half of a content.
package durable

import (
	"crypto/rand"
	"encoding/hex"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
	"unicode/utf8"
)

// Staged is a file that is on the disk and does not have its name yet. It is
// ended by Create, Replace or Discard.
type Staged struct {
	path   string // its place
	temp   string // the temporary file
	placed bool   // temp has become path
}

// Stage writes data to a new temporary file beside path and flushes it. The
// file has exactly this mode, whatever the umask is, and until then 0600. On
// failure nothing is left.
func Stage(path string, data []byte, mode fs.FileMode) (*Staged, error) {
	return StageFunc(path, mode, func(w io.Writer) error {
		_, err := w.Write(data)
		return err
	})
}

// CheckRoom returns nil if the directory of path takes a new file of so many
// octets. It is not flushed, and nothing remains.
func CheckRoom(path string, size int) error {
	temp := tempName(path)
	f, err := os.OpenFile(temp, os.O_WRONLY|os.O_CREATE|os.O_EXCL, 0o600)
	if err != nil {
		return fmt.Errorf("writing %q: %w", path, cause(err))
	}
	_, err = f.Write(make([]byte, size))
	if closed := f.Close(); err == nil {
		err = closed
	}
	if removed := os.Remove(temp); err == nil {
		err = removed
	}
	if err != nil {
		return fmt.Errorf("writing %q: %w", path, cause(err))
	}
	return nil
}

// Keep gives the file at path a second, temporary name beside it, so that it
// outlives being replaced or removed: Replace then puts it back. Where the file
// system has no hard links, it is copied.
func Keep(path string) (*Staged, error) {
	s := &Staged{path: path, temp: tempName(path)}
	if os.Link(path, s.temp) == nil {
		return s, nil
	}
	return keepCopy(path)
}

func keepCopy(path string) (*Staged, error) {
	data, err := os.ReadFile(path)
	if err != nil {
		return nil, fmt.Errorf("keeping %q: %w", path, cause(err))
	}
	info, err := os.Stat(path)
	if err != nil {
		return nil, fmt.Errorf("keeping %q: %w", path, cause(err))
	}
	return Stage(path, data, info.Mode().Perm())
}

// finish gives a new file its mode and flushes and closes it. err is what
// writing it gave.
func finish(f *os.File, err error, mode fs.FileMode) error {
	if err == nil {
		err = f.Chmod(mode)
	}
	if err == nil {
		err = f.Sync()
	}
	if closed := f.Close(); err == nil {
		err = closed
	}
	return err
}

// tempName makes the name of a temporary file beside path.
func tempName(path string) string {
	random := make([]byte, tempRandom)
	_, _ = rand.Read(random) // never fails: crypto/rand ends the program instead
	dir, _ := filepath.Split(path)
	return dir + tempPrefix(path) + hex.EncodeToString(random) + tempSuffix
}

// A temporary file's name is .NAME. and so many random octets and this suffix.
const (
	tempRandom = 8
	tempSuffix = ".tmp"
)

// tempPrefix is how the names of the temporary files beside path begin. A long
// name is cut, so that what is added to it does not make it too long for the
// file system.
func tempPrefix(path string) string {
	const most = 200
	name := filepath.Base(path)
	if len(name) > most {
		name = name[:most]
		for !utf8.ValidString(name) && len(name) > most-utf8.UTFMax {
			name = name[:len(name)-1]
		}
	}
	return "." + name + "."
}

// Sweep removes the temporary files that killed processes have left beside
// path. Nobody may be writing to it meanwhile.
func Sweep(path string) error {
	dir := filepath.Dir(path)
	entries, err := os.ReadDir(dir)
	if err != nil {
		return fmt.Errorf("looking for temporary files: %w", err)
	}
	for _, e := range entries {
		random, ours := strings.CutPrefix(e.Name(), tempPrefix(path))
		random, ends := strings.CutSuffix(random, tempSuffix)
		if _, err := hex.DecodeString(random); !ours || !ends || err != nil || len(random) != hex.EncodedLen(tempRandom) {
			continue
		}
		if err := os.Remove(filepath.Join(dir, e.Name())); err != nil && !errors.Is(err, fs.ErrNotExist) {
			return fmt.Errorf("removing a temporary file: %w", err)
		}
	}
	return nil
}

// cause is an error of package os without the operation and the paths, of
// which one is a temporary file's.
func cause(err error) error {
	var path *fs.PathError
	var link *os.LinkError
	switch {
	case errors.As(err, &path):
		return path.Err
	case errors.As(err, &link):
		return link.Err
	}
	return err
}

// Path names the file in which the content is: the temporary one, or its place
// once it is there.
func (s *Staged) Path() string {
	if s.placed {
		return s.path
	}
	return s.temp
}

// Create gives the file its name. If anything has that name already, it is
// fs.ErrExist, and nothing changes.
func (s *Staged) Create() error {
	if err := s.Place(); err != nil {
		return err
	}
	return SyncDir(filepath.Dir(s.path))
}

// Place is Create for one of several files: the name is durable after a SyncDir
// that they share.
func (s *Staged) Place() error {
	if err := s.create(); err != nil {
		return fmt.Errorf("creating %q: %w", s.path, cause(err))
	}
	return nil
}

// create moves or, where a rename would replace what is there, links.
func (s *Staged) create() error {
	err := moveNew(s.temp, s.path)
	if err == nil || errors.Is(err, fs.ErrExist) {
		s.placed = err == nil
		return err
	}
	err = os.Link(s.temp, s.path)
	if err == nil {
		s.placed = true
		return os.Remove(s.temp)
	}
	if errors.Is(err, fs.ErrExist) {
		return err
	}
	// FAT and some network and FUSE file systems have no hard links, and each
	// says so with another error. Where it was another failure, the second way
	// fails with it, too.
	return s.reserve()
}

// reserve takes the name with an empty file, so that two writers cannot both
// have it, and renames over that. A process killed in between leaves the empty
// file, which is why create links where it can.
func (s *Staged) reserve() error {
	empty, err := os.OpenFile(s.path, os.O_WRONLY|os.O_CREATE|os.O_EXCL, 0o600)
	if err != nil {
		return err
	}
	err = empty.Close()
	if err == nil {
		err = rename(s.temp, s.path)
	}
	if err != nil {
		_ = os.Remove(s.path) // the empty file; the first error is the one to tell
		return err
	}
	s.placed = true
	return nil
}

// Replace gives the file its name and takes it from whatever has it.
func (s *Staged) Replace() error {
	if err := s.PlaceOver(); err != nil {
		return err
	}
	return SyncDir(filepath.Dir(s.path))
}

// PlaceOver is to Replace what Place is to Create.
func (s *Staged) PlaceOver() error {
	if err := rename(s.temp, s.path); err != nil {
		return fmt.Errorf("replacing %q: %w", s.path, cause(err))
	}
	s.placed = true
	return nil
}

// Discard removes the temporary file. After Create or Replace it does nothing.
func (s *Staged) Discard() error {
	if s.placed {
		return nil
	}
	if err := os.Remove(s.temp); err != nil && !errors.Is(err, fs.ErrNotExist) {
		return fmt.Errorf("removing a temporary file: %w", err)
	}
	return nil
}

// WriteFile replaces the file at path, or creates it.
func WriteFile(path string, data []byte, mode fs.FileMode) error {
	s, err := Stage(path, data, mode)
	if err != nil {
		return err
	}
	if err := s.Replace(); err != nil {
		_ = s.Discard() // the first error is the one to tell
		return err
	}
	return nil
}

// Mkdir creates one directory with exactly this mode, whatever the umask is.
// If anything has its name already, it is fs.ErrExist.
func Mkdir(path string, mode fs.FileMode) error {
	if err := os.Mkdir(path, mode&0o700); err != nil {
		return fmt.Errorf("creating the directory %q: %w", path, cause(err))
	}
	if err := os.Chmod(path, mode); err != nil {
		return fmt.Errorf("creating the directory %q: %w", path, cause(err))
	}
	return SyncDir(filepath.Dir(path))
}

// Rename moves a file within a directory and takes the name from whatever has
// it.
func Rename(from, to string) error {
	if err := rename(from, to); err != nil {
		return fmt.Errorf("renaming %q to %q: %w", from, to, cause(err))
	}
	return SyncDir(filepath.Dir(to))
}

// RenameNew is Rename that takes the name from nobody: fs.ErrExist.
func RenameNew(from, to string) error {
	s := Staged{path: to, temp: from}
	return s.Create()
}
