package authority

import (
	"time"

	"mutual/pki"
)

// Ledger is what a CA needs remembered while it issues. One value is one
// transaction: all that it was told is kept, or nothing.
type Ledger interface {
	// Reserve records that a certificate is about to be signed. It refuses a
	// serial that the issuer has used, a blocked identity, and a name that
	// differs only in case from another identity's.
	Reserve(Record) error
	// Complete stores the signed certificate under its reserved serial, and
	// the act in the journal.
	Complete(r Record, der []byte) error
}

// Record is what the inventory keeps of a certificate beside its DER.
type Record struct {
	IssuerKeyID []byte // subject key identifier of the CA that signs
	Serial      pki.Serial
	Kind        pki.Kind
	Name        pki.Name // the identity; zero for a CA's certificate
	Label       string
	NotBefore   time.Time
	NotAfter    time.Time
	Issued      time.Time
	Backdated   bool // begins before its issuer, or had expired when it was issued
}
