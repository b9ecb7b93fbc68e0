package store

import (
	"context"
	"errors"
	"fmt"
	"runtime"
	"runtime/debug"
	"slices"
	"strings"
	"testing"
	"time"

	"mutual/pki"
)

// An inventory in which every list has several pages, and some identities are
// many and others few.
const (
	scaleMany    = 6000
	scaleRevoked = 1500
)

// naive is List as anyone would write it: everything is read, filtered and
// sorted.
func (f *fixture) naive(all []Certificate, filter Filter) (out []string) {
	soon := filter.Expiring.From(f.now)
	for _, c := range all {
		expired := !c.NotAfter.After(f.now)
		switch {
		case filter.Expired && !expired, !filter.Expired && !filter.All && !filter.Revoked && !filter.Blocked && expired,
			filter.Revoked && c.Revocation == nil, filter.Blocked && !c.NameBlocked,
			filter.Label != "" && c.Label != filter.Label, filter.Kind != "" && c.Kind != filter.Kind,
			filter.Glob != "" && !pki.MatchGlob(filter.Glob, c.Name.String()),
			!filter.Expiring.IsZero() && (c.State(f.now) != Valid || c.Replaced || c.NotAfter.After(soon)):
			continue
		}
		out = append(out, c.Serial.String())
	}
	return out
}

func TestScale(t *testing.T) {
	if testing.Short() {
		t.Skip("not with -short: it makes a large inventory")
	}
	f := newFixture(t)
	f.seed(scaleMany, scaleRevoked)
	f.now = f.now.AddDate(0, 0, 9) // a tenth has expired
	ctx := t.Context()
	_, err := f.Revoke(ctx, Selection{Glob: "app-00001*"}, pki.CertificateHold, false)
	f.must(err)

	var all []Certificate
	f.must(f.each(ctx, f.db, "c.kind <> 'probe'", nil, func(c Certificate) error {
		all = append(all, c)
		return nil
	}))
	slices.SortFunc(all, func(a, b Certificate) int {
		return position{a.NotAfter.Unix(), a.id}.compare(position{b.NotAfter.Unix(), b.id})
	})
	for _, filter := range []Filter{
		{}, {All: true}, {Expired: true}, {Revoked: true}, {Blocked: true}, {Expiring: lifetime("30d")}, {Label: "Pixel 8"}, {Kind: pki.KindServer},
		{Kind: pki.KindClient}, {Kind: pki.KindRoot}, {Glob: "dev-*"}, {Glob: "*7"}, {Glob: "srv-*"}, {Glob: "app-000001?"}, {Glob: "dev-0000000"},
		{Glob: "app-*", Blocked: true}, {Glob: "dev-*", Revoked: true, Expired: true}, {Expiring: lifetime("30d"), Kind: pki.KindServer},
		{Revoked: true, Expired: true}, {Glob: "nobody*"}, {Glob: "dev-*", Expiring: lifetime("60d"), Label: "Pixel 8"},
	} {
		want := f.naive(all, filter)
		var got []string
		f.must(f.List(ctx, filter, func(c Certificate) error { got = append(got, c.Serial.String()); return nil }))
		if !slices.Equal(got, want) {
			t.Errorf("%+v: listed are %d, want %d", filter, len(got), len(want))
		}
	}
	f.scaleActs()
}

