package authority

import (
	"fmt"
	"math/big"
	"time"

	"mutual/pki"
	"mutual/pki/crl"
)

// Revoked is a revoked certificate as a CRL needs it.
type Revoked struct {
	Serial   pki.Serial
	NotAfter time.Time
	Revocation
}

// LastCRL is what is known of the CRL that the CA issued last; the zero value
// says that there was none.
type LastCRL struct {
	Number     *big.Int
	ThisUpdate time.Time
	// Known is thisUpdate of the newest list whose entries are known, where
	// that is an older one, as after a restore; zero: ThisUpdate.
	Known time.Time
}

// CRL is a list that was signed.
type CRL struct {
	DER        []byte
	Number     *big.Int
	ThisUpdate time.Time
	NextUpdate time.Time
	Entries    int
}

// PlanCRL gives number and times of the CRL that follows the last one.
func PlanCRL(last LastCRL, lifetime pki.Lifetime, now time.Time) (number *big.Int, thisUpdate, nextUpdate time.Time) {
	thisUpdate = crl.NextThisUpdate(last.ThisUpdate, now)
	return crl.NextNumber(last.Number, thisUpdate), thisUpdate, lifetime.From(now.UTC().Truncate(time.Second))
}

// ListDate gives the revocation date that an entry has in a CRL with the given
// thisUpdate.
func (r Revocation) ListDate(thisUpdate time.Time) time.Time {
	switch {
	case !r.ListedFrom.IsZero():
		return r.ListedFrom
	case r.Done.After(thisUpdate):
		return thisUpdate
	}
	return r.Done
}

// Listed reports whether an entry belongs into the CRL that follows the last
// one: it leaves only after a CRL past the certificate's notAfter has carried
// it (RFC 5280, Section 3.3).
func (r Revoked) Listed(last LastCRL) bool {
	carried := last.Known
	if carried.IsZero() {
		carried = last.ThisUpdate
	}
	return r.ListedFrom.IsZero() || !carried.After(r.NotAfter)
}

// IssueCRL signs the CRL that follows the last one. It is full, for all
// reasons, and lists every revoked certificate that still belongs there.
func (ca *CA) IssueCRL(revoked []Revoked, last LastCRL, lifetime pki.Lifetime, now time.Time) (*CRL, error) {
	if err := ca.CheckValid(now); err != nil {
		return nil, err
	}
	number, thisUpdate, nextUpdate := PlanCRL(last, lifetime, now)
	entries := make([]crl.Entry, 0, len(revoked))
	for _, r := range revoked {
		if r.Listed(last) {
			entries = append(entries, crl.Entry{Serial: r.Serial, RevocationDate: r.ListDate(thisUpdate), Reason: r.Reason})
		}
	}
	der, err := crl.Create(crl.Template{
		Issuer:         ca.cert.RawSubject,
		AuthorityKeyID: ca.cert.SubjectKeyId,
		Number:         number,
		ThisUpdate:     thisUpdate,
		NextUpdate:     nextUpdate,
		Entries:        entries,
	}, ca.signer)
	if err != nil {
		return nil, fmt.Errorf("signing the CRL: %w", err)
	}
	if err := ca.checkCRL(der, len(entries)); err != nil {
		return nil, err
	}
	return &CRL{DER: der, Number: number, ThisUpdate: thisUpdate, NextUpdate: nextUpdate, Entries: len(entries)}, nil
}

// checkCRL verifies the signature of what was signed, as whoever fetches the
// CRL will.
func (ca *CA) checkCRL(der []byte, entries int) error {
	list, err := crl.Parse(der)
	if err != nil {
		return fmt.Errorf("reading back the CRL that was signed: %w", err)
	}
	if list.Len() != entries {
		return fmt.Errorf("the CRL that was signed has %d entries instead of %d", list.Len(), entries)
	}
	if err := list.CheckSignature(ca.cert); err != nil {
		return fmt.Errorf("checking the CRL that was signed: %w", err)
	}
	return nil
}
