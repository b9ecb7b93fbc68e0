package gate

import (
	"crypto/rand"
	"crypto/x509"
	"crypto/x509/pkix"
	"math/big"
	"strings"
	"testing"
	"time"

	"mutual/pki"
	"mutual/pki/chain"
	"mutual/pki/crl"
	"mutual/pki/keys"
	"mutual/pki/pkitest"
	"mutual/pki/store"
)

// lists makes lists of the issuing CA of a hierarchy.
type lists struct {
	testing.TB
	h *pkitest.Hierarchy
}

// scoped are the contents of an issuing distribution point; nil: a list of all.
var onlyUsers, onlyCAs = []byte{0x30, 3, 0x81, 1, 0xff}, []byte{0x30, 3, 0x82, 1, 0xff}

func (l lists) made(ca *x509.Certificate, key string, number int64, this, next time.Time, scope []byte, revoked ...pki.Serial) *crl.List {
	l.Helper()
	template := &x509.RevocationList{Number: big.NewInt(number), ThisUpdate: this, NextUpdate: next}
	if scope != nil {
		template.ExtraExtensions = []pkix.Extension{{Id: []int{2, 5, 29, 28}, Critical: true, Value: scope}}
	}
	for _, serial := range revoked {
		template.RevokedCertificateEntries = append(template.RevokedCertificateEntries,
			x509.RevocationListEntry{SerialNumber: new(big.Int).SetBytes(serial.Octets()), RevocationTime: this})
	}
	der, err := x509.CreateRevocationList(rand.Reader, template, ca, pkitest.Key(l, key))
	if err != nil {
		l.Fatal(err)
	}
	list, err := crl.Parse(der)
	if err != nil {
		l.Fatal(err)
	}
	return list
}

// A list takes the place of one of the same key that covers the same certificates,
// and of no other.
func TestNotOlder(t *testing.T) {
	l := lists{t, pkitest.NewHierarchy(t, pkitest.Config{})}
	issuing, now := l.h.Issuing.Certificate(), pkitest.Now()
	of := func(scope []byte, number int64) *crl.List {
		return l.made(issuing, "issuing-p256", number, now, now.Add(time.Hour), scope)
	}
	for _, tt := range []struct {
		what         string
		next, before []*crl.List
		cas          []*x509.Certificate
		want         string
	}{
		{"newer ones in another order", []*crl.List{of(onlyCAs, 6), of(onlyUsers, 11)}, []*crl.List{of(onlyUsers, 10), of(onlyCAs, 5)}, []*x509.Certificate{issuing}, ""},
		{"the first is newer, the second older", []*crl.List{of(onlyCAs, 12), of(onlyUsers, 9)}, []*crl.List{of(onlyUsers, 10), of(onlyCAs, 12)}, []*x509.Certificate{issuing}, "number 9 of"},
		{"one is gone", []*crl.List{of(onlyCAs, 12)}, []*crl.List{of(onlyUsers, 10), of(onlyCAs, 12)}, []*x509.Certificate{issuing}, "is gone"},
		{"its CA is not trusted any more", nil, []*crl.List{of(nil, 10)}, []*x509.Certificate{l.h.Root.Certificate()}, ""},
		{"an older one beside a newer one", []*crl.List{of(nil, 9), of(nil, 11)}, []*crl.List{of(nil, 10)}, []*x509.Certificate{issuing}, ""},
	} {
		err := notOlder(tt.next, tt.before, tt.cas)
		if tt.want == "" && err != nil || tt.want != "" && (err == nil || !strings.Contains(err.Error(), tt.want)) {
			t.Errorf("%s: %v", tt.what, err)
		}
	}
	s := &FileSource{}
	s.state.Store(&fileState{lists: []*crl.List{of(onlyUsers, 9), of(onlyUsers, 10), of(onlyCAs, 12)}})
	numbers := s.Numbers()
	for _, n := range numbers {
		if n.Int64() != 10 || len(numbers) != 1 {
			t.Errorf("of all it has read at least %s", numbers)
		}
	}
	if len(numbers) == 0 {
		t.Error("it has read none")
	}
}

