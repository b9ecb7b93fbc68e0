package store

import (
	"bytes"
	"crypto/x509"
	"encoding/hex"
	"errors"
	"fmt"
	"io/fs"
	"math/big"
	"math/rand/v2"
	"os"
	"path/filepath"
	"runtime"
	"slices"
	"strings"
	"testing"
	"time"

	"mutual/pki"
	"mutual/pki/authority"
	"mutual/pki/crl"
)

// A place that is not free stays as it is.
func TestRestoreRefuses(t *testing.T) {
	f := newFixture(t)
	path := f.backup()
	full := filepath.Join(t.TempDir(), "full")
	if err := os.Mkdir(full, 0o700); err != nil {
		t.Fatal(err)
	}
	write(t, filepath.Join(full, "x"), []byte("precious"))
	for _, row := range []struct {
		dir      string
		sentinel error
		text     string
	}{
		{f.dir, ErrExists, "there is a PKI already in " + f.dir},
		{full, fs.ErrExist, "is not empty"},
		{filepath.Join(full, "x"), nil, "not a directory"},
	} {
		before, around := files(t, f.dir), files(t, filepath.Dir(full))
		in, err := os.Open(path)
		f.must(err)
		_, _, err = Restore(t.Context(), row.dir, in, RestoreRequest{}, f.options())
		_ = in.Close()
		if runtime.GOOS != "windows" || row.sentinel != nil {
			wantError(t, err, row.sentinel, row.text)
		}
		if !slices.Equal(before, files(t, f.dir)) || !slices.Equal(around, files(t, filepath.Dir(full))) {
			t.Errorf("%s: something changed", row.dir)
		}
	}
	empty := filepath.Join(t.TempDir(), "empty")
	if err := os.Mkdir(empty, 0o755); err != nil {
		t.Fatal(err)
	}
	in, err := os.Open(path)
	f.must(err)
	defer func() { _ = in.Close() }()
	p, _, err := Restore(t.Context(), empty, in, RestoreRequest{}, f.options())
	f.must(err)
	f.must(p.Close())
	(&fixture{t: t, dir: empty, now: f.now}).checkModes()
}

func (f *fixture) checkModes() {
	f.t.Helper()
	f.must(checkModes(f.dir))
}

// A clock behind the backup's newest signature restores nothing: numbers and
// times would go back.
func TestRestoreNeedsTheClock(t *testing.T) {
	f := newFixture(t)
	f.issue("alice", "")
	path := f.backup()
	f.now = f.now.Add(-time.Hour)
	_, _, err := f.tryRestore(path, RestoreRequest{})
	if !errors.As(err, new(*ClockError)) {
		t.Errorf("the error is %v", err)
	}
}

// numbers gives number and thisUpdate of both lists.
func (f *fixture) numbers() (number [2]*big.Int, thisUpdate [2]time.Time) {
	f.t.Helper()
	lists, err := f.CRLs(f.t.Context())
	f.must(err)
	for i, l := range lists {
		number[i], thisUpdate[i] = l.Number, l.ThisUpdate
	}
	return number, thisUpdate
}

// Whatever the lost PKI published between the backup and the restore, in any
// rhythm, the restored one goes on above it, in number and in thisUpdate, and
// no list has a number of another.
func TestRestoredListsGoOn(t *testing.T) {
	for seed := range uint64(25) {
		t.Run(fmt.Sprint(seed), func(t *testing.T) {
			t.Parallel()
			random := rand.New(rand.NewPCG(seed, 0))
			pause := []time.Duration{0, time.Second, 30 * time.Second, 10 * time.Minute, 40 * 24 * time.Hour}[seed%5]
			f := newFixture(t)
			f.issue("alice", "")
			path := f.backup()
			for range random.IntN(12) {
				f.now = f.now.Add(time.Duration(random.Int64N(int64(pause) + 1)))
				_, err := f.Refresh(t.Context(), RefreshRequest{})
				f.must(err)
			}
			last, lastTime := f.numbers()
			if seed%2 == 0 {
				f.now = f.now.Add(time.Second)
			}
			r, _ := f.restore(path)
			for range 3 {
				number, thisUpdate := r.numbers()
				for i := range number {
					if number[i].Cmp(last[i]) <= 0 || thisUpdate[i].Before(lastTime[i]) || thisUpdate[i].After(r.now) {
						t.Fatalf("number %s, thisUpdate %s follow %s, %s", number[i], thisUpdate[i], last[i], lastTime[i])
					}
				}
				last, lastTime = number, thisUpdate
				_, err := r.Refresh(t.Context(), RefreshRequest{})
				f.must(err)
			}
		})
	}
}

