//go:build unix

package commands

import (
	"bytes"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"
)

// TestWaitingIsSaid: who waits for another process longer than a second says
// so once, and goes on when it is over; who waits less long keeps silent.
func TestWaitingIsSaid(t *testing.T) {
	t.Parallel()
	const note = "mutual: note: waiting for the other writers of the PKI\n"
	for _, tt := range []struct {
		name, want string
		args       []string
		hold       func(said *safeBuffer) // returns when the lock is to be free
	}{
		{"long", note, nil, func(said *safeBuffer) {
			waitFor(t, "the note", func() bool { return said.String() != "" })
			time.Sleep(500 * time.Millisecond) // it is said once
		}},
		{"long and quiet", "", []string{"--quiet"}, func(*safeBuffer) { time.Sleep(1500 * time.Millisecond) }},
		{"short", "", nil, func(*safeBuffer) { time.Sleep(200 * time.Millisecond) }},
	} {
		t.Run(tt.name, func(t *testing.T) {
			t.Parallel()
			p := newProgram(t)
			p.mustRun(t, "init")
			release := lockPKI(t, p)
			var said safeBuffer
			cmd := exec.Command(p.path, append([]string{"issue", "client", "alice"}, tt.args...)...)
			cmd.Dir, cmd.Stderr = p.dir, &said
			cmd.Env = append(os.Environ(), "MUTUAL_PKI="+p.pki)
			began := time.Now()
			if err := cmd.Start(); err != nil {
				t.Fatal(err)
			}
			tt.hold(&said)
			held := time.Since(began)
			release()
			if err := cmd.Wait(); err != nil {
				t.Fatalf("%v: %s", err, said.String())
			}
			if said.String() != tt.want {
				t.Errorf("after %s stderr is %q, want %q", held, said.String(), tt.want)
			}
			if tt.want != "" && held < time.Second {
				t.Errorf("it was said after %s already", held)
			}
			if _, err := os.Stat(filepath.Join(p.dir, "alice.crt")); err != nil {
				t.Error(err)
			}
			if n := len(p.listed(t, "--kind", "client")); n != 1 {
				t.Errorf("%d certificates are listed", n)
			}
		})
	}
}

// A writer that waits can be interrupted, and has then done nothing.
func TestWaitingInterrupted(t *testing.T) {
	t.Parallel()
	p := newProgram(t)
	p.mustRun(t, "init")
	defer lockPKI(t, p)()
	var said safeBuffer
	cmd := exec.Command(p.path, "issue", "client", "alice")
	cmd.Dir, cmd.Stderr = p.dir, &said
	cmd.Env = append(os.Environ(), "MUTUAL_PKI="+p.pki)
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	waitFor(t, "the note", func() bool { return said.String() != "" })
	if err := cmd.Process.Signal(syscall.SIGINT); err != nil {
		t.Fatal(err)
	}
	_ = cmd.Wait() // the exit code is looked at below
	if code := cmd.ProcessState.ExitCode(); code != exitInterrupted {
		t.Errorf("exit code %d: %s", code, said.String())
	}
	left, err := os.ReadDir(p.dir)
	if err != nil || len(left) != 1 {
		t.Errorf("beside the PKI there are %v, %v", left, err)
	}
	if !strings.Contains(said.String(), "interrupted") {
		t.Errorf("stderr is %q", said.String())
	}
	if n := len(p.listed(t, "--kind", "client")); n != 0 { // looking needs no lock
		t.Errorf("%d certificates are listed", n)
	}
}

// lockPKI takes the lock that writers queue for.
func lockPKI(t *testing.T, p program) (release func()) {
	t.Helper()
	lock, err := os.OpenFile(filepath.Join(p.pki, "lock"), os.O_RDWR|os.O_CREATE, 0o600)
	if err != nil {
		t.Fatal(err)
	}
	if err := syscall.Flock(int(lock.Fd()), syscall.LOCK_EX); err != nil {
		t.Fatal(err)
	}
	return func() { _ = lock.Close() } // nothing was written to it
}

// safeBuffer is what a running program has said so far.
type safeBuffer struct {
	mu sync.Mutex
	b  bytes.Buffer
}

func (s *safeBuffer) Write(b []byte) (int, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.b.Write(b)
}

func (s *safeBuffer) String() string {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.b.String()
}
