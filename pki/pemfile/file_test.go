package pemfile_test

import (
	"errors"
	"io"
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

// TestReadLarge stops where a large file shows what it is not, long before its
// end.
func TestReadLarge(t *testing.T) {
	const limit = 1 << 40
	endless := func(begin, again string) io.Reader {
		return io.MultiReader(strings.NewReader(begin), repeating(again))
	}
	for _, test := range []struct{ name, begin, again, want string }{
		{"zeros", "", "\x00", "it is neither PEM nor DER"},
		{"zeros in PEM", "-----BEGIN X509 CRL-----\n" + strings.Repeat("AAAA\n", 1<<20), "\x00", "it is neither PEM nor DER"},
		{"text", "", "text\n", "it has no PEM in its first 1048576 octets, and more than 67108864"},
		{"DER that is longer than it says", "\x30\x83\x20\x00\x00", "x", "it is DER of 2097157 octets with data after its end"},
		{"DER without an end", "\x30\x80", "x", "it is no DER of at most 1099511627776 octets"},
		{"DER of more than the limit", "\x30\x86\x7f\xff\xff\xff\xff\xff", "x", "it is no DER of at most"},
	} {
		t.Run(test.name, func(t *testing.T) {
			_, err := pemfile.Read(endless(test.begin, test.again), limit)
			wantError(t, err, test.want)
		})
	}
	for name, text := range map[string]string{
		"text before PEM": strings.Repeat("text\n", 1<<20) + "-----BEGIN X509 CRL-----\n",
		"DER":             "\x30\x83\x20\x00\x00" + strings.Repeat("x", 0x200000),
	} {
		if data, err := pemfile.Read(strings.NewReader(text), limit); err != nil || string(data) != text {
			t.Errorf("%s: %d of %d octets, %v", name, len(data), len(text), err)
		}
	}
}

// repeating reads as the same for ever.
type repeating string

func (r repeating) Read(b []byte) (int, error) {
	n := copy(b, strings.Repeat(string(r), min(1<<12, len(b))))
	return n, nil
}