// What has expired since leaves the list only after one past its end has
// carried it, although the lists of the lost PKI are not known.
func TestRestoredListsCarryTheExpired(t *testing.T) {
	f := newFixture(t)
	f.issue("alice", "", func(r *IssueRequest) { r.Window.TTL = lifetime("1h") })
	f.revoke("alice")
	path := f.backup()
	f.now = f.now.Add(24 * time.Hour)
	r, _ := f.restore(path)
	if issuing, _ := r.crls(); issuing.Entries != 1 {
		t.Errorf("the first list has %d entries", issuing.Entries)
	}
	r.now = r.now.Add(time.Hour)
	_, err := r.Refresh(t.Context(), RefreshRequest{})
	f.must(err)
	if issuing, _ := r.crls(); issuing.Entries != 0 {
		t.Errorf("the second list has %d entries", issuing.Entries)
	}
}

// An offline root's list is the backup's; the next goes on above whatever may
// have been published.
func TestRestoredOfflineRoot(t *testing.T) {
	key := filepath.Join(t.TempDir(), "root.key")
	f := newFixture(t, func(r *InitRequest) { r.RootKeyOut = key })
	path := f.backup()
	_, err := f.Refresh(t.Context(), RefreshRequest{RootKey: key})
	f.must(err)
	last, lastTime := f.numbers()
	f.now = f.now.Add(time.Second)
	r, done := f.restore(path)
	if len(done.NoKey) != 1 || done.NoKey[0] != "root CA" {
		t.Errorf("keys are missing of %v", done.NoKey)
	}
	if _, root := r.crls(); root.Overdue || !root.InPlace {
		t.Errorf("the root's list is %+v", root)
	}
	_, err = r.Refresh(t.Context(), RefreshRequest{RootKey: key})
	f.must(err)
	number, thisUpdate := r.numbers()
	if number[1].Cmp(last[1]) <= 0 || thisUpdate[1].Before(lastTime[1]) {
		t.Errorf("number %s, thisUpdate %s follow %s, %s", number[1], thisUpdate[1], last[1], lastTime[1])
	}
}

// pairs gives the journal's hash at every epoch.
func (f *fixture) pairs() map[int64]string {
	f.t.Helper()
	out := map[int64]string{}
	rows, err := f.db.QueryContext(f.t.Context(), `SELECT c.epoch, j.hash FROM change c JOIN journal j ON j.number = c.journal`)
	f.must(err)
	for rows.Next() {
		var epoch int64
		var hash []byte
		f.must(rows.Scan(&epoch, &hash))
		out[epoch] = hex.EncodeToString(hash)
	}
	f.must(rows.Err())
	return out
}

// Whoever remembers an epoch and its hash finds in the restored PKI either that
// pair, for what the backup knew, or no such pair, ever; and two PKIs of one
// backup have no later pair in common.
func TestRestoredEpochs(t *testing.T) {
	f := newFixture(t)
	for _, n := range []string{"a", "b", "c", "d", "e", "f"} {
		f.issue(n, "")
	}
	f.revoke("a")
	f.revoke("b")
	path := f.backup()
	before := f.pairs()
	f.revoke("c")
	f.revoke("d")
	f.revoke("e")
	lost := f.pairs()
	first, done := f.restore(path)
	second, _ := f.restore(path)
	if done.Epoch != 3 {
		t.Errorf("the epoch is %d", done.Epoch)
	}
	for _, r := range []*fixture{first, second} {
		r.revoke("c") // the same acts, at the same time, by the same actor
		r.revoke("d")
		r.revoke("e")
	}
	for epoch, hash := range lost {
		_, known := before[epoch]
		if got := first.pairs()[epoch]; (got == hash) != known {
			t.Errorf("epoch %d has the hash %s, and had %s (known to the backup: %t)", epoch, got, hash, known)
		}
	}
	theirs := second.pairs()
	for epoch, hash := range first.pairs() {
		if _, known := before[epoch]; (theirs[epoch] == hash) != known {
			t.Errorf("epoch %d is the same in two PKIs", epoch)
		}
	}
	wantError(t, second.verifyHead(f), nil, "it is not the line whose head was kept")
}

