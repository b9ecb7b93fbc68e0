package authority_test

import (
	"errors"
	"math/big"
	"testing"
	"time"

	"mutual/pki"
	"mutual/pki/authority"
	"mutual/pki/crl"
	"mutual/pki/pkitest"
)

// revokedAt is a certificate that ends a day after it was revoked and that no
// CRL has carried yet.
func revokedAt(serial uint32, reason pki.Reason, done time.Time) authority.Revoked {
	return authority.Revoked{Serial: pkitest.Serial(serial), NotAfter: done.Add(24 * time.Hour), Revocation: authority.Revocation{Reason: reason, Done: done}}
}

// issueCRL issues a list and reads it back.
func issueCRL(t *testing.T, ca *authority.CA, revoked []authority.Revoked, last authority.LastCRL, now time.Time) (*authority.CRL, *crl.List) {
	t.Helper()
	made, err := pkitest.IssueCRL(ca, revoked, last, pkitest.MustLifetime(t, "30d"), now)
	if err != nil {
		t.Fatal(err)
	}
	list, err := crl.Parse(made.DER)
	if err != nil {
		t.Fatal(err)
	}
	if list.Number().Cmp(made.Number) != 0 || !list.ThisUpdate().Equal(made.ThisUpdate) || !list.NextUpdate().Equal(made.NextUpdate) || list.Len() != made.Entries {
		t.Errorf("the list differs from its description %+v", made)
	}
	return made, list
}

func TestPlanCRL(t *testing.T) {
	now := pkitest.Now()
	number, thisUpdate, nextUpdate := authority.PlanCRL(authority.LastCRL{}, pkitest.MustLifetime(t, "1mo"), now.Add(700*time.Millisecond))
	if want := now.Add(-10 * time.Minute); !thisUpdate.Equal(want) || number.Cmp(big.NewInt(want.UnixNano())) != 0 {
		t.Errorf("the first: number %s, thisUpdate %s", number, thisUpdate)
	}
	if want := now.AddDate(0, 1, 0); !nextUpdate.Equal(want) {
		t.Errorf("nextUpdate %s, want %s", nextUpdate, want)
	}
	far := new(big.Int).Lsh(big.NewInt(1), 90)
	number, thisUpdate, _ = authority.PlanCRL(authority.LastCRL{Number: far, ThisUpdate: now.Add(time.Hour)}, pkitest.MustLifetime(t, "30d"), now)
	if want := new(big.Int).Add(far, big.NewInt(1)); number.Cmp(want) != 0 || !thisUpdate.Equal(now.Add(time.Hour)) {
		t.Errorf("after one from the future: number %s, thisUpdate %s", number, thisUpdate)
	}
}

// Seven hundred certificates are revoked as fast as it goes, each with a CRL
// of its own. No list is from the future, every number grows, no entry is
// dated after the list that it first stood in, and no date ever changes.
func TestSevenHundredRevocationsInABurst(t *testing.T) {
	h := pkitest.NewHierarchy(t, pkitest.Config{})
	var last authority.LastCRL
	var revoked []authority.Revoked
	for i := range 700 {
		now := pkitest.Now().Add(time.Duration(i) * 10 * time.Millisecond)
		revocation, _ := authority.Revoke(nil, pki.Unspecified, now)
		revoked = append(revoked, authority.Revoked{Serial: pkitest.Serial(uint32(1000 + i)), NotAfter: now.Add(24 * time.Hour), Revocation: revocation})
		made, list := issueCRL(t, h.Issuing, revoked, last, now)
		switch {
		case made.ThisUpdate.After(now.Add(-time.Minute + time.Second)):
			t.Fatalf("list %d: thisUpdate %s at %s", i, made.ThisUpdate, now)
		case made.ThisUpdate.Before(last.ThisUpdate):
			t.Fatalf("list %d: thisUpdate went back to %s", i, made.ThisUpdate)
		case last.Number != nil && made.Number.Cmp(last.Number) <= 0:
			t.Fatalf("list %d: the number %s follows %s", i, made.Number, last.Number)
		case made.Entries != i+1:
			t.Fatalf("list %d has %d entries", i, made.Entries)
		}
		last = authority.LastCRL{Number: made.Number, ThisUpdate: made.ThisUpdate}
		revoked[i].ListedFrom = revoked[i].ListDate(made.ThisUpdate) // as the store keeps it
		if i%100 != 99 {
			continue
		}
		for _, r := range revoked {
			entry, ok := list.Lookup(r.Serial)
			if !ok || !entry.RevocationDate.Equal(r.ListedFrom) || entry.RevocationDate.After(made.ThisUpdate) {
				t.Fatalf("list %d: entry %+v, %v; listed from %s, thisUpdate %s", i, entry, ok, r.ListedFrom, made.ThisUpdate)
			}
		}
	}
}

