package commands

import (
	"bytes"
	"context"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"mutual/pki/pkitest/tools"
)

// offered gives what is offered for a line whose last word is being typed.
func offered(t *testing.T, words ...string) []string {
	t.Helper()
	var stdout, stderr bytes.Buffer
	words = slices.Clone(words)
	words[len(words)-1] = "=" + words[len(words)-1]
	commands := append(frameCommands(), helpCommand(), completionCommand(), completeCommand())
	env := testEnv(map[string]string{"HOME": "/h"}, &stdout, &stderr)
	if code := mainWith(t.Context(), append([]string{completeName, "--"}, words...), env, commands); code != 0 || stderr.Len() > 0 {
		t.Errorf("%q: exit code %d, %s", words, code, stderr.String())
	}
	var found []string
	for line := range strings.Lines(stdout.String()) {
		value, _, _ := strings.Cut(strings.TrimSuffix(line, "\n"), "\t")
		found = append(found, value)
	}
	return found
}

func TestCandidates(t *testing.T) {
	names := []string{"alice", "alice@example.com", "bob smith", "spiffe://example.com/a", "pki="}
	for _, tt := range []struct {
		words []string
		want  []string
	}{
		{[]string{""}, []string{"revoke", "issue", "secret", "wait", "talk", "help", "completion"}},
		{[]string{"re"}, []string{"revoke"}},
		{[]string{"--json", "re"}, []string{"revoke"}},
		{[]string{"--pki", "d", "re"}, []string{"revoke"}},
		{[]string{"issue", ""}, []string{"client", "server"}},
		{[]string{"issue", "s"}, []string{"server"}},
		{[]string{"issue", "server", "--js"}, []string{"--json"}},
		{[]string{"revoke", ""}, names},
		{[]string{"revoke", "ali"}, names[:2]},
		{[]string{"revoke", "alice", "spiffe:"}, names[3:4]},
		{[]string{"revoke", "--reason", ""}, []string{"keyCompromise", "superseded"}},
		{[]string{"revoke", "alice", "--reason", "k"}, []string{"keyCompromise"}},
		{[]string{"revoke", "alice", "--reason=k"}, []string{"--reason=keyCompromise"}},
		{[]string{"revoke", "alice", "-reason=k"}, []string{"-reason=keyCompromise"}},
		{[]string{"revoke", "--color", "a"}, []string{"auto", "always"}},
		{[]string{"--color", "a"}, []string{"auto", "always"}},
		{[]string{"--color=n"}, []string{"--color=never"}},
		{[]string{"revoke", "--reason", "x", "--r"}, nil},
		{[]string{"revoke", "--name", "x", "--n"}, []string{"--name"}},
		{[]string{"revoke", "--pki", "here", "pki"}, []string{"pki=here"}},
		{[]string{"revoke", "--", "--r"}, nil},
		{[]string{"revoke", "--", "ali"}, names[:2]},
		{[]string{"revoke", "--nosuch", "ali"}, nil},
		{[]string{"nosuch", "ali"}, nil},
		{[]string{"help", "iss"}, []string{"issue"}},
		{[]string{"help", "issue", ""}, []string{"client", "server"}},
		{[]string{"completion", "p"}, []string{"powershell"}},
		{[]string{"wait", ""}, nil},
	} {
		if got := offered(t, tt.words...); !slices.Equal(got, tt.want) {
			t.Errorf("%q: %q, want %q", tt.words, got, tt.want)
		}
	}
	if got := offered(t, "revoke", "-"); !slices.Contains(got, "--dry-run") || !slices.Contains(got, "--pki") {
		t.Errorf("flags: %q", got)
	}
}

// shellCommand makes a command that runs a real shell with the commands of
// frame_test.go as its mutual, or skips the test where there is no such shell.
func shellCommand(t *testing.T, command ...string) *exec.Cmd {
	t.Helper()
	tools.Need(t, command[0])
	frame, err := exec.LookPath("frame")
	if err != nil {
		t.Fatal(err)
	}
	home := t.TempDir()
	// The test binary goes by the name that it was started with, so a link
	// will not do.
	wrapper := "#!/bin/sh\nexec " + frame + " \"$@\"\n"
	if err := os.WriteFile(filepath.Join(home, "mutual"), []byte(wrapper), 0o755); err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithTimeout(context.Background(), time.Minute)
	t.Cleanup(cancel)
	cmd := exec.CommandContext(ctx, command[0], command[1:]...)
	cmd.Dir = home
	cmd.Env = append(os.Environ(), "HOME="+home, "ZDOTDIR="+home, "TERM=dumb", "PS1=$ ",
		"PATH="+home+string(os.PathListSeparator)+os.Getenv("PATH"))
	return cmd
}

// shell runs a script in a real shell and gives what it prints.
func shell(t *testing.T, script string, command ...string) string {
	t.Helper()
	cmd := shellCommand(t, command...)
	cmd.Stdin = strings.NewReader(script)
	out, err := cmd.CombinedOutput()
	if err != nil {
		t.Fatalf("%s: %v\n%s", command[0], err, out)
	}
	return string(out)
}

