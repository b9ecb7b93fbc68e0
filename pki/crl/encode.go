package crl

import (
	"crypto"
	"errors"
	"fmt"
	"math/big"
	"time"

	"mutual/pki"
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
	built, err := NewBuilder(t, len(t.Entries)).Build(nil, signer)
	if err != nil {
		return nil, err
	}
	return built.Raw(), nil
}

// extensions encodes crlExtensions.
func (t *Template) extensions() []byte {
	keyID := appendTLV(nil, 0x30, appendTLV(nil, 0x80, t.AuthorityKeyID))
	number := appendTLV(nil, 0x02, pki.NewSerial(t.Number).Octets())
	content := appendExtension(nil, idAuthorityKeyID, keyID)
	content = appendExtension(content, idNumber, number)
	return appendTLV(nil, 0xa0, appendTLV(nil, 0x30, content))
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
func appendEntry(out []byte, e Entry) []byte {
	serial := e.Serial.Octets()
	var buffer [96]byte // on the stack, for serials up to 20 octets
	content := appendTLV(buffer[:0], 0x02, serial)
	content = appendTime(content, e.RevocationDate)
	if e.Reason != pki.Unspecified {
		content = append(content, reasonPrefix...)
		content = append(content, byte(e.Reason))
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
	year, month, day := t.Date()
	hour, minute, second := t.Clock()
	if year < 2050 {
		out = append(out, 0x17, 13)
	} else {
		out = appendTwo(append(out, 0x18, 15), year/100)
	}
	for _, n := range [...]int{year % 100, int(month), day, hour, minute, second} {
		out = appendTwo(out, n)
	}
	return append(out, 'Z')
}

// appendTwo appends two digits.
func appendTwo(out []byte, n int) []byte { return append(out, '0'+byte(n/10), '0'+byte(n%10)) }

// appendTLV appends an element in DER: tag, length, content.
func appendTLV(out []byte, tag byte, content []byte) []byte {
	return append(appendHeader(out, tag, len(content)), content...)
}

// appendHeader appends tag and length of an element with n octets of content.
func appendHeader(out []byte, tag byte, n int) []byte {
	out = append(out, tag)
	if n < 0x80 {
		return append(out, byte(n))
	}
	octets := 1
	for n>>(8*octets) > 0 {
		octets++
	}
	out = append(out, 0x80|byte(octets))
	for i := octets - 1; i >= 0; i-- {
		out = append(out, byte(n>>(8*i)))
	}
	return out
}
