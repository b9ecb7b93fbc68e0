package store

import (
	"bytes"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"mutual/pki"
	"mutual/pki/crl"
)

func (f *fixture) move(from, to string) {
	f.t.Helper()
	f.must(os.Rename(from, to))
}

func day(n float64) time.Duration { return time.Duration(n * 24 * float64(time.Hour)) }

// A list is made again from half of its life on, and warned of from two
// thirds.
func TestHalfLife(t *testing.T) {
	for _, row := range []struct {
		name          string
		after         time.Duration
		issuing, root bool
	}{
		{"a day", day(1), false, false},
		{"just before half", day(14.99), false, false},
		{"just after half", day(15.01), true, false},
		{"expired", day(31), true, false},
		{"half of the root's", day(183), true, true},
	} {
		t.Run(row.name, func(t *testing.T) {
			f := newFixture(t)
			f.now = f.now.Add(row.after)
			lists, err := f.Upkeep(t.Context())
			f.must(err)
			if lists[0].Made != row.issuing || lists[1].Made != row.root {
				t.Errorf("made are: issuing %t, root %t", lists[0].Made, lists[1].Made)
			}
		})
	}
	f := newFixture(t)
	issuing, root := f.crls()
	for _, row := range []struct {
		l              Published
		life           time.Duration
		refresh, warns time.Duration
	}{{issuing, day(30), day(15), day(20)}, {root, day(365), day(182.5), day(365 * 2 / 3.)}} {
		refresh, warn := row.l.Due()
		near := func(got time.Time, want time.Duration) bool {
			return got.Sub(start().Add(want)).Abs() <= 10*time.Minute
		}
		if !row.l.NextUpdate.Equal(start().Add(row.life)) || !near(refresh, row.refresh) || !near(warn, row.warns) {
			t.Errorf("%s: nextUpdate %s, due %s, warned of %s", row.l.Issuer, row.l.NextUpdate, refresh, warn)
		}
	}
}

// Whatever is missing, or of an older list, the next writer writes again, and
// where nothing new is to be signed it needs no key.
func TestMissingFiles(t *testing.T) {
	dir := t.TempDir()
	f := newFixture(t, func(r *InitRequest) { r.Settings.Publish = dir })
	f.issue("alice", "")
	old := map[string][]byte{}
	names := []string{"crl/issuing.crl", "crl/issuing.pem", "crl/root.crl", "crl/root.pem", "crl/chain.pem"}
	for _, n := range names {
		old[n] = read(t, f.Path(n))
	}
	f.now = f.now.Add(time.Hour)
	f.revoke("alice")
	for _, where := range []string{f.dir, dir} {
		for _, n := range names {
			path := filepath.Join(where, n)
			f.must(os.Remove(path))
			f.heals(path, n, "a missing file")
			if strings.HasSuffix(n, "crl") {
				write(t, path, old[n])
				f.heals(path, n, "an old file")
				write(t, path, []byte("garbage"))
				f.heals(path, n, "garbage")
			}
		}
	}
}

func (f *fixture) heals(path, name, what string) {
	f.t.Helper()
	if _, err := f.Upkeep(f.t.Context()); err != nil {
		f.t.Errorf("%s at %s: %v", what, path, err)
	}
	if !bytes.Equal(read(f.t, path), read(f.t, f.Path(name))) {
		f.t.Errorf("%s at %s is not what the PKI has", what, path)
	}
	issuing, root := f.crls()
	if !issuing.InPlace || !root.InPlace || issuing.Entries != 1 {
		f.t.Errorf("%s at %s: in place are %t and %t", what, path, issuing.InPlace, root.InPlace)
	}
}

// Without a key what can be written is written.
func TestMissingFilesWithoutKeys(t *testing.T) {
	f := newFixture(t)
	for _, key := range []string{"issuing.key", "root.key"} {
		f.must(os.Remove(f.Path(key)))
	}
	f.reopen()
	root := read(t, f.Path("crl/root.crl"))
	for _, n := range []string{"crl/root.crl", "crl/root.pem", "crl/issuing.pem", "crl/chain.pem"} {
		f.must(os.Remove(f.Path(n)))
	}
	_, err := f.Upkeep(t.Context())
	f.must(err)
	if !bytes.Equal(root, read(t, f.Path("crl/root.crl"))) {
		t.Error("the root's list is another one")
	}
	f.must(os.Remove(f.Path("crl/issuing.crl")))
	f.must(os.Remove(f.Path("crl/root.crl")))
	_, err = f.Upkeep(t.Context())
	wantError(t, err, ErrNoKey, "the CRL of the issuing CA is not in its file and cannot be made: the CA's key is not here")
	if !bytes.Equal(root, read(t, f.Path("crl/root.crl"))) {
		t.Error("the root's list was not written")
	}
}