func (f *fixture) verifyHead(of *fixture) error {
	f.t.Helper()
	var kept Head
	f.must(of.Journal(f.t.Context(), 10, func(l Line) error {
		if kept.Number == 0 || l.Act == "revoke" && kept.Number < 20 {
			kept = Head{l.Number, l.Hash}
		}
		return nil
	}))
	_, _, err := f.VerifyJournal(f.t.Context(), &kept)
	return err
}

// published parses the issuing CA's list in its file.
func (f *fixture) published() *crl.List {
	f.t.Helper()
	list, err := crl.Parse(read(f.t, f.Path("crl/issuing.crl")))
	f.must(err)
	return list
}

// later is what a restore found, in words.
func later(l Later) []string {
	var out []string
	for _, c := range l.Issued {
		out = append(out, "issued "+c.Name.String())
	}
	for _, r := range l.Revoked {
		text := "revoked " + r.Name.String() + " " + r.Reason.String()
		for _, flag := range []struct {
			is   bool
			text string
		}{{r.Known, " known"}, {r.Signed, " signed"}, {r.Taken, " taken"}} {
			if flag.is {
				text += flag.text
			}
		}
		out = append(out, text)
	}
	for _, b := range l.Blocked {
		out = append(out, fmt.Sprintf("blocked %s %t", b.Name, b.Taken))
	}
	for _, c := range l.Released {
		out = append(out, "released "+c.Name.String())
	}
	slices.Sort(out)
	return out
}

// scene makes a PKI, a backup of it, and then: alice revoked, bob's hold made a
// revocation, carol's hold ended, dora issued, emil issued and revoked, frank
// held.
func scene(t *testing.T) (f *fixture, backup string) {
	f = newFixture(t)
	for _, n := range []string{"alice", "bob", "carol", "frank", "gone", "zoe"} {
		f.issue(n, "")
	}
	hold := func(n string) {
		_, err := f.Revoke(t.Context(), Selection{Names: []pki.Name{name(n)}}, pki.CertificateHold, false)
		f.must(err)
	}
	hold("bob")
	hold("carol")
	f.revoke("gone")
	f.now = f.now.Add(time.Hour)
	backup = f.backup()
	f.now = f.now.Add(time.Hour)
	f.revoke("alice")
	_, err := f.Revoke(t.Context(), Selection{Names: []pki.Name{name("bob")}}, pki.KeyCompromise, false)
	f.must(err)
	_, err = f.Unhold(t.Context(), Selection{Names: []pki.Name{name("carol")}}, false)
	f.must(err)
	f.issue("dora", "")
	f.issue("emil", "")
	f.revoke("emil")
	hold("frank")
	f.now = f.now.Add(time.Hour)
	return f, backup
}

