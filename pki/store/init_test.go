package store

import (
	"crypto/x509"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"mutual/pki"
)

func TestInit(t *testing.T) {
	f := newFixture(t)
	want := []string{"", "/ca.crt", "/crl", "/crl/.lock", "/crl/chain.pem", "/crl/issuing.crl", "/crl/issuing.pem", "/crl/root.crl",
		"/crl/root.pem", "/head", "/issuing.crt", "/issuing.key", "/lock", "/mutual.db", "/root.crt", "/root.key"}
	f.must(f.Close())
	if got := files(t, f.dir); !slices.Equal(got, want) {
		t.Errorf("the files are %q", got)
	}
	if got := files(t, filepath.Dir(f.dir)); len(got) != len(want)+1 {
		t.Errorf("beside the PKI there are %q", got)
	}
	f.reopen()
	root, err := f.CACertificate(t.Context(), pki.KindRoot)
	f.must(err)
	issuing, err := f.CACertificate(t.Context(), pki.KindIssuing)
	f.must(err)
	if !strings.HasPrefix(root.Subject.CommonName, "Acme TEST Root CA ") || !strings.HasPrefix(issuing.Subject.CommonName, "Acme TEST Issuing CA ") {
		t.Errorf("the names are %s, %s", root.Subject, issuing.Subject)
	}
	if !root.NotAfter.Equal(start().AddDate(10, 0, 0)) || !issuing.NotAfter.Equal(start().AddDate(5, 0, 0)) {
		t.Errorf("they end at %s, %s", root.NotAfter, issuing.NotAfter)
	}
	if err := issuing.CheckSignatureFrom(root); err != nil {
		t.Error(err)
	}
	s, err := f.Settings(t.Context())
	f.must(err)
	if s != request().Settings {
		t.Errorf("the settings are %+v", s)
	}
	c := f.issue("alice@example.com", "Pixel 8")
	f.reopen()
	der, err := f.DER(t.Context(), c.Fingerprint)
	f.must(err)
	leaf, err := x509.ParseCertificate(der)
	f.must(err)
	if err := leaf.CheckSignatureFrom(issuing); err != nil {
		t.Error(err)
	}
	if got, err := f.Lookup(t.Context(), c.Fingerprint); err != nil || got.Label != "Pixel 8" || got.Serial != c.Serial {
		t.Errorf("the inventory has %+v, %v", got, err)
	}
}

// An init that cannot be leaves nothing behind.
func TestInitRefused(t *testing.T) {
	f := newFixture(t)
	dir := t.TempDir()
	write(t, filepath.Join(dir, "taken"), nil)
	for _, row := range []struct {
		name     string
		dir      string
		change   func(*InitRequest)
		err      string
		sentinel error
	}{
		{"twice", f.dir, func(*InitRequest) {}, "there is a PKI already in " + f.dir, ErrExists},
		{"a directory in use", dir, func(*InitRequest) {}, "creating the PKI: " + dir + " is not empty", os.ErrExist},
		{"a file", filepath.Join(dir, "taken"), func(*InitRequest) {}, "creating the PKI: ", nil},
		{"below a file", filepath.Join(dir, "taken", "pki"), func(*InitRequest) {}, "creating the PKI: ", nil},
		{"the root's key is there", filepath.Join(dir, "pki"), func(r *InitRequest) { r.RootKeyOut = filepath.Join(dir, "taken") },
			"writing the root's key: " + filepath.Join(dir, "taken"), os.ErrExist},
		{"no place for the root's key", filepath.Join(dir, "pki"), func(r *InitRequest) {
			r.RootKeyOut, r.Settings.Publish = filepath.Join(dir, "nosuch", "r.key"), filepath.Join(dir, "pub")
		}, "writing the root's key: ", os.ErrNotExist},
		{"a name that cannot be", filepath.Join(dir, "a", "b", "pki"), func(r *InitRequest) { r.Name, r.RootKeyOut = "a\nb", filepath.Join(dir, "r.key") },
			"which cannot be seen", nil},
	} {
		t.Run(row.name, func(t *testing.T) {
			req := request()
			row.change(&req)
			_, err := Init(t.Context(), row.dir, req, f.options())
			wantError(t, err, row.sentinel, row.err)
			if got := files(t, dir); !slices.Equal(got, []string{"", "/taken"}) {
				t.Errorf("there are %q", got)
			}
		})
	}
	f.reopen()
	if _, _, err := f.VerifyJournal(t.Context(), nil); err != nil {
		t.Error(err)
	}
}

