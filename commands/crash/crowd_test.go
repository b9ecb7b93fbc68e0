//go:build linux && amd64

package crash

import (
	"flag"
	"fmt"
	"math/rand/v2"
	"os/exec"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"mutual/pki/store"
)

var crowd = flag.Duration("crowd", 10*time.Second, "how long TestCrowd goes on")

// crowdSize is how many processes there are at any time.
const crowdSize = 64

// farBeyond is what fails on any machine: the bound is five seconds on one that
// does nothing else.
const farBeyond = time.Minute

// TestCrowd has 64 processes issue, revoke, list and publish in one PKI, as fast
// as they can. None fails, nothing that was reported is lost, and the longest
// run is printed: none should wait longer than five seconds.
func TestCrowd(t *testing.T) {
	if testing.Short() {
		t.Skip("not with -short: it runs many programs")
	}
	w := newWorld(t, func(w *world) { w.mutual("init", "--publish", w.path("srv")) })
	var c crowded
	end := time.Now().Add(*crowd)
	var all sync.WaitGroup
	for i := range crowdSize {
		all.Go(func() {
			for n := 0; time.Now().Before(end); n++ {
				c.act(w, i, n)
			}
		})
	}
	all.Wait()
	c.check(t, w)
	slices.Sort(c.times)
	n := len(c.times)
	if n == 0 {
		t.Fatal("nothing has run")
	}
	longest := c.times[n-1]
	t.Logf("%d runs by %d processes in %s: half of them took at most %s, 99 of 100 %s, the longest %s (%s)",
		n, crowdSize, *crowd, c.times[n/2], c.times[n*99/100], longest, c.slowest)
	if longest > farBeyond {
		t.Errorf("a process took %s", longest)
	}
}

// crowded is what many processes have done.
type crowded struct {
	mu      sync.Mutex
	times   []time.Duration
	slowest string
	issued  map[string]bool // by name: reported as revoked, too
	failed  []string
}

// act has one process do one of the four things.
func (c *crowded) act(w *world, i, n int) {
	name := fmt.Sprintf("dev-%d-%d", i, n)
	switch rand.N(4) {
	case 0:
		c.run(w, func() { c.issued[name] = false }, "issue", "client", name, "--out", fmt.Sprintf("out-%d", i))
	case 1:
		if known := c.anybody(); known != "" {
			c.run(w, func() { c.issued[known] = true }, "revoke", known)
		}
	case 2:
		c.run(w, func() {}, "list", "--json")
	default:
		c.run(w, func() {}, "crl", "refresh")
	}
}

// anybody is a name that was issued to and nobody has reported revoked.
func (c *crowded) anybody() string {
	c.mu.Lock()
	defer c.mu.Unlock()
	for name, revoked := range c.issued {
		if !revoked {
			return name
		}
	}
	return ""
}

func (c *crowded) run(w *world, done func(), args ...string) {
	began := time.Now()
	cmd := w.command(args...)
	out, err := runTogether(cmd)
	took := time.Since(began)
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.issued == nil {
		c.issued = map[string]bool{}
	}
	if len(c.times) == 0 || took > slices.Max(c.times) {
		c.slowest = strings.Join(args[:2], " ")
	}
	c.times = append(c.times, took)
	if err != nil {
		c.failed = append(c.failed, fmt.Sprintf("mutual %s: %v\n%s", strings.Join(args, " "), err, out))
		return
	}
	done()
}

func runTogether(cmd *exec.Cmd) (string, error) {
	out, err := cmd.CombinedOutput()
	return string(out), err
}

// check holds the PKI against what was reported.
func (c *crowded) check(t *testing.T, w *world) {
	t.Helper()
	for i, text := range c.failed {
		if i < 5 {
			t.Error(text)
		}
	}
	if len(c.failed) > 0 {
		t.Errorf("%d of %d runs failed", len(c.failed), len(c.times))
	}
	p, err := w.open("pki")
	w.must(err)
	defer func() { w.must(p.Close()) }()
	after, err := read(t.Context(), p)
	w.must(err)
	states := map[string]store.State{}
	for _, cert := range after.certs {
		states[cert.Name.String()] = cert.State(time.Now())
	}
	revoked := 0
	for name, gone := range c.issued {
		want := store.Valid
		if gone {
			want = store.Revoked
			revoked++
		}
		if states[name] != want {
			t.Errorf("%s is %q, and should be %s", name, states[name], want)
		}
	}
	t.Logf("%d were issued, and %d of them revoked", len(c.issued), revoked)
	w.must(after.everyoneListed())
	w.must(w.checkKnown(after))
	if _, _, err := p.VerifyJournal(t.Context(), nil); err != nil {
		t.Error(err)
	}
	w.must(w.audit(p, true))
}
