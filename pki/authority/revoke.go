package authority

import (
	"fmt"
	"time"

	"mutual/pki"
)

// Revocation is what is known of a revoked certificate.
type Revocation struct {
	Reason pki.Reason
	Done   time.Time // when it was revoked
	// ListedFrom is the date in the CRL, zero until a CRL has carried the
	// entry: Done, or thisUpdate of that CRL where that is earlier, and never
	// changed afterwards. Java and NSS take a certificate whose date lies after
	// thisUpdate for one that is not revoked.
	ListedFrom time.Time
}

// Revoke decides what revoking a certificate changes, given what is known of
// it (nil: not revoked). A hold becomes any other reason and keeps its date;
// every reason can become keyCompromise; everything else is as it was, and
// changed is false.
func Revoke(current *Revocation, reason pki.Reason, now time.Time) (next Revocation, changed bool) {
	switch {
	case current == nil:
		return Revocation{Reason: reason, Done: now.UTC().Truncate(time.Second)}, true
	case current.Reason == reason,
		current.Reason != pki.CertificateHold && reason != pki.KeyCompromise:
		return *current, false
	}
	next = *current
	next.Reason = reason
	return next, true
}

// CheckReason refuses a reason that cannot be given to a certificate of the
// kind: one that says something of a CA to an end entity, and removeFromCRL,
// which belongs into delta CRLs only.
func CheckReason(reason pki.Reason, kind pki.Kind) error {
	switch {
	case !reason.Valid() || reason == pki.RemoveFromCRL:
		return fmt.Errorf("a certificate cannot be revoked for the reason %s", reason)
	case reason.ForCAOnly() && !kind.IsCA():
		return fmt.Errorf("the reason %s is for a CA's certificate", reason)
	}
	return nil
}
