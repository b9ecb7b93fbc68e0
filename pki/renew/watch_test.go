package renew

import (
	"context"
	"crypto"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"mutual/pki"
	"mutual/pki/keys"
	"mutual/pki/pkitest"
	"mutual/pki/store"
)

// watching is a Watch whose clock moves with each sleep. happens is called in
// the first sleep after each look, and ends the watch by giving false.
type watching struct {
	Watch
	f       *fixture
	events  []string
	happens func(n int, d time.Duration) bool
}

func (f *fixture) watch(happens func(n int, d time.Duration) bool) *watching {
	w := &watching{f: f, happens: happens}
	looks, rests := 0, 0
	w.Watch = Watch{
		Rule: DefaultRule(), Options: Options{Grace: time.Hour}, Now: f.clock,
		Sleep: func(_ context.Context, d time.Duration) error {
			if d <= 0 || d > longestNap {
				f.t.Errorf("it sleeps for %s", d)
			}
			if rests == looks { // the rest goes on
				f.now = f.now.Add(d)
				return nil
			}
			rests = looks
			if !happens(rests, d) {
				return context.Canceled
			}
			return nil
		},
		Open: func(_ context.Context, do func(*Renewer) error) error { looks++; return do(f.renewer()) },
		Each: func(out Outcome) error {
			word := "renewed"
			if out.Err != nil {
				word = "failed"
			}
			w.event(word, out.Old)
			return nil
		},
		Stopped: func(p store.Placed) error { w.event("stopped", p); return nil },
		Failed:  func(err error) { w.events = append(w.events, err.Error()) },
	}
	return w
}

func (w *watching) event(word string, p store.Placed) {
	w.events = append(w.events, fmt.Sprintf("%s %s +%s", word, p.Name, w.f.now.Sub(p.Issued).Round(time.Minute)))
}

// A machine that slept for days renews what became due meanwhile at once, also
// what has expired; what is not due is left alone.
func TestWatchCatchesUp(t *testing.T) {
	f := newFixture(t)
	f.issue("alice", "30d")
	f.issue("bob", "90d")
	f.issue("carol", "2d")
	w := f.watch(func(n int, d time.Duration) bool {
		switch n {
		case 1: // a minute passes
			f.now = f.now.Add(d)
		case 2: // the lid is closed
			f.now = f.now.Add(25 * 24 * time.Hour)
		case 3:
			f.now = f.now.Add(d)
		default:
			return false
		}
		return true
	})
	f.must(w.Run(t.Context()))
	if got, want := strings.Join(w.events, ", "), "renewed carol +600h1m0s, renewed alice +600h1m0s"; got != want {
		t.Errorf("it did %q, want %q", got, want)
	}
	f.certificate("alice")
	f.certificate("carol")
}

// A machine that sleeps stops every timer: the first one that ends after it woke
// up is the time to look, and not the end of a minute that it had begun.
func TestWatchLooksAtOnceAfterSleep(t *testing.T) {
	f := newFixture(t)
	f.issue("alice", "30d")
	w := f.watch(nil)
	naps := 0
	w.Sleep = func(_ context.Context, d time.Duration) error {
		naps++
		switch {
		case len(w.events) > 0:
			return context.Canceled
		case naps == 3: // the lid is closed, and opened again
			f.now = f.now.Add(25 * 24 * time.Hour)
		case naps == 4:
			t.Error("it sleeps on")
		}
		f.now = f.now.Add(d)
		return nil
	}
	f.must(w.Run(t.Context()))
	if got, want := strings.Join(w.events, ", "), "renewed alice +600h0m0s"; got != want {
		t.Errorf("it did %q, want %q", got, want)
	}

	// A clock that is set back does not make it sleep longer.
	f.issue("bob", "30d")
	naps, looks := 0, 0
	open := w.Open
	w.Open = func(ctx context.Context, do func(*Renewer) error) error { looks++; return open(ctx, do) }
	w.Sleep = func(_ context.Context, d time.Duration) error {
		if naps++; looks == 2 || naps > 20 {
			return context.Canceled
		}
		f.now = f.now.Add(d)
		if naps == 2 {
			f.now = f.now.Add(-time.Hour)
		}
		return nil
	}
	f.must(w.Run(t.Context()))
	if naps != 3 {
		t.Errorf("it looked again after %d naps", naps)
	}
}

