//go:build linux && amd64

package crash

import (
	"errors"
	"flag"
	"fmt"
	"os"
	"regexp"
	"strings"
	"syscall"
	"testing"
)

var faults = flag.Int("faults", 240, "how many calls TestFaults makes fail, over all scenarios")

// fault is how calls fail.
type fault struct {
	name  string
	errno syscall.Errno
	on    bool // from the call on all of them, as on a disk that is full
}

func faultKinds() []fault {
	return []fault{{"ENOSPC", syscall.ENOSPC, false}, {"EIO", syscall.EIO, false}, {"EACCES", syscall.EACCES, false}, {"ENOSPC on", syscall.ENOSPC, true}}
}

// TestFaults makes each call that changes or flushes a file fail. The program
// ends with 1, or with 4 where an act is recorded and its list is not out, says
// why in one line, and has changed nothing that it does not say; or it did what
// it was told all the same.
func TestFaults(t *testing.T) {
	if testing.Short() {
		t.Skip("not with -short: it runs a program many times")
	}
	var counts tally
	all := available(t)
	share := max(*faults/len(all)/len(faultKinds()), 1)
	t.Run("scenarios", func(t *testing.T) {
		for i, s := range all {
			t.Run(s.name, func(t *testing.T) {
				t.Parallel()
				s.starve(t, &counts, share, i)
			})
		}
	})
	t.Logf("what the faults met\n%s", counts.table("failed", "recorded", "exit 4", "done"))
}

// starve makes calls of a scenario's command fail; in the short form a few of
// each kind, others for each scenario.
func (s scenario) starve(t *testing.T, counts *tally, share, turn int) {
	w := newWorld(t, s.world)
	line := s.line(w)
	before := w.before(s)
	total := 0
	w.traced(line, func(n int, _ string) fate { total = n; return fate{} })
	for k, kind := range faultKinds() {
		for _, at := range sample(total, share) {
			if share == 1 {
				at = 1 + (total*(2*((turn+k)%4)+1)/8+turn)%total
			}
			w.reset()
			a := w.traced(line, func(n int, call string) fate {
				if call == callPrint || call == callWake || n < at || n > at && !kind.on {
					return fate{}
				}
				return fate{errno: kind.errno}
			})
			outcome, err := w.judgeFault(s, before, a)
			if !a.met {
				continue // it was printed or woken up with that call
			}
			counts.add(s.name, kind.name, outcome)
			if err != nil {
				t.Errorf("%s at call %d, %s, exit code %d: %v\n%s%s", kind.name, at, a.call, a.code, err, a.stdout, a.stderr)
			}
		}
	}
}

// judgeFault says what became of a command, and what is wrong with that.
func (w *world) judgeFault(s scenario, before *state, a attempt) (outcome string, err error) {
	for _, sign := range []string{"panic: ", "fatal error: ", "goroutine "} {
		if strings.Contains(a.stderr, sign) {
			return "panic", errors.New("it broke down")
		}
	}
	lines := strings.Count(a.stderr, "mutual: error: ")
	switch {
	case a.code == 0 && lines == 0:
		outcome = "done"
	case a.code == 3 && (s.name == "restore" || strings.HasPrefix(s.name, "repair")):
		outcome = "done"
	case a.code == 1 && lines == 1:
		outcome = "failed"
	case a.code == 4 && lines == 1:
		outcome = "exit 4"
	default:
		return "wrong", fmt.Errorf("exit code %d and %d lines of error", a.code, lines)
	}
	if strings.HasPrefix(s.name, "issue") && strings.Contains(a.stderr, "may be recorded all the same") {
		if err := w.checkKept(a); err != nil {
			return "lost", err
		}
	}
	after, err := w.verify(s, before, a)
	if outcome != "failed" || err != nil || before == nil || after == nil {
		if outcome == "failed" && err == nil && before == nil && after != nil && s.pki != "" {
			outcome = "recorded"
		}
		return outcome, err
	}
	if after.same(before) {
		return outcome, nil
	}
	for _, said := range []string{"is issued, but", "is in its place; recording that", "is issued and written, but", "is recorded", "is there and whole, but", "are issued", " issued, 0 failed", "renewed, but", "serial", "may be recorded all the same"} {
		if strings.Contains(a.stderr, said) {
			return "recorded", nil
		}
	}
	return outcome, errors.New("it failed, has changed something, and does not say so")
}

