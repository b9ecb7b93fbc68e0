package store

import (
	"crypto/x509"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"mutual/pki"
	"mutual/pki/keys"
	"mutual/pki/pemfile"
	"mutual/pki/profile"
)

// beginRenewal does the first half of a renewal.
func (f *fixture) beginRenewal(old Certificate, changes ...func(*RenewRequest)) (*Issued, error) {
	f.t.Helper()
	key, err := keys.Generate(keys.P256)
	f.must(err)
	req := RenewRequest{Old: old.Fingerprint, PublicKey: key.Public(), Grace: 24 * time.Hour, Remember: true,
		Place: Place{Certificate: filepath.Join(f.t.TempDir(), "x.crt")}}
	for _, change := range changes {
		change(&req)
	}
	return f.Renew(f.t.Context(), req)
}

// renewed does all of it.
func (f *fixture) renewed(old Certificate, changes ...func(*RenewRequest)) (Certificate, time.Time) {
	f.t.Helper()
	issued, err := f.beginRenewal(old, changes...)
	f.must(err)
	at, err := f.FinishRenewal(f.t.Context(), issued.Certificate)
	f.must(err)
	return f.again(issued.Certificate), at
}

// again reads what the inventory says of a certificate now.
func (f *fixture) again(cert *x509.Certificate) Certificate {
	f.t.Helper()
	c, err := f.Lookup(f.t.Context(), pki.FingerprintOf(cert.Raw))
	f.must(err)
	return c
}

func (f *fixture) reload(c *Certificate) {
	f.t.Helper()
	var err error
	*c, err = f.Lookup(f.t.Context(), c.Fingerprint)
	f.must(err)
}

func (f *fixture) upkeep() {
	f.t.Helper()
	_, err := f.Upkeep(f.t.Context())
	f.must(err)
	if _, _, err := f.VerifyJournal(f.t.Context(), nil); err != nil {
		f.t.Error(err)
	}
}

// The new certificate has what the old one had, and its lifetime.
func TestRenewKeepsWhatTheOldOneHad(t *testing.T) {
	f := newFixture(t)
	var san pki.SAN
	f.must(san.AddDNS("alice.example.com"))
	f.must(san.AddIP("192.0.2.7"))
	f.must(san.AddURI("spiffe://example.com/alice"))
	old := f.issue("alice@example.com", "Pixel 8", func(r *IssueRequest) {
		r.SAN, r.Window.TTL = san, lifetime("10d")
		r.Subject = profile.Subject{Organization: "Acme", OrganizationalUnit: "Dev", Country: "DE", State: "Berlin", Locality: "Mitte"}
	})
	f.now = f.now.Add(7 * 24 * time.Hour)
	successor, at := f.renewed(old)
	was, is := f.parsed(old), f.parsed(successor)
	if was.Subject.String() != is.Subject.String() || successor.Label != "Pixel 8" || successor.Name != old.Name || successor.Kind != old.Kind {
		t.Errorf("%s %+v became %s %+v", was.Subject, old, is.Subject, successor)
	}
	for i, ext := range was.Extensions {
		if other := is.Extensions[i]; string(ext.Value) != string(other.Value) && !ext.Id.Equal([]int{2, 5, 29, 14}) {
			t.Errorf("the extension %v differs", ext.Id)
		}
	}
	if want := f.now.Add(10 * 24 * time.Hour); !successor.NotAfter.Equal(want) {
		t.Errorf("it ends at %s, want %s", successor.NotAfter, want)
	}
	if want := f.now.Add(24 * time.Hour); !at.Equal(want) {
		t.Errorf("superseded at %s, want %s", at, want)
	}
	if f.reload(&old); !old.Replaced || old.State(f.now) != Valid || successor.Replaced {
		t.Errorf("the old one is %+v", old)
	}
}

func (f *fixture) parsed(c Certificate) *x509.Certificate {
	f.t.Helper()
	der, err := f.DER(f.t.Context(), c.Fingerprint)
	f.must(err)
	cert, err := x509.ParseCertificate(der)
	f.must(err)
	return cert
}

