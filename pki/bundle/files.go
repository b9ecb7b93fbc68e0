package bundle

import (
	"fmt"
	"io/fs"
	"os"
	"path/filepath"

	"mutual/pki/internal/durable"
)

// File is a file that is written as it is.
type File struct {
	Path   string
	Data   []byte
	Public bool // mode 0644; otherwise 0600
}

// CheckFiles returns nil if files can be written at these places: the
// directory of each is there, and none of the files exists (else fs.ErrExist)
// or each can be replaced by force.
func CheckFiles(force bool, paths ...string) error {
	for _, path := range paths {
		dir := filepath.Dir(path)
		info, err := os.Stat(dir)
		if err != nil {
			return fmt.Errorf("checking the directory: %w", err)
		}
		if !info.IsDir() {
			return fmt.Errorf("%q is no directory", dir)
		}
		if err := checkFile(path, force); err != nil {
			return err
		}
	}
	return nil
}

// WriteFiles writes all the files, or none. With force what was there is
// replaced; otherwise it is fs.ErrExist.
func WriteFiles(force bool, files ...File) error {
	var places []place
	for _, f := range files {
		mode := fs.FileMode(0o600)
		if f.Public {
			mode = 0o644
		}
		staged, err := durable.Stage(f.Path, f.Data, mode)
		if err != nil {
			undoAll(places)
			return err
		}
		places = append(places, place{path: f.Path, file: staged})
	}
	return putAll(places, force)
}