// keptKey matches what says where keys are of which nobody knows whether they have
// a certificate.
var keptKey = regexp.MustCompile(`the keys? (?:is|are) kept in "([^"]+)"`)

// checkKept: they are there.
func (w *world) checkKept(a attempt) error {
	m := keptKey.FindStringSubmatch(a.stderr)
	if m == nil {
		return errors.New("it does not say where the key is of a certificate that may be recorded")
	}
	_, err := os.Stat(w.path(m[1]))
	return err
}

// same reports whether two states have the same certificates, as revoked.
func (s *state) same(other *state) bool {
	if len(s.certs) != len(other.certs) {
		return false
	}
	for f, c := range s.certs {
		o, ok := other.certs[f]
		if !ok || (c.Revocation == nil) != (o.Revocation == nil) || c.NameBlocked != o.NameBlocked {
			return false
		}
	}
	return true
}

// TestSmallDisks runs commands on disks that are ever larger, until there is
// room: until then they fail as on a full disk, and change nothing.
func TestSmallDisks(t *testing.T) {
	if testing.Short() {
		t.Skip("not with -short: it runs a program many times")
	}
	if os.Geteuid() != 0 {
		t.Skip("only root may mount a disk in memory")
	}
	for _, s := range scenarios() {
		switch s.name {
		case "init", "issue", "revoke", "renew", "crl refresh", "backup", "ca renew issuing --rekey", "repair", "restore":
		default:
			continue
		}
		t.Run(s.name, func(t *testing.T) {
			t.Parallel()
			w := newWorld(t, s.world)
			before := w.before(s)
			size, sizes, done := 64, 0, false
			if !s.bare {
				size = max(64, w.kilobytes()-64)
			}
			for ; !done && size < 1<<16; sizes++ {
				done = w.onDisk(s, before, size)
				size += 16
			}
			t.Logf("%d disks, and it succeeded with %d kB", sizes, size-16)
		})
	}
}

// kilobytes is how much the world takes on a disk in memory.
func (w *world) kilobytes() int {
	pages := 0
	w.must(walk(w.save, func(size int64) { pages += int(size+4095) / 4096 }))
	return pages * 4
}

// onDisk runs a scenario's command on a disk of that many kilobytes, and
// reports whether it succeeded.
func (w *world) onDisk(s scenario, before *state, size int) bool {
	w.t.Helper()
	w.must(os.RemoveAll(w.dir))
	w.must(os.Mkdir(w.dir, 0o700))
	options := fmt.Sprintf("size=%dk,mode=700", size)
	if err := syscall.Mount("tmpfs", w.dir, "tmpfs", 0, options); err != nil {
		w.t.Skipf("this user cannot mount a disk in memory: %v", err)
	}
	defer func() { w.must(syscall.Unmount(w.dir, syscall.MNT_DETACH)) }()
	if err := fill(w.save, w.dir); err != nil {
		if errors.Is(err, syscall.ENOSPC) {
			return false // not even what is there has room
		}
		w.t.Fatal(err)
	}
	a := w.traced(s.line(w), func(int, string) fate { return fate{} })
	if a.code == 0 || a.code == 3 {
		return true
	}
	w.must(syscall.Mount("tmpfs", w.dir, "tmpfs", syscall.MS_REMOUNT, "size=64m,mode=700")) // somebody makes room
	if outcome, err := w.judgeFault(s, before, a); err != nil {
		w.t.Errorf("with %d kB: %s, exit code %d: %v\n%s%s", size, outcome, a.code, err, a.stdout, a.stderr)
	}
	if !strings.Contains(a.stderr, "no space left on device") && !strings.Contains(a.stderr, "disk is full") {
		w.t.Errorf("with %d kB: it does not say that there is no room:\n%s", size, a.stderr)
	}
	return false
}