// Once the grace is over the next act that writes, or crl refresh, revokes the
// old one; not before, and once.
func TestSuperseded(t *testing.T) {
	for _, how := range []string{"upkeep", "refresh"} {
		t.Run(how, func(t *testing.T) {
			f := newFixture(t)
			old := f.issue("alice", "")
			successor, _ := f.renewed(old)
			do := func() {
				t.Helper()
				if how == "refresh" {
					_, err := f.Refresh(t.Context(), RefreshRequest{})
					f.must(err)
				}
				f.upkeep()
			}
			f.now = f.now.Add(24*time.Hour - time.Second)
			do()
			if f.reload(&old); old.Revocation != nil {
				t.Error("revoked before the grace was over")
			}
			f.now = f.now.Add(time.Second)
			do()
			f.reload(&old)
			f.reload(&successor)
			if old.Revocation == nil || old.Revocation.Reason != pki.Superseded || successor.Revocation != nil || successor.NameBlocked {
				t.Errorf("the old one is %+v, its successor %+v", old, successor)
			}
			f.checkListed(true)
			before, err := f.Head(t.Context())
			f.must(err)
			f.upkeep()
			if after, _ := f.Head(t.Context()); after != before {
				t.Error("settling again wrote into the journal")
			}
		})
	}
}

// What must not be superseded is not.
func TestNotSuperseded(t *testing.T) {
	day := 24 * time.Hour
	for _, row := range []struct {
		name   string
		change func(*RenewRequest)
		then   func(f *fixture, old, successor Certificate)
		want   string
	}{
		{"kept", func(r *RenewRequest) { r.KeepOld = true }, nil, "valid"},
		{"no grace", func(r *RenewRequest) { r.Grace = 0 }, nil, "revoked superseded"},
		{"held", nil, func(f *fixture, old, _ Certificate) {
			_, err := f.Revoke(f.t.Context(), Selection{Certificates: []pki.Fingerprint{old.Fingerprint}}, pki.CertificateHold, false)
			f.must(err)
		}, "held certificateHold"},
		{"revoked otherwise", nil, func(f *fixture, old, _ Certificate) {
			_, err := f.Revoke(f.t.Context(), Selection{Certificates: []pki.Fingerprint{old.Fingerprint}}, pki.KeyCompromise, false)
			f.must(err)
		}, "revoked keyCompromise"},
		{"the successor is revoked", nil, func(f *fixture, _, successor Certificate) {
			_, err := f.Revoke(f.t.Context(), Selection{Certificates: []pki.Fingerprint{successor.Fingerprint}}, pki.KeyCompromise, false)
			f.must(err)
		}, "valid"},
		{"expired", nil, func(f *fixture, _, _ Certificate) { f.now = f.now.Add(90 * day) }, "expired"},
	} {
		t.Run(row.name, func(t *testing.T) {
			f := newFixture(t)
			old := f.issue("alice", "")
			if row.change == nil {
				row.change = func(*RenewRequest) {}
			}
			successor, _ := f.renewed(old, row.change)
			if row.then != nil {
				row.then(f, old, successor)
			}
			f.now = f.now.Add(2 * day)
			f.upkeep()
			f.reload(&old)
			got := string(old.State(f.now))
			if old.Revocation != nil {
				got += " " + old.Revocation.Reason.String()
			}
			if got != row.want {
				t.Errorf("the old one is %q, want %q", got, row.want)
			}
		})
	}
}

// One that ends before the grace does is not said to be superseded afterwards.
func TestEndsBeforeTheGrace(t *testing.T) {
	for _, row := range []struct {
		grace time.Duration
		want  bool
	}{{3*time.Hour - time.Second, true}, {3 * time.Hour, false}, {30 * time.Hour, false}} {
		f := newFixture(t)
		old := f.issue("alice", "", func(r *IssueRequest) { r.Window.TTL = lifetime("12h") })
		f.now = f.now.Add(9 * time.Hour)
		_, at := f.renewed(old, func(r *RenewRequest) { r.Grace = row.grace })
		if at.IsZero() == row.want || row.want && !at.Equal(f.now.Add(row.grace)) {
			t.Errorf("with %s it is superseded at %s", row.grace, at)
		}
		if f.reload(&old); !old.Replaced {
			t.Errorf("with %s it is %+v", row.grace, old)
		}
	}
}

