package durable

import (
	"errors"
	"io"
	"path/filepath"
	"testing"
)

// TestStageFunc writes in pieces; an error of the writer leaves nothing.
func TestStageFunc(t *testing.T) {
	dir := t.TempDir()
	path := filepath.Join(dir, "b")
	s, err := StageFunc(path, 0o600, func(w io.Writer) error {
		for _, piece := range []string{"in ", "pieces"} {
			if _, err := io.WriteString(w, piece); err != nil {
				return err
			}
		}
		return nil
	})
	if err != nil {
		t.Fatal(err)
	}
	wantFile(t, s.Path(), "in pieces", 0o600)
	if err := s.Create(); err != nil {
		t.Fatal(err)
	}
	wantFile(t, path, "in pieces", 0o600)
	failed := errors.New("it failed")
	if _, err := StageFunc(path, 0o600, func(io.Writer) error { return failed }); !errors.Is(err, failed) {
		t.Errorf("error %v", err)
	}
	wantFile(t, path, "in pieces", 0o600)
	wantNames(t, dir, "b")
}