// scaleActs holds, releases and revokes what is on several pages.
func (f *fixture) scaleActs() {
	t, ctx := f.t, f.t.Context()
	const devs = scaleMany * 3 / 10
	dev := Selection{Glob: "dev-*"}
	dry, err := f.Revoke(ctx, dev, pki.CertificateHold, true)
	f.must(err)
	held, err := f.Revoke(ctx, dev, pki.CertificateHold, false)
	f.must(err)
	released, err := f.Unhold(ctx, dev, false)
	f.must(err)
	again, err := f.Unhold(ctx, dev, false)
	f.must(err)
	revoked, err := f.Revoke(ctx, dev, pki.KeyCompromise, false)
	f.must(err)
	f.checkNumbers()
	changed := held.Changed
	for _, row := range []struct {
		what                      string
		o                         *Outcome
		changed, blocked, allowed int
		state                     State // now, of what changed
	}{
		{"a dry run", dry, changed, devs, 0, Held}, {"a hold", held, changed, devs, 0, Revoked}, {"its end", released, changed, 0, devs, Revoked},
		{"again", again, 0, 0, 0, ""}, {"a revocation", revoked, changed, devs, 0, Revoked},
	} {
		o := row.o
		if o.Changed != row.changed || o.Selected <= o.Changed || o.Blocked() != row.blocked || o.Allowed() != row.allowed {
			t.Errorf("%s: selected %d, changed %d, blocked %d, allowed %d", row.what, o.Selected, o.Changed, o.Blocked(), o.Allowed())
		}
		var names []string
		for n, err := range o.Names(ctx) {
			f.must(err)
			names = append(names, n.String())
		}
		if len(names) != row.blocked+row.allowed || !slices.IsSorted(names) {
			t.Errorf("%s: %d names", row.what, len(names))
		}
		selected, many := 0, 0
		for c, err := range o.Certificates(ctx) {
			f.must(err)
			selected++
			if c.Changed {
				many++
			}
			if !strings.HasPrefix(c.Name.String(), "dev-") || c.Changed && row.what == "a dry run" && c.State(f.now) != Revoked {
				t.Fatalf("%s: %s is %s", row.what, c.Name, c.State(f.now))
			}
		}
		if selected != o.Selected || many != o.Changed {
			t.Errorf("%s: read are %d, of them %d changed", row.what, selected, many)
		}
	}
	if changed <= nextPage || released.Epoch != held.Epoch+1 || dry.Epoch != 0 || again.Epoch != 0 {
		t.Errorf("%d changed, the epochs are %d, %d", changed, held.Epoch, released.Epoch)
	}
	f.journalOf(held.Epoch, changed)
}

// journalOf checks the line of an act: what it counts, and that it names no more
// than a thousand.
func (f *fixture) journalOf(epoch int64, count int) {
	f.t.Helper()
	var line string
	f.must(f.db.QueryRowContext(f.t.Context(), `SELECT CAST(j.line AS TEXT) FROM journal j JOIN change c ON c.journal = j.number
		WHERE c.epoch = $1`, epoch).Scan(&line))
	if n := strings.Count(line, `"serial":`); n != maxDetails || !strings.Contains(line, fmt.Sprintf(`"count":%d,`, count)) {
		f.t.Errorf("the line has %d serials: %.200s", n, line)
	}
}

// peak gives by how much the heap grows while something runs, in MiB.
func peak(do func()) float64 {
	defer debug.SetGCPercent(debug.SetGCPercent(5))
	var m runtime.MemStats
	runtime.GC()
	runtime.ReadMemStats(&m)
	before, most := m.HeapAlloc, m.HeapAlloc
	stop, done := make(chan bool), make(chan bool)
	go func() {
		defer close(done)
		var m runtime.MemStats
		for tick := time.NewTicker(5 * time.Millisecond); ; {
			select {
			case <-stop:
				tick.Stop()
				return
			case <-tick.C:
				runtime.ReadMemStats(&m)
				most = max(most, m.HeapAlloc)
			}
		}
	}()
	do()
	close(stop)
	<-done
	return float64(most-before) / (1 << 20)
}

// Lists and acts take no more memory for many certificates than for few.
func TestMemoryIsFlat(t *testing.T) {
	if testing.Short() {
		t.Skip("it makes two large inventories")
	}
	const few, many, more = 2500, 20_000, 4 // MiB that the others may take, of the 10 that they would
	grown := map[string][]float64{}
	for _, n := range []int{few, many} {
		f := newFixture(t)
		f.seed(n, n/10)
		errUndo := errors.New("undone")
		for what, do := range map[string]func(){
			"list":    func() { f.must(f.List(t.Context(), Filter{}, func(Certificate) error { return nil })) },
			"blocked": func() { f.must(f.List(t.Context(), Filter{Glob: "app-*"}, func(Certificate) error { return nil })) },
			"hold": func() {
				err := f.update(context.Background(), nil, func(tx *Tx) error {
					w, err := tx.change("hold")
					f.must(err)
					f.must(w.selected(Selection{Glob: "*"}, f.revoking(pki.CertificateHold)))
					f.must(w.end())
					if w.o.Changed < n*9/10 {
						t.Errorf("%d are held", w.o.Changed)
					}
					return errUndo
				})
				if err != errUndo {
					t.Error(err)
				}
			},
		} {
			grown[what] = append(grown[what], peak(do))
		}
	}
	for what, g := range grown {
		t.Logf("%s: %.1f MiB for %d, %.1f MiB for %d", what, g[0], few, g[1], many)
		if g[1] > g[0]+more {
			t.Errorf("%s takes %.1f MiB for %d certificates and %.1f MiB for %d", what, g[0], few, g[1], many)
		}
	}
}
