package commands

import (
	"bytes"
	"os/exec"
	"strings"
	"testing"

	"mutual/pki/pkitest/tools"
)

func page(t *testing.T) string {
	t.Helper()
	var stdout, stderr bytes.Buffer
	if code := mainWith(t.Context(), []string{"man"}, testEnv(map[string]string{}, &stdout, &stderr), tree()); code != 0 {
		t.Fatalf("exit code %d: %s", code, stderr.String())
	}
	return stdout.String()
}

// Every command and flag that can be seen stands in the manual.
func TestManPageIsWhole(t *testing.T) {
	text := page(t)
	for _, path := range everyPath(tree()) {
		l, err := parseLine(rootCommand(tree()), path)
		if err != nil {
			t.Fatal(err)
		}
		if l.command.Hidden || onlyHolds(l.command) {
			continue
		}
		if want := roffEscape(synopsis(l.name(), l.command)); !strings.Contains(text, want) {
			t.Errorf("%q is missing", want)
		}
		for _, item := range flagItems(l.command.VisibleFlags()) {
			if want := roffEscape(item.term); !strings.Contains(text, want) {
				t.Errorf("%s: %q is missing", l.name(), want)
			}
		}
	}
	for i, r := range text {
		if r > 0x7e {
			t.Fatalf("octet %d: %q is outside ASCII", i, r)
		}
	}
}

func TestManPageIsGoodRoff(t *testing.T) {
	tools.Need(t, "groff")
	cmd := exec.Command("groff", "-man", "-ww", "-Tutf8", "-P-cbou")
	cmd.Stdin = strings.NewReader(page(t))
	var stdout, stderr strings.Builder
	cmd.Stdout, cmd.Stderr = &stdout, &stderr
	if err := cmd.Run(); err != nil || stderr.Len() > 0 {
		t.Fatalf("groff: %v\n%s", err, stderr.String())
	}
	shown := strings.Join(strings.Fields(stdout.String()), " ") // roff spreads the words
	for _, want := range []string{"mutual - a certificate authority", `source <(mutual completion bash)`, "--pki DIR", "Print the completion script of a shell."} {
		if !strings.Contains(shown, want) {
			t.Errorf("%q is missing in:\n%s", want, shown)
		}
	}
}

func TestRoffEscape(t *testing.T) {
	for in, want := range map[string]string{
		`a\n`:   `a\en`,
		"--x":   `\-\-x`,
		"WHAT…": `WHAT\[u2026]`,
		"it's":  `it\(aqs`,
		"~^`":   `\(ti\(ha\(ga`,
	} {
		if got := roffEscape(in); got != want {
			t.Errorf("%q: %q, want %q", in, got, want)
		}
	}
	var w roff
	w.text(".hidden")
	w.macro("B", `say "x"`)
	if got, want := w.String(), "\\&.hidden\n.B \"say \\(dqx\\(dq\"\n"; got != want {
		t.Errorf("%q, want %q", got, want)
	}
}
