//go:build unix

package commands

import (
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
)

// A descriptor that nobody has opened is none of ours either, whichever number the
// runtime or the database has.
func TestPassphraseFromOwnDescriptor(t *testing.T) {
	dir := t.TempDir()
	if err := os.WriteFile(filepath.Join(dir, "secret"), []byte("correct horse\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	run := func(line string) (string, error) {
		cmd := exec.Command("sh", "-c", line)
		cmd.Dir = dir
		out, err := cmd.CombinedOutput()
		return string(out), err
	}
	if out, err := run("mutual init --pki pki -q --passphrase-fd 7 7<secret"); err != nil {
		t.Fatalf("%v\n%s", err, out)
	}
	if out, err := run("mutual issue client alice --pki pki -q --passphrase-fd 3 3<secret"); err != nil {
		t.Errorf("%v\n%s", err, out)
	}
	for _, fd := range []string{"3", "4", "5", "6", "7", "8", "9"} {
		for _, words := range []string{"init --pki other", "issue client bob --pki pki", "crl refresh --pki pki"} {
			out, err := run("exec mutual " + words + " -q --passphrase-fd " + fd + " 3<&- 4<&- 5<&- 6<&- 7<&- 8<&- 9<&- </dev/null")
			if want := "reading the passphrase: file descriptor " + fd + " is not open"; err == nil || !strings.Contains(out, want) {
				t.Errorf("%s, %s: %v\n%s", words, fd, err, out)
			}
		}
	}
}
