package bundle

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"

	"mutual/pki/internal/durable"
	"mutual/pki/pemfile"
)

// maxLinks bounds how many symbolic links lead to a file.
const maxLinks = 40

// Locate gives the absolute paths at which the files of a pair really lie: a
// symbolic link is followed, so that the file that it leads to is replaced and
// not the link. A link that a killed swap has left stands for its file.
func Locate(files Files) (Files, error) {
	var err error
	for _, path := range []*string{&files.Key, &files.Certificate, &files.Combined} {
		if *path == "" {
			continue
		}
		if *path, err = locate(*path); err != nil {
			return Files{}, err
		}
	}
	return files, nil
}

func locate(path string) (string, error) {
	path, err := filepath.Abs(path)
	if err != nil {
		return "", fmt.Errorf("finding a file: %w", err)
	}
	for range maxLinks {
		dir, err := filepath.EvalSymlinks(filepath.Dir(path))
		if err != nil {
			return "", fmt.Errorf("finding a file: %w", err)
		}
		path = filepath.Join(dir, filepath.Base(path))
		target, err := os.Readlink(path)
		if err != nil || isWorkLink(target) { // a file, ours, or not there
			return path, nil
		}
		if !filepath.IsAbs(target) {
			target = filepath.Join(dir, target)
		}
		path = target
	}
	return "", fmt.Errorf("finding a file: more than %d symbolic links lead to %q", maxLinks, path)
}

// Recover ends what a killed swap has left where the files lie, as Locate
// gives them: afterwards the old pair is there or the new, as plain files, and
// changed says that it put the new one there. If the old one is there, and the
// new key is too, the Swap is as StageSwap left it: it may go on with Commit.
// Nobody else may replace the pair meanwhile.
func Recover(files Files) (staged *Swap, changed bool, err error) {
	if files.Main() == "" {
		return nil, false, nil
	}
	s := &Swap{files: files, work: workDir(files.Main())}
	info, err := os.Lstat(s.work)
	if errors.Is(err, fs.ErrNotExist) {
		return nil, false, s.sweep()
	}
	if err == nil {
		err = checkOwn(info)
	}
	if err != nil {
		return nil, false, fmt.Errorf("looking for what an earlier renewal has left: %w", err)
	}
	switch err := s.readPlaces(); {
	case errors.Is(err, fs.ErrNotExist): // not begun, or all but removed
		return nil, false, s.remove()
	case err != nil:
		return nil, false, err
	}
	changed, err = s.settle()
	if err != nil || changed {
		return nil, changed, err
	}
	s.keyPEM, err = pemfile.ReadFile(s.in(nameKey), pemfile.MaxFile)
	if err != nil {
		return nil, false, err
	}
	return s, false, nil
}

// settle brings every place into a plain state: the new pair if the change has
// happened, and else the old one.
func (s *Swap) settle() (changed bool, err error) {
	if live, err := os.Readlink(s.in(nameLive)); err == nil && live == nameNew || s.isPlain() {
		if err := s.putNew(); err != nil {
			return true, fmt.Errorf("replacing %q: %w", s.files.Main(), err)
		}
		return true, s.remove()
	}
	if err := s.putOld(); err != nil {
		return false, fmt.Errorf("putting %q back: %w", s.files.Main(), err)
	}
	for _, name := range []string{nameLive, nameLive + ".tmp", nameOld} {
		if err := os.RemoveAll(s.in(name)); err != nil {
			return false, err
		}
	}
	return false, durable.SyncDir(s.work)
}

// goBack is settle after a failure: where the files change one after the other,
// the old ones are put back.
func (s *Swap) goBack() error {
	if s.isPlain() {
		if err := s.put(nameOld, func(e entry) bool { return !sameFile(e.path, s.in(nameOld, e.name)) }); err != nil {
			return err
		}
		if err := removeIfThere(s.in(namePlain)); err != nil {
			return err
		}
	}
	_, err := s.settle()
	return err
}

// sweep removes what a killed Commit without a new key may have left.
func (s *Swap) sweep() error {
	for _, e := range s.files.entries() {
		if err := removeIfThere(tempBeside(e.path)); err != nil {
			return err
		}
	}
	return nil
}
