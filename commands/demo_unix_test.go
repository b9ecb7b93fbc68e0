//go:build unix

package commands

import (
	"bufio"
	"os"
	"os/exec"
	"syscall"
	"testing"
)

// TestDemoSIGINT: the same with a real signal to a real process, as soon as it
// has said what it makes where.
func TestDemoSIGINT(t *testing.T) {
	dir := t.TempDir()
	cmd := exec.Command("mutual", "demo")
	cmd.Env = append(os.Environ(), "TMPDIR="+dir)
	stderr, err := cmd.StderrPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	lines := bufio.NewScanner(stderr)
	lines.Scan()
	if err := cmd.Process.Signal(syscall.SIGINT); err != nil {
		t.Error(err)
	}
	last := lines.Text()
	for lines.Scan() {
		last = lines.Text()
	}
	_ = cmd.Wait() // the exit code is looked at below
	if code := cmd.ProcessState.ExitCode(); code != exitInterrupted {
		t.Errorf("exit code %d after %q", code, last)
	}
	wantEmpty(t, dir)
}
