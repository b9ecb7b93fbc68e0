package store

import (
	"fmt"
	"maps"
	"testing"
	"time"

	"mutual/pki"
)

// The numbers of status are those of the rows at every moment: before, at and
// after each at which a certificate begins or ends, or will within thirty days.
func TestStatusCounts(t *testing.T) {
	f := newFixture(t)
	for i, ttl := range []string{"30m", "1h", "29d", "30d", "31d", "60d"} {
		f.issue(fmt.Sprintf("c-%d", i), "", func(r *IssueRequest) { r.Window.TTL = lifetime(ttl) })
	}
	f.issue("api.example.com", "", func(r *IssueRequest) { r.Kind = pki.KindServer })
	f.issue("c-1", "", func(r *IssueRequest) { r.Kind, r.Window.TTL = pki.KindProbe, lifetime("5m") })
	for i, begin := range []time.Duration{20 * time.Minute, 26 * time.Hour, 40 * 24 * time.Hour} {
		f.issue(fmt.Sprintf("early-%d", i), "", func(r *IssueRequest) {
			r.Window.NotBefore, r.Window.NotAfter = f.now.Add(begin), f.now.Add(begin+20*24*time.Hour)
		})
	}
	f.renewed(f.issue("renewed", ""))
	f.revoke("c-2", "early-1")
	_, err := f.Revoke(t.Context(), Selection{Names: []pki.Name{name("c-3")}}, pki.CertificateHold, false)
	f.must(err)
	moments := map[time.Time]bool{f.now: true, f.now.Add(-4 * time.Minute): true} // a clock may be a little behind
	f.must(f.List(t.Context(), Filter{All: true}, func(c Certificate) error {
		for _, at := range []time.Time{c.NotBefore, c.NotAfter, c.NotAfter.AddDate(0, 0, -30)} {
			for _, near := range []time.Duration{-time.Hour, -time.Second, 0, time.Second, time.Hour} {
				moments[at.Add(near)] = true
			}
		}
		return nil
	}))
	for at := range moments {
		f.now = at
		got, want := &Status{}, &Status{}
		f.must(f.countLeaves(t.Context(), got))
		f.must(f.countRows(t.Context(), want, at.Unix()))
		if !maps.Equal(got.Counts, want.Counts) || got.Soon != want.Soon {
			t.Errorf("at %s they are %v and %d soon, want %v and %d", at, got.Counts, got.Soon, want.Counts, want.Soon)
		}
	}
	if len(moments) < 50 {
		t.Errorf("only %d moments", len(moments))
	}
}