// What was issued together is not renewed together, but each within an hour of
// when it is due, and never before.
func TestWatchJitters(t *testing.T) {
	f := newFixture(t)
	const many = 12
	for i := range many {
		f.issue(fmt.Sprintf("alice-%d", i), "30d")
	}
	due := f.now.Add(20 * 24 * time.Hour)
	f.now = due.Add(-2 * time.Minute)
	w := f.watch(func(_ int, d time.Duration) bool {
		f.now = f.now.Add(d)
		return f.now.Before(due.Add(61 * time.Minute))
	})
	minutes := map[time.Duration]bool{}
	renewed := 0
	w.Each = func(out Outcome) error {
		after := f.now.Sub(due)
		if out.Err != nil || after < 0 || after > time.Hour {
			t.Errorf("%s was renewed %s after it was due: %v", out.Old.Name, after, out.Err)
		}
		minutes[after.Truncate(time.Minute)] = true
		renewed++
		return nil
	}
	f.must(w.Run(t.Context()))
	if renewed != many || len(minutes) < many/2 {
		t.Errorf("%d were renewed in %d different minutes", renewed, len(minutes))
	}
}

// Who is told to stop while a certificate is renewed does not report that as a
// failure, and it is not one.
func TestInterruptedIsNotFailed(t *testing.T) {
	f := newFixture(t)
	f.issue("alice", "30d")
	old := f.certificate("alice")
	f.now = f.now.Add(25 * 24 * time.Hour)
	interrupting := func() (context.Context, *Renewer) {
		ctx, cancel := context.WithCancel(t.Context())
		r := f.renewer()
		r.Generate = func(a keys.Algorithm) (crypto.Signer, error) { cancel(); return keys.Generate(a) }
		return ctx, r
	}
	ctx, r := interrupting()
	w := f.watch(func(int, time.Duration) bool { return false })
	w.Open = func(_ context.Context, do func(*Renewer) error) error { return do(r) }
	f.must(w.Run(ctx))
	if len(w.events) > 0 {
		t.Errorf("it did %q", w.events)
	}
	ctx, r = interrupting()
	count, _, err := r.All(ctx, DefaultRule(), Options{}, func(out Outcome) error {
		t.Errorf("%v", out.Err)
		return nil
	})
	if count != 0 || !errors.Is(err, context.Canceled) {
		t.Errorf("%d, %v", count, err)
	}
	if !f.certificate("alice").Equal(old) {
		t.Error("it was renewed")
	}
	f.wantFiles("alice.crt alice.key alice.pem")
}

// What fails is tried again, each time after twice as long, an hour and a
// quarter at most.
func TestWatchBacksOff(t *testing.T) {
	f := newFixture(t)
	f.issue("alice", "30d")
	f.must(os.Rename(filepath.Join(f.out, "alice.key"), filepath.Join(f.out, "away")))
	f.now = f.now.Add(22 * 24 * time.Hour)
	var tries []time.Time
	w := f.watch(nil)
	w.Each = func(out Outcome) error {
		if out.Err == nil {
			w.events = append(w.events, "renewed")
		} else {
			tries = append(tries, f.now)
		}
		return nil
	}
	w.Sleep = func(_ context.Context, d time.Duration) error {
		f.now = f.now.Add(d)
		if len(tries) == 9 {
			f.must(os.Rename(filepath.Join(f.out, "away"), filepath.Join(f.out, "alice.key")))
			tries = append(tries, f.now)
		}
		if len(w.events) > 0 {
			return context.Canceled
		}
		return nil
	}
	f.must(w.Run(t.Context()))
	wait := time.Minute
	for i := 1; i < 9; i++ {
		got := tries[i].Sub(tries[i-1])
		if got < wait || got > wait+wait/4+time.Second {
			t.Errorf("try %d came after %s, want %s and up to a quarter more", i, got, wait)
		}
		wait = min(2*wait, time.Hour)
	}
}

