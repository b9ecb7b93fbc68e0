//go:build unix

package commands

import (
	"bufio"
	"os/exec"
	"strings"
	"syscall"
	"testing"
	"time"
)

// mutual runs the program in a directory, with the PKI in it.
func mutual(t *testing.T, dir string, args ...string) *exec.Cmd {
	t.Helper()
	cmd := exec.CommandContext(t.Context(), "mutual", append([]string{"--pki", "pki"}, args...)...)
	cmd.Dir = dir
	return cmd
}

// A watch renews by itself, runs the command after each change, and ends with 0
// when it is told to.
func TestRenewWatchEndsOnSignal(t *testing.T) {
	t.Parallel()
	for _, sig := range []syscall.Signal{syscall.SIGINT, syscall.SIGTERM} {
		dir := t.TempDir()
		for _, args := range [][]string{{"init"}, {"issue", "client", "alice", "--ttl", "20s"}, {"issue", "client", "bob", "--ttl", "30d"}} {
			if out, err := mutual(t, dir, args...).CombinedOutput(); err != nil {
				t.Fatalf("%v: %v: %s", args, err, out)
			}
		}
		cmd := mutual(t, dir, "renew", "--due", "--watch", "--at", "1/20", "--exec", "sh", "-c", "echo after $MUTUAL_NAME")
		var stderr strings.Builder
		cmd.Stderr = &stderr
		stdout, err := cmd.StdoutPipe()
		if err != nil {
			t.Fatal(err)
		}
		if err := cmd.Start(); err != nil {
			t.Fatal(err)
		}
		timer := time.AfterFunc(30*time.Second, func() { _ = cmd.Process.Kill() })
		lines := bufio.NewScanner(stdout)
		for range 2 {
			if !lines.Scan() || !strings.HasPrefix(lines.Text(), "renewed  alice  serial ") {
				t.Errorf("it printed %q", lines.Text())
			}
		}
		if err := cmd.Process.Signal(sig); err != nil {
			t.Error(err)
		}
		for lines.Scan() { // what was under way
		}
		err = cmd.Wait()
		timer.Stop()
		if err != nil || !strings.Contains(stderr.String(), "after alice\n") {
			t.Errorf("%v: it ended with %v: %s", sig, err, stderr.String())
		}
	}
}
