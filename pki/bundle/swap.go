package bundle

import (
	"bytes"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"

	"mutual/pki/internal/durable"
)

// Swap replaces a pair of key and certificate where it lies. It is begun by
// StageSwap and ended by Commit or Discard; Recover continues what a killed
// process has left.
//
// The file system never holds a key and a certificate that do not match, at
// any instant and after a crash or a loss of power at any step:
//
//  1. A hidden directory beside the certificate holds the new pair and hard
//     links to the old one. A symbolic link in it, live, leads to the old one.
//  2. Each file of the pair is replaced by a symbolic link through live. No
//     content changes.
//  3. live is replaced by a link to the new pair: one rename, and the instant
//     at which every file changes.
//  4. Each symbolic link is replaced by the new file. No content changes.
//  5. The hidden directory is removed.
//
// Between the steps the directories are flushed. Every replacement is a
// rename: each name leads to a file at any time. Only a reader that the system
// stopped while it followed a link, from before step 4 until after step 5, is
// told that there is no such file, and finds it when it opens the name again.
type Swap struct {
	files  Files
	work   string // the hidden directory; "" where only the certificate changes
	keyPEM []byte // the new key; empty: the old one stays
}

// Key returns the new key as it was staged.
func (s *Swap) Key() []byte { return s.keyPEM }

// entry is one file of a pair: its place and its name in the hidden directory.
type entry struct{ path, name string }

// The names in the hidden directory.
const (
	nameKey, nameCertificate, nameCombined = "key", "certificate", "combined"

	nameOld, nameNew = "old", "new" // the pairs
	nameLive         = "live"       // a link to one of them
	namePlain        = "plain"      // symbolic links cannot be had: go on without
	namePlaces       = "places"     // where the pair lies; without it nothing has begun
)

func (f Files) entries() []entry {
	var out []entry
	for _, e := range []entry{{f.Key, nameKey}, {f.Certificate, nameCertificate}, {f.Combined, nameCombined}} {
		if e.path != "" {
			out = append(out, e)
		}
	}
	return out
}

// Main is the file that holds the certificate: Certificate or else Combined.
func (f Files) Main() string {
	if f.Certificate != "" {
		return f.Certificate
	}
	return f.Combined
}

// StageSwap checks that the files are there and can be replaced with their
// owner and mode, and puts the new key on the disk. Without a key only the
// certificate will be replaced. The files are as Locate gives them, and
// Recover has been called. On failure nothing is left.
func StageSwap(files Files, keyPEM []byte) (*Swap, error) {
	s := &Swap{files: files, keyPEM: keyPEM}
	if files.Main() == "" || len(keyPEM) > 0 && files.Key == "" && files.Combined == "" {
		return nil, errors.New("replacing a pair: there is no place for the key or the certificate")
	}
	if len(keyPEM) == 0 {
		return s, s.probe()
	}
	s.work = workDir(files.Main())
	if err := s.stage(); err != nil {
		if !errors.Is(err, fs.ErrExist) {
			_ = s.Discard() // the first error is the one to tell
		}
		return nil, fmt.Errorf("replacing %q: %w", files.Main(), err)
	}
	return s, nil
}

// stage makes the hidden directory with the new key in it. Others may pass
// through it, as through the directory in which it lies: the files in it have
// the modes of those that they replace.
func (s *Swap) stage() error {
	if err := durable.Mkdir(s.work, 0o711); err != nil {
		return err
	}
	if err := durable.Mkdir(s.in(nameNew), 0o711); err != nil {
		return err
	}
	for _, e := range s.files.entries() {
		data := make([]byte, room/4) // so that there will be room
		if e.name == nameKey {
			data = s.keyPEM
		}
		if err := writeLike(s.in(nameNew, e.name), data, e.path); err != nil {
			return err
		}
	}
	if err := durable.WriteFile(s.in(nameKey), s.keyPEM, 0o600); err != nil {
		return err
	}
	if err := durable.SyncDir(s.in(nameNew)); err != nil {
		return err
	}
	return s.writePlaces()
}

// probe tries whether the files can be replaced. Nothing remains.
func (s *Swap) probe() error {
	for _, e := range s.files.entries() {
		if e.name == nameKey {
			continue
		}
		temp := tempBeside(e.path)
		err := removeIfThere(temp)
		if err == nil {
			err = writeLike(temp, make([]byte, room/4), e.path)
		}
		if bad := removeIfThere(temp); err == nil {
			err = bad
		}
		if err != nil {
			return fmt.Errorf("replacing %q: %w", e.path, err)
		}
	}
	return nil
}

// Discard removes what StageSwap made.
func (s *Swap) Discard() error {
	if s.work == "" {
		return nil
	}
	return s.remove()
}