// An issuing CA that would outlive its root is clipped.
func TestInitClips(t *testing.T) {
	f := newFixture(t, func(r *InitRequest) { r.RootTTL = lifetime("1y") })
	issuing, err := f.CACertificate(t.Context(), pki.KindIssuing)
	f.must(err)
	if !issuing.NotAfter.Equal(start().AddDate(1, 0, 0)) {
		t.Errorf("it ends at %s", issuing.NotAfter)
	}
}

// SQLite's URI syntax has its own idea of these characters.
func TestOddDirectory(t *testing.T) {
	f := &fixture{t: t, now: start(), dir: filepath.Join(t.TempDir(), "a b?#%20&mode=ro")}
	var err error
	f.PKI, err = Init(t.Context(), f.dir, request(), f.options())
	f.must(err)
	f.issue("alice", "")
	f.reopen()
	if got := f.list(Filter{Glob: "alice"}); len(got) != 1 {
		t.Errorf("listed are %v", got)
	}
	f.must(f.Close())
	if got := files(t, filepath.Dir(f.dir)); len(got) != 17 {
		t.Errorf("there are %q", got)
	}
}

// An expired CA signs nothing and says so, whatever the lifetime asked for.
func TestIssuerExpired(t *testing.T) {
	f := newFixture(t)
	f.now = start().AddDate(5, 0, 1)
	const expired = "the issuing CA has expired: CN=Acme TEST Issuing CA "
	wantError(t, f.CheckIssue(t.Context(), IssueRequest{Kind: pki.KindClient, Name: name("alice")}), nil, expired)
	_, err := f.tryIssue("alice", "")
	wantError(t, err, nil, expired)
	_, err = f.Refresh(t.Context(), RefreshRequest{})
	wantError(t, err, nil, "making the issuing CA's CRL: "+expired)
}

func TestNamesDifferInCase(t *testing.T) {
	f := newFixture(t)
	f.issue("straße", "")
	for _, other := range []string{"Straße", "STRASSE", "strasse"} {
		_, err := f.tryIssue(other, "")
		wantError(t, err, ErrNameTaken, `the name is taken in another spelling: "straße" beside "`+other+`"`)
	}
	f.issue("strase", "")
	f.issue("straße", "")
}

func TestSettings(t *testing.T) {
	f := newFixture(t)
	dir := t.TempDir()
	for _, row := range []struct {
		name, value string
		err         string
		sentinel    error
	}{
		{"ttl", "30d", "", nil},
		{"ttl", "0d", `the setting cannot have this value: ttl: the lifetime "0d" is not longer than nothing`, ErrBadValue},
		{"ttl", "", "the setting cannot have this value: ttl: ", ErrBadValue},
		{"crl-ttl", "7d", "", nil},
		{"crl-ttl", "7 dayz", `the setting cannot have this value: crl-ttl: "7 dayz" is no lifetime`, ErrBadValue},
		{"root-crl-ttl", "2y", "", nil},
		{"key-type", "ed25519", "", nil},
		{"key-type", "rsa1024", "the setting cannot have this value: key-type: ", ErrBadValue},
		{"crl-url", "http://crl.example.com/issuing.crl", "", nil},
		{"crl-url", "", "", nil},
		{"crl-url", "https://crl.example.com/", `the setting cannot have this value: crl-url: "https://crl.example.com/" is no CRL address`, ErrBadValue},
		{"publish", dir, "", nil},
		{"publish", "", "", nil},
		{"publish", "relative", `the setting cannot have this value: publish: "relative" is no absolute path`, ErrBadValue},
		{"publish", "/a\nb", "is no absolute path", ErrBadValue},
		{"test", "false", "the setting cannot have this value: whether a PKI is for tests is decided at init", ErrBadValue},
		{"nosuch", "1", `no such setting: "nosuch"`, ErrUnknownKey},
	} {
		t.Run(row.name+"="+row.value, func(t *testing.T) {
			before, err := f.Head(t.Context())
			f.must(err)
			_, changed, err := f.Set(t.Context(), row.name, row.value)
			after, _ := f.Head(t.Context())
			if row.err != "" {
				wantError(t, err, row.sentinel, row.err)
				if after != before {
					t.Error("the journal has grown")
				}
				return
			}
			f.must(err)
			if !changed || after.Number < before.Number+1 {
				t.Errorf("changed is %t, the journal went from %d to %d", changed, before.Number, after.Number)
			}
			f.reopen()
			s, err := f.Settings(t.Context())
			f.must(err)
			if got := s.get(row.name); got != row.value {
				t.Errorf("the value is %q", got)
			}
			if _, changed, err = f.Set(t.Context(), row.name, row.value); changed || err != nil {
				t.Errorf("changed again: %t, %v", changed, err)
			}
		})
	}
}

