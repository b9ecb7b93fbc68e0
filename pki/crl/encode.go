package crl

import (
	"bytes"
	"crypto"
	"errors"
	"fmt"
	"math/big"
	"slices"
	"time"

	"mutual/pki"
	"mutual/pki/keys"
)

// Template is what Create makes a list of.
type Template struct {
	Issuer         []byte   // the DER of the subject of the CA
	AuthorityKeyID []byte   // the subject key identifier of the CA
	Number         *big.Int // see NextNumber
	ThisUpdate     time.Time
	NextUpdate     time.Time
	Entries        []Entry // in any order; the list is sorted by serial
}

// Create encodes and signs a full list of version 2 and returns its DER. The
// same template and key give the same octets. It refuses what the profile
// excludes: reasons 7 and 8 (OpenSSL takes an entry with removeFromCRL in a
// full list for valid), a serial twice, a revocation date after thisUpdate
// (Java and NSS take such an entry for not revoked), times out of order.
func Create(t Template, signer crypto.Signer) ([]byte, error) {
	algorithm, err := keys.AlgorithmIdentifier(signer.Public())
	if err != nil {
		return nil, fmt.Errorf("creating a revocation list: %w", err)
	}
	tbs, err := encodeTBS(t, algorithm)
	if err != nil {
		return nil, fmt.Errorf("creating a revocation list: %w", err)
	}
	signature, err := keys.Sign(signer, tbs)
	if err != nil {
		return nil, fmt.Errorf("creating a revocation list: %w", err)
	}
	// A fault while signing can give the key away and locks everyone out.
	if err := keys.Verify(signer.Public(), tbs, signature); err != nil {
		return nil, fmt.Errorf("creating a revocation list: checking what was signed: %w", err)
	}
	content := make([]byte, 0, len(tbs)+len(algorithm)+len(signature)+16)
	content = append(content, tbs...)
	content = append(content, algorithm...)
	content = appendTLV(content, 0x03, append([]byte{0}, signature...))
	return appendTLV(nil, 0x30, content), nil
}

// encodeTBS encodes TBSCertList (RFC 5280, Section 5.1) with the signature
// algorithm given.
func encodeTBS(t Template, algorithm []byte) ([]byte, error) {
	if err := t.check(); err != nil {
		return nil, err
	}
	entries, err := encodeEntries(t)
	if err != nil {
		return nil, err
	}
	content := make([]byte, 0, len(entries)+len(t.Issuer)+256)
	content = append(content, 0x02, 0x01, 0x01) // v2
	content = append(content, algorithm...)
	content = append(content, t.Issuer...)
	content = appendTime(content, t.ThisUpdate)
	content = appendTime(content, t.NextUpdate)
	if len(entries) > 0 {
		content = appendTLV(content, 0x30, entries)
	}
	keyID := appendTLV(nil, 0x30, appendTLV(nil, 0x80, t.AuthorityKeyID))
	number := appendTLV(nil, 0x02, pki.NewSerial(t.Number).Octets())
	extensions := appendExtension(nil, idAuthorityKeyID, keyID)
	extensions = appendExtension(extensions, idNumber, number)
	content = appendTLV(content, 0xa0, appendTLV(nil, 0x30, extensions))
	return appendTLV(nil, 0x30, content), nil
}

func (t *Template) check() error {
	if err := checkName(t.Issuer); err != nil {
		return fmt.Errorf("the issuer: %w", err)
	}
	if len(t.AuthorityKeyID) == 0 {
		return errors.New("there is no authority key identifier")
	}
	if t.Number == nil || t.Number.Sign() <= 0 || t.Number.BitLen() >= 8*maxNumber {
		return fmt.Errorf("the CRL number must be positive and at most %d octets", maxNumber)
	}
	if err := checkTime(t.ThisUpdate); err != nil {
		return fmt.Errorf("thisUpdate: %w", err)
	}
	if err := checkTime(t.NextUpdate); err != nil {
		return fmt.Errorf("nextUpdate: %w", err)
	}
	if !t.NextUpdate.Truncate(time.Second).After(t.ThisUpdate.Truncate(time.Second)) {
		return fmt.Errorf("nextUpdate (%s) is not after thisUpdate (%s)", timeText(t.NextUpdate), timeText(t.ThisUpdate))
	}
	return nil
}

