package store

import (
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"mutual/pki"
)

// pkiV1 is a PKI as schema version 1 has it, made once and never again: its
// keys are for tests, and no later program may fail to open it. A checkout
// keeps neither its modes nor, perhaps, its times.
const pkiV1 = "../../testdata/pki-v1"

// TestMakePKIv1 writes testdata/pki-v1 when asked with -update and there is
// none.
func TestMakePKIv1(t *testing.T) {
	if !*update {
		t.Skip("-update is not given")
	}
	if _, err := os.Stat(pkiV1); err == nil {
		t.Skip("a version that was made is not made again")
	}
	if schemaVersion != 1 {
		t.Fatal("this program writes another version")
	}
	f := newFixture(t)
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
	f.must(f.Close())
	f.must(os.CopyFS(pkiV1, os.DirFS(f.dir)))
	for _, lock := range []string{"lock", "crl/.lock"} {
		f.must(os.Remove(filepath.Join(pkiV1, lock)))
	}
}

func TestOpenPKIv1(t *testing.T) {
	f := &fixture{t: t, now: start().Add(2 * time.Hour), dir: filepath.Join(t.TempDir(), "pki")}
	f.must(os.CopyFS(f.dir, os.DirFS(pkiV1)))
	f.must(os.Chmod(f.dir, 0o700))
	for _, secret := range []string{"mutual.db", "root.key", "issuing.key"} {
		f.must(os.Chmod(filepath.Join(f.dir, secret), 0o600))
	}
	var err error
	f.PKI, err = Open(t.Context(), f.dir, f.options())
	f.must(err)
	t.Cleanup(func() { _ = f.Close() }) // everything is durable
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

func (f *fixture) crlEntries() int {
	f.t.Helper()
	issuing, _ := f.crls()
	return issuing.Entries
}