func TestStates(t *testing.T) {
	f := newFixture(t)
	f.issue("valid", "", func(r *IssueRequest) { r.Window.TTL = lifetime("40d") })
	f.issue("soon", "", func(r *IssueRequest) { r.Window.TTL = lifetime("20d") })
	f.issue("early", "", func(r *IssueRequest) {
		r.Window.NotBefore, r.Window.NotAfter = start().Add(day(5)), start().Add(day(60))
	})
	f.issue("past", "", func(r *IssueRequest) {
		r.Window.NotAfter, r.Window.AllowExpired = start().Add(-day(1)), true
	})
	f.issue("gone", "")
	f.revoke("gone")
	f.issue("held", "")
	_, err := f.Revoke(t.Context(), Selection{Names: []pki.Name{name("held")}}, pki.CertificateHold, false)
	f.must(err)
	for _, row := range []struct {
		filter Filter
		want   string
	}{
		{Filter{}, "soon valid early gone held issuing root"},
		{Filter{All: true}, "past soon valid early gone held issuing root"},
		{Filter{Expired: true}, "past"},
		{Filter{Revoked: true}, "gone held"},
		{Filter{Blocked: true}, "gone held"},
		{Filter{Expiring: lifetime("30d")}, "soon"},
		{Filter{Expiring: lifetime("90d")}, "soon valid"},
		{Filter{Glob: "*l*d"}, "valid held"},
		{Filter{Kind: pki.KindIssuing}, "issuing"},
		{Filter{Kind: pki.KindServer}, ""},
		{Filter{Label: "none"}, ""},
	} {
		if got := strings.Join(f.list(row.filter), " "); got != row.want {
			t.Errorf("%+v lists %q, want %q", row.filter, got, row.want)
		}
	}
	s, err := f.Status(t.Context())
	f.must(err)
	for state, want := range map[State]int{Valid: 2, NotYetValid: 1, Expired: 1, Revoked: 1, Held: 1} {
		if s.Counts[state] != want {
			t.Errorf("%s are %d, want %d", state, s.Counts[state], want)
		}
	}
	if s.Soon != 1 || s.Epoch != 2 {
		t.Errorf("%d end soon, the epoch is %d", s.Soon, s.Epoch)
	}
	roots, err := f.Tree(t.Context())
	f.must(err)
	if tree := roots[0]; len(roots) != 1 || tree.Kind != pki.KindRoot || len(tree.Issued) != 1 || f.leaves(tree.Issued[0]) != 5 {
		t.Errorf("the tree is %+v", tree)
	}
}

// leaves counts what hangs below a CA.
func (f *fixture) leaves(b *Branch) (n int) {
	f.t.Helper()
	for _, err := range b.All(f.t.Context()) {
		f.must(err)
		n++
	}
	if n != b.Leaves {
		f.t.Errorf("there are %d leaves, and %d are counted", n, b.Leaves)
	}
	return n
}
