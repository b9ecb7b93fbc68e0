package pemfile

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"

	"mutual/pki/internal/large"
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
	data, err := read(f, limit, info.Size()) // of a pipe it is 0
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
// limit octets. What shows before its end that it is neither PEM nor DER is
// not read further.
func Read(r io.Reader, limit int64) ([]byte, error) { return read(r, limit, 0) }

// smallFile is the size up to which nobody looks at what is read: there are
// formats that are not for this package.
const smallFile = 1 << 20

// read is Read of something that has about size octets, which may be a guess.
func read(r io.Reader, limit, size int64) ([]byte, error) {
	data := large.Make(int(min(size, limit) + 512)) // one more than the size shows that it has an end
	for {
		seen := len(data)
		n, err := r.Read(data[seen:cap(data)])
		data = data[:seen+n]
		switch {
		case err != nil && err != io.EOF:
			return nil, err
		case int64(len(data)) > limit:
			return nil, fmt.Errorf("it has more than %d octets, the most that is read", limit)
		case err == io.EOF:
			return data, nil
		}
		if len(data) > smallFile {
			if err := checkLarge(data, seen, limit); err != nil {
				return nil, err
			}
		}
		if len(data) == cap(data) {
			room := 2 * int64(cap(data))
			if room >= limit {
				room = limit + 1
			}
			data = append(make([]byte, 0, room), data...)
		}
	}
}

// checkLarge looks at the beginning of a large file, of which what stands
// before seen has been looked at already. DER says how long it is, PEM is
// text, and a very large file has its first block near its beginning.
func checkLarge(data []byte, seen int, limit int64) error {
	if data[0] == 0x30 { // a SEQUENCE
		if size, ok := sizeOfDER(data); !ok || size > limit {
			return fmt.Errorf("it is no DER of at most %d octets, the most that is read", limit)
		} else if int64(len(data)) > size {
			return fmt.Errorf("it is DER of %d octets with data after its end", size)
		}
		return nil
	}
	if seen <= smallFile {
		seen = 0
	}
	switch {
	case bytes.IndexByte(data[seen:], 0) >= 0:
		return errors.New("it is neither PEM nor DER")
	case len(data) > MaxFile && seen <= MaxFile && !bytes.Contains(data[:smallFile], []byte(begin)):
		return fmt.Errorf("it has no PEM in its first %d octets, and more than %d", smallFile, MaxFile)
	}
	return nil
}

// sizeOfDER is what the length of an element, with its own octets, makes of it.
func sizeOfDER(data []byte) (size int64, ok bool) {
	n := int(data[1]) - 0x80
	if n < 1 || n > 4 || len(data) < 2+n { // a large one has the long form
		return 0, false
	}
	for _, b := range data[2 : 2+n] {
		size = size<<8 | int64(b)
	}
	return size + 2 + int64(n), true
}
