package pemfile_test

import (
	"errors"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"testing/iotest"

	"mutual/pki/pemfile"
)

func TestReadFile(t *testing.T) {
	dir := t.TempDir()
	path := filepath.Join(dir, "file")
	if err := os.WriteFile(path, []byte("0123456789"), 0o600); err != nil {
		t.Fatal(err)
	}
	data, err := pemfile.ReadFile(path, 10)
	if err != nil || string(data) != "0123456789" {
		t.Errorf("%q, %v", data, err)
	}
	_, err = pemfile.ReadFile(path, 9)
	wantError(t, err, "it has 10 octets, and at most 9 are read")
	_, err = pemfile.ReadFile(dir, pemfile.MaxFile)
	wantError(t, err, "it is a directory")
	_, err = pemfile.ReadFile(filepath.Join(dir, "missing"), pemfile.MaxFile)
	wantError(t, err, "reading a file: ")
	if !errors.Is(err, fs.ErrNotExist) {
		t.Errorf("%v is not fs.ErrNotExist", err)
	}
}

func TestReadDevice(t *testing.T) {
	if _, err := os.Stat("/dev/zero"); err != nil {
		t.Skip("/dev/zero is missing")
	}
	_, err := pemfile.ReadFile("/dev/zero", 10)
	wantError(t, err, `reading "/dev/zero": it is neither a regular file nor a pipe`)
}

func TestRead(t *testing.T) {
	data, err := pemfile.Read(iotest.OneByteReader(strings.NewReader("0123")), 4)
	if err != nil || string(data) != "0123" {
		t.Errorf("%q, %v", data, err)
	}
	_, err = pemfile.Read(strings.NewReader("01234"), 4)
	wantError(t, err, "it has more than 4 octets, the most that is read")
	_, err = pemfile.Read(iotest.ErrReader(errors.New("the disk is gone")), 4)
	wantError(t, err, "the disk is gone")
}
