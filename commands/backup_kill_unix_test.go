//go:build unix

package commands

import (
	"bytes"
	"math/rand/v2"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"
)

// killRounds is how often each of the two tests kills.
const killRounds = 35

// crashPKI makes a PKI with a few certificates and gives what runs the program
// on it.
func crashPKI(t *testing.T) (dir string, mutual func(args ...string) (string, error)) {
	t.Helper()
	dir = t.TempDir()
	mutual = func(args ...string) (string, error) {
		out, err := mutualIn(dir, args...).CombinedOutput()
		return string(out), err
	}
	for _, args := range [][]string{{"init"}, {"issue", "client", "alice"}, {"issue", "client", "bob"}, {"revoke", "bob"}} {
		if out, err := mutual(args...); err != nil {
			t.Fatalf("%s: %v\n%s", args, err, out)
		}
	}
	return dir, mutual
}

func mutualIn(dir string, args ...string) *exec.Cmd {
	cmd := exec.Command("mutual", args...)
	cmd.Dir = dir
	cmd.Env = append(os.Environ(), "MUTUAL_PKI="+filepath.Join(dir, "pki"))
	return cmd
}

// killed runs the program and kills it at a random time, at most a little after
// it would have ended. It reports whether it had ended well before.
func killed(t *testing.T, random *rand.Rand, whole time.Duration, dir string, args ...string) (done bool) {
	t.Helper()
	cmd := mutualIn(dir, args...)
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	time.Sleep(time.Duration(random.Int64N(int64(whole) * 5 / 4)))
	_ = cmd.Process.Kill() // it may have ended
	return cmd.Wait() == nil
}

// whole says how long the program takes.
func whole(t *testing.T, dir string, args ...string) time.Duration {
	t.Helper()
	began := time.Now()
	if out, err := mutualIn(dir, args...).CombinedOutput(); err != nil {
		t.Fatalf("%s: %v\n%s", args, err, out)
	}
	return time.Since(began)
}

// A backup that is killed at any time leaves its file as it was, or there and
// whole, and the PKI as good as before. What was reported done is there.
func TestKilledBackup(t *testing.T) {
	if testing.Short() {
		t.Skip("not with -short: it kills a program many times")
	}
	t.Parallel()
	dir, mutual := crashPKI(t)
	random := rand.New(rand.NewPCG(1, 1))
	took := whole(t, dir, "backup", "--force", "b")
	last, err := os.ReadFile(filepath.Join(dir, "b"))
	if err != nil {
		t.Fatal(err)
	}
	ended := 0
	for round := range killRounds {
		done := killed(t, random, took, dir, "backup", "--force", "b")
		now, err := os.ReadFile(filepath.Join(dir, "b"))
		if err != nil {
			t.Fatalf("round %d: the old backup is gone: %v", round, err)
		}
		if done {
			ended++
		}
		if done && bytes.Equal(now, last) {
			t.Errorf("round %d: it was done, and the file is the old one", round)
		}
		if !bytes.Equal(now, last) {
			checkRestorable(t, dir)
		}
		last = now
		if out, err := mutual("log", "--verify"); err != nil {
			t.Fatalf("round %d: %v\n%s", round, err, out)
		}
	}
	t.Logf("%d of %d were killed", killRounds-ended, killRounds)
	if out, err := mutual("backup", "--force", "b"); err != nil {
		t.Fatalf("%v\n%s", err, out)
	}
	for _, name := range namesIn(t, filepath.Join(dir, "pki")) {
		if strings.HasSuffix(name, ".tmp") {
			t.Errorf("the next backup left %s", name)
		}
	}
}

// checkRestorable restores the backup and removes what that made.
func checkRestorable(t *testing.T, dir string) {
	t.Helper()
	for _, args := range [][]string{{"restore", "b", "--pki", "r"}, {"log", "--verify", "--pki", "r"}} {
		if out, err := mutualIn(dir, args...).CombinedOutput(); err != nil {
			t.Fatalf("%s: %v\n%s", args, err, out)
		}
	}
	if err := os.RemoveAll(filepath.Join(dir, "r")); err != nil {
		t.Fatal(err)
	}
}

func namesIn(t *testing.T, dir string) []string {
	t.Helper()
	entries, err := os.ReadDir(dir)
	if err != nil {
		t.Fatal(err)
	}
	var names []string
	for _, e := range entries {
		names = append(names, e.Name())
	}
	return names
}

// A restore that is killed at any time leaves nothing under the name of the
// PKI, or the whole of it; and the next restore succeeds.
func TestKilledRestore(t *testing.T) {
	if testing.Short() {
		t.Skip("not with -short: it kills a program many times")
	}
	t.Parallel()
	dir, mutual := crashPKI(t)
	if out, err := mutual("backup", "b"); err != nil {
		t.Fatalf("%v\n%s", err, out)
	}
	random := rand.New(rand.NewPCG(2, 2))
	restore := []string{"restore", "b", "--pki", "r", "--compare", "pki"}
	took := whole(t, dir, restore...)
	place := filepath.Join(dir, "r")
	ended := 0
	for round := range killRounds {
		if err := os.RemoveAll(place); err != nil {
			t.Fatal(err)
		}
		if done := killed(t, random, took, dir, restore...); done {
			ended++
		}
		if _, err := os.Lstat(place); err == nil {
			for _, args := range [][]string{{"status", "--pki", "r"}, {"log", "--verify", "--pki", "r"}, {"issue", "client", "carol", "--pki", "r", "--out", "-"}} {
				if out, err := mutual(args...); err != nil {
					t.Fatalf("round %d: %s: %v\n%s", round, args, err, out)
				}
			}
		}
		for _, name := range namesIn(t, dir) {
			if name != "r" && name != "b" && name != "pki" && !strings.HasPrefix(name, ".r.") && !strings.HasPrefix(name, "alice") && !strings.HasPrefix(name, "bob") {
				t.Errorf("round %d left %s", round, name)
			}
		}
	}
	t.Logf("%d of %d were killed", killRounds-ended, killRounds)
	if err := os.RemoveAll(place); err != nil {
		t.Fatal(err)
	}
	if out, err := mutual(restore...); err != nil {
		t.Fatalf("%v\n%s", err, out)
	}
	if out, err := mutual("log", "--verify"); err != nil {
		t.Fatalf("the PKI that was compared with: %v\n%s", err, out)
	}
}