// A CA without a list is told of: nobody below it is let in.
func TestMissingLists(t *testing.T) {
	l := lists{t, pkitest.NewHierarchy(t, pkitest.Config{})}
	root, issuing := l.h.Root.Certificate(), l.h.Issuing.Certificate()
	of := l.made(issuing, "issuing-p256", 1, pkitest.Now(), pkitest.Now().Add(time.Hour), nil)
	warned := missing([]*x509.Certificate{root, issuing}, []*crl.List{of})
	if len(warned) != 1 || !strings.Contains(warned[0], root.Subject.CommonName) {
		t.Errorf("%q", warned)
	}
}

// With ServeExpired the newest of the lists that have expired answers.
func TestServeExpired(t *testing.T) {
	l := lists{t, pkitest.NewHierarchy(t, pkitest.Config{})}
	now, day := pkitest.Now(), 24*time.Hour
	leaf := l.h.Leaf(t, l.h.Request(t, pki.KindClient, "alice", "90d"), "alice", pkitest.Serial(3))
	old := l.made(l.h.Issuing.Certificate(), "issuing-p256", 1, now, now.Add(day), nil)
	newer := l.made(l.h.Issuing.Certificate(), "issuing-p256", 2, now.Add(2*day), now.Add(3*day), nil, pkitest.Serial(3))
	s := &FileSource{config: FileConfig{ServeExpired: true}}
	for _, tt := range []struct {
		lists []*crl.List
		want  chain.Outcome
	}{{[]*crl.List{old}, chain.Good}, {[]*crl.List{old, newer}, chain.Bad}, {[]*crl.List{newer, old}, chain.Bad}} {
		r := chain.Verify(leaf, chain.Options{
			At: now.Add(10 * day), Anchors: []*x509.Certificate{l.h.Issuing.Certificate()}, Purpose: chain.Client,
			Revocation: s.revocation(chain.CRLs{Lists: tt.lists}),
		})
		if r.Outcome != tt.want {
			t.Errorf("%d lists: %v, %v", len(tt.lists), r.Outcome, r.Reason)
		}
	}
}

// A list that lasts as long as can be is not about to end.
func TestAgeingOfLongLife(t *testing.T) {
	l := lists{t, pkitest.NewHierarchy(t, pkitest.Config{})}
	now := pkitest.Now()
	long := l.made(l.h.Issuing.Certificate(), "issuing-p256", 1, now, time.Date(9999, 12, 31, 23, 59, 59, 0, time.UTC), nil)
	if warned := ageing([]*crl.List{long}, now.Add(time.Minute), false); len(warned) > 0 {
		t.Error(warned)
	}
}

// A gate that reads lists goes on when a CA is retired, whose list is then gone.
func TestRetiredCAOfFiles(t *testing.T) {
	t.Parallel()
	var p published
	f := newFixture(t, options{files: func(f *fixture) *FileConfig {
		if _, err := f.pki.RenewCA(t.Context(), store.CARenewal{Role: pki.KindIssuing, TTL: pkitest.MustLifetime(t, "3y"), Rekey: &store.Rekey{KeyType: keys.P256}}); err != nil {
			t.Fatal(err)
		}
		p = f.publish()
		return &FileConfig{CA: p.ca, CRLs: []string{p.crl}, Now: time.Now}
	}})
	alice := f.issue(pki.KindClient, "alice")
	f.wantIn(alice)
	if _, err := f.pki.RetireCA(t.Context(), "issuing", true); err != nil {
		t.Fatal(err)
	}
	if _, err := f.pki.Revoke(t.Context(), f.only(alice), pki.KeyCompromise, false); err != nil {
		t.Fatal(err)
	}
	f.copyTo(p)
	if !eventually(func() bool { status, _ := f.get(f.client(&alice), "/"); return status == 0 }) {
		t.Errorf("alice is let in: %s", f.warned)
	}
}
