package commands

import (
	"bytes"
	"os"
	"os/exec"
	"strings"
	"testing"
)

// A batch shows on a terminal how far it is, and takes that away when it is done;
// the results go on to standard output alone, and --quiet shows nothing.
func TestBatchOnATerminal(t *testing.T) {
	for _, quiet := range []bool{false, true} {
		p := batchPKI(t, 2500)
		person, program := openTerminal(t, 80)
		var stdout bytes.Buffer
		args := []string{"issue", "client", "--batch", "rows.csv", "--tar", "a.tar"}
		if quiet {
			args = append(args, "--quiet")
		}
		cmd := exec.Command(p.path, args...)
		cmd.Dir, cmd.Stdout, cmd.Stderr = p.dir, &stdout, program
		cmd.Env = append(os.Environ(), "MUTUAL_PKI="+p.pki, "GORACE=atexit_sleep_ms=0", "NO_COLOR=1")
		if err := cmd.Start(); err != nil {
			t.Fatal(err)
		}
		shown := ""
		if !quiet {
			shown = readUntil(t, person, "2500 issued, 0 failed")
		}
		if err := cmd.Wait(); err != nil {
			t.Fatal(err)
		}
		if n := strings.Count(stdout.String(), "\n"); n != 2500 || strings.ContainsAny(stdout.String(), "\r\x1b") {
			t.Errorf("quiet %v: %d lines, %.200q", quiet, n, stdout.String())
		}
		if quiet {
			continue
		}
		if !strings.Contains(shown, "1000 issued") || !strings.Contains(shown, "%") || strings.Contains(shown, "\x1b") {
			t.Errorf("the terminal shows %q", shown)
		}
		last := shown[strings.LastIndex(shown, "\r")+1:]
		if !strings.HasPrefix(last, "mutual: note: ") {
			t.Errorf("the bar is not gone: %q", last)
		}
	}
}
