package store

import (
	"crypto/x509"
	"os"
	"path/filepath"
	"slices"
	"testing"
	"time"

	"mutual/pki"
	"mutual/pki/crl"
)

// What acts on CAs, renewals and backups promise each other.

// wantChain wants a chain of these certificates.
func wantChain(t *testing.T, got []*x509.Certificate, want ...*x509.Certificate) {
	t.Helper()
	if !slices.EqualFunc(got, want, (*x509.Certificate).Equal) {
		t.Errorf("the chain has %d certificates, want %d:", len(got), len(want))
		for _, c := range got {
			t.Errorf("%s by %s", c.Subject, c.Issuer)
		}
	}
}

// listIn reads a list of the PKI, which the CA must have signed.
func (f *fixture) listIn(name string, ca *x509.Certificate) *crl.List {
	f.t.Helper()
	list, err := crl.Parse(read(f.t, f.Path(crlPath(name, "crl"))))
	f.must(err)
	f.must(list.CheckSignature(ca))
	return list
}

// A renewal after ca renew --rekey is of the newest CA, and what it replaces is
// superseded in the list of the CA that issued it, which can then be retired.
func TestRenewAfterRekey(t *testing.T) {
	f := newFixture(t)
	old := f.issue("alice", "Pixel 8")
	before := f.mustCA(pki.KindIssuing)
	base := byKey(pki.KindIssuing, before.SubjectKeyId)
	done := f.renew(pki.KindIssuing, "5y", rekey)
	place := Place{Certificate: filepath.Join(t.TempDir(), "alice.crt")}
	issued, err := f.beginRenewal(old, func(r *RenewRequest) { r.Place = place })
	f.must(err)
	wantChain(t, issued.Chain, issued.Certificate, done.Certificate)

	pending, err := f.Pending(t.Context(), old.Fingerprint)
	f.must(err)
	wantChain(t, pending.Chain, issued.Certificate, done.Certificate)
	if _, err := f.FinishRenewal(t.Context(), issued.Certificate); err != nil {
		t.Fatal(err)
	}
	_, err = f.RetireCA(t.Context(), "issuing", false)
	wantError(t, err, ErrLive, "live certificates depend on it: 1")

	f.now = f.now.Add(25 * time.Hour)
	f.upkeep()
	if e, ok := f.listIn(base, before).Lookup(old.Serial); !ok || e.Reason != pki.Superseded {
		t.Errorf("the older CA lists %+v, %t", e, ok)
	}
	if n := f.listIn("issuing", done.Certificate).Len(); n != 0 {
		t.Errorf("the newest CA lists %d", n)
	}
	if successor := f.again(issued.Certificate); successor.Revocation != nil || !f.verifies(successor) {
		t.Errorf("the successor is %+v", successor)
	}
	_, err = f.RetireCA(t.Context(), "issuing", false)
	f.must(err)
}

// A renewal that was begun before the root was replaced takes its chain from the
// CAs as they are when it goes on; one whose CA was retired meanwhile is issued
// anew.
func TestRenewalGoesOnAfterRekey(t *testing.T) {
	f := newFixture(t)
	old := f.issue("alice", "")
	issued, err := f.beginRenewal(old)
	f.must(err)
	done := f.renew(pki.KindRoot, "10y", rekey)
	pending, err := f.Pending(t.Context(), old.Fingerprint)
	f.must(err)
	wantChain(t, pending.Chain, issued.Certificate, done.Reissued[0], done.Cross)
	f.renew(pki.KindIssuing, "5y", rekey)
	_, err = f.RetireCA(t.Context(), "issuing", true)
	f.must(err)
	pending, err = f.Pending(t.Context(), old.Fingerprint)
	if pending != nil || err != nil {
		t.Errorf("pending is %+v, %v", pending, err)
	}
	again, err := f.beginRenewal(old)
	f.must(err)
	if !f.verifies(f.again(again.Certificate)) {
		t.Error("the certificate that was issued anew does not verify")
	}
}

