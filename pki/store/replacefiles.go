package store

import (
	"bytes"
	"cmp"
	"errors"
	"io"
	"os"
	"sync"

	"mutual/pki/internal/durable"
)

// body writes what a file is to hold, piece by piece.
type body func(io.Writer) error

// octets is the content that is at hand, in one or several pieces.
func octets(pieces ...[]byte) body {
	return func(w io.Writer) error {
		for _, data := range pieces {
			if _, err := w.Write(data); err != nil {
				return err
			}
		}
		return nil
	}
}

// copyOf is the content of another file.
func copyOf(path string) body {
	return func(w io.Writer) error {
		f, err := os.Open(path)
		if err != nil {
			return err
		}
		defer func() { _ = f.Close() }() // only read
		_, err = io.Copy(w, f)
		return err
	}
}

// file is a file that everybody may read and what it is to hold.
type file struct {
	path string
	body body
}

// replaceFiles replaces the files that do not hold their content yet. All are
// on the disk, several written at a time, before the first gets its name; then
// each gets it in the order given.
func replaceFiles(files []file) error {
	staged := make([]*durable.Staged, len(files))
	errs := make([]error, len(files))
	var group sync.WaitGroup
	free := make(chan struct{}, 4) // more than are large
	for i := range files {
		free <- struct{}{}
		group.Go(func() {
			if !files[i].isWritten() {
				staged[i], errs[i] = durable.StageFunc(files[i].path, 0o644, files[i].body)
			}
			<-free
		})
	}
	group.Wait()
	err := cmp.Or(errs...) // one is enough: where one has no room, the others have none
	for _, s := range staged {
		switch {
		case s == nil:
		case err == nil:
			if err = s.Replace(); err != nil {
				_ = s.Discard() // the first error is the one to tell
			}
		default:
			_ = s.Discard() // the first error is the one to tell
		}
	}
	return err
}

// writeIfOther replaces a file that everybody may read, unless it holds the
// data already.
func writeIfOther(path string, data []byte) error {
	return replaceFiles([]file{{path, octets(data)}})
}

// isWritten reports whether the file holds its content. It reads as far as the
// two agree.
func (f file) isWritten() bool {
	have, err := openRegular(f.path)
	if err != nil {
		return false
	}
	defer func() { _ = have.Close() }() // only read
	if err := f.body(&comparer{have: have}); err != nil {
		return false
	}
	n, err := have.Read(make([]byte, 1))
	return n == 0 && err == io.EOF
}

// comparer is written what a file should hold, and fails where it does not.
type comparer struct {
	have   io.Reader
	buffer [32 << 10]byte
}

var errOther = errors.New("the file holds something else")

func (c *comparer) Write(p []byte) (int, error) {
	for rest := p; len(rest) > 0; {
		n, err := io.ReadFull(c.have, c.buffer[:min(len(rest), len(c.buffer))])
		if err != nil || !bytes.Equal(c.buffer[:n], rest[:n]) {
			return 0, errOther
		}
		rest = rest[n:]
	}
	return len(p), nil
}
