// Package bundle writes the files that are handed to a person: a private key,
// its certificate with the chain, or both in one file of the format that some
// program wants; and it reads such files.
//
// A hand-over has three steps, so that nothing is issued that cannot be kept.
// Check finds out whether the files can be written, before any key is touched.
// Stage puts the key on the disk, before the certificate is issued. Commit
// gives all files their names, or none.
package bundle

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"

	"mutual/pki/internal/durable"
)

// Target says which files are written, and where.
type Target struct {
	Dir      string // made with the mode 0700 if only its parent exists
	Base     string // the beginning of the files' names: pki.Name.FileBase
	Force    bool   // replace what is there
	WithKey  bool   // write Base.key, 0600
	Combined bool   // also write key and chain in Base.pem, 0600; needs WithKey
}

// Files names what was written: Base.key (0600), Base.crt (0644) and Base.pem
// (0600). A file that was not wanted is "".
type Files struct{ Key, Certificate, Combined string }

// room is more than the files of one hand-over take: RSA keys of 4096 bits,
// encrypted, have 4 KiB, and so has a chain.
const room = 16 << 10

// files returns the places of the files.
func (t Target) files() Files {
	base := filepath.Join(t.Dir, t.Base)
	f := Files{Certificate: base + ".crt"}
	if t.WithKey {
		f.Key = base + ".key"
	}
	if t.Combined {
		f.Combined = base + ".pem"
	}
	return f
}

// Files names the places of the files, before they are written.
func (t Target) Files() Files { return t.files() }

// Abs gives the files with absolute paths.
func (f Files) Abs() (Files, error) {
	for _, path := range []*string{&f.Key, &f.Certificate, &f.Combined} {
		if *path == "" {
			continue
		}
		abs, err := filepath.Abs(*path)
		if err != nil {
			return Files{}, fmt.Errorf("finding a file: %w", err)
		}
		*path = abs
	}
	return f, nil
}

// paths lists the places of the files that are wanted.
func (t Target) paths() []string {
	f := t.files()
	paths := []string{f.Certificate}
	if t.WithKey {
		paths = append(paths, f.Key)
	}
	if t.Combined {
		paths = append(paths, f.Combined)
	}
	return paths
}

// Check returns nil if the files can be written: the directory, or the parent
// of a directory that is not there yet, takes a temporary file of 16 KiB, and
// none of the files exists (else fs.ErrExist) or each can be replaced by
// force. Nothing that it does remains.
func Check(t Target) error {
	if err := t.validate(); err != nil {
		return err
	}
	dir, err := t.existingDir()
	if err != nil {
		return err
	}
	for _, path := range t.paths() {
		if err := checkFile(path, t.Force); err != nil {
			return err
		}
	}
	if err := durable.CheckRoom(filepath.Join(dir, t.Base), room); err != nil {
		return fmt.Errorf("checking the directory %q: %w", dir, err)
	}
	return nil
}

func (t Target) validate() error {
	if t.Base == "" || t.Base == "." || t.Base == ".." || filepath.Base(t.Base) != t.Base {
		return fmt.Errorf("%q cannot begin the name of a file", t.Base)
	}
	if t.Combined && !t.WithKey {
		return errors.New("a file with key and certificate needs the key")
	}
	return nil
}

// existingDir returns the directory, or its parent if that is all there is.
func (t Target) existingDir() (string, error) {
	dir := filepath.Clean(t.Dir)
	info, err := os.Stat(dir)
	if errors.Is(err, fs.ErrNotExist) {
		parent := filepath.Dir(dir)
		if info, err = os.Stat(parent); errors.Is(err, fs.ErrNotExist) {
			return "", fmt.Errorf("neither the directory %q nor its parent exists: %w", dir, fs.ErrNotExist)
		}
		dir = parent
	}
	if err != nil {
		return "", fmt.Errorf("checking the directory: %w", err)
	}
	if !info.IsDir() {
		return "", fmt.Errorf("%q is no directory", dir)
	}
	return dir, nil
}

// checkFile checks what is at the place of a file.
func checkFile(path string, force bool) error {
	info, err := os.Lstat(path)
	switch {
	case errors.Is(err, fs.ErrNotExist):
		return nil
	case err != nil:
		return fmt.Errorf("checking the place of a file: %w", err)
	case !force:
		return fmt.Errorf("%q is there already: %w", path, fs.ErrExist)
	case !info.Mode().IsRegular() && info.Mode()&fs.ModeSymlink == 0:
		return fmt.Errorf("%q is no file and cannot be replaced", path)
	}
	return nil
}
