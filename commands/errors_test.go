package commands

import (
	"context"
	"testing"
)

func TestHowCommandsEnd(t *testing.T) {
	const prefix = "mutual: warning: the list of issuing is due\n" +
		"mutual: note: a note about ali\\x1b[31mce\\nmutual: error: fake\n"
	tested := map[string]bool{}
	for _, tt := range []struct {
		kind   string
		code   int
		stdout string
		stderr string
	}{
		{"done", 0, "mutual product\n", ""},
		{"plain", 1, "mutual product\n", "mutual: error: reading \"a\\nmutual: error: fake\"\n"},
		{"usage", 2, "", "mutual: error: the lifetime \"3x\" cannot be\n"},
		{"usagehint", 2, "", "mutual: error: no such reason\nmutual: hint: one of these\n"},
		{"hint", 1, "mutual product\n", "mutual: error: doing this: file already exists\nmutual: hint: try that\n"},
		{"bad", 3, "mutual product\n", "mutual: error: expired\n"},
		{"badsilent", 3, "mutual product\n", ""},
		{"unsure", 4, "mutual product\n", "mutual: error: no list\nmutual: hint: mutual crl refresh\n"},
		{"unsurehint", 4, "mutual product\n", "mutual: hint: mutual crl refresh\n"},
		{"wrapped", 4, "mutual product\n", "mutual: error: outer: inner\nmutual: hint: look inside\n"},
		{"joined", 1, "mutual product\n", "mutual: error: first\nmutual: error: second\n"},
		{"both", 1, "mutual product\n", "mutual: error: first and second\n"},
		{"full", 1, "mutual product\n", "mutual: error: write f: no space left on device\nmutual: hint: there is no room left on that file system\n"},
		{"readonly", 1, "mutual product\n", "mutual: error: open f: read-only file system\nmutual: hint: that file system is read-only: choose another place with --out or --pki\n"},
		{"permission", 1, "mutual product\n", "mutual: error: open f: permission denied\nmutual: hint: run the command as the owner of that file or directory\n"},
		{"exists", 1, "mutual product\n", "mutual: error: link f: file exists\nmutual: hint: nothing was overwritten: choose another place, or replace it with --force where the command has it\n"},
		{"missing", 1, "mutual product\n", "mutual: error: open f: no such file or directory\nmutual: hint: check the path; a relative one starts at the working directory\n"},
		{"canceled", 1, "mutual product\n", "mutual: error: asking: interrupted\n"},
	} {
		tested[tt.kind] = true
		got := frame(t, "talk", tt.kind)
		if got.code != tt.code || got.stdout != tt.stdout || got.stderr != prefix+tt.stderr {
			t.Errorf("%s: %+v, want %+v", tt.kind, got, tt)
		}
		quiet := frame(t, "talk", "-q", tt.kind)
		if want := "mutual: warning: the list of issuing is due\n" + tt.stderr; quiet.stderr != want {
			t.Errorf("%s -q: %q, want %q", tt.kind, quiet.stderr, want)
		}
		document := "{\n  \"version\": \"product\"\n}\n"
		if tt.code == exitFailed || tt.code == exitUsage {
			document = ""
		}
		if got := frame(t, "talk", tt.kind, "--json"); got.stdout != document || got.stderr != prefix+tt.stderr {
			t.Errorf("%s --json: %+v, want %q", tt.kind, got, document)
		}
	}
	for kind := range failures() {
		if !tested[kind] {
			t.Errorf("%s is not tested", kind)
		}
	}
}

// A command that was interrupted ends with 130, whatever its error says; one
// that has found out something, or was given a wrong line, says that.
func TestInterrupted(t *testing.T) {
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	for kind, want := range map[string]int{
		"done": 0, "plain": 130, "canceled": 130, "usage": 2, "bad": 3, "unsure": 4,
	} {
		if got := finishQuietly(ctx, failures()[kind]); got != want {
			t.Errorf("%s: exit code %d, want %d", kind, got, want)
		}
	}
}
