package authority_test

import (
	"testing"
	"time"

	"mutual/pki"
	"mutual/pki/authority"
	"mutual/pki/pkitest"
)

// Every reason after every other: a hold becomes any reason, any reason
// becomes keyCompromise, and everything else stays as it is. The date never
// changes.
func TestRevokeTransitions(t *testing.T) {
	reasons := []pki.Reason{
		pki.Unspecified, pki.KeyCompromise, pki.CACompromise, pki.AffiliationChanged, pki.Superseded,
		pki.CessationOfOperation, pki.CertificateHold, pki.PrivilegeWithdrawn, pki.AACompromise,
	}
	first, later := pkitest.Now(), pkitest.Now().Add(time.Hour)
	for _, before := range reasons {
		current := authority.Revocation{Reason: before, Done: first, ListedFrom: first.Add(-time.Minute)}
		for _, after := range reasons {
			next, changed := authority.Revoke(&current, after, later)
			want := before != after && (before == pki.CertificateHold || after == pki.KeyCompromise)
			if changed != want {
				t.Errorf("%s → %s: changed is %v, want %v", before, after, changed, want)
			}
			wantReason := before
			if want {
				wantReason = after
			}
			if next != (authority.Revocation{Reason: wantReason, Done: first, ListedFrom: first.Add(-time.Minute)}) {
				t.Errorf("%s → %s: %+v", before, after, next)
			}
		}
		if current.Reason != before {
			t.Errorf("%s was changed in place", before)
		}
		next, changed := authority.Revoke(nil, before, later.Add(999*time.Millisecond).In(time.FixedZone("", 3600)))
		if !changed || next != (authority.Revocation{Reason: before, Done: later}) {
			t.Errorf("not revoked → %s: %+v, %v", before, next, changed)
		}
	}
}

func TestCheckReason(t *testing.T) {
	const onlyCA, never = "is for a CA's certificate", "a certificate cannot be revoked for the reason"
	for _, tt := range []struct {
		reason pki.Reason
		kind   pki.Kind
		want   string // "": allowed
	}{
		{pki.Unspecified, pki.KindClient, ""},
		{pki.KeyCompromise, pki.KindServer, ""},
		{pki.CertificateHold, pki.KindClient, ""},
		{pki.CACompromise, pki.KindIssuing, ""},
		{pki.AACompromise, pki.KindRoot, ""},
		{pki.CACompromise, pki.KindClient, onlyCA},
		{pki.AACompromise, pki.KindServer, onlyCA},
		{pki.CACompromise, pki.KindProbe, onlyCA},
		{pki.RemoveFromCRL, pki.KindClient, never},
		{pki.RemoveFromCRL, pki.KindIssuing, never},
		{pki.Reason(7), pki.KindClient, never + " reason 7"},
		{pki.Reason(200), pki.KindIssuing, never + " reason 200"},
	} {
		err := authority.CheckReason(tt.reason, tt.kind)
		if tt.want == "" {
			if err != nil {
				t.Errorf("%s for %s: %v", tt.reason, tt.kind, err)
			}
			continue
		}
		wantError(t, err, tt.want)
	}
}