// What a newer CRL lists is never let in again: not at the restore, not by the
// lists after it, not by a backup of the restored PKI.
func TestNewerListIsKept(t *testing.T) {
	for _, form := range []string{"crl/issuing.crl", "crl/issuing.pem", "crl/chain.pem", "crl/..", "published"} {
		t.Run(form, func(t *testing.T) {
			f, path := scene(t)
			newer := f.published()
			compare := []string{f.Path(form)}
			switch form {
			case "crl/..": // a directory that servers read
				dir := t.TempDir()
				lists, err := f.CRLs(t.Context())
				f.must(err)
				f.must(f.copyTo(t.Context(), dir, lists))
				compare = []string{dir, f.Path("crl/issuing.crl")}
			case "published": // found by itself
				compare = nil
				dir := t.TempDir()
				_, _, err := f.Set(t.Context(), "publish", dir)
				f.must(err)
				path = f.backup()
				f.issue("late", "")
				f.revoke("late")
				newer = f.published()
			}
			r, done := f.restore(path, compare...)
			want := []string{"released carol", "revoked  unspecified signed taken", "revoked alice unspecified known signed taken",
				"revoked bob keyCompromise known signed taken", "revoked frank certificateHold known signed taken"}
			if form == "published" {
				want = []string{"revoked  unspecified signed taken"}
			}
			if got := later(done.Later); !slices.Equal(got, want) {
				t.Errorf("found is %q, want %q", got, want)
			}
			if !done.Later.NeedsPerson() {
				t.Error("nobody is needed")
			}
			r.checkListsAll(newer)
			r.revoke("zoe")
			r.checkListsAll(newer)
			again, _ := r.restore(r.backup())
			again.checkListsAll(newer)
			again.issue("new", "")
			_, err := again.Refresh(t.Context(), RefreshRequest{})
			f.must(err)
			again.checkListsAll(newer)
			again.checkAll()
		})
	}
}

// checkListsAll wants every entry of a list, with its date and reason, in the
// newest list of the PKI, which is signed and higher.
func (f *fixture) checkListsAll(newer *crl.List) {
	f.t.Helper()
	mine := f.published()
	ca, err := f.CACertificate(f.t.Context(), pki.KindIssuing)
	f.must(err)
	f.must(mine.CheckSignature(ca))
	if mine.Number().Cmp(newer.Number()) <= 0 {
		f.t.Errorf("the number %s is not above %s", mine.Number(), newer.Number())
	}
	for e := range newer.Entries() {
		if got, ok := mine.Lookup(e.Serial); !ok || got != e {
			f.t.Errorf("%v became %v, %t", e, got, ok)
		}
	}
	if _, err := x509.ParseRevocationList(mine.Raw()); err != nil {
		f.t.Error(err)
	}
}

// Without the issuing CA's key the newest list that is known stays in place.
func TestNewerListWithoutTheKey(t *testing.T) {
	f, path := scene(t)
	newer := f.published()
	parts := members(t, read(t, path))
	parts = append(parts[:3], parts[4:]...) // the issuing key is the second
	parts = manifest(t, parts, func(m *Manifest) { m.Keys = m.Keys[:1] })
	write(t, path, assemble(t, parts))
	r, done := f.restore(path, f.Path("crl/issuing.crl"))
	if !bytes.Equal(r.published().Raw(), newer.Raw()) {
		t.Error("the list in place is another one")
	}
	issuing, _ := r.crls()
	if !issuing.Overdue || !errors.Is(done.CRLs[0].Skipped, ErrNoKey) || !slices.Equal(done.NoKey, []string{"issuing CA"}) {
		t.Errorf("the list is %+v, keys are missing of %v", issuing, done.NoKey)
	}
	write(t, r.Path("issuing.key"), read(t, f.Path("issuing.key")))
	_, err := r.Refresh(t.Context(), RefreshRequest{})
	f.must(err)
	r.checkListsAll(newer)
}

