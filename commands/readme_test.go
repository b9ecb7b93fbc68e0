package commands

import (
	"bytes"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strings"
	"testing"

	"mutual/pki/pkitest/tools"
)

// varying is what differs from one run of the transcript to the next.
var varying = []struct {
	pattern *regexp.Regexp
	with    string
}{
	{regexp.MustCompile(`\d{4}-\d\d-\d\dT\d\d:\d\d:\d\dZ`), "TIME"},
	{regexp.MustCompile(`\b[0-9a-f]{32}\b`), "SERIAL"},
	{regexp.MustCompile(`CA [0-9a-f]{8}`), "CA HASH"},
	{regexp.MustCompile(`number \d+`), "number N"},
	{regexp.MustCompile(` {2,}\d+  `), "  DAYS  "}, // their number depends on leap years
	{regexp.MustCompile(`(?:/[\w.-]+)+/(pki|bob\.crt)`), "/$1"},
}

func settle(s string) string {
	for _, v := range varying {
		s = v.pattern.ReplaceAllString(s, v.with)
	}
	return s
}

// TestReadmeTranscript runs the README's console block in a fresh directory,
// with standard input closed, and compares what it prints.
func TestReadmeTranscript(t *testing.T) {
	tools.Need(t, "openssl", "sh")
	t.Parallel()
	block := readmeBlock(t, "console")
	dir, bin := t.TempDir(), t.TempDir()
	self, err := os.Executable()
	if err != nil {
		t.Fatal(err)
	}
	if err := os.Symlink(self, filepath.Join(bin, "mutual")); err != nil {
		t.Fatal(err)
	}
	var script strings.Builder
	script.WriteString("exec <&-\nunset MUTUAL_PASSPHRASE\n")
	for line := range strings.Lines(block) {
		if command, ok := strings.CutPrefix(line, "$ "); ok {
			script.WriteString("printf '%s\\n' '$ " + strings.ReplaceAll(strings.TrimSuffix(command, "\n"), "'", `'\''`) + "'\n" + command)
		}
	}
	c := exec.Command("sh", "-c", script.String())
	c.Dir = dir
	c.Env = append(os.Environ(), "PATH="+bin+":"+os.Getenv("PATH"), "HOME="+dir, "MUTUAL_PKI=", "GORACE=atexit_sleep_ms=0")
	out, err := c.CombinedOutput()
	if err != nil {
		t.Fatalf("the transcript failed: %v\n%s", err, out)
	}
	if got, want := settle(string(out)), settle(block); got != want {
		t.Errorf("the transcript prints something else\n--- README\n%s\n--- now\n%s", want, got)
	}
}

// TestReadmeUsage: the README's list of commands is the help's; -update
// rewrites it.
func TestReadmeUsage(t *testing.T) {
	var out, talk bytes.Buffer
	if code := Main([]string{"--help"}, testEnv(nil, &out, &talk)); code != exitDone {
		t.Fatalf("--help exits with %d", code)
	}
	want := readmeBlock(t, "usage")
	if *update {
		text, err := os.ReadFile("../README.md")
		if err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile("../README.md", bytes.Replace(text, []byte(want), out.Bytes(), 1), 0o644); err != nil {
			t.Fatal(err)
		}
		return
	}
	if out.String() != want {
		t.Errorf("the README's usage is not the help; refresh it with -update\n%s", out.String())
	}
}

// TestReadmeNamesEveryCommand: what the README does not mention nobody finds.
func TestReadmeNamesEveryCommand(t *testing.T) {
	text, err := os.ReadFile("../README.md")
	if err != nil {
		t.Fatal(err)
	}
	for _, c := range tree() {
		if !c.Hidden && c.Name != "help" && !strings.Contains(string(text), "mutual "+c.Name) {
			t.Errorf("README.md does not show %q", "mutual "+c.Name)
		}
	}
}

func readmeBlock(t *testing.T, language string) string {
	t.Helper()
	text, err := os.ReadFile("../README.md")
	if err != nil {
		t.Fatal(err)
	}
	_, rest, found := strings.Cut(string(text), "```"+language+"\n")
	block, _, closed := strings.Cut(rest, "```\n")
	if !found || !closed {
		t.Fatalf("README.md has no %s block", language)
	}
	return block
}