// checkTime refuses what UTCTime and GeneralizedTime with four digits cannot
// carry.
func checkTime(t time.Time) error {
	if year := t.UTC().Year(); year < 1950 || year > 9999 {
		return fmt.Errorf("the year %d is not between 1950 and 9999", year)
	}
	return nil
}

func timeText(t time.Time) string { return t.UTC().Format(time.RFC3339) }

// sortable is an entry with the octets by which it is sorted.
type sortable struct {
	serial []byte
	entry  *Entry
}

// encodeEntries encodes the content of revokedCertificates.
func encodeEntries(t Template) ([]byte, error) {
	sorted := make([]sortable, len(t.Entries))
	for i := range t.Entries {
		sorted[i] = sortable{t.Entries[i].Serial.Octets(), &t.Entries[i]}
	}
	slices.SortFunc(sorted, func(a, b sortable) int { return compareIntegers(a.serial, b.serial) })
	out := make([]byte, 0, 52*len(sorted)) // a serial of 16 octets and a reason
	for i, s := range sorted {
		if i > 0 && bytes.Equal(s.serial, sorted[i-1].serial) {
			return nil, fmt.Errorf("the serial %s is there twice", s.entry.Serial)
		}
		if err := s.entry.check(t.ThisUpdate); err != nil {
			return nil, fmt.Errorf("the entry of serial %s: %w", s.entry.Serial, err)
		}
		out = appendEntry(out, s)
	}
	return out, nil
}

func (e *Entry) check(thisUpdate time.Time) error {
	if e.Serial.IsZero() {
		return errors.New("there is no serial")
	}
	if !e.Reason.Valid() || e.Reason == pki.RemoveFromCRL {
		return fmt.Errorf("%s has no place in a full list", e.Reason)
	}
	if err := checkTime(e.RevocationDate); err != nil {
		return fmt.Errorf("the revocation date: %w", err)
	}
	if e.RevocationDate.Truncate(time.Second).After(thisUpdate.Truncate(time.Second)) {
		return fmt.Errorf("the revocation date %s is after thisUpdate %s", timeText(e.RevocationDate), timeText(thisUpdate))
	}
	return nil
}

// appendEntry appends one of revokedCertificates. The reason is left out when
// unspecified (RFC 5280, Section 5.3.1).
func appendEntry(out []byte, s sortable) []byte {
	var buffer [96]byte // on the stack, for serials up to 20 octets
	content := appendTLV(buffer[:0], 0x02, s.serial)
	content = appendTime(content, s.entry.RevocationDate)
	if s.entry.Reason != pki.Unspecified {
		content = append(content,
			0x30, 0x0c, 0x30, 0x0a, // SEQUENCE OF, one Extension
			0x06, 0x03, 0x55, 0x1d, 0x15, // idReasonCode
			0x04, 0x03, 0x0a, 0x01, byte(s.entry.Reason)) // OCTET STRING, ENUMERATED
	}
	return appendTLV(out, 0x30, content)
}

func appendExtension(out []byte, id string, value []byte) []byte {
	content := appendTLV(nil, 0x06, []byte(id))
	content = appendTLV(content, 0x04, value)
	return appendTLV(out, 0x30, content)
}

// appendTime appends a Time in UTC: UTCTime to 2049, GeneralizedTime after
// (RFC 5280, Section 5.1.2.4). Fractions of a second are cut off.
func appendTime(out []byte, t time.Time) []byte {
	t = t.UTC()
	if t.Year() < 2050 {
		out = append(out, 0x17, 13)
		return t.AppendFormat(out, "060102150405Z")
	}
	out = append(out, 0x18, 15)
	return t.AppendFormat(out, "20060102150405Z")
}

// appendTLV appends an element in DER: tag, length, content.
func appendTLV(out []byte, tag byte, content []byte) []byte {
	out = append(out, tag)
	n := len(content)
	if n < 0x80 {
		out = append(out, byte(n))
		return append(out, content...)
	}
	octets := 1
	for n>>(8*octets) > 0 {
		octets++
	}
	out = append(out, 0x80|byte(octets))
	for i := octets - 1; i >= 0; i-- {
		out = append(out, byte(n>>(8*i)))
	}
	return append(out, content...)
}