// An old PKI shows the rest: what was issued, who was blocked. What nobody has
// signed is taken over only when that is wanted.
func TestOldInventory(t *testing.T) {
	signed := []string{"blocked alice %t", "blocked emil false", "blocked frank %t", "issued dora", "issued emil", "released carol",
		"revoked alice unspecified known signed taken", "revoked bob keyCompromise known signed taken",
		"revoked emil unspecified signed taken", "revoked frank certificateHold known signed taken"}
	unsigned := []string{"blocked alice %t", "blocked emil false", "blocked frank %t", "issued dora", "issued emil", "released carol",
		"revoked alice unspecified known", "revoked bob keyCompromise known", "revoked emil unspecified", "revoked frank certificateHold known"}
	for _, row := range []struct {
		what  string
		lists bool
		take  bool
		want  []string
	}{
		{"with its lists", true, false, signed},
		{"with its lists, taking all", true, true, signed},
		{"the database alone", false, false, unsigned},
		{"the database alone, taking all", false, true, unsigned},
	} {
		t.Run(row.what, func(t *testing.T) {
			f, path := scene(t)
			newer := f.published()
			f.must(f.Close())
			if !row.lists {
				f.must(os.RemoveAll(f.Path("crl")))
			}
			before := snapshotOf(t, f.dir)
			r, done, err := f.tryRestore(path, RestoreRequest{Compare: []string{f.dir}, TakeRevocations: row.take})
			f.must(err)
			r.checkAll()
			if row.lists { // what is signed decides, dates too
				r.checkListsAll(newer)
			}
			want := slices.Clone(row.want)
			for i, s := range want {
				if strings.Contains(s, "%t") {
					want[i] = fmt.Sprintf(s, row.take)
				}
				if row.take && strings.HasPrefix(s, "revoked") && strings.HasSuffix(s, "known") {
					want[i] += " taken"
				}
			}
			if got := later(done.Later); !slices.Equal(got, want) {
				t.Errorf("found is %q, want %q", got, want)
			}
			for _, n := range []string{"alice", "bob", "frank"} {
				known, err := r.Resolve(t.Context(), "name:"+n)
				f.must(err)
				state := known.Certificates[0].State(r.now)
				out := row.lists || row.take
				if in := state == Valid || n == "bob" && state == Held; in == out {
					t.Errorf("%s is %s", n, state)
				}
				if n != "bob" && known.Identity.Blocked != row.take {
					t.Errorf("%s is blocked: %t", n, known.Identity.Blocked)
				}
			}
			if after := snapshotOf(t, f.dir); after != before {
				t.Error("the old PKI changed")
			}
			last := done.Later.Sources[len(done.Later.Sources)-1]
			if !last.Newer || last.Forked || last.Unreadable > 0 || last.Incomplete != nil {
				t.Errorf("the old PKI is %+v", last)
			}
		})
	}
}

// snapshotOf is all that is in a directory.
func snapshotOf(t *testing.T, dir string) string {
	t.Helper()
	var out strings.Builder
	for _, file := range files(t, dir) {
		st, err := os.Stat(dir + file)
		if err != nil {
			t.Fatal(err)
		}
		fmt.Fprintln(&out, file, st.Mode(), st.ModTime())
		if st.Mode().IsRegular() {
			fmt.Fprintln(&out, partOf(read(t, dir+file)))
		}
	}
	return out.String()
}

// An old PKI that was not closed has its newest acts in the log beside the
// database.
func TestOldInventoryWithLog(t *testing.T) {
	f, path := scene(t)
	copied := filepath.Join(t.TempDir(), "old")
	if err := os.Mkdir(copied, 0o700); err != nil {
		t.Fatal(err)
	}
	for _, file := range []string{dbFile, dbFile + "-wal"} { // f is open, and nobody writes
		write(t, filepath.Join(copied, file), read(t, f.Path(file)))
	}
	if len(read(t, f.Path(dbFile+"-wal"))) == 0 {
		t.Fatal("the log is empty")
	}
	_, done := f.restore(path, copied)
	if got := later(done.Later); !slices.Contains(got, "issued dora") {
		t.Errorf("found is %q", got)
	}
}

