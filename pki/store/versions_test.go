package store

import (
	"errors"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"mutual/pki"
)

// PKIs as older schema versions have them, each made once and never again: their
// keys are for tests, and no later program may fail to open them. A checkout
// keeps neither their modes nor, perhaps, their times.
const (
	pkiV1 = "../../testdata/pki-v1"
	pkiV2 = "../../testdata/pki-v2"
)

// makePKI writes a PKI of the given version when asked with -update and there
// is none: the program must write that version.
func makePKI(t *testing.T, dir string, version int, fill func(*fixture)) {
	t.Helper()
	if !*update {
		t.Skip("-update is not given")
	}
	if _, err := os.Stat(dir); err == nil {
		t.Skip("a version that was made is not made again")
	}
	if schemaVersion != version {
		t.Fatal("this program writes another version")
	}
	f := newFixture(t)
	fill(f)
	f.must(f.Close())
	f.must(os.CopyFS(dir, os.DirFS(f.dir)))
	for _, lock := range []string{"lock", "ca.lock", "crl/.lock"} {
		if err := os.Remove(filepath.Join(dir, lock)); !errors.Is(err, fs.ErrNotExist) {
			f.must(err)
		}
	}
}

func TestMakePKIv1(t *testing.T) {
	makePKI(t, pkiV1, 1, func(f *fixture) {
		f.issue("alice@example.com", "Pixel 8")
		f.issue("alice@example.com", "")
		f.issue("bob", "")
		f.issue("carol", "")
		f.issue("api.example.com", "", func(r *IssueRequest) { r.Kind = pki.KindServer })
		f.now = f.now.Add(time.Hour)
		f.revoke("alice@example.com")
		_, err := f.Revoke(t.Context(), Selection{Names: []pki.Name{name("carol")}}, pki.CertificateHold, false)
		f.must(err)
		_, _, err = f.Set(t.Context(), "ttl", "30d")
		f.must(err)
	})
}

func TestMakePKIv2(t *testing.T) {
	makePKI(t, pkiV2, 2, func(f *fixture) {
		f.issue("alice@example.com", "Pixel 8")
		f.issue("alice@example.com", "")
		bob := f.issue("bob", "")
		f.issue("carol", "")
		f.issue("dave", "", func(r *IssueRequest) { r.Window.TTL = lifetime("30m") })
		f.issue("api.example.com", "", func(r *IssueRequest) { r.Kind = pki.KindServer })
		f.now = f.now.Add(time.Hour)
		f.revoke("alice@example.com")
		_, err := f.Revoke(t.Context(), Selection{Names: []pki.Name{name("carol")}}, pki.CertificateHold, false)
		f.must(err)
		f.renewed(bob, func(r *RenewRequest) { r.Place = Place{Certificate: "/srv/bob/bob.crt"} })
		f.renew(pki.KindIssuing, "5y", rekey)
		f.issue("erin", "Nexus")
		f.revoke("erin")
	})
}

func TestOpenPKIv1(t *testing.T) {
	f := openOld(t, pkiV1, nil)
	want := "alice@example.com alice@example.com bob carol api.example.com issuing root"
	if got := strings.Join(f.list(Filter{All: true}), " "); got != want {
		t.Errorf("listed are %q", got)
	}
	if got := f.list(Filter{Blocked: true}); !slices.Equal(got, []string{"alice@example.com", "alice@example.com", "carol"}) {
		t.Errorf("blocked are %q", got)
	}
	head, signed, err := f.VerifyJournal(t.Context(), &Head{Number: 11,
		Hash: "d986b8309495e216d0bf388070b647016ce907bac2c59523763c998b3e2353fd"})
	if err != nil || head.Number != 15 || signed != 12 {
		t.Errorf("the head is %s, %d lines are signed, %v", head, signed, err)
	}
	if got := f.crlEntries(); got != 3 {
		t.Errorf("the list has %d entries", got)
	}
	f.issue("dave", "")
	f.revoke("bob")
	if got := f.crlEntries(); got != 4 {
		t.Errorf("the list has %d entries", got)
	}
}

func TestOpenPKIv2(t *testing.T) {
	f := openOld(t, pkiV2, nil)
	want := "dave alice@example.com alice@example.com bob carol api.example.com bob erin issuing issuing root"
	if got := strings.Join(f.list(Filter{All: true}), " "); got != want {
		t.Errorf("listed are %q", got)
	}
	if _, _, err := f.VerifyJournal(t.Context(), nil); err != nil {
		t.Error(err)
	}
	f.issue("frank", "")
	f.wantVersion(schemaVersion)
	f.revoke("bob")
	if got := f.list(Filter{Revoked: true}); strings.Join(got, " ") != "alice@example.com alice@example.com bob carol bob erin" {
		t.Errorf("revoked are %q", got)
	}
	if _, err := f.Unhold(t.Context(), Selection{Names: []pki.Name{name("carol")}}, false); err != nil {
		t.Error(err)
	}
	f.upkeep()
}

func (f *fixture) crlEntries() int {
	f.t.Helper()
	issuing, _ := f.crls()
	return issuing.Entries
}
