package commands

import (
	"bytes"
	"path/filepath"
	"strings"
	"testing"
)

// atTerminal runs a command with somebody who answers every prompt.
func atTerminal(t *testing.T, pkiDir string, ask secretReader, words ...string) result {
	t.Helper()
	var stdout, stderr bytes.Buffer
	env := testEnv(map[string]string{"MUTUAL_PKI": pkiDir}, &stdout, &stderr)
	env.Stdin = Input{Reader: strings.NewReader(""), Terminal: true, ReadSecret: ask}
	env.Stderr.Terminal = true
	code := mainWith(t.Context(), append(words, "--color", "never"), env, tree())
	return result{code, stdout.String(), stderr.String()}
}

// TestFilePasswordIsAskedFor asks twice for a password that is new, and once
// for one that a file has already, which may be empty.
func TestFilePasswordIsAskedFor(t *testing.T) {
	dir := t.TempDir()
	pkiDir := filepath.Join(dir, "pki")
	at := func(name string) string { return filepath.Join(dir, name) }
	for _, words := range [][]string{{"init"}, {"issue", "client", "alice", "--out", dir}} {
		if got := atTerminal(t, pkiDir, secretFrom(), words...); got.code != exitDone {
			t.Fatalf("%q: %+v", words, got)
		}
	}
	const first, second, once = "New password for the file: \n", "The same again: \n", "Password of the file: \n"
	export := []string{"export", "alice", "--key", at("alice.key"), "--out", at("alice.p12")}
	for _, test := range []struct {
		name   string
		words  []string
		ask    secretReader
		code   int
		stderr string
	}{
		{"differ", export, secretFrom("abc", "abd"), exitFailed, first + second + "mutual: error: the two passwords differ\n"},
		{"empty", export, secretFrom("", ""), exitFailed, first + second + "mutual: error: the password is empty\n" +
			"mutual: hint: give it with --password-file FILE, --password-fd N or $MUTUAL_EXPORT_PASSWORD\n"},
		{"not ASCII", export, secretFrom("ä", "ä"), exitFailed, first + second + "mutual: error: the password holds something else than printable ASCII, which not every program reads\n"},
		{"good", export, secretFrom("abc", "abc"), exitDone, first + second},
		{"not asked when it is there", export, secretFrom(), exitFailed, "mutual: error: \"" + at("alice.p12") + "\" is there already: file already exists\n" +
			"mutual: hint: nothing was overwritten: choose another place, or replace it with --force where the command has it\n"},
		{"import, empty", []string{"import", at("alice.p12"), "--name", "a", "--out", dir}, secretFrom(""), exitFailed,
			once + "mutual: error: the file " + at("alice.p12") + ": reading PKCS#12: wrong password, or the file is damaged\n" +
				"mutual: hint: nothing was written: try again with the right password\n"},
		{"import", []string{"import", at("alice.p12"), "--name", "a", "--out", dir}, secretFrom("abc"), exitDone, once},
	} {
		t.Run(test.name, func(t *testing.T) {
			if got := atTerminal(t, pkiDir, test.ask, test.words...); got.code != test.code || got.stderr != test.stderr {
				t.Errorf("%+v, want %d %q", got, test.code, test.stderr)
			}
		})
	}
}
