//go:build !windows

package renew

import (
	"bytes"
	"crypto/x509"
	"errors"
	"math/rand/v2"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"sync/atomic"
	"testing"
	"time"

	"mutual/pki/bundle"
	"mutual/pki/keys"
	"mutual/pki/pkitest/tools"
	"mutual/pki/store"
)

const threeFiles = "alice.crt alice.key alice.pem"

// child is this binary as a process that renews alice.
func (f *fixture) child(before ...string) *exec.Cmd {
	f.t.Helper()
	self, err := os.Executable()
	f.must(err)
	argv := append(before, self)
	cmd := exec.CommandContext(f.t.Context(), argv[0], argv[1:]...)
	cmd.Env = append(os.Environ(), childDir+"="+f.dir, childName+"=alice")
	return cmd
}

// afterKill looks at what a killed renewal has left, as the next commands do:
// a pair that matches, the old or the new, a PKI that opens, a journal that
// holds. The next renewal leaves nothing of it. It reports whether the change
// had happened, and whether the next renewal went on from there.
func (f *fixture) afterKill(old *x509.Certificate) (changed, resumed bool) {
	f.t.Helper()
	f.now = time.Now()
	left := f.certificate("alice")
	changed = !left.Equal(old)
	f.must(f.reopen())
	if _, _, err := f.VerifyJournal(f.t.Context(), nil); err != nil {
		f.t.Error(err)
	}
	for range 2 { // once to finish, once when the grace would be over
		_, err := f.Upkeep(f.t.Context())
		f.must(err)
		if c := f.lookup(left); c.Revocation != nil || c.Replaced {
			f.t.Fatalf("the certificate that lies there is %+v", c)
		}
	}
	due, _, err := f.renewer().Due(f.t.Context(), DefaultRule(), Options{})
	f.must(err)
	for _, p := range due { // a renewal that was begun is due at once
		done, err := f.renewer().One(f.t.Context(), p.Fingerprint, Options{Grace: time.Hour})
		f.must(err)
		resumed = done.Finished
	}
	if now := f.certificate("alice"); len(due) > 0 && now.Equal(left) && !resumed {
		f.t.Error("a renewal was due, and nothing was renewed")
	}
	return changed, resumed
}

func (f *fixture) reopen() error {
	_ = f.Close() // it may be closed
	p, err := store.Open(f.t.Context(), f.dir, options(f.clock))
	if err == nil {
		f.PKI = p
	}
	return err
}

// A renewal is killed at each call that changes a file's name or flushes one:
// every step of the swap and of both transactions. strace counts the calls of
// each kind apart.
func TestKilledAtEachStep(t *testing.T) {
	strace := tools.Need(t, "strace")
	t.Parallel()
	var kills, changes, resumptions atomic.Int64
	t.Run("call", func(t *testing.T) {
		for _, call := range []string{"renameat", "symlinkat", "linkat", "mkdirat", "unlinkat", "fsync"} {
			t.Run(call, func(t *testing.T) {
				t.Parallel()
				f := newFixture(t)
				f.issue("alice", "90d")
				for n := 1; ; n++ {
					old := f.certificate("alice")
					killed := f.renewKilledAt(strace, call, n)
					changed, resumed := f.afterKill(old)
					if !killed {
						break
					}
					kills.Add(1)
					if changed {
						changes.Add(1)
					}
					if resumed {
						resumptions.Add(1)
					}
				}
				// Whatever a kill before the renewal was recorded has left, the
				// next renewal removes.
				c := f.lookup(f.certificate("alice"))
				_, err := f.renewer().One(t.Context(), c.Fingerprint, Options{})
				f.must(err)
				f.wantFiles(threeFiles)
			})
		}
	})
	t.Logf("killed at %d calls; %d times the new pair was there, %d times the next renewal went on", kills.Load(), changes.Load(), resumptions.Load())
	if kills.Load() < 60 || changes.Load() < 10 || resumptions.Load() < 10 {
		t.Error("that is less than a renewal has steps")
	}
}

// renewKilledAt renews alice in a process that is killed when it makes a call
// for the nth time. It reports whether it came so far.
func (f *fixture) renewKilledAt(strace, call string, n int) bool {
	f.t.Helper()
	cmd := f.child(strace, "-f", "-qq", "-o", os.DevNull, "-e", "trace="+call, "-e", "inject="+call+":signal=KILL:when="+strconv.Itoa(n))
	out, err := cmd.CombinedOutput()
	if exit, ok := errors.AsType[*exec.ExitError](err); ok && exit.ExitCode() > 0 {
		if bytes.Contains(out, []byte("ptrace")) {
			tools.Absent(f.t, "strace may not trace here: "+string(out))
		}
		f.t.Fatalf("at %s %d: %v: %s", call, n, err, out)
	}
	return err != nil
}

// A renewal is killed at any time.
func TestKilledAtRandom(t *testing.T) {
	t.Parallel()
	f := newFixture(t)
	f.issue("alice", "90d")
	start := time.Now()
	f.must(f.child().Run())
	longest := time.Since(start)
	killed, changes := 0, 0
	for end := time.Now().Add(8 * time.Second); time.Now().Before(end); {
		old := f.certificate("alice")
		cmd := f.child()
		f.must(cmd.Start())
		timer := time.AfterFunc(rand.N(longest), func() { _ = cmd.Process.Kill() })
		if cmd.Wait() != nil {
			killed++
		}
		timer.Stop()
		if changed, _ := f.afterKill(old); changed {
			changes++
		}
	}
	t.Logf("killed %d times; the new pair was there %d times", killed, changes)
	if killed == 0 {
		t.Error("no process was killed in time")
	}
}

// A reader that takes the key, the certificate and the key again, as a program
// should, always has a pair while it is renewed over and over; the file with
// both is a pair whenever it is read.
func TestReadersSeeAPair(t *testing.T) {
	f := newFixture(t)
	f.issue("alice", "90d")
	stop, done := make(chan struct{}), make(chan error, 1)
	go func() { done <- f.readUntil(stop) }()
	for range 10 {
		c := f.lookup(f.certificate("alice"))
		_, err := f.renewer().One(t.Context(), c.Fingerprint, Options{KeepOld: true})
		f.must(err)
	}
	close(stop)
	f.must(<-done)
	f.wantFiles(threeFiles)
}

// readUntil reads the pair again and again.
func (f *fixture) readUntil(stop <-chan struct{}) error {
	base := filepath.Join(f.out, "alice")
	for reads := 0; ; reads++ {
		select {
		case <-stop:
			if reads == 0 {
				return errors.New("nothing was read")
			}
			return nil
		default:
		}
		both, err := readPair(bundle.Files{Combined: base + ".pem"})
		if err != nil {
			return err
		}
		if !keys.Equal(both.key, both.cert.PublicKey) {
			return errors.New("the file with both holds no pair")
		}
		if err := readCarefully(base); err != nil {
			return err
		}
	}
}

// readCarefully reads key, certificate and key: where the key stood still, the
// certificate is its own, or a renewal came and another one went meanwhile.
func readCarefully(base string) error {
	for range 20 {
		before, err1 := os.ReadFile(base + ".key")
		p, err2 := readPair(bundle.Files{Key: base + ".key", Certificate: base + ".crt"})
		after, err3 := os.ReadFile(base + ".key")
		if err := errors.Join(err1, err2, err3, p.keyErr); err != nil {
			return err
		}
		if bytes.Equal(before, after) && keys.Equal(p.key, p.cert.PublicKey) {
			return nil
		}
	}
	return errors.New("twenty times in a row key and certificate did not match")
}