// Whoever is out is not let in again by a renewal.
func TestRenewRefuses(t *testing.T) {
	f := newFixture(t)
	old := f.issue("alice", "")
	f.renewed(old)
	_, err := f.beginRenewal(old)
	wantError(t, err, ErrReplaced, "replaced already")
	_, err = f.beginRenewal(old, func(r *RenewRequest) { r.Force = true })
	f.must(err)

	// Superseded at once by another process that was faster: it is renewed, too.
	fast := f.issue("fast", "")
	f.renewed(fast, func(r *RenewRequest) { r.Grace = 0 })
	f.upkeep()
	_, err = f.beginRenewal(fast)
	wantError(t, err, ErrReplaced, "replaced already")
	_, err = f.beginRenewal(fast, func(r *RenewRequest) { r.Force = true })
	wantError(t, err, ErrRevoked, "revoked: it is not renewed")

	bob := f.issue("bob", "")
	_, err = f.Revoke(t.Context(), Selection{Certificates: []pki.Fingerprint{bob.Fingerprint}}, pki.KeyCompromise, false)
	f.must(err)
	_, err = f.beginRenewal(bob)
	wantError(t, err, ErrRevoked, "revoked: it is not renewed")

	carol := f.issue("carol", "")
	_, err = f.Revoke(t.Context(), Selection{Certificates: []pki.Fingerprint{carol.Fingerprint}}, pki.CertificateHold, false)
	f.must(err)
	_, err = f.beginRenewal(carol)
	wantError(t, err, ErrHeld, "held")

	dave := f.issue("dave", "")
	f.revoke("dave")
	_, err = f.beginRenewal(dave, func(r *RenewRequest) { r.Force = true })
	wantError(t, err, ErrBlocked, "the identity is revoked")
	_, err = f.Renewable(t.Context(), name("dave"))
	wantError(t, err, ErrBlocked, "the identity is revoked")

	f.issue("carol2", "")
	probe := f.issue("carol2", "", func(r *IssueRequest) { r.Kind, r.Window.TTL = pki.KindProbe, lifetime("5m") })
	_, err = f.beginRenewal(probe)
	wantError(t, err, nil, "only a client's or a server's is renewed")

	gone := f.issue("erin", "", func(r *IssueRequest) {
		r.Window = profile.Window{NotAfter: f.now.Add(-time.Hour), AllowExpired: true}
	})
	_, err = f.beginRenewal(gone)
	wantError(t, err, nil, "had expired when it was issued")
}

// A renewal that was killed before its files got there leaves the old one as it
// is; one that was killed after is finished by the next act.
func TestKilledRenewal(t *testing.T) {
	f := newFixture(t)
	old := f.issue("alice", "")
	at := Place{Certificate: filepath.Join(t.TempDir(), "alice.crt")}
	issued, err := f.beginRenewal(old, func(r *RenewRequest) { r.Place = at })
	f.must(err)
	write(t, at.Certificate, pemfile.EncodeCertificates(f.parsed(old)))
	f.now = f.now.Add(48 * time.Hour)
	f.upkeep()
	if f.reload(&old); old.Replaced || old.Revocation != nil {
		t.Errorf("the old one is %+v", old)
	}
	if names, err := f.Renewable(t.Context(), name("alice")); err != nil || len(names) != 1 || names[0].Serial != old.Serial {
		t.Errorf("to renew is %v, %v", names, err)
	}
	pending, err := f.Pending(t.Context(), old.Fingerprint)
	if err != nil || pending == nil || !pending.Certificate.Equal(issued.Certificate) || len(pending.Chain) != 2 || pending.Place != at {
		t.Fatalf("pending is %+v, %v", pending, err)
	}

	f.must(os.Remove(at.Certificate))
	write(t, at.Certificate+"2", pemfile.EncodeCertificates(issued.Chain...))
	f.must(os.Symlink(at.Certificate+"2", at.Certificate))
	f.upkeep()
	if f.reload(&old); old.Replaced {
		t.Error("a link in the place counts as the file")
	}

	f.must(os.Rename(at.Certificate+"2", at.Certificate))
	f.upkeep()
	if f.reload(&old); !old.Replaced || old.Revocation != nil {
		t.Errorf("the old one is %+v", old)
	}
	if got, err := f.PlaceOf(t.Context(), pki.FingerprintOf(issued.Certificate.Raw)); err != nil || got != at {
		t.Errorf("the place is %+v, %v", got, err)
	}
	f.now = f.now.Add(24 * time.Hour)
	f.upkeep()
	if f.reload(&old); old.Revocation == nil {
		t.Error("the grace is over, and the old one is not revoked")
	}
}

