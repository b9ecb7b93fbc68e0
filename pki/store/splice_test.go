package store

import (
	"bytes"
	"crypto/x509"
	"errors"
	"fmt"
	"math/rand/v2"
	"os"
	"os/exec"
	"path/filepath"
	"testing"
	"time"

	"mutual/pki"
	"mutual/pki/authority"
	"mutual/pki/crl"
	"mutual/pki/pkitest/tools"
)

// bothWays makes the next list of the issuing CA of the last one, and anew. It
// reports whether the first can be.
func (f *fixture) bothWays() (spliced bool) {
	f.t.Helper()
	ctx := f.t.Context()
	l, _ := f.crls()
	l.der = l.bytes()
	ca, err := f.load(f.issuingRow(), "")
	f.must(err)
	last, err := f.lastList(ctx, &l)
	f.must(err)
	begin := func(size int) (*authority.DraftCRL, error) {
		return ca.DraftCRL(last, lifetime("30d"), f.now, size)
	}
	tx, err := f.db.BeginTx(ctx, nil)
	f.must(err)
	defer func() { _ = tx.Rollback() }()
	s := snapshot{p: f.PKI, ctx: ctx, tx: tx, list: &l, ca: ca}
	anew, err := s.rebuild(begin)
	f.must(err)
	made, err := s.splice(begin)
	if errors.Is(err, crl.ErrCannotSplice) {
		return false
	}
	f.must(err)
	if !bytes.Equal(made.DER, anew.DER) {
		f.t.Fatalf("made of the last list, with %d entries:\n%x\nmade anew, with %d:\n%x", made.Entries, made.DER, anew.Entries, anew.DER)
	}
	if made.EndsFrom.After(anew.EndsFrom) && anew.Entries > 0 {
		f.t.Fatalf("the certificates end from %s, and are said to from %s", anew.EndsFrom, made.EndsFrom)
	}
	return true
}

func (f *fixture) issuingRow() caRow {
	f.t.Helper()
	row, err := f.caRow(f.t.Context(), pki.KindIssuing)
	f.must(err)
	return row
}

// walker acts at random.
type walker struct {
	*fixture
	random *rand.Rand
	issued []Certificate
	away   bool // the key is
}

// tolerate lets the acts pass that the rules refuse, and those whose list
// cannot be made now.
func (w *walker) tolerate(err error) {
	w.t.Helper()
	var overdue *OverdueError
	for _, expected := range []error{ErrNotHeld, ErrBlocked, ErrHeld, ErrNoKey} {
		if errors.Is(err, expected) {
			return
		}
	}
	if !errors.As(err, &overdue) {
		w.must(err)
	}
}

func (w *walker) step() (what string) {
	ctx := w.t.Context()
	one := func() Selection {
		return Selection{Certificates: []pki.Fingerprint{w.issued[w.random.IntN(len(w.issued))].Fingerprint}}
	}
	var err error
	switch n := w.random.IntN(24); {
	case n == 23 || w.away && n > 15:
		what = "the key goes or comes"
		w.moveKey()
	case n < 4 && !w.away || len(w.issued) == 0:
		what = "issue"
		ttl := []string{"1h", "6h", "1d", "3d"}[w.random.IntN(4)]
		w.issued = append(w.issued, w.issue(fmt.Sprintf("dev-%d", len(w.issued)), "", func(r *IssueRequest) { r.Window.TTL = lifetime(ttl) }))
	case n < 7:
		what = "revoke"
		reasons := pki.EndEntityReasons()
		_, err = w.Revoke(ctx, one(), reasons[w.random.IntN(len(reasons))], false)
	case n < 10:
		what = "hold"
		_, err = w.Revoke(ctx, one(), pki.CertificateHold, false)
	case n < 13:
		what = "unhold"
		_, err = w.Unhold(ctx, one(), false)
	case n < 15:
		what = "refresh"
		_, err = w.Refresh(ctx, RefreshRequest{})
	case n < 17:
		d := time.Duration(w.random.IntN(4*3600)) * time.Second
		what = "wait " + d.String()
		w.now = w.now.Add(d)
	case n < 18:
		what = "a day"
		w.now = w.now.Add(day(1))
	case n < 20 && !w.away:
		what = "the clock goes back"
		w.turnBack()
	case n == 20 && !w.away:
		what = "the list is lost"
		_ = os.Remove(w.Path("crl/issuing.crl")) // it may be lost already
	default:
		what = "a moment"
		w.now = w.now.Add(time.Duration(w.random.IntN(90)) * time.Second)
	}
	w.tolerate(err)
	return what
}

