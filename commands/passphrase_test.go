package commands

import (
	"bytes"
	"context"
	"errors"
	"os"
	"path/filepath"
	"strings"
	"testing"
)

const passphraseHint = "give it with --passphrase-file FILE, --passphrase-fd N or $MUTUAL_PASSPHRASE"

// secretFrom answers a prompt with each line in turn.
func secretFrom(lines ...string) secretReader {
	return func(context.Context) ([]byte, error) {
		if len(lines) == 0 {
			return nil, errors.New("asked too often")
		}
		line := lines[0]
		lines = lines[1:]
		return []byte(line), nil
	}
}

// secretFrame runs "secret" with a standard input, variables and, if ask is
// not nil, a terminal.
func secretFrame(t *testing.T, stdin string, vars map[string]string, ask secretReader, words ...string) result {
	t.Helper()
	var stdout, stderr bytes.Buffer
	env := testEnv(vars, &stdout, &stderr)
	env.Stdin = Input{Reader: strings.NewReader(stdin), Terminal: ask != nil, ReadSecret: ask}
	env.Stderr.Terminal = ask != nil
	code := mainWith(t.Context(), append([]string{"secret", "--color", "never"}, words...), env, frameCommands())
	return result{code, stdout.String(), stderr.String()}
}

func TestPassphraseSources(t *testing.T) {
	dir := t.TempDir()
	file := func(name, content string) string {
		path := filepath.Join(dir, name)
		if err := os.WriteFile(path, []byte(content), 0o600); err != nil {
			t.Fatal(err)
		}
		return path
	}
	long := strings.Repeat("x", maxPassphrase)
	const noTerminal = "mutual: error: the CA key needs a passphrase, and there is no terminal to ask for it\nmutual: hint: " + passphraseHint + "\n"
	const empty = "mutual: error: the passphrase is empty\nmutual: hint: " + passphraseHint + "\n"
	const tooLong = "mutual: error: the passphrase is longer than 1024 octets\n"
	for _, tt := range []struct {
		name   string
		words  []string
		vars   map[string]string
		stdin  string
		stdout string // without the end that all have
		stderr string
	}{
		{"variable", nil, map[string]string{envPassphrase: "abc"}, "", "abc", ""},
		{"variable with a newline", nil, map[string]string{envPassphrase: "abc\n"}, "", "abc", ""},
		{"file", []string{"--passphrase-file", file("a", "abc")}, nil, "", "abc", ""},
		{"file with a newline", []string{"--passphrase-file", file("b", "abc\n")}, nil, "", "abc", ""},
		{"file from Windows", []string{"--passphrase-file", file("c", "abc\r\n")}, nil, "", "abc", ""},
		{"one newline only", []string{"--passphrase-file", file("d", "abc\n\n")}, nil, "", `abc\n`, ""},
		{"a lone return stays", []string{"--passphrase-file", file("e", "abc\r")}, nil, "", `abc\r`, ""},
		{"spaces stay", []string{"--passphrase-file", file("f", " a b \n")}, nil, "", " a b ", ""},
		{"read once", []string{"--twice", "--passphrase-fd", "0"}, nil, "abc\n", "abc", ""},
		{"longest", []string{"--passphrase-fd", "0"}, nil, long + "\r\n", long, ""},
		{"too long", []string{"--passphrase-fd", "0"}, nil, long + "x", "", tooLong},
		{"endless", []string{"--passphrase-file", "/dev/zero"}, nil, "", "", tooLong},
		{"empty file", []string{"--passphrase-file", file("g", "")}, nil, "", "", empty},
		{"only a newline", []string{"--passphrase-fd", "0"}, nil, "\n", "", empty},
		{"missing file", []string{"--passphrase-file", "none"}, nil, "", "", "mutual: error: reading the passphrase: open none: no such file or directory\nmutual: hint: check the path; a relative one starts at the working directory\n"},
		{"no descriptor", []string{"--passphrase-fd", "987"}, nil, "", "", "mutual: error: reading the passphrase: file descriptor 987 is not open\n"},
		{"none", nil, nil, "abc\n", "", noTerminal},
		{"empty variable", nil, map[string]string{envPassphrase: ""}, "", "", noTerminal},
		{"new without a source", []string{"--new"}, nil, "abc\n", "", noTerminal},
	} {
		if tt.vars == nil {
			tt.vars = map[string]string{}
		}
		got := secretFrame(t, tt.stdin, tt.vars, nil, tt.words...)
		wantCode, wantOut := exitFailed, ""
		if tt.stderr == "" {
			wantCode, wantOut = exitDone, tt.stdout
		}
		if out, _, _ := strings.Cut(got.stdout, ` "`); got.code != wantCode || out != wantOut || got.stderr != tt.stderr {
			t.Errorf("%s: %+v, want %d %q %q", tt.name, got, wantCode, wantOut, tt.stderr)
		}
		if _, ok := tt.vars[envPassphrase]; ok {
			t.Errorf("%s: $%s is still in the environment", tt.name, envPassphrase)
		}
	}
}

func TestTwoPassphraseSourcesAreAUsageError(t *testing.T) {
	got := secretFrame(t, "", map[string]string{envPassphrase: "x"}, nil, "--passphrase-file", "f")
	want := "mutual: error: the passphrase has more than one source: $MUTUAL_PASSPHRASE, --passphrase-file\nmutual: hint: give one\n"
	if got != (result{exitUsage, "", want}) {
		t.Errorf("%+v", got)
	}
}

func TestPassphraseIsAskedFor(t *testing.T) {
	const prompt, first, second = "Passphrase of the CA keys: \n", "New passphrase for the CA keys: \n", "The same again: \n"
	failed := func(context.Context) ([]byte, error) { return nil, errors.New("input/output error") }
	for _, tt := range []struct {
		name string
		ask  secretReader
		args []string
		want result
	}{
		{"once", secretFrom("abc"), nil, result{0, "abc \"\"\n", prompt}},
		{"kept", secretFrom("abc"), []string{"--twice"}, result{0, "abc \"\"\n", prompt}},
		{"new", secretFrom("abc", "abc"), []string{"--new"}, result{0, "abc \"\"\n", first + second}},
		{"differ", secretFrom("abc", "abd"), []string{"--new"}, result{1, "", first + second + "mutual: error: the two passphrases differ\n"}},
		{"empty", secretFrom(""), nil, result{1, "", prompt + "mutual: error: the passphrase is empty\nmutual: hint: " + passphraseHint + "\n"}},
		{"failed", failed, nil, result{1, "", prompt + "mutual: error: reading the passphrase from the terminal: input/output error\n"}},
		{"a source goes first", secretFrom(), []string{"--passphrase-file", os.DevNull}, result{1, "", "mutual: error: the passphrase is empty\nmutual: hint: " + passphraseHint + "\n"}},
	} {
		if got := secretFrame(t, "", map[string]string{}, tt.ask, tt.args...); got != tt.want {
			t.Errorf("%s: %+v, want %+v", tt.name, got, tt.want)
		}
	}
}

// A person who cannot see the prompt is not asked.
func TestPassphraseIsNotAskedForWithoutATerminalOnStderr(t *testing.T) {
	var stdout, stderr bytes.Buffer
	env := testEnv(map[string]string{}, &stdout, &stderr)
	env.Stdin = Input{Reader: strings.NewReader(""), Terminal: true, ReadSecret: secretFrom("abc")}
	if code := mainWith(t.Context(), []string{"secret"}, env, frameCommands()); code != exitFailed {
		t.Errorf("exit code %d: %s", code, stderr.String())
	}
}
