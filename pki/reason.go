package pki

import (
	"fmt"
	"strings"
)

// Reason says why a certificate was revoked: the CRLReason codes of
// RFC 5280, Section 5.3.1.
type Reason uint8

// The reasons, with the codes that a CRL carries. Code 7 is not used.
const (
	Unspecified          Reason = 0
	KeyCompromise        Reason = 1
	CACompromise         Reason = 2
	AffiliationChanged   Reason = 3
	Superseded           Reason = 4
	CessationOfOperation Reason = 5
	CertificateHold      Reason = 6
	RemoveFromCRL        Reason = 8
	PrivilegeWithdrawn   Reason = 9
	AACompromise         Reason = 10
)

var reasonNames = [...]string{
	Unspecified:          "unspecified",
	KeyCompromise:        "keyCompromise",
	CACompromise:         "cACompromise",
	AffiliationChanged:   "affiliationChanged",
	Superseded:           "superseded",
	CessationOfOperation: "cessationOfOperation",
	CertificateHold:      "certificateHold",
	7:                    "",
	RemoveFromCRL:        "removeFromCRL",
	PrivilegeWithdrawn:   "privilegeWithdrawn",
	AACompromise:         "aACompromise",
}

// ParseReason reads a reason by its name in RFC 5280, in any case.
func ParseReason(s string) (Reason, error) {
	for code, name := range reasonNames {
		if name != "" && strings.EqualFold(s, name) {
			return Reason(code), nil
		}
	}
	return 0, fmt.Errorf("%q is no revocation reason", s)
}

// Valid reports whether the code is one that RFC 5280 assigns.
func (r Reason) Valid() bool { return int(r) < len(reasonNames) && reasonNames[r] != "" }

// ForCAOnly reports whether the reason says something of a CA or an attribute
// authority and so cannot be that of an end entity.
func (r Reason) ForCAOnly() bool { return r == CACompromise || r == AACompromise }

// String gives the name in RFC 5280, or "reason N" for a code it does not
// assign.
func (r Reason) String() string {
	if r.Valid() {
		return reasonNames[r]
	}
	return fmt.Sprintf("reason %d", uint8(r))
}

// MarshalText makes a Reason its name in JSON.
func (r Reason) MarshalText() ([]byte, error) { return []byte(r.String()), nil }

// EndEntityReasons lists what may be given for a client's or server's
// certificate, in the order of the codes; certificateHold is a hold's.
func EndEntityReasons() []Reason {
	return []Reason{Unspecified, KeyCompromise, AffiliationChanged, Superseded, CessationOfOperation, PrivilegeWithdrawn}
}