// Who is revoked is not watched any more, which is said once; when nobody is
// left the watch ends. Who is held is waited for.
func TestWatchStops(t *testing.T) {
	f := newFixture(t)
	alice, bob := f.issue("alice", "30d"), f.issue("bob", "30d")
	act := func(c store.Certificate, reason pki.Reason) {
		_, err := f.Revoke(t.Context(), store.Selection{Certificates: []pki.Fingerprint{c.Fingerprint}}, reason, false)
		f.must(err)
	}
	w := f.watch(func(n int, d time.Duration) bool {
		f.now = f.now.Add(d)
		switch n {
		case 1:
			_, err := f.Revoke(t.Context(), store.Selection{Names: []pki.Name{alice.Name}}, pki.KeyCompromise, false)
			f.must(err)
		case 2:
			act(bob, pki.CertificateHold)
			f.now = f.now.Add(25 * 24 * time.Hour)
		case 4:
			act(bob, pki.KeyCompromise)
		}
		return n < 10
	})
	if err := w.Run(t.Context()); !errors.Is(err, ErrNothingLeft) {
		t.Errorf("it ended with %v", err)
	}
	if got, want := strings.Join(w.events, ", "), "stopped alice +1m0s, stopped bob +600h3m0s"; got != want {
		t.Errorf("it did %q, want %q", got, want)
	}
}

// A look that fails does not end the watch, but the first one does.
func TestWatchFails(t *testing.T) {
	f := newFixture(t)
	f.issue("alice", "30d")
	looks := 0
	broken := errors.New("the disk is away")
	w := f.watch(func(n int, _ time.Duration) bool { return n < 3 })
	open := w.Open
	w.Open = func(ctx context.Context, do func(*Renewer) error) error {
		if looks++; looks == 2 {
			return broken
		}
		return open(ctx, do)
	}
	f.must(w.Run(t.Context()))
	if got := strings.Join(w.events, ", "); got != "the disk is away" {
		t.Errorf("it did %q", got)
	}
	looks = 1
	if err := w.Run(t.Context()); err != broken {
		t.Errorf("it ended with %v", err)
	}
	ended, cancel := context.WithCancel(t.Context())
	cancel()
	if err := w.Run(ended); err != nil {
		t.Errorf("it ended with %v", err)
	}
}

func TestRules(t *testing.T) {
	issued := time.Date(2027, 1, 1, 0, 0, 0, 0, time.UTC)
	c := store.Certificate{}
	c.Issued, c.NotBefore, c.NotAfter = issued, issued.Add(-10*time.Minute), issued.AddDate(0, 0, 30)
	at := func(s string) Rule {
		r, err := RuleAt(s)
		if err != nil {
			t.Fatal(err)
		}
		return r
	}
	for _, tt := range []struct {
		rule Rule
		days int
	}{
		{DefaultRule(), 20}, {at("1/2"), 15}, {at("9/10"), 27},
		{RuleWithin(pkitest.MustLifetime(t, "10d")), 20}, {RuleWithin(pkitest.MustLifetime(t, "30d")), 15}, {RuleWithin(pkitest.MustLifetime(t, "1y")), 15},
	} {
		if got, want := tt.rule.Due(c), issued.AddDate(0, 0, tt.days); !got.Equal(want) {
			t.Errorf("%+v: due at %s, want %s", tt.rule, got, want)
		}
	}
	for _, s := range []string{"", "2", "1/1", "3/2", "0/1", "-1/2", "1/0", "a/b", "1/2/3", "1/2000", "0.5"} {
		if _, err := RuleAt(s); err == nil || !strings.Contains(err.Error(), "is no part of a life") {
			t.Errorf("%q: %v", s, err)
		}
	}
}

// What is due is spread over a twentieth of the life, an hour at most, and the
// same for one certificate every time.
func TestSpread(t *testing.T) {
	seen := map[time.Duration]bool{}
	for i := range 100 {
		f := pki.FingerprintOf([]byte{byte(i)})
		d := spread(f, time.Hour)
		if d < 0 || d >= time.Hour || d != spread(f, time.Hour) {
			t.Errorf("%s", d)
		}
		seen[d.Truncate(time.Minute)] = true
	}
	if len(seen) < 30 {
		t.Errorf("a hundred certificates fall into %d minutes", len(seen))
	}
	if spread(pki.Fingerprint{1}, 0) != 0 {
		t.Error("no spread is some")
	}
}
