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

// waitFor waits until something has come about.
func waitFor(t *testing.T, what string, ready func() bool) {
	t.Helper()
	for end := time.Now().Add(20 * time.Second); !ready(); time.Sleep(5 * time.Millisecond) {
		if time.Now().After(end) {
			t.Fatalf("waited too long for %s", what)
		}
	}
}

func TestSignals(t *testing.T) {
	for _, sig := range []syscall.Signal{syscall.SIGINT, syscall.SIGTERM} {
		var stderr strings.Builder
		cmd := exec.Command("frame", "wait")
		cmd.Stderr = &stderr
		signalWhenReady(t, cmd, sig, "")
		if code := cmd.ProcessState.ExitCode(); code != exitInterrupted {
			t.Errorf("%v: exit code %d", sig, code)
		}
		if stderr.String() != "mutual: error: waiting: interrupted\n" {
			t.Errorf("%v: %q", sig, stderr.String())
		}
	}
}

// A command that does not end when it is told to is killed by the second
// signal.
func TestSecondSignalKills(t *testing.T) {
	cmd := exec.Command("frame", "wait", "stubborn")
	signalWhenReady(t, cmd, syscall.SIGINT, "mutual stubborn")
	status := cmd.ProcessState.Sys().(syscall.WaitStatus)
	if !status.Signaled() || status.Signal() != syscall.SIGINT {
		t.Errorf("ended as %v", cmd.ProcessState)
	}
}

// signalWhenReady starts a command, sends sig when it is ready and, if it then
// prints again, sends it once more.
func signalWhenReady(t *testing.T, cmd *exec.Cmd, sig syscall.Signal, again string) {
	t.Helper()
	stdout, err := cmd.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	timer := time.AfterFunc(20*time.Second, func() { _ = cmd.Process.Kill() })
	defer timer.Stop()
	lines := bufio.NewScanner(stdout)
	for _, want := range []string{"mutual ready", again} {
		if want == "" {
			break
		}
		if !lines.Scan() || lines.Text() != want {
			t.Errorf("printed %q, want %q", lines.Text(), want)
		}
		if err := cmd.Process.Signal(sig); err != nil {
			t.Error(err)
		}
	}
	_ = cmd.Wait() // the caller looks at the state
}

// A reader that goes away is an error with exit code 1, not a silent death.
func TestBrokenPipe(t *testing.T) {
	var stderr strings.Builder
	cmd := exec.Command("frame", "rows")
	cmd.Stderr = &stderr
	stdout, err := cmd.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	if _, err := bufio.NewReader(stdout).ReadString('\n'); err != nil {
		t.Error(err)
	}
	_ = stdout.Close()
	_ = cmd.Wait() // the exit code is looked at below
	if code := cmd.ProcessState.ExitCode(); code != exitFailed {
		t.Errorf("exit code %d", code)
	}
	if want := ""; stderr.String() != want { // whoever read has what it wanted
		t.Errorf("%q", stderr.String())
	}
}
