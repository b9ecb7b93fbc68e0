package commands

import (
	"bytes"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"unicode/utf8"

	"github.com/urfave/cli/v2"
)

const helpDir = "../testdata/help"

// everyPath gives the words that lead to every command, hidden ones too.
func everyPath(commands []*cli.Command) [][]string {
	paths := [][]string{nil}
	for _, c := range commands {
		for _, below := range everyPath(c.Subcommands) {
			paths = append(paths, append([]string{c.Name}, below...))
		}
	}
	return paths
}

// TestHelp compares the help of every command with testdata/help; -update
// rewrites it.
func TestHelp(t *testing.T) {
	var files []string
	for _, path := range everyPath(tree()) {
		name := strings.Join(append([]string{"mutual"}, path...), "-") + ".txt"
		files = append(files, name)
		text := helpOf(t, append(slices.Clone(path), "--help"))
		l, err := parseLine(rootCommand(tree()), path)
		if err != nil {
			t.Fatal(err)
		}
		for i, line := range strings.Split(text, "\n") {
			example := slices.Contains(examples(l.command), strings.TrimSpace(line)) // is there to be copied
			if utf8.RuneCountInString(line) > helpWidth && !example {
				t.Errorf("%s:%d is wider than %d columns: %s", name, i+1, helpWidth, line)
			}
		}
		if short := helpOf(t, append(slices.Clone(path), "-h")); short != text {
			t.Errorf("%s: -h differs from --help", name)
		}
		if help := helpOf(t, append([]string{"help"}, path...)); help != text {
			t.Errorf("%s: mutual help differs from --help", name)
		}
		golden(t, filepath.Join(helpDir, name), text)
	}
	found, err := os.ReadDir(helpDir)
	if err != nil {
		t.Fatal(err)
	}
	for _, f := range found {
		if !slices.Contains(files, f.Name()) {
			t.Errorf("%s is the help of no command", f.Name())
		}
	}
}

// golden compares text with a file, or writes it with -update.
func golden(t *testing.T, path, text string) {
	t.Helper()
	if *update {
		if err := os.WriteFile(path, []byte(text), 0o644); err != nil {
			t.Fatal(err)
		}
		return
	}
	want, err := os.ReadFile(path)
	if err != nil {
		t.Errorf("%v (go test ./commands -run TestHelp -update writes it)", err)
		return
	}
	if want := strings.ReplaceAll(string(want), "\r\n", "\n"); text != want {
		t.Errorf("%s differs (-update rewrites it); now it is:\n%s", path, text)
	}
}

func helpOf(t *testing.T, words []string) string {
	t.Helper()
	var stdout, stderr bytes.Buffer
	env := testEnv(map[string]string{}, &stdout, &stderr)
	if code := mainWith(t.Context(), words, env, tree()); code != 0 || stderr.Len() > 0 {
		t.Errorf("%q: exit code %d, %s", words, code, stderr.String())
	}
	return stdout.String()
}

func TestHelpWithoutACommand(t *testing.T) {
	want := frame(t, "--help")
	if got := frame(t); got != want || got.code != 0 || got.stdout == "" {
		t.Errorf("%+v", got)
	}
	if got := frame(t, "--json"); got != want {
		t.Errorf("with --json: %+v", got)
	}
}

func TestHelpOfWhatIsNoCommand(t *testing.T) {
	commands := append(frameCommands(), helpCommand())
	for _, tt := range []struct{ line, want string }{
		{"help revok", "mutual: error: unknown command \"revok\"\nmutual: hint: did you mean \"revoke\"?\n"},
		{"help issue clent", "mutual: error: unknown command \"issue clent\"\nmutual: hint: did you mean \"issue client\"?\n"},
		{"help revoke alice", "mutual: error: \"mutual revoke\" has no command \"alice\"\n"},
		{"revok --help", "mutual: error: unknown command \"revok\"\nmutual: hint: did you mean \"revoke\"?\n"},
	} {
		var stdout, stderr bytes.Buffer
		code := mainWith(t.Context(), strings.Fields(tt.line), testEnv(map[string]string{}, &stdout, &stderr), commands)
		if code != exitUsage || stdout.Len() > 0 || stderr.String() != tt.want {
			t.Errorf("%q: %d %q %q", tt.line, code, stdout.String(), stderr.String())
		}
	}
}

// What every command of the tree says about itself has one form.
func TestCommandsAreDescribed(t *testing.T) {
	headings := []string{categoryBootstrapping, categoryRevoking, categoryLooking, categoryEnforcing, categoryKeeping, categoryHelp}
	for _, path := range everyPath(tree())[1:] {
		l, err := parseLine(rootCommand(tree()), path)
		if err != nil {
			t.Fatal(err)
		}
		c := l.command
		if c.Usage == "" || strings.HasSuffix(c.Usage, ".") {
			t.Errorf("%s: usage %q is empty or ends with a full stop", l.name(), c.Usage)
		}
		if len(path) == 1 && !c.Hidden && !slices.Contains(headings, c.Category) {
			t.Errorf("%s: category %q is no heading", l.name(), c.Category)
		}
		if onlyHolds(c) {
			continue
		}
		if c.UsageText == "" && !c.Hidden {
			t.Errorf("%s has no example", l.name())
		}
		for _, example := range examples(c) {
			if !strings.Contains(example, "mutual ") {
				t.Errorf("%s: example %q does not run mutual", l.name(), example)
			}
		}
		for _, f := range c.VisibleFlags() {
			if _, text := placeholder(f); text == "" || strings.HasSuffix(text, ".") {
				t.Errorf("%s: --%s: usage %q is empty or ends with a full stop", l.name(), f.Names()[0], text)
			} else if strings.Contains(text, "(repeatable)") != repeatable(f) {
				t.Errorf("%s: --%s: usage %q should say (repeatable) if it is, and only then", l.name(), f.Names()[0], text)
			}
		}
	}
}
