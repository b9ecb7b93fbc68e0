//go:build linux && amd64

package crash

import (
	"context"
	"errors"
	"flag"
	"fmt"
	"maps"
	"os"
	"slices"
	"strings"
	"testing"

	"mutual/pki/store"
)

var damages = flag.Int("damage", 400, "how often TestDamage damages a database or its write-ahead log")

// TestDamage cuts a database, and a write-ahead log with acts that are not in
// the database's file yet, and flips bits in them. Either a command says so, or
// nothing that anybody sees is another. Where acts are lost with the end of a
// log, the database is whole and older: that is said as soon as a list of theirs
// is out.
func TestDamage(t *testing.T) {
	if testing.Short() {
		t.Skip("not with -short: it damages many databases")
	}
	var counts tally
	t.Run("files", func(t *testing.T) {
		for _, file := range []string{"pki/mutual.db", "pki/mutual.db-wal"} {
			t.Run(file, func(t *testing.T) {
				t.Parallel()
				damage(t, &counts, file)
			})
		}
	})
	t.Logf("who noticed\n%s", counts.table("opening", "reading", "log --verify", "repair", "harmless", "older", "unprotected", "UNNOTICED"))
}

func damage(t *testing.T, counts *tally, file string) {
	var older []map[string]string // what anybody saw before each act
	w := newWorld(t, func(w *world) {
		w.standard()
		if file == "pki/mutual.db" {
			return
		}
		p, err := w.open("pki") // while it is open, the log is not taken into the database
		w.must(err)
		defer func() { w.must(p.Close()) }()
		look := func() {
			seen, err := dump(t.Context(), p)
			w.must(err)
			older = append(older, seen)
		}
		look()
		for _, act := range [][]string{{"issue", "client", "dave", "--out", "certs"}, {"revoke", "alice"}, {"config", "ttl", "30d"}, {"issue", "client", "erin", "--out", "certs"}} {
			w.mutual(act...)
			look()
		}
		keep := w.path("../live")
		w.must(copyTree(w.path("pki"), keep))
		t.Cleanup(func() { _ = os.RemoveAll(keep) }) // with the rest
	})
	if older != nil {
		w.must(os.RemoveAll(w.save + "/pki"))
		w.must(os.Rename(w.path("../live"), w.save+"/pki"))
		w.must(os.Remove(w.save + "/pki/mutual.db-shm"))
		w.reset()
	}
	p, err := w.open("pki")
	w.must(err)
	want, err := dump(t.Context(), p)
	w.must(err)
	w.must(p.Close())
	whole, err := os.ReadFile(w.save + "/" + file)
	w.must(err)
	for _, at := range sample(len(whole), *damages/6) {
		w.harm(counts, file, "cut", want, older, func() []byte { return whole[:at-1] }, at-1)
	}
	for i, at := range sample(len(whole), *damages/3) {
		w.harm(counts, file, "a flipped bit", want, older, func() []byte {
			b := slices.Clone(whole)
			b[at-1] ^= 1 << (i % 8)
			return b
		}, at-1)
	}
}

// harm damages a file and looks who notices.
func (w *world) harm(counts *tally, file, how string, want map[string]string, older []map[string]string, content func() []byte, at int) {
	w.t.Helper()
	w.reset()
	w.must(os.WriteFile(w.path(file), content(), 0o600))
	who, what := w.notice(want, older)
	counts.add(strings.TrimPrefix(file, "pki/"), how, who)
	if who == "UNNOTICED" {
		w.t.Errorf("%s, %s at %d: nobody notices:\n%s", file, how, at, what)
	}
}

