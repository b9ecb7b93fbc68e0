package store

import (
	"slices"
	"testing"
	"time"

	"mutual/pki"
)

// A probe's certificate is forgotten when another probe comes more than 30
// days after its end, unless it was revoked; its line stays in the journal.
func TestProbesAreForgotten(t *testing.T) {
	f := newFixture(t)
	probe := func(r *IssueRequest) { r.Kind, r.Window.TTL = pki.KindProbe, lifetime("5m") }
	var serials []pki.Serial
	mint := func() {
		t.Helper()
		serials = append(serials, f.issue("alice", "", probe).Serial)
	}
	known := func() (out []int) {
		t.Helper()
		f.must(f.List(t.Context(), Filter{All: true, Kind: pki.KindProbe}, func(c Certificate) error {
			out = append(out, slices.Index(serials, c.Serial))
			return nil
		}))
		return out
	}
	f.issue("alice", "")
	mint() // 0
	end := f.now.Add(5 * time.Minute)
	f.now = f.now.Add(time.Minute)
	mint() // 1
	revoked, err := f.Resolve(t.Context(), "serial:"+serials[1].String())
	f.must(err)
	if len(revoked.Certificates) != 1 {
		t.Fatalf("the serial gives %d certificates", len(revoked.Certificates))
	}
	_, err = f.Revoke(t.Context(), Selection{Certificates: []pki.Fingerprint{revoked.Certificates[0].Fingerprint}}, pki.KeyCompromise, false)
	f.must(err)

	f.now = end.Add(30 * 24 * time.Hour) // to the second: it stays
	mint()                               // 2
	if got := known(); !slices.Equal(got, []int{0, 1, 2}) {
		t.Errorf("30 days after the end the probes are %v", got)
	}
	f.now = f.now.Add(time.Second)
	f.issue("bob", "") // no probe: it forgets nothing
	if got := known(); !slices.Equal(got, []int{0, 1, 2}) {
		t.Errorf("after an issue the probes are %v", got)
	}
	mint() // 3
	if got := known(); !slices.Equal(got, []int{1, 2, 3}) {
		t.Errorf("a second later the probes are %v", got)
	}

	// What was no probe is never forgotten, and the journal forgets nothing.
	f.now = f.now.AddDate(2, 0, 0)
	if got := f.list(Filter{Expired: true}); !slices.Contains(got, "alice") || !slices.Contains(got, "bob") {
		t.Errorf("expired are %v", got)
	}
	if _, _, err := f.VerifyJournal(t.Context(), nil); err != nil {
		t.Error(err)
	}
	f.reopen()
}
