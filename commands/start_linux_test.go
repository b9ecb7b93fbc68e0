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

// TestStartTouchesNothing traces the commands that only talk, on a terminal and
// beside a PKI: they open no file but those of the Go runtime, and ask the
// terminal nothing. To find out whether it is one, and how wide, asks the
// kernel.
func TestStartTouchesNothing(t *testing.T) {
	strace := tools.Need(t, "strace")
	pki := filepath.Join(t.TempDir(), "pki")
	if out, err := exec.Command("mutual", "init", "--pki", pki).CombinedOutput(); err != nil {
		t.Fatalf("%v: %s", err, out)
	}
	for _, args := range [][]string{{"--version"}, {"--help"}, {"help", "issue", "client"}, {"revoke", "-h"}} {
		t.Run(strings.Join(args, " "), func(t *testing.T) {
			person, program := openTerminal(t, 80)
			trace := filepath.Join(t.TempDir(), "trace")
			cmd := exec.Command(strace, append([]string{"-f", "-qq", "-o", trace, "-e", "trace=%file,read,readv,ioctl,write", "mutual"}, args...)...)
			cmd.Env = append(os.Environ(), "MUTUAL_PKI="+pki, "TERM=xterm-256color", "COLORTERM=truecolor", "NO_COLOR=", "LC_ALL=C.UTF-8")
			cmd.Stdin, cmd.Stdout, cmd.Stderr = program, program, program
			if err := cmd.Start(); err != nil {
				t.Fatal(err)
			}
			_ = program.Close()
			var shown bytes.Buffer
			_, _ = shown.ReadFrom(person) // ends with an error when nobody has the terminal open any more
			if err := cmd.Wait(); err != nil {
				tools.Absent(t, "strace may not trace here: "+err.Error())
			}
			text, err := os.ReadFile(trace)
			if err != nil {
				t.Fatal(err)
			}
			checkStartTrace(t, string(text))
			if left := regexp.MustCompile("\x1b\\[[0-9;]*m").ReplaceAllString(shown.String(), ""); strings.Contains(left, "\x1b") || !strings.Contains(left, "mutual") {
				t.Errorf("the terminal got more than text and colours: %q", left)
			}
		})
	}
}

// ofRuntime matches the files that the Go runtime, the C library and the test
// binary look at, whatever the program does.
var ofRuntime = regexp.MustCompile(`"(/sys/|/proc/|/dev/null|/etc/ld\.so|/lib|/usr/lib|/etc/localtime)`)

// theCall matches a traced call that has ended or goes on in a later line.
var theCall = regexp.MustCompile(`^\d+ +([a-z0-9]+)\((.*)`)

func checkStartTrace(t *testing.T, trace string) {
	t.Helper()
	writes, asked := 0, 0
	for line := range strings.Lines(trace) {
		m := theCall.FindStringSubmatch(line)
		if m == nil {
			continue // a signal, or the rest of a call
		}
		name, args := m[1], m[2]
		switch {
		case name == "write":
			writes++
		case name == "ioctl" && (strings.Contains(args, "TCGETS") || strings.Contains(args, "TIOCGWINSZ")):
			asked++
		case name == "ioctl":
			t.Errorf("it asks for more than the kind and width of its streams: %s", line)
		case (name == "read" || name == "readv") && strings.HasPrefix(args, "0,"):
			t.Errorf("it reads from the terminal: %s", line)
		case name == "read", name == "readv", name == "execve", strings.Contains(args, "AT_EMPTY_PATH"): // of a file that is open
		case !ofRuntime.MatchString(args):
			t.Errorf("it looks at a file: %s", line)
		}
	}
	if writes == 0 || asked == 0 {
		t.Errorf("the trace shows %d writes and %d questions about the streams:\n%s", writes, asked, trace)
	}
}