func TestListDate(t *testing.T) {
	now := pkitest.Now()
	for _, tt := range []struct {
		name       string
		revocation authority.Revocation
		thisUpdate time.Time
		want       time.Time
	}{
		{"done before the list", authority.Revocation{Done: now.Add(-time.Hour)}, now, now.Add(-time.Hour)},
		{"done after thisUpdate, which lies back", authority.Revocation{Done: now}, now.Add(-10 * time.Minute), now.Add(-10 * time.Minute)},
		{"carried already", authority.Revocation{Done: now, ListedFrom: now.Add(-10 * time.Minute)}, now.Add(time.Hour), now.Add(-10 * time.Minute)},
		{"carried already, and the clock went back", authority.Revocation{Done: now, ListedFrom: now}, now.Add(-time.Hour), now.Add(-time.Hour)},
	} {
		if got := tt.revocation.ListDate(tt.thisUpdate); !got.Equal(tt.want) {
			t.Errorf("%s: %s, want %s", tt.name, got, tt.want)
		}
	}
}

// An entry leaves only after one CRL past the certificate's notAfter has
// carried it (RFC 5280, Section 3.3).
func TestEntryLeavesAfterOneListPastItsEnd(t *testing.T) {
	h := pkitest.NewHierarchy(t, pkitest.Config{})
	begin := pkitest.Now()
	revoked := []authority.Revoked{revokedAt(7, pki.KeyCompromise, begin)} // ends after a day
	var last authority.LastCRL
	for _, step := range []struct {
		after  time.Duration
		listed bool
	}{
		{0, true},
		{23 * time.Hour, true},
		{24*time.Hour + 5*time.Minute, true},  // thisUpdate still before its end
		{24*time.Hour + 30*time.Minute, true}, // the one list past its end
		{25 * time.Hour, false},
		{100 * time.Hour, false},
	} {
		made, list := issueCRL(t, h.Issuing, revoked, last, begin.Add(step.after))
		entry, ok := list.Lookup(revoked[0].Serial)
		if ok != step.listed {
			t.Errorf("after %s: listed is %v, want %v", step.after, ok, step.listed)
		}
		if ok && (entry.Reason != pki.KeyCompromise || entry.RevocationDate.After(made.ThisUpdate)) {
			t.Errorf("after %s: %+v", step.after, entry)
		}
		if ok && revoked[0].ListedFrom.IsZero() {
			revoked[0].ListedFrom = entry.RevocationDate
		} else if ok && !entry.RevocationDate.Equal(revoked[0].ListedFrom) {
			t.Errorf("after %s: the date changed from %s to %s", step.after, revoked[0].ListedFrom, entry.RevocationDate)
		}
		last = authority.LastCRL{Number: made.Number, ThisUpdate: made.ThisUpdate}
	}
}

