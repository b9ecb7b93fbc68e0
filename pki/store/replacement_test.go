package store

import (
	"testing"
	"time"

	"mutual/pki"
)

// A killed renewal whose certificate was revoked since is not gone on with.
func TestRevokedRenewalIsNotPending(t *testing.T) {
	f := newFixture(t)
	old := f.issue("alice", "")
	issued, err := f.beginRenewal(old)
	f.must(err)
	_, err = f.Revoke(t.Context(), Selection{Certificates: []pki.Fingerprint{pki.FingerprintOf(issued.Certificate.Raw)}}, pki.KeyCompromise, false)
	f.must(err)
	if pending, err := f.Pending(t.Context(), old.Fingerprint); err != nil || pending != nil {
		t.Errorf("pending is %+v, %v", pending, err)
	}
}

// A certificate that is held when its successor arrives is superseded after
// the hold.
func TestHeldWhenReplaced(t *testing.T) {
	f := newFixture(t)
	old := f.issue("alice", "")
	issued, err := f.beginRenewal(old, func(r *RenewRequest) { r.KeepOld = true })
	f.must(err)
	// The command that goes on has the last word.
	f.must(f.AdjustRenewal(t.Context(), issued.Certificate, false, time.Hour, true))
	selected := Selection{Certificates: []pki.Fingerprint{old.Fingerprint}}
	_, err = f.Revoke(t.Context(), selected, pki.CertificateHold, false)
	f.must(err)
	if _, err := f.FinishRenewal(t.Context(), issued.Certificate); err != nil {
		t.Fatal(err)
	}
	f.now = f.now.Add(2 * time.Hour)
	f.upkeep()
	if f.reload(&old); old.Revocation == nil || old.Revocation.Reason != pki.CertificateHold {
		t.Errorf("while it is held: %+v", old.Revocation)
	}
	_, err = f.Unhold(t.Context(), selected, false)
	f.must(err)
	f.upkeep()
	if f.reload(&old); old.Revocation == nil || old.Revocation.Reason != pki.Superseded {
		t.Errorf("after the hold: %+v", old.Revocation)
	}
}