func (w *walker) moveKey() {
	w.t.Helper()
	from, to := w.Path("issuing.key"), w.Path("issuing.away")
	if w.away {
		from, to = to, from
	}
	w.move(from, to)
	w.away = !w.away
	w.reopen()
}

// turnBack revokes and makes a list with a clock that is two hours ahead, and
// then makes one with the right one.
func (w *walker) turnBack() {
	w.t.Helper()
	w.now = w.now.Add(2 * time.Hour)
	one := Selection{Certificates: []pki.Fingerprint{w.issued[w.random.IntN(len(w.issued))].Fingerprint}}
	_, err := w.Revoke(w.t.Context(), one, pki.CertificateHold, false)
	w.tolerate(err)
	_, err = w.Refresh(w.t.Context(), RefreshRequest{})
	w.must(err)
	w.now = w.now.Add(-90 * time.Minute)
	_, err = w.Refresh(w.t.Context(), RefreshRequest{AcceptClock: true})
	w.must(err)
}

// Through whatever happens, the list that is made of the last one is the one
// that is made anew, octet for octet.
func TestSplicedIsRebuilt(t *testing.T) {
	for seed := range uint64(4) {
		t.Run(fmt.Sprint(seed), func(t *testing.T) {
			t.Parallel()
			w := &walker{fixture: newFixture(t), random: rand.New(rand.NewPCG(seed, 11))}
			spliced, steps := 0, []string{}
			for range 100 {
				steps = append(steps, w.step())
				if !w.away && w.bothWays() {
					spliced++
				}
				if t.Failed() {
					t.Fatal(steps)
				}
			}
			if spliced < 40 {
				t.Errorf("only %d lists were made of the last one: %q", spliced, steps)
			}
			if w.away {
				w.moveKey()
			}
			w.issued = append(w.issued, w.issue("last", ""))
			w.revoke("last")
			w.judgedByOthers()
		})
	}
}

// judgedByOthers holds the list against the inventory with crypto/x509, and
// lets OpenSSL check it.
func (w *walker) judgedByOthers() {
	w.t.Helper()
	list, err := x509.ParseRevocationList(read(w.t, w.Path("crl/issuing.crl")))
	w.must(err)
	listed := map[pki.Serial]int{}
	for _, e := range list.RevokedCertificateEntries {
		listed[pki.NewSerial(e.SerialNumber)] = e.ReasonCode
	}
	if len(listed) == 0 {
		w.t.Error("nothing is listed")
	}
	for _, c := range w.issued {
		known, err := w.Lookup(w.t.Context(), c.Fingerprint)
		w.must(err)
		reason, ok := listed[c.Serial]
		delete(listed, c.Serial)
		switch {
		case ok && (known.Revocation == nil || int(known.Revocation.Reason) != reason):
			w.t.Errorf("%s is listed with reason %d, and is %+v", c.Serial, reason, known.Revocation)
		case !ok && known.Revocation != nil && known.NotAfter.After(w.now):
			w.t.Errorf("%s is not listed, and is %+v", c.Serial, known.Revocation)
		}
	}
	if len(listed) > 0 {
		w.t.Errorf("listed are %v", listed)
	}
	openssl := tools.Need(w.t, "openssl")
	out, err := exec.CommandContext(w.t.Context(), openssl, "crl", "-inform", "DER", "-in", filepath.Join(w.dir, "crl", "issuing.crl"),
		"-CAfile", filepath.Join(w.dir, "issuing.crt"), "-noout").CombinedOutput()
	if err != nil || !bytes.Contains(out, []byte("verify OK")) {
		w.t.Errorf("openssl: %v\n%s", err, out)
	}
}

// An expired certificate that is revoked is listed once.
func TestSpliceExpired(t *testing.T) {
	f := newFixture(t)
	c := f.issue("alice", "", func(r *IssueRequest) { r.Window.TTL = lifetime("1h") })
	f.now = f.now.Add(day(2))
	for _, want := range []int{1, 0, 0} {
		_, err := f.Revoke(t.Context(), Selection{Certificates: []pki.Fingerprint{c.Fingerprint}}, pki.Superseded, false)
		f.must(err)
		if want == 0 {
			_, err = f.Refresh(t.Context(), RefreshRequest{})
			f.must(err)
		}
		if issuing, _ := f.crls(); issuing.Entries != want {
			t.Errorf("%d entries, want %d", issuing.Entries, want)
		}
		f.now = f.now.Add(time.Hour)
		if !f.bothWays() {
			t.Error("the list cannot be made of the last one")
		}
	}
}