// shellLines are lines as they are typed, and what a shell makes of them.
func shellLines() []struct{ line, want string } {
	return []struct{ line, want string }{
		{"mutual rev", "revoke"},
		{"mutual --json rev", "revoke"},
		{"mutual issue s", "server"},
		{"mutual revoke alice --rea", "--reason"},
		{"mutual revoke alice --reason s", "superseded"},
		{"mutual revoke alice@", "alice@example.com"},
	}
}

// TestBashCompletes presses no key, but fills the variables as bash does: the
// line is split at "=" and ":", too.
func TestBashCompletes(t *testing.T) {
	script, err := scripts.ReadFile("completion/mutual.bash")
	if err != nil {
		t.Fatal(err)
	}
	type row struct{ line, words, want string }
	rows := []row{
		{"mutual revoke --reason=k", "mutual revoke --reason = k", "keyCompromise"},
		{"mutual revoke --color=", "mutual revoke --color =", "auto always never"},
		{"mutual revoke spiffe:", "mutual revoke spiffe :", "//example.com/a"},
		{"mutual revoke spiffe://e", "mutual revoke spiffe : //e", "//example.com/a"},
		{"mutual revoke bob", "mutual revoke bob", `bob\ smith`},
		{`mutual revoke bob\ s`, `mutual revoke bob\ s`, `bob\ smith`},
		{`mutual revoke "bob s`, `mutual revoke "bob\ s`, `bob smith`},
		{"mutual issue ", "mutual issue ''", "client server"},
		{"  mutual   issue   ", "mutual issue ''", "client server"},
	}
	for _, l := range shellLines() {
		rows = append(rows, row{l.line, l.line, l.want})
	}
	var b strings.Builder
	b.Write(script)
	for _, r := range rows {
		words := strings.ReplaceAll(r.words, `"bob\ s`, `'"bob s'`)
		words = strings.ReplaceAll(words, `bob\ s`, `'bob\ s'`)
		b.WriteString("COMP_LINE='" + r.line + "' COMP_WORDS=(" + words + ")\n")
		b.WriteString("COMP_POINT=${#COMP_LINE} COMP_CWORD=$((${#COMP_WORDS[@]} - 1))\n_mutual; echo \"${COMPREPLY[*]}\"\n")
	}
	got := strings.Split(strings.TrimSpace(shell(t, b.String(), "bash", "--norc")), "\n")
	for i, r := range rows {
		if i >= len(got) || got[i] != r.want {
			t.Errorf("%q: %q, want %q", r.line, got[min(i, len(got)-1)], r.want)
		}
	}
}

func TestFishCompletes(t *testing.T) {
	script, err := scripts.ReadFile("completion/mutual.fish")
	if err != nil {
		t.Fatal(err)
	}
	rows := append(shellLines(), []struct{ line, want string }{
		{"mutual revoke --color=al", "--color=always"},
		{"mutual revoke spiffe:", "spiffe://example.com/a"},
		{"mutual revoke bob", "bob smith"},
		{"mutual issue ", "client"},
	}...)
	var b strings.Builder
	b.Write(script)
	for _, r := range rows {
		b.WriteString("complete --do-complete '" + r.line + "' | head -n 1\n")
	}
	got := strings.Split(strings.TrimSpace(shell(t, b.String(), "fish", "--no-config")), "\n")
	for i, r := range rows {
		value, _, _ := strings.Cut(got[min(i, len(got)-1)], "\t")
		if value != r.want {
			t.Errorf("%q: %q, want %q", r.line, value, r.want)
		}
	}
}

// TestZshCompletes loads the script and runs its function with a compadd that
// prints what it is given.
func TestZshCompletes(t *testing.T) {
	script, err := scripts.ReadFile("completion/mutual.zsh")
	if err != nil {
		t.Fatal(err)
	}
	rows := append(shellLines(), []struct{ line, want string }{
		{"mutual revoke --color=al", "--color=always"},
		{"mutual revoke spiffe:", "spiffe://example.com/a"},
		{`mutual revoke bob\ s`, "bob smith"},
		{"mutual issue ''", "client server"},
		{"mutual nosuch ''", "files"},
	}...)
	var b strings.Builder
	b.WriteString("compdef() { : }\n_files() { print files }\ncompadd() { print -r -- $values }\n")
	b.Write(script)
	for _, r := range rows {
		b.WriteString("words=(${(z):-" + strings.NewReplacer(`\`, `\\`, "'", `\'`, " ", `\ `).Replace(r.line) + "}); CURRENT=$#words; _mutual\n")
	}
	got := strings.Split(strings.TrimSpace(shell(t, b.String(), "zsh", "-f")), "\n")
	for i, r := range rows {
		if i >= len(got) || got[i] != r.want {
			t.Errorf("%q: %q, want %q (all: %q)", r.line, got[min(i, len(got)-1)], r.want, got)
		}
	}
}

// Each shell finds its script to be well formed.
func TestScriptsParse(t *testing.T) {
	for _, name := range []string{"bash", "zsh", "fish"} {
		t.Run(name, func(t *testing.T) {
			script, err := scripts.ReadFile("completion/mutual." + name)
			if err != nil {
				t.Fatal(err)
			}
			if out := shell(t, string(script), name, "-n"); out != "" {
				t.Errorf("%s", out)
			}
		})
	}
}