// A backup of a PKI with several CAs has all their keys, and their lists go on.
// It also knows where files lie and which renewals are open.
func TestBackupOfSeveralCAs(t *testing.T) {
	f := newFixture(t)
	old := f.issue("alice", "")
	f.renew(pki.KindIssuing, "5y", rekey)
	f.renew(pki.KindRoot, "10y", rekey)
	successor, _ := f.renewed(old)
	f.issue("bob", "", func(r *IssueRequest) { r.Place = Place{Certificate: "/somewhere/bob.crt"} })
	want := content(t, f.dir)
	lists, err := f.CRLs(t.Context())
	f.must(err)
	r, done := f.restore(f.backup())
	if len(done.Manifest.Keys) != 4 || len(done.NoKey) != 0 || len(done.CRLs) != 4 {
		t.Fatalf("restored is %+v", done)
	}
	for i, l := range done.CRLs {
		if !l.Made || !l.InPlace || l.Overdue || l.Number.Cmp(lists[i].Number) <= 0 || l.Key != lists[i].Key {
			t.Errorf("the list is %+v", l)
		}
	}
	got := content(t, r.dir)
	for _, name := range done.Manifest.Files() {
		if got["/"+name] != want["/"+name] || got["/"+name] == "" {
			t.Errorf("%s is another one", name)
		}
	}
	if got["/ca.crt"] != want["/ca.crt"] {
		t.Error("ca.crt is another one")
	}
	r.now = r.now.Add(25 * time.Hour)
	r.upkeep()
	if c, err := r.Lookup(t.Context(), old.Fingerprint); err != nil || c.Revocation == nil || c.Revocation.Reason != pki.Superseded {
		t.Errorf("the old one is %+v, %v", c, err)
	}
	if !r.verifies(r.again(f.cert(successor))) {
		t.Error("the successor does not verify")
	}
	placed, err := r.Placed(t.Context())
	f.must(err)
	if len(placed) != 2 {
		t.Errorf("the files of %d are known", len(placed))
	}
}

// The newest root's key may be elsewhere, and the one before it here: its list
// is made all the same.
func TestBackupWithoutTheNewestRootKey(t *testing.T) {
	f := newFixture(t)
	before := f.mustCA(pki.KindRoot)
	away := filepath.Join(t.TempDir(), "root.key")
	f.renew(pki.KindRoot, "10y", func(r *CARenewal) { r.Rekey = &Rekey{RootKeyOut: away} })
	_, done := f.restore(f.backup())
	if !slices.Equal(done.NoKey, []string{"root CA"}) {
		t.Errorf("no key is there of %v", done.NoKey)
	}
	for _, l := range done.CRLs {
		if l.Made == (l.Issuer == pki.KindRoot && !l.Older) {
			t.Errorf("the list of the %s is made: %t", l.CA(), l.Made)
		}
	}
	if done.CRLs[2].Key != shortID(before.SubjectKeyId) {
		t.Errorf("the last list is of %s", done.CRLs[2].Key)
	}
}

// A backup from before a new CA, held against what there is now: the older CA's
// newer list counts although its file has another name by now, and what the
// newer CAs have issued is missed.
func TestCompareAfterRekey(t *testing.T) {
	for _, rekeyed := range [][]pki.Kind{{pki.KindIssuing}, {pki.KindRoot, pki.KindIssuing}} {
		t.Run(string(rekeyed[0]), func(t *testing.T) {
			f := newFixture(t)
			f.issue("alice", "")
			path := f.backup()
			for _, role := range rekeyed {
				f.renew(role, "5y", rekey)
			}
			f.issue("bob", "")
			f.issue("carol", "")
			f.revoke("alice", "carol")
			f.now = f.now.Add(time.Hour)

			r, done := f.restore(path, f.dir)
			want := []string{"blocked alice false", "blocked carol false", "issued ", "issued bob", "issued carol",
				"revoked alice unspecified known signed taken", "revoked carol unspecified"}
			got := slices.Compact(later(done.Later))
			if !slices.Equal(got, want) {
				t.Errorf("found is %q, want %q", got, want)
			}
			foreign := 0
			for _, s := range done.Later.Sources {
				if s.Incomplete != nil {
					wantError(t, s.Incomplete, errForeignList, "the list is not signed by a CA of this PKI")
					foreign++
				}
				if s.Unreadable > 0 {
					t.Errorf("%s has %d rows that count for nothing", s.Path, s.Unreadable)
				}
			}
			if foreign != len(rekeyed) || !done.Later.NeedsPerson() {
				t.Errorf("%d lists are of CAs that came later", foreign)
			}
			if n := r.published().Len(); n != 1 {
				t.Errorf("%d are listed", n)
			}

			_, done = f.restore(path, f.Path(ChainPath)) // one file with lists of both
			want = []string{"revoked alice unspecified known signed taken"}
			if got := later(done.Later); !slices.Equal(got, want) || !done.Later.NeedsPerson() {
				t.Errorf("found is %q, want %q", got, want)
			}
			_, _, err := f.tryRestore(path, RestoreRequest{Compare: []string{f.Path("crl/issuing.crl")}})
			wantError(t, err, errForeignList, "the list is not signed by a CA of this PKI")
		})
	}
}

// A key that waits for its certificate is no CA's yet, and in no backup.
func TestBackupLeavesOutAKeyThatWaits(t *testing.T) {
	f := newFixture(t)
	f.request(&Rekey{})
	r, done := f.restore(f.backup())
	if len(done.Manifest.Keys) != 2 || len(done.NoKey) != 0 {
		t.Errorf("the keys are %+v", done.Manifest.Files())
	}
	have, err := keyFiles(r.dir)
	f.must(err)
	if len(have) != 2 {
		t.Errorf("restored are %v", have)
	}
	if _, err := os.Stat(r.Path("issuing.key")); err != nil {
		t.Error(err)
	}
}