// A certificate that was revoked and ended while no CRL was made still stands
// in the next one.
func TestExpiredEntryIsListedOnce(t *testing.T) {
	h := pkitest.NewHierarchy(t, pkitest.Config{})
	now := pkitest.Now().Add(240 * time.Hour)
	r := revokedAt(7, pki.Unspecified, pkitest.Now())
	last := authority.LastCRL{Number: big.NewInt(1), ThisUpdate: pkitest.Now().Add(100 * time.Hour)}
	if _, list := issueCRL(t, h.Issuing, []authority.Revoked{r}, last, now); list.Len() != 1 {
		t.Errorf("%d entries", list.Len())
	}
}

// A hold that becomes a revocation keeps its date in the list.
func TestHoldKeepsItsDate(t *testing.T) {
	h := pkitest.NewHierarchy(t, pkitest.Config{})
	r := revokedAt(7, pki.CertificateHold, pkitest.Now())
	first, _ := issueCRL(t, h.Issuing, []authority.Revoked{r}, authority.LastCRL{}, pkitest.Now())
	r.ListedFrom = r.ListDate(first.ThisUpdate)
	next, changed := authority.Revoke(&r.Revocation, pki.KeyCompromise, pkitest.Now().Add(time.Hour))
	if !changed {
		t.Fatal("the hold was not changed")
	}
	r.Revocation = next
	_, list := issueCRL(t, h.Issuing, []authority.Revoked{r}, authority.LastCRL{Number: first.Number, ThisUpdate: first.ThisUpdate}, pkitest.Now().Add(time.Hour))
	entry, ok := list.Lookup(r.Serial)
	if !ok || entry.Reason != pki.KeyCompromise || !entry.RevocationDate.Equal(first.ThisUpdate) {
		t.Errorf("%+v, %v; want keyCompromise at %s", entry, ok, first.ThisUpdate)
	}
}

// The list is signed by the CA that it speaks for, and by nobody else.
func TestCRLIsTheCAs(t *testing.T) {
	for _, key := range []string{"issuing-p256", "p384", "rsa2048", "ed25519"} {
		h := pkitest.NewHierarchy(t, pkitest.Config{IssuingKey: key})
		_, list := issueCRL(t, h.Issuing, []authority.Revoked{revokedAt(7, pki.Superseded, pkitest.Now())}, authority.LastCRL{}, pkitest.Now())
		issuing := h.Issuing.Certificate()
		if err := list.CheckSignature(issuing); err != nil {
			t.Errorf("%s: %v", key, err)
		}
		if string(list.Issuer()) != string(issuing.RawSubject) || string(list.AuthorityKeyID()) != string(issuing.SubjectKeyId) {
			t.Errorf("%s: issuer %x, key id %x", key, list.Issuer(), list.AuthorityKeyID())
		}
		if err := list.CheckSignature(h.Root.Certificate()); err == nil {
			t.Errorf("%s: the root is taken for the signer", key)
		}
	}
}

// A reason that no CRL of ours may carry is an error, and no list is made.
func TestIssueCRLRefusesRemoveFromCRL(t *testing.T) {
	h := pkitest.NewHierarchy(t, pkitest.Config{})
	for _, reason := range []pki.Reason{pki.RemoveFromCRL, 7} {
		made, err := pkitest.IssueCRL(h.Issuing, []authority.Revoked{revokedAt(7, reason, pkitest.Now())}, authority.LastCRL{}, pkitest.MustLifetime(t, "30d"), pkitest.Now())
		if err == nil || made != nil {
			t.Errorf("%s: %v, %v", reason, made, err)
		}
	}
	twice := []authority.Revoked{revokedAt(7, 0, pkitest.Now()), revokedAt(7, 0, pkitest.Now())}
	if _, err := pkitest.IssueCRL(h.Issuing, twice, authority.LastCRL{}, pkitest.MustLifetime(t, "30d"), pkitest.Now()); err == nil || errors.Is(err, authority.ErrIssuerExpired) {
		t.Errorf("a serial that is there twice: %v", err)
	}
}