// Commit puts the new pair into its place. atomic says that both changed at
// one instant; where the system lets nobody make symbolic links they change one
// after the other. On failure the old pair is in its place or, where the error
// came after the change, the new one, and the new key is kept in the hidden
// directory that the error names: Recover goes on from there.
func (s *Swap) Commit(chainPEM []byte) (atomic bool, err error) {
	if s.work == "" {
		return true, s.replaceCertificate(chainPEM)
	}
	atomic = s.canLink()
	for _, step := range s.steps(chainPEM, atomic) {
		if err := step(); err != nil {
			_ = s.goBack() // the first error is the one to tell
			return atomic, fmt.Errorf("replacing %q: %w; the new key is kept in %q", s.files.Main(), err, s.in(nameKey))
		}
	}
	return atomic, nil
}

// steps are what Commit does, in order. A process can be killed in and between
// any of them.
func (s *Swap) steps(chainPEM []byte, atomic bool) []func() error {
	steps := []func() error{
		func() error { return s.fill(chainPEM) },
		s.keepOld,
	}
	if !atomic {
		return append(steps, s.goPlain, s.putNew, s.remove)
	}
	return append(steps,
		func() error { return s.point(nameOld) },
		s.putLinks,
		func() error { return s.point(nameNew) },
		s.putNew,
		s.remove,
	)
}

// fill completes the new pair in the hidden directory.
func (s *Swap) fill(chainPEM []byte) error {
	for _, e := range s.files.entries() {
		data := s.keyPEM
		switch e.name {
		case nameCertificate:
			data = chainPEM
		case nameCombined:
			data = bytes.Join([][]byte{s.keyPEM, chainPEM}, nil)
		}
		path := s.in(nameNew, e.name)
		if err := removeIfThere(path); err != nil {
			return err
		}
		if err := writeLike(path, data, e.path); err != nil {
			return err
		}
	}
	return durable.SyncDir(s.in(nameNew))
}

// keepOld gives the old pair a second name in the hidden directory.
func (s *Swap) keepOld() error {
	if err := os.RemoveAll(s.in(nameOld)); err != nil {
		return err
	}
	if err := durable.Mkdir(s.in(nameOld), 0o711); err != nil {
		return err
	}
	for _, e := range s.files.entries() {
		if err := linkOrCopy(e.path, s.in(nameOld, e.name)); err != nil {
			return err
		}
	}
	return durable.SyncDir(s.in(nameOld))
}

// point makes live a link to one of the pairs.
func (s *Swap) point(pair string) error {
	temp := s.in(nameLive + ".tmp")
	if err := removeIfThere(temp); err != nil {
		return err
	}
	if err := os.Symlink(pair, temp); err != nil {
		return err
	}
	return durable.Rename(temp, s.in(nameLive))
}

// putLinks replaces each file by a link through live.
func (s *Swap) putLinks() error {
	for _, e := range s.files.entries() {
		target, err := s.link(e)
		if err != nil {
			return err
		}
		temp := tempBeside(e.path)
		if err := removeIfThere(temp); err != nil {
			return err
		}
		if err := os.Symlink(target, temp); err != nil {
			return err
		}
		if err := durable.Rename(temp, e.path); err != nil {
			return err
		}
	}
	return nil
}

// putNew replaces what leads through live by the new files themselves and,
// where there are no links, the old files.
func (s *Swap) putNew() error {
	return s.put(nameNew, func(e entry) bool { return s.isLink(e) || s.isPlain() && !sameFile(e.path, s.in(nameNew, e.name)) })
}

// putOld puts the old files back where links are.
func (s *Swap) putOld() error { return s.put(nameOld, s.isLink) }

// put puts the files of a pair into the places that want them.
func (s *Swap) put(pair string, wants func(entry) bool) error {
	for _, e := range s.files.entries() {
		temp := tempBeside(e.path)
		if err := removeIfThere(temp); err != nil {
			return err
		}
		if !wants(e) {
			continue
		}
		if err := linkOrCopy(s.in(pair, e.name), temp); err != nil {
			return err
		}
		if err := durable.Rename(temp, e.path); err != nil {
			return err
		}
	}
	return nil
}

// replaceCertificate is Commit where the key stays: one rename for each file
// that holds the certificate. Each of them matches the key before and after.
func (s *Swap) replaceCertificate(chainPEM []byte) error {
	for _, e := range s.files.entries() {
		data := chainPEM
		switch e.name {
		case nameKey:
			continue
		case nameCombined:
			key, err := keyBlock(e.path)
			if err != nil {
				return err
			}
			data = bytes.Join([][]byte{key, chainPEM}, nil)
		}
		temp := tempBeside(e.path)
		err := removeIfThere(temp)
		if err == nil {
			err = writeLike(temp, data, e.path)
		}
		if err == nil {
			err = durable.Rename(temp, e.path)
		}
		if err != nil {
			_ = removeIfThere(temp) // the first error is the one to tell
			return fmt.Errorf("replacing %q: %w", e.path, err)
		}
	}
	return nil
}

// remove removes the hidden directory. The file without which nothing has
// begun is the first to go.
func (s *Swap) remove() error {
	if err := removeIfThere(s.in(namePlaces)); err != nil {
		return err
	}
	if err := durable.SyncDir(s.work); err != nil && !errors.Is(err, fs.ErrNotExist) {
		return err
	}
	if err := os.RemoveAll(s.work); err != nil {
		return err
	}
	return durable.SyncDir(filepath.Dir(s.work))
}
