//go:build unix

package pemfile_test

import (
	"os"
	"path/filepath"
	"testing"

	"golang.org/x/sys/unix"

	"mutual/pki/pemfile"
)

// TestReadPipe reads a named pipe, as the shell's <(…) is one.
func TestReadPipe(t *testing.T) {
	path := filepath.Join(t.TempDir(), "pipe")
	if err := unix.Mkfifo(path, 0o600); err != nil {
		t.Skipf("making a pipe: %v", err)
	}
	write := func(text string) {
		f, err := os.OpenFile(path, os.O_WRONLY, 0)
		if err != nil {
			t.Error(err)
			return
		}
		_, _ = f.WriteString(text) // the reader may have gone at its limit
		_ = f.Close()
	}
	go write("0123456789")
	data, err := pemfile.ReadFile(path, 10)
	if err != nil || string(data) != "0123456789" {
		t.Errorf("%q, %v", data, err)
	}
	done := make(chan struct{})
	go func() { defer close(done); write("0123456789") }()
	_, err = pemfile.ReadFile(path, 9)
	wantError(t, err, "it has more than 9 octets")
	<-done
}