// What an old database says without a CA's signature is doubted, row by row.
func TestOldInventoryIsNotTrusted(t *testing.T) {
	for _, row := range []struct {
		what, statement string
		unreadable      int
		missing         string
		incomplete      string
		forked          bool
	}{
		{what: "a changed row", statement: `UPDATE certificate SET label = 'x' WHERE id = (SELECT MAX(id) - 1 FROM certificate)`, unreadable: 1, missing: "issued dora"},
		{what: "a changed certificate", statement: `UPDATE certificate SET der = X'3000' WHERE id = (SELECT MAX(id) - 1 FROM certificate)`, unreadable: 1, missing: "issued dora"},
		{what: "a changed revocation", statement: `UPDATE revocation SET reason = 5 WHERE certificate = (SELECT MAX(id) FROM certificate)`, unreadable: 1, missing: "issued emil"},
		{what: "a bad name", statement: `UPDATE identity SET name = '../x' WHERE name = 'emil'`, unreadable: 2, missing: "blocked emil false"},
		{what: "another journal", statement: `UPDATE journal SET hash = X'00'`, forked: true},
		{what: "a trigger", statement: `CREATE TRIGGER evil AFTER INSERT ON journal BEGIN DELETE FROM revocation; END`, incomplete: "something in it that is no table", missing: "issued dora"},
		{what: "no table", statement: `ALTER TABLE revocation RENAME TO x`, incomplete: "no such table: revocation", missing: "issued dora"},
	} {
		t.Run(row.what, func(t *testing.T) {
			f, path := scene(t)
			f.sql(row.statement)
			f.must(f.Close())
			f.must(os.RemoveAll(f.Path("crl")))
			_, done := f.restore(path, f.dir)
			s := done.Later.Sources[0]
			if s.Unreadable != row.unreadable || s.Forked != row.forked {
				t.Errorf("the source is %+v", s)
			}
			if (s.Incomplete != nil) != (row.incomplete != "") || s.Incomplete != nil && !strings.Contains(s.Incomplete.Error(), row.incomplete) {
				t.Errorf("incomplete is %v, want %q", s.Incomplete, row.incomplete)
			}
			if got := later(done.Later); row.missing != "" && slices.Contains(got, row.missing) {
				t.Errorf("found is %q", got)
			}
			if !done.Later.NeedsPerson() {
				t.Error("nobody is needed")
			}
		})
	}
}

// A damaged old database, at any place, is no obstacle for the backup.
func TestOldInventoryDamaged(t *testing.T) {
	f, path := scene(t)
	f.must(f.Close())
	whole := read(t, f.Path(dbFile))
	f.must(os.RemoveAll(f.Path("crl")))
	for seed := range uint64(12) {
		random := rand.New(rand.NewPCG(seed, 1))
		bad := bytes.Clone(whole)
		for range 1 + seed*3 {
			bad[random.IntN(len(bad))] ^= 1 << random.IntN(8)
		}
		if seed%4 == 3 {
			bad = bad[:random.IntN(len(bad))]
		}
		write(t, f.Path(dbFile), bad)
		r, done, err := f.tryRestore(path, RestoreRequest{Compare: []string{f.dir}, TakeRevocations: true})
		if err != nil {
			wantError(t, err, nil, "comparing with "+f.dir)
			continue
		}
		r.checkAll()
		if s := done.Later.Sources[0]; s.Unreadable == 0 && s.Incomplete == nil && !s.Forked && !slices.Contains(later(done.Later), "issued dora") {
			t.Errorf("seed %d: nothing was noticed: %+v", seed, s)
		}
	}
}

// What cannot be what it should be stops a restore.
func TestCompareRefuses(t *testing.T) {
	f, path := scene(t)
	other := newFixture(t)
	tampered, garbage, empty := filepath.Join(t.TempDir(), "x.crl"), filepath.Join(t.TempDir(), "g"), t.TempDir()
	list := read(t, f.Path("crl/issuing.crl"))
	list[len(list)-1] ^= 1
	write(t, tampered, list)
	write(t, garbage, []byte("garbage"))
	for _, row := range []struct{ what, path, text string }{
		{"nothing", filepath.Join(empty, "no"), "comparing: stat"},
		{"an empty directory", empty, "there is neither a PKI nor a CRL in it"},
		{"garbage", garbage, "comparing with " + garbage},
		{"a certificate", f.Path("ca.crt"), "it holds 2 certificates, no CRL"},
		{"another CA's list", other.Path("crl/issuing.crl"), "the list is not signed by a CA of this PKI"},
		{"a changed list", tampered, "the list is not signed by a CA of this PKI"},
		{"another PKI", other.dir, "it is another PKI: it has none of the CAs of the backup"},
	} {
		t.Run(row.what, func(t *testing.T) {
			_, _, err := f.tryRestore(path, RestoreRequest{Compare: []string{row.path}})
			wantError(t, err, nil, row.text)
		})
	}
	newer := f.Path("crl/issuing.crl")
	f.now = f.now.Add(-90 * time.Minute)
	_, _, err := f.tryRestore(path, RestoreRequest{Compare: []string{newer}})
	if !errors.As(err, new(*ClockError)) {
		t.Errorf("a list from the future is %v", err)
	}
}

