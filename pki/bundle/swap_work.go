package bundle

import (
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"encoding/pem"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"strings"

	"mutual/pki/internal/durable"
	"mutual/pki/pemfile"
)

// The hidden names beside a file: the directory of a swap, and the file or link
// that is about to take the file's name.
const workSuffix, tempSuffix = ".renew", ".renew.tmp"

func workDir(path string) string    { return hidden(path, workSuffix) }
func tempBeside(path string) string { return hidden(path, tempSuffix) }

// hidden makes a name that belongs to a file. A long one is hashed, so that
// what is added to it does not make it too long for the file system.
func hidden(path, suffix string) string {
	const most = 200
	dir, name := filepath.Split(path)
	if len(name) > most {
		sum := sha256.Sum256([]byte(name))
		name = hex.EncodeToString(sum[:16])
	}
	return dir + "." + name + suffix
}

// in is a path in the hidden directory.
func (s *Swap) in(names ...string) string {
	return filepath.Join(append([]string{s.work}, names...)...)
}

// link is what the symbolic link at a place says. It is relative, so that it
// holds also where the directory is mounted under another name.
func (s *Swap) link(e entry) (string, error) {
	return filepath.Rel(filepath.Dir(e.path), s.in(nameLive, e.name))
}

// isLink reports whether a place holds the link that we put there.
func (s *Swap) isLink(e entry) bool {
	want, err := s.link(e)
	if err != nil {
		return false
	}
	got, err := os.Readlink(e.path)
	return err == nil && got == want
}

// isWorkLink reports whether a symbolic link is one that a swap has put there.
func isWorkLink(target string) bool {
	live := filepath.Dir(target)
	work := filepath.Base(filepath.Dir(live))
	return filepath.Base(live) == nameLive && strings.HasPrefix(work, ".") && strings.HasSuffix(work, workSuffix)
}

// canLink reports whether symbolic links can be had in the hidden directory
// and beside each file.
func (s *Swap) canLink() bool {
	paths := []string{s.in(nameLive + ".tmp")}
	for _, e := range s.files.entries() {
		paths = append(paths, tempBeside(e.path))
	}
	for _, path := range paths {
		if removeIfThere(path) != nil || os.Symlink(nameOld, path) != nil {
			return false
		}
		if removeIfThere(path) != nil {
			return false
		}
	}
	return true
}

// goPlain notes, before the first file changes, that they change one after the
// other: from here Recover goes on to the new pair.
func (s *Swap) goPlain() error {
	return durable.WriteFile(s.in(namePlain), nil, 0o600)
}

func (s *Swap) isPlain() bool {
	_, err := os.Lstat(s.in(namePlain))
	return err == nil
}

// writePlaces notes where the pair lies, relative to the hidden directory.
func (s *Swap) writePlaces() error {
	places := map[string]string{}
	for _, e := range s.files.entries() {
		rel, err := filepath.Rel(s.work, e.path)
		if err != nil {
			return err
		}
		places[e.name] = filepath.ToSlash(rel)
	}
	data, err := json.Marshal(places)
	if err != nil {
		return err
	}
	return durable.WriteFile(s.in(namePlaces), data, 0o600)
}

// readPlaces is its opposite. A directory without the note is fs.ErrNotExist.
func (s *Swap) readPlaces() error {
	data, err := pemfile.ReadFile(s.in(namePlaces), pemfile.MaxFile)
	if err != nil {
		return err
	}
	places := map[string]string{}
	if err := json.Unmarshal(data, &places); err != nil {
		return fmt.Errorf("reading %q: %w", s.in(namePlaces), err)
	}
	path := func(name string) string {
		if places[name] == "" {
			return ""
		}
		return filepath.Join(s.work, filepath.FromSlash(places[name]))
	}
	s.files = Files{Key: path(nameKey), Certificate: path(nameCertificate), Combined: path(nameCombined)}
	return nil
}

// writeLike writes and flushes a new file with the owner and the mode of
// another one.
func writeLike(path string, data []byte, like string) error {
	info, err := os.Stat(like)
	if err != nil {
		return err
	}
	if !info.Mode().IsRegular() {
		return fmt.Errorf("%q is no file and cannot be replaced", like)
	}
	f, err := os.OpenFile(path, os.O_WRONLY|os.O_CREATE|os.O_EXCL, 0o600)
	if err != nil {
		return err
	}
	_, err = f.Write(data)
	if err == nil {
		err = giveTo(f, info)
	}
	if err == nil {
		err = f.Chmod(info.Mode().Perm())
	}
	if err == nil {
		err = f.Sync()
	}
	if closed := f.Close(); err == nil {
		err = closed
	}
	if err != nil {
		_ = os.Remove(path) // the first error is the one to tell
	}
	return err
}

// linkOrCopy gives a file a second name, or makes a copy where the file system
// has no hard links, lies elsewhere, or refuses to link another user's file.
func linkOrCopy(from, to string) error {
	if err := os.Link(from, to); err == nil || errors.Is(err, fs.ErrExist) {
		return err
	}
	data, err := pemfile.ReadFile(from, pemfile.MaxFile)
	if err != nil {
		return err
	}
	return writeLike(to, data, from)
}

// sameFile reports whether two names lead to the same file or content.
func sameFile(a, b string) bool {
	x, errX := pemfile.ReadFile(a, pemfile.MaxFile)
	y, errY := pemfile.ReadFile(b, pemfile.MaxFile)
	return errX == nil && errY == nil && string(x) == string(y)
}

// keyBlock gives the private key of a file that holds key and chain, as it
// stands there.
func keyBlock(path string) ([]byte, error) {
	data, err := pemfile.ReadFile(path, pemfile.MaxFile)
	if err != nil {
		return nil, err
	}
	for block, rest := pem.Decode(data); block != nil; block, rest = pem.Decode(rest) {
		if strings.HasSuffix(block.Type, "PRIVATE KEY") {
			return pem.EncodeToMemory(block), nil
		}
	}
	return nil, fmt.Errorf("%q holds no key", path)
}

func removeIfThere(path string) error {
	if err := os.Remove(path); err != nil && !errors.Is(err, fs.ErrNotExist) {
		return err
	}
	return nil
}
