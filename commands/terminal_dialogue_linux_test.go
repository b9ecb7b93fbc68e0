package commands

import (
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"testing"
)

// question is what a command asks on a terminal, and the answer.
type question struct{ prompt, answer string }

// dialogue runs the program on a terminal, in a directory with the PKI in it,
// and answers its questions, which must come in this order. Nothing that is
// typed is shown.
func dialogue(t *testing.T, dir string, args []string, questions ...question) {
	t.Helper()
	person, program := openTerminal(t, 80)
	cmd := exec.CommandContext(t.Context(), "mutual", args...)
	cmd.Dir = dir
	without := slices.DeleteFunc(os.Environ(), func(v string) bool { return strings.HasPrefix(v, envPassphrase+"=") }) // an empty one is refused
	cmd.Env = append(without, "MUTUAL_PKI="+filepath.Join(dir, "pki"), "NO_COLOR=1")
	cmd.Stdin, cmd.Stderr = program, program
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	for i, q := range questions {
		shown := readUntil(t, person, ": ")
		if asked := strings.TrimLeft(shown, "\r\n"); asked != q.prompt+": " {
			_ = cmd.Process.Kill() // it waits for an answer
			_ = cmd.Wait()
			t.Fatalf("%q asks %q as number %d, want %q", args, asked, i+1, q.prompt)
		}
		waitFor(t, "the echo to be off", func() bool { return !echoes(t, program) })
		_, _ = io.WriteString(person, q.answer+"\n")
	}
	if err := cmd.Wait(); err != nil {
		t.Errorf("%q: %v", args, err)
	}
	if !echoes(t, program) {
		t.Error("the terminal has no echo any more")
	}
}

// What needs a secret and was given none asks for it on a terminal: for the one
// that there is before the one that shall be, and for a new one twice.
func TestSecretsAreAskedFor(t *testing.T) {
	if testing.Short() {
		t.Skip("not with -short: it derives many keys from passphrases")
	}
	dir := t.TempDir()
	newPassphrase, again := "New passphrase for the CA keys", "The same again"
	dialogue(t, dir, []string{"init", "--encrypt"}, question{newPassphrase, "first"}, question{again, "first"})
	dialogue(t, dir, []string{"issue", "client", "alice"}, question{"Passphrase of the CA keys", "first"})
	dialogue(t, dir, []string{"ca", "passphrase"},
		question{"Passphrase of the CA keys", "first"}, question{newPassphrase, "second"}, question{again, "second"})
	dialogue(t, dir, []string{"ca", "passphrase", "--remove"}, question{"Passphrase of the CA keys", "second"})
	dialogue(t, dir, []string{"ca", "passphrase"}, question{newPassphrase, "third"}, question{again, "third"})
	dialogue(t, dir, []string{"renew", "alice"}, question{"Passphrase of the CA keys", "third"})
	dialogue(t, dir, []string{"backup", "b"}, question{"Passphrase of the CA keys", "third"})
	dialogue(t, dir, []string{"restore", "b", "--pki", "again"}, question{"Passphrase of the CA keys", "third"})
	dialogue(t, dir, []string{"export", "alice", "--key", "alice.key"}, question{"New password for the file", "hunter22"}, question{again, "hunter22"})
	dialogue(t, dir, []string{"import", "alice.p12", "--name", "back"}, question{"Password of the file", "hunter22"})
}