// notice says which command notices first, or what it comes to that none does.
func (w *world) notice(want map[string]string, older []map[string]string) (who, what string) {
	ctx := w.t.Context()
	p, err := w.open("pki")
	if err != nil {
		w.checkSaid(err)
		return "opening", ""
	}
	defer func() { _ = p.Close() }() // it is damaged
	seen, err := dump(ctx, p)
	if err != nil {
		w.checkSaid(err)
		return "reading", ""
	}
	if _, _, err := p.VerifyJournal(ctx, nil); err != nil {
		return "log --verify", ""
	}
	found := 0
	if _, err := p.Repair(ctx, store.RepairRequest{Check: true}, func(store.Finding) error { found++; return nil }); err != nil {
		w.checkSaid(err)
		return "repair", ""
	}
	differs := difference(want, seen)
	switch {
	case found > 0:
		return "repair", ""
	case differs == "":
		return "harmless", ""
	case slices.ContainsFunc(older, func(o map[string]string) bool { return difference(o, seen) == "" }):
		if !strings.Contains(seen["alice"], "revoked") && strings.Contains(want["alice"], "revoked") {
			return "UNNOTICED", "alice is not revoked any more"
		}
		return "older", ""
	case isUnprotected(differs):
		return "unprotected", ""
	}
	return "UNNOTICED", differs
}

// checkSaid: damage is called so. A certificate that is listed and not found is
// one whose entry in an index is damaged.
func (w *world) checkSaid(err error) {
	w.t.Helper()
	if !errors.Is(err, store.ErrDamaged) && !errors.Is(err, store.ErrRolledBack) && !errors.Is(err, store.ErrNewer) && !errors.Is(err, store.ErrLost) && !errors.Is(err, store.ErrNotFound) {
		w.t.Errorf("damage is called %v", err)
	}
}

// dump reads what anybody can see of a PKI, by what it is about.
func dump(ctx context.Context, p *store.PKI) (map[string]string, error) {
	out := map[string]string{}
	err := p.List(ctx, store.Filter{All: true}, func(c store.Certificate) error {
		der, err := p.DER(ctx, c.Fingerprint)
		if err != nil {
			return err
		}
		place, err := p.PlaceOf(ctx, c.Fingerprint)
		if err != nil {
			return err
		}
		out["unprotected: place of "+c.Serial.String()] = fmt.Sprint(place)
		out["unprotected: blocked "+c.Serial.String()] = fmt.Sprint(c.NameBlocked)
		revocation := "valid"
		if c.Revocation != nil {
			revocation = fmt.Sprintf("revoked %v", *c.Revocation)
		}
		out[c.Name.String()] += fmt.Sprintf("%s %s %q %s %s %d octets, %s, replaced %v; ", c.Serial, c.Kind, c.Label, c.NotBefore, c.NotAfter, len(der), revocation, c.Replaced)
		return nil
	})
	if err != nil {
		return nil, err
	}
	status, err := p.Status(ctx)
	if err != nil {
		return nil, err
	}
	out["status"] = fmt.Sprint(status.CAs, status.Counts, status.Soon, status.Epoch, status.Head)
	for _, l := range status.CRLs {
		out["the list of "+l.Key] = fmt.Sprint(l.Number, l.ThisUpdate, l.NextUpdate, l.Entries, l.Overdue)
	}
	settings, err := p.Settings(ctx)
	if err != nil {
		return nil, err
	}
	for _, s := range settings.List() {
		out["unprotected: setting "+s.Name] = s.Value
	}
	return out, p.Journal(ctx, 1, func(l store.Line) error {
		out["line"] += fmt.Sprint(l.Number, l.Hash)
		return nil
	})
}

// difference lists what differs.
func difference(a, b map[string]string) string {
	var out []string
	for _, key := range slices.Sorted(maps.Keys(a)) {
		if b[key] != a[key] {
			out = append(out, key+": "+b[key]+", and was "+a[key])
		}
	}
	for _, key := range slices.Sorted(maps.Keys(b)) {
		if _, ok := a[key]; !ok {
			out = append(out, key+": "+b[key]+", and was not there")
		}
	}
	return strings.Join(out, "\n")
}

// isUnprotected reports whether only what no digest covers differs, as the
// README says: settings, places, and which names are blocked.
func isUnprotected(difference string) bool {
	for line := range strings.Lines(difference) {
		if !strings.HasPrefix(line, "unprotected: ") {
			return false
		}
	}
	return true
}
