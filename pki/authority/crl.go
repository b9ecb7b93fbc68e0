package authority

import (
	"bytes"
	"errors"
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
	List       *crl.List // as it was read back
	Signature  []byte    // the octets of the signature in it
	Number     *big.Int
	ThisUpdate time.Time
	NextUpdate time.Time
	Entries    int
	// EndsFrom is a time before which no certificate in the list ends.
	EndsFrom time.Time
}

// PlanCRL gives number and times of the CRL that follows the last one.
func PlanCRL(last LastCRL, lifetime pki.Lifetime, now time.Time) (number *big.Int, thisUpdate, nextUpdate time.Time) {
	thisUpdate = crl.NextThisUpdate(last.ThisUpdate, now)
	return crl.NextNumber(last.Number, thisUpdate), thisUpdate, lifetime.From(now.UTC().Truncate(time.Second))
}

// ListDate gives the revocation date that an entry has in a CRL with the given
// thisUpdate: that of the first list with it, and never one to come, as after a
// clock that was ahead.
func (r Revocation) ListDate(thisUpdate time.Time) time.Time {
	date := r.Done
	if !r.ListedFrom.IsZero() {
		date = r.ListedFrom
	}
	if date.After(thisUpdate) {
		return thisUpdate
	}
	return date
}

// Carried is the time of the newest list whose entries are known: what ends
// before it has been listed past its end.
func (l LastCRL) Carried() time.Time {
	if l.Known.IsZero() {
		return l.ThisUpdate
	}
	return l.Known
}

// Listed reports whether an entry belongs into the CRL that follows the last
// one: it leaves only after a CRL past the certificate's notAfter has carried
// it (RFC 5280, Section 3.3).
func (r Revoked) Listed(last LastCRL) bool {
	return r.ListedFrom.IsZero() || !last.Carried().After(r.NotAfter)
}

// DraftCRL is the CRL that follows the last one while its entries are being put
// together. It holds their encoding, and nothing else of them.
type DraftCRL struct {
	ca       *CA
	last     LastCRL
	template crl.Template
	builder  *crl.Builder
	endsFrom time.Time // of what was put
}

// DraftCRL begins the CRL that follows the last one; size is about how many
// certificates will be put into it.
func (ca *CA) DraftCRL(last LastCRL, lifetime pki.Lifetime, now time.Time, size int) (*DraftCRL, error) {
	if err := ca.CheckValid(now); err != nil {
		return nil, err
	}
	number, thisUpdate, nextUpdate := PlanCRL(last, lifetime, now)
	t := crl.Template{
		Issuer:         ca.cert.RawSubject,
		AuthorityKeyID: ca.cert.SubjectKeyId,
		Number:         number,
		ThisUpdate:     thisUpdate,
		NextUpdate:     nextUpdate,
	}
	return &DraftCRL{ca: ca, last: last, template: t, builder: crl.NewBuilder(t, size)}, nil
}

// Last is what the CRL follows.
func (d *DraftCRL) Last() LastCRL { return d.last }

// Put gives a revoked certificate its entry, or leaves that of an earlier list
// out where it no longer belongs there.
func (d *DraftCRL) Put(r Revoked) error {
	if !r.Listed(d.last) {
		return d.Drop(r.Serial)
	}
	if d.endsFrom.IsZero() || r.NotAfter.Before(d.endsFrom) {
		d.endsFrom = r.NotAfter
	}
	return signing(d.builder.Put(crl.Entry{Serial: r.Serial, RevocationDate: r.ListDate(d.template.ThisUpdate), Reason: r.Reason}))
}

// Drop leaves the entry of an earlier list out, unless the certificate is put.
func (d *DraftCRL) Drop(serial pki.Serial) error { return signing(d.builder.Drop(serial)) }

func signing(err error) error {
	if err == nil {
		return nil
	}
	return fmt.Errorf("signing the CRL: %w", err)
}

// Issue signs the CRL. It is full, for all reasons, and lists what was put and,
// where there is an earlier list, what that lists and nothing was said of.
func (d *DraftCRL) Issue(earlier *EarlierCRL) (*CRL, error) {
	out := &CRL{Number: d.template.Number, ThisUpdate: d.template.ThisUpdate, NextUpdate: d.template.NextUpdate, EndsFrom: d.endsFrom}
	var list *crl.List
	if earlier != nil {
		list = earlier.List
		if still := later(earlier.EndsFrom, d.last.Carried()); out.EndsFrom.IsZero() || still.Before(out.EndsFrom) {
			out.EndsFrom = still
		}
	}
	if out.EndsFrom.IsZero() {
		out.EndsFrom = d.last.Carried()
	}
	built, err := d.builder.Build(list, d.ca.signer)
	if err != nil {
		return nil, signing(err)
	}
	if err := d.check(built.List); err != nil {
		return nil, err
	}
	out.DER, out.List, out.Signature, out.Entries = built.Raw(), built.List, built.Signature(), built.Len()
	return out, nil
}

// EarlierCRL is a list of the CA of which the next one is made.
type EarlierCRL struct {
	*crl.List
	EndsFrom time.Time // as it is in CRL
}

func later(a, b time.Time) time.Time {
	if a.After(b) {
		return a
	}
	return b
}

// check holds what was signed, as it was read back, against what was asked for,
// and verifies the signature, as whoever fetches the CRL will.
func (d *DraftCRL) check(list *crl.List) error {
	t := d.template
	if !bytes.Equal(list.Issuer(), t.Issuer) || !bytes.Equal(list.AuthorityKeyID(), t.AuthorityKeyID) || list.Number().Cmp(t.Number) != 0 ||
		!list.ThisUpdate().Equal(t.ThisUpdate) || !list.NextUpdate().Equal(t.NextUpdate) {
		return errors.New("the CRL that was signed is not the one that was asked for")
	}
	if err := list.CheckSignature(d.ca.cert); err != nil {
		return fmt.Errorf("checking the CRL that was signed: %w", err)
	}
	return nil
}
