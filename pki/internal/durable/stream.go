package durable

import (
	"fmt"
	"io"
	"io/fs"
	"os"
)

// StageFunc is Stage for content that is written piece by piece. An error of
// write is returned, and nothing is left.
func StageFunc(path string, mode fs.FileMode, write func(io.Writer) error) (*Staged, error) {
	s := &Staged{path: path, temp: tempName(path)}
	f, err := os.OpenFile(s.temp, os.O_WRONLY|os.O_CREATE|os.O_EXCL, 0o600)
	if err != nil {
		return nil, fmt.Errorf("writing %q: %w", path, cause(err))
	}
	if err := finish(f, write(f), mode); err != nil {
		_ = os.Remove(s.temp) // the first error is the one to tell
		return nil, fmt.Errorf("writing %q: %w", path, cause(err))
	}
	return s, nil
}