// A list of one CA is asked for while the other's file is gone and its key
// elsewhere.
func TestRefreshOne(t *testing.T) {
	f := newFixture(t)
	f.must(os.Remove(f.Path("issuing.key")))
	f.must(os.Remove(f.Path("crl/issuing.crl")))
	f.reopen()
	f.now = f.now.Add(time.Hour)
	_, err := f.Refresh(t.Context(), RefreshRequest{Only: pki.KindRoot})
	wantError(t, err, ErrNoKey, "the CRL of the issuing CA is not in its file")
	if _, root := f.crls(); !root.ThisUpdate.Equal(f.now.Add(-10 * time.Minute)) {
		t.Errorf("the root's list is of %s", root.ThisUpdate)
	}
}

// An act that changes no list does not fail because one is overdue.
func TestAllowWhileOverdue(t *testing.T) {
	f := newFixture(t)
	f.issue("alice", "")
	f.must(os.Remove(f.Path("issuing.key")))
	f.reopen()
	f.checkOverdue()
	if got := f.step("allow"); got != "changed" {
		t.Error(got)
	}
}

// With the root's key elsewhere everything but the root's own list goes on.
func TestRootKeyElsewhere(t *testing.T) {
	key := filepath.Join(t.TempDir(), "r.key")
	f := newFixture(t, func(r *InitRequest) { r.RootKeyOut = key })
	if _, err := os.Stat(f.Path("root.key")); err == nil {
		t.Error("the root's key is in the PKI")
	}
	away := key + ".away"
	f.move(key, away)
	f.issue("alice", "")
	f.now = f.now.Add(time.Hour)
	f.revoke("alice")
	lists, err := f.Refresh(t.Context(), RefreshRequest{})
	f.must(err)
	if !lists[0].Made || lists[1].Made || !lists[1].NextUpdate.Equal(start().AddDate(1, 0, 0)) {
		t.Errorf("the lists are %+v", lists)
	}
	_, err = f.Refresh(t.Context(), RefreshRequest{Only: pki.KindRoot})
	wantError(t, err, ErrNoKey, "making the root CA's CRL: the CA's key is not here: "+f.Path("root.key")+" is not there")
	_, err = f.Refresh(t.Context(), RefreshRequest{RootKey: f.Path("issuing.key")})
	wantError(t, err, nil, "the private key does not belong to the certificate")
	f.dueAfter(day(20), "") // Upkeep makes the issuing CA's
	f.dueAfter(day(165), "the CRL of the root CA ends at 2027-03-04T05:06:07Z")
	lists, err = f.Refresh(t.Context(), RefreshRequest{RootKey: away})
	f.must(err)
	if !lists[0].Made || !lists[1].Made {
		t.Errorf("the lists are %+v", lists)
	}
	f.dueAfter(0, "")
}

func (f *fixture) dueAfter(d time.Duration, what string) {
	f.t.Helper()
	f.now = f.now.Add(d)
	_, err := f.Upkeep(f.t.Context())
	f.must(err)
	s, err := f.Status(f.t.Context())
	f.must(err)
	var got []string
	for _, due := range f.Due(s) {
		got = append(got, due.What)
	}
	if text := strings.Join(got, ", "); text != what {
		f.t.Errorf("due is %q, want %q", text, what)
	}
}

// Five minutes of the clock are forgiven; more is refused by whatever signs.
func TestClockBehind(t *testing.T) {
	f := newFixture(t)
	f.now = f.now.Add(time.Hour)
	f.issue("alice", "")
	newest := f.now
	f.now = newest.Add(-5 * time.Minute)
	f.issue("bob", "")
	f.now = newest.Add(-5*time.Minute - time.Second)
	const behind = "the clock says 2026-03-04T06:01:06Z, but this PKI has signed at 2026-03-04T06:06:07Z already"
	_, err := f.tryIssue("carol", "")
	wantError(t, err, nil, behind)
	_, err = f.Refresh(t.Context(), RefreshRequest{})
	wantError(t, err, nil, "making the issuing CA's CRL: "+behind)
	_, err = f.Revoke(t.Context(), Selection{Names: []pki.Name{name("bob")}}, pki.Unspecified, false)
	wantError(t, err, nil, "the act is recorded, but the CRL with it is not out: "+behind)
	if got := f.list(Filter{Glob: "carol"}); len(got) > 0 {
		t.Errorf("listed are %v", got)
	}

	before, _ := f.crls()
	lists, err := f.Refresh(t.Context(), RefreshRequest{AcceptClock: true})
	f.must(err)
	if !lists[0].ThisUpdate.Equal(f.now.Add(-10*time.Minute)) || lists[0].Number.Cmp(before.Number) <= 0 || lists[0].Entries != 1 {
		t.Errorf("the list is %+v, after %+v", lists[0], before)
	}
	f.issue("carol", "")
	accepted := 0
	f.must(f.Journal(t.Context(), 1, func(l Line) error {
		if strings.Contains(string(l.Details), `"clockAccepted":true`) {
			accepted++
		}
		return nil
	}))
	if accepted != 2 {
		t.Errorf("%d lines of the journal say that the clock was accepted", accepted)
	}
}

