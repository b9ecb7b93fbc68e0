package pemfile

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
)

// MaxFile is the size, in octets, over which a file is not read unless its
// reader says otherwise, as for a CRL.
const MaxFile = 64 << 20

// ReadFile returns the content of a regular file or a pipe that has at most
// limit octets. A longer one, and any other kind of file, is an error.
func ReadFile(path string, limit int64) ([]byte, error) {
	f, err := os.Open(path)
	if err != nil {
		return nil, fmt.Errorf("reading a file: %w", err)
	}
	defer func() { _ = f.Close() }() // nothing was written
	info, err := f.Stat()
	if err != nil {
		return nil, fmt.Errorf("reading a file: %w", err)
	}
	if err := checkKind(info, limit); err != nil {
		return nil, fmt.Errorf("reading %q: %w", path, err)
	}
	data, err := read(f, limit, info.Size())
	if err != nil {
		return nil, fmt.Errorf("reading %q: %w", path, err)
	}
	return data, nil
}

func checkKind(info fs.FileInfo, limit int64) error {
	switch mode := info.Mode(); {
	case mode.IsDir():
		return errors.New("it is a directory")
	case !mode.IsRegular() && mode&fs.ModeNamedPipe == 0:
		return errors.New("it is neither a regular file nor a pipe")
	case mode.IsRegular() && info.Size() > limit:
		return fmt.Errorf("it has %d octets, and at most %d are read", info.Size(), limit)
	}
	return nil
}

// Read returns all that r gives, as from standard input, if that is at most
// limit octets.
func Read(r io.Reader, limit int64) ([]byte, error) { return read(r, limit, 0) }

// read is Read where about size octets will come: they are not copied as more
// and more do.
func read(r io.Reader, limit, size int64) ([]byte, error) {
	var b bytes.Buffer
	b.Grow(int(min(size, limit)) + bytes.MinRead)
	if _, err := b.ReadFrom(io.LimitReader(r, limit+1)); err != nil {
		return nil, err
	}
	if int64(b.Len()) > limit {
		return nil, fmt.Errorf("it has more than %d octets, the most that is read", limit)
	}
	return b.Bytes(), nil
}
