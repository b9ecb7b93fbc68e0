//go:build linux && amd64

package crash

import (
	"flag"
	"fmt"
	"math/rand/v2"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"
)

var kills = flag.Int("kills", 500, "how often TestKills kills the program, over all scenarios")

// randomPart is which part of the kills come at random times.
const randomPart = 6

// tally counts outcomes by scenario and call.
type tally struct {
	mu   sync.Mutex
	rows map[[2]string]map[string]int
}

func (c *tally) add(scenario, call, outcome string) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.rows == nil {
		c.rows = map[[2]string]map[string]int{}
	}
	key := [2]string{scenario, call}
	if c.rows[key] == nil {
		c.rows[key] = map[string]int{}
	}
	c.rows[key][outcome]++
}

// table prints a line for each scenario and call.
func (c *tally) table(outcomes ...string) string {
	var out strings.Builder
	fmt.Fprintf(&out, "%-30s %-16s %7s", "scenario", "call", "times")
	for _, o := range outcomes {
		fmt.Fprintf(&out, " %12s", o)
	}
	var keys [][2]string
	for key := range c.rows {
		keys = append(keys, key)
	}
	slices.SortFunc(keys, func(a, b [2]string) int { return slices.Compare(a[:], b[:]) })
	sums, total := map[string]int{}, 0
	for _, key := range append(keys, [2]string{"all", ""}) {
		row, n := c.rows[key], 0
		if row == nil {
			row = sums
		}
		for _, o := range outcomes {
			n += row[o]
		}
		fmt.Fprintf(&out, "\n%-30s %-16s %7d", key[0], key[1], n)
		for _, o := range outcomes {
			fmt.Fprintf(&out, " %12d", row[o])
			if key[1] != "" {
				sums[o] += row[o]
			}
		}
		total += n
	}
	return out.String()
}

// TestKills kills the program before each call that changes or flushes a file,
// and at random times, and looks at what is left: it opens without help, no
// serial is there twice, nothing that was reported is lost, no file is half
// written under its name, lists never go back, the journal holds, and who is
// revoked is on the next list.
func TestKills(t *testing.T) {
	if testing.Short() {
		t.Skip("not with -short: it kills a program many times")
	}
	var counts tally
	all := available(t)
	share := shareOf(*kills, all)
	var unmet sync.Map
	t.Run("scenarios", func(t *testing.T) {
		for _, s := range all {
			t.Run(s.name, func(t *testing.T) {
				t.Parallel()
				mine := share
				if s.slow {
					mine = max(share/3, 2)
				}
				unmet.Store(s.name, s.kill(t, &counts, mine))
			})
		}
	})
	t.Logf("what the kills met\n%s", counts.table("nothing", "unreported", "reported", "finished"))
	unmet.Range(func(name, missed any) bool {
		if missed.(int) > 0 {
			t.Logf("%v: %d calls were left out in this form", name, missed)
		}
		return true
	})
}

// shareOf is what each scenario gets of the kills, the slow ones a third of it.
func shareOf(kills int, all []scenario) int {
	thirds := 0
	for _, s := range all {
		thirds += 3
		if s.slow {
			thirds -= 2
		}
	}
	return max((3*kills+thirds-1)/thirds, 2)
}

// available are the scenarios whose commands this program has.
func available(t *testing.T) []scenario {
	t.Helper()
	w := world{t: t, dir: t.TempDir()}
	var out []scenario
	for _, s := range scenarios() {
		if s.needs != "" && !strings.Contains(w.mutual(append(s.args[:2:2], "--help")...), s.needs) {
			t.Logf("%s is left out: the program has no %s", s.name, s.needs)
			continue
		}
		out = append(out, s)
	}
	return out
}

// kill kills a scenario's command share times, at every call if that is enough,
// and says how many calls were left out.
func (s scenario) kill(t *testing.T, counts *tally, share int) (missed int) {
	w := newWorld(t, s.world)
	line := s.line(w)
	before := w.before(s)
	began := time.Now()
	if out, err := w.command(line...).CombinedOutput(); err != nil && !strings.Contains(err.Error(), "exit status 3") {
		t.Fatalf("nobody killed it: %v\n%s", err, out)
	}
	longest := time.Since(began)
	w.reset()
	total := 0
	whole := w.traced(line, func(n int, _ string) fate { total = n; return fate{} })
	if whole.code != 0 && whole.code != 3 {
		t.Fatalf("nobody killed it: exit code %d\n%s%s", whole.code, whole.stdout, whole.stderr)
	}
	if _, err := w.verify(s, before, whole); err != nil {
		t.Fatalf("nobody killed it: %v", err)
	}
	points := sample(total, share-share/randomPart)
	for _, at := range points {
		w.reset()
		w.judge(s, before, counts, at, w.traced(line, func(n int, _ string) fate { return fate{kill: n == at} }))
	}
	for range share - len(points) {
		w.reset()
		w.judge(s, before, counts, 0, w.killedAfter(line, rand.N(longest)))
	}
	t.Logf("%d of %d calls, and %d random times", len(points), total, share-len(points))
	return total - len(points)
}

// before reads the state that a scenario begins with; nil where there is no PKI.
func (w *world) before(s scenario) *state {
	w.t.Helper()
	if s.pki != "" {
		return nil
	}
	p, err := w.open(s.place())
	w.must(err)
	st, err := read(w.t.Context(), p)
	w.must(err)
	w.must(p.Close())
	w.reset()
	return st
}

// sample takes at most n of the numbers from 1 to total, evenly.
func sample(total, n int) []int {
	var out []int
	n = min(n, total)
	for i := range n {
		out = append(out, 1+(i*total+total/2)/n)
	}
	return out
}

func (w *world) judge(s scenario, before *state, counts *tally, at int, a attempt) {
	w.t.Helper()
	after, err := w.verify(s, before, a)
	outcome := "finished"
	switch {
	case !a.met:
	case isWhole(a.stdout):
		outcome = "reported"
	case after == nil, before != nil && after.head == before.head:
		outcome = "nothing"
	default:
		outcome = "unreported"
	}
	call := a.call
	if call == "" {
		call = "(not met)"
	}
	counts.add(s.name, call, outcome)
	if err != nil {
		w.t.Errorf("killed at call %d, %s, %s: %v\n%s%s", at, call, outcome, err, a.stdout, a.stderr)
	}
}