// What is not newer than the backup tells nothing: a hold that it shows may
// have been ended.
func TestCompareWithOlder(t *testing.T) {
	f := newFixture(t)
	f.issue("alice", "")
	_, err := f.Revoke(t.Context(), Selection{Names: []pki.Name{name("alice")}}, pki.CertificateHold, false)
	f.must(err)
	old := filepath.Join(t.TempDir(), "old")
	o, _ := f.restore(f.backup())
	f.must(o.Close())
	f.must(os.Rename(o.dir, old))
	f.must(os.RemoveAll(filepath.Join(old, "crl")))
	list := filepath.Join(t.TempDir(), "old.crl")
	write(t, list, read(t, f.Path("crl/issuing.crl")))
	f.now = f.now.Add(time.Minute)
	_, err = f.Unhold(t.Context(), Selection{Names: []pki.Name{name("alice")}}, false)
	f.must(err)
	r, done := f.restore(f.backup(), list)
	if done.Later.NeedsPerson() || done.Later.Sources[0].Newer {
		t.Errorf("found is %+v", done.Later)
	}
	if known, err := r.Resolve(t.Context(), "alice"); err != nil || known.Certificates[0].State(r.now) != Valid {
		t.Errorf("alice is %v, %v", known, err)
	}
	_, done = f.restore(f.backup(), old) // of the same backup, but with a journal of its own
	if !done.Later.Sources[0].Forked {
		t.Errorf("found is %+v", done.Later)
	}
}

// The floors of the next list are those of the time of the restore, and the
// entries those of the last list that is known.
func TestLastList(t *testing.T) {
	f := newFixture(t)
	restored := start().Add(time.Hour)
	f.sql(`INSERT INTO counters VALUES ('restored', $1)`, restored.Unix())
	known, above := big.NewInt(5), big.NewInt(restored.UnixNano()+7)
	floor := crl.NewestThisUpdate(restored)
	for _, row := range []struct {
		what string
		in   Published
		want authority.LastCRL
	}{
		{"none", Published{}, authority.LastCRL{Number: big.NewInt(restored.UnixNano()), ThisUpdate: floor}},
		{"from before", Published{Number: known, ThisUpdate: start()}, authority.LastCRL{Number: big.NewInt(restored.UnixNano()), ThisUpdate: floor, Known: start()}},
		{"from after", Published{Number: above, ThisUpdate: restored}, authority.LastCRL{Number: above, ThisUpdate: restored}},
	} {
		got, err := f.lastList(t.Context(), &row.in)
		f.must(err)
		if got.Number.Cmp(row.want.Number) != 0 || got.ThisUpdate != row.want.ThisUpdate || got.Known != row.want.Known {
			t.Errorf("%s: %+v, want %+v", row.what, got, row.want)
		}
	}
}

// The same for bursts of any size, without signing: a thousand lists in a
// second bring thisUpdate to its bound, and then only numbers grow.
func TestRestoredNumbersAfterBursts(t *testing.T) {
	f := newFixture(t)
	f.sql(`INSERT INTO counters VALUES ('restored', 0)`)
	_, backup := f.crls()
	for seed := range uint64(60) {
		random := rand.New(rand.NewPCG(seed, 2))
		now, lost := start(), authority.LastCRL{Number: backup.Number, ThisUpdate: backup.ThisUpdate}
		for range random.IntN(1500) {
			now = now.Add(time.Duration(random.Int64N(int64(seed%7)*int64(time.Second) + 1)))
			lost.Number, lost.ThisUpdate, _ = authority.PlanCRL(lost, lifetime("30d"), now)
		}
		f.sql(`UPDATE counters SET value = $1 WHERE name = 'restored'`, now.Unix())
		last, err := f.lastList(t.Context(), &Published{Number: backup.Number, ThisUpdate: backup.ThisUpdate})
		f.must(err)
		number, thisUpdate, _ := authority.PlanCRL(last, lifetime("30d"), now)
		if number.Cmp(lost.Number) <= 0 || thisUpdate.Before(lost.ThisUpdate) {
			t.Errorf("seed %d: number %s, thisUpdate %s follow %s, %s", seed, number, thisUpdate, lost.Number, lost.ThisUpdate)
		}
	}
}