// What renewals have issued that never got anywhere is replaced with the old
// one.
func TestKilledTwice(t *testing.T) {
	f := newFixture(t)
	old := f.issue("alice", "")
	var lost []Certificate
	for range 2 {
		issued, err := f.beginRenewal(old)
		f.must(err)
		lost = append(lost, f.again(issued.Certificate))
	}
	successor, _ := f.renewed(old)
	f.now = f.now.Add(24 * time.Hour)
	f.upkeep()
	for _, c := range append(lost, old) {
		if f.reload(&c); !c.Replaced || c.Revocation == nil || c.Revocation.Reason != pki.Superseded {
			t.Errorf("%s is %+v", c.Serial, c)
		}
	}
	if f.reload(&successor); successor.Replaced || successor.Revocation != nil {
		t.Errorf("the successor is %+v", successor)
	}
}

// A chain of renewals is superseded link by link, whichever grace ends first.
func TestSupersededChain(t *testing.T) {
	f := newFixture(t)
	first := f.issue("alice", "")
	second, _ := f.renewed(first)
	third, _ := f.renewed(second, func(r *RenewRequest) { r.Grace = 0 })
	f.upkeep()
	f.now = f.now.Add(24 * time.Hour)
	f.upkeep()
	for _, c := range []Certificate{first, second} {
		if f.reload(&c); c.Revocation == nil || c.Revocation.Reason != pki.Superseded {
			t.Errorf("%s is not superseded", c.Serial)
		}
	}
	if f.reload(&third); third.Revocation != nil {
		t.Error("the last one is revoked")
	}
}

func TestPlaces(t *testing.T) {
	f := newFixture(t)
	at := func(s string) Place { return Place{Key: "/k/" + s + ".key", Certificate: "/c/" + s + ".crt"} }
	remember := func(p Place) func(*IssueRequest) { return func(r *IssueRequest) { r.Place = p } }
	alice := f.issue("alice", "", remember(at("alice")))
	f.issue("bob", "")
	carol := f.issue("carol", "", remember(at("carol")))
	places := func() string {
		t.Helper()
		placed, err := f.Placed(t.Context())
		f.must(err)
		var out []string
		for _, p := range placed {
			s := p.Name.String() + " " + p.Place.Key + " " + p.Place.Certificate
			if p.Pending {
				s += " pending"
			}
			out = append(out, s)
		}
		return strings.Join(out, ", ")
	}
	if got, want := places(), "alice /k/alice.key /c/alice.crt, carol /k/carol.key /c/carol.crt"; got != want {
		t.Errorf("the places are %q, want %q", got, want)
	}
	_, err := f.beginRenewal(carol)
	f.must(err)
	f.issue("alice", "", remember(at("alice"))) // over the first one's files
	if got, want := places(), "carol /k/carol.key /c/carol.crt pending, alice /k/alice.key /c/alice.crt"; got != want {
		t.Errorf("the places are %q, want %q", got, want)
	}
	if n, err := f.Forget(t.Context(), []Certificate{alice, carol}); n != 1 || err != nil {
		t.Errorf("forgotten are %d, %v", n, err)
	}
	if got, want := places(), "alice /k/alice.key /c/alice.crt"; got != want {
		t.Errorf("the places are %q, want %q", got, want)
	}
	f.upkeep()
}