// After a clock that was far ahead the lists go back in time, once, and the
// number still grows.
func TestClockFarAhead(t *testing.T) {
	f := newFixture(t)
	f.now = start().AddDate(1, 0, 0)
	_, err := f.Refresh(t.Context(), RefreshRequest{})
	f.must(err)
	ahead, _ := f.crls()
	f.now = start().Add(time.Hour)
	f.reopen()
	_, err = f.Refresh(t.Context(), RefreshRequest{AcceptClock: true})
	f.must(err)
	issuing, _ := f.crls()
	if issuing.Number.Cmp(ahead.Number) <= 0 || !issuing.ThisUpdate.Equal(f.now.Add(-10*time.Minute)) {
		t.Errorf("the list is %+v, after %+v", issuing, ahead)
	}
	f.issue("alice", "")
	f.revoke("alice")
	f.reopen()
}

// What was revoked by a clock that was far ahead stays revoked when the clock is
// put right, with a date that is not to come and that stays.
func TestRevokedByAClockAhead(t *testing.T) {
	f := newFixture(t)
	ctx := t.Context()
	c := f.issue("alice", "")
	f.now = start().AddDate(0, 1, 0)
	f.revoke("alice")
	ahead := f.entry(c.Serial).RevocationDate
	f.now = start().Add(time.Hour)
	f.reopen()
	lists, err := f.Refresh(ctx, RefreshRequest{AcceptClock: true})
	f.must(err)
	date := f.entry(c.Serial).RevocationDate
	if !date.Before(ahead) || date.After(lists[0].ThisUpdate) {
		t.Errorf("the date is %s, and was %s; thisUpdate is %s", date, ahead, lists[0].ThisUpdate)
	}
	for range 2 {
		f.now = f.now.Add(time.Hour)
		if !f.bothWays() {
			t.Error("the list cannot be made of the last one")
		}
		_, err = f.Refresh(ctx, RefreshRequest{})
		f.must(err)
		if got := f.entry(c.Serial).RevocationDate; !got.Equal(date) {
			t.Errorf("the date has become %s, and was %s", got, date)
		}
	}
}

// The date in the list is never after its thisUpdate and never changes; the
// date of the act is kept beside it.
func TestListedDate(t *testing.T) {
	f := newFixture(t)
	c := f.issue("alice", "")
	f.now = f.now.Add(time.Hour)
	f.revoke("alice")
	first := f.entry(c.Serial)
	issuing, _ := f.crls()
	if first.RevocationDate.After(issuing.ThisUpdate) {
		t.Errorf("revoked at %s, but thisUpdate is %s", first.RevocationDate, issuing.ThisUpdate)
	}
	f.now = f.now.Add(day(1))
	_, err := f.Refresh(t.Context(), RefreshRequest{})
	f.must(err)
	if again := f.entry(c.Serial); !again.RevocationDate.Equal(first.RevocationDate) {
		t.Errorf("the date became %s, and was %s", again.RevocationDate, first.RevocationDate)
	}
	known, err := f.Lookup(t.Context(), c.Fingerprint)
	f.must(err)
	if !known.Revocation.Done.Equal(start().Add(time.Hour)) {
		t.Errorf("done at %s", known.Revocation.Done)
	}
}

func (f *fixture) entry(s pki.Serial) crl.Entry {
	f.t.Helper()
	l, err := crl.Parse(read(f.t, f.Path("crl/issuing.crl")))
	f.must(err)
	e, ok := l.Lookup(s)
	if !ok {
		f.t.Fatalf("%s is not listed", s)
	}
	return e
}

// An entry leaves the list only after one past the certificate's end.
func TestExpiredLeavesLater(t *testing.T) {
	f := newFixture(t)
	f.issue("alice", "", func(r *IssueRequest) { r.Window.TTL = lifetime("1d") })
	f.revoke("alice")
	for i, want := range []int{1, 1, 0} {
		f.now = f.now.Add(day(0.7))
		_, err := f.Refresh(t.Context(), RefreshRequest{})
		f.must(err)
		if issuing, _ := f.crls(); issuing.Entries != want {
			t.Errorf("refresh %d: %d entries, want %d", i, issuing.Entries, want)
		}
	}
}

// A directory that cannot be published into is found out before anything is
// changed.
func TestPublishDirectory(t *testing.T) {
	dir := t.TempDir()
	blocked := filepath.Join(dir, "file")
	write(t, blocked, nil)
	req := request()
	req.Settings.Publish = filepath.Join(blocked, "x")
	_, err := Init(t.Context(), filepath.Join(dir, "pki"), req, (&fixture{now: start()}).options())
	wantError(t, err, nil, "publishing in "+req.Settings.Publish+": "+blocked+" is no directory")
	if got := files(t, dir); len(got) != 2 {
		t.Errorf("there are %v", got)
	}
	f := newFixture(t)
	head, err := f.Head(t.Context())
	f.must(err)
	_, _, err = f.Set(t.Context(), "publish", blocked)
	wantError(t, err, nil, "publishing in "+blocked+": "+blocked+" is no directory")
	if after, _ := f.Head(t.Context()); after != head {
		t.Error("the journal has grown")
	}
	_, changed, err := f.Set(t.Context(), "publish", filepath.Join(dir, "a", "b"))
	if err != nil || !changed {
		t.Fatal(changed, err)
	}
	if got := files(t, filepath.Join(dir, "a", "b")); len(got) != 10 {
		t.Errorf("there are %v", got)
	}
}
