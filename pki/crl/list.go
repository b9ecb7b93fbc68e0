package crl

import (
	"bytes"
	"crypto/x509"
	"crypto/x509/pkix"
	encoding_asn1 "encoding/asn1"
	"errors"
	"fmt"
	"iter"
	"math/big"
	"slices"
	"sort"
	"sync/atomic"
	"time"

	"mutual/pki"
	"mutual/pki/keys"

	"golang.org/x/crypto/cryptobyte"
	"golang.org/x/crypto/cryptobyte/asn1"
)

// Entry is a revoked certificate of the issuer of the list.
type Entry struct {
	Serial         pki.Serial
	RevocationDate time.Time // UTC, whole seconds
	Reason         pki.Reason
}

// List is a revocation list that Parse has read. It refers to the DER it was
// made of and holds four octets more for each entry. Nothing of it may be
// changed; methods that return slices return the list's own.
type List struct {
	raw, tbs  []byte
	algorithm []byte // the AlgorithmIdentifier, with tag and length
	signature []byte
	version   int // 1 or 2

	issuer     []byte
	thisUpdate time.Time
	nextUpdate time.Time
	keyID      []byte
	number     *big.Int
	scope      Scope

	entries cryptobyte.String // the content of revokedCertificates
	index   []uint32          // where each entry begins, sorted by serial

	canonical bool                   // every entry is canonical, and they are sorted
	digest    *keys.Digested         // of tbs, where it was just made here
	signer    atomic.Pointer[[]byte] // the public key that is known to have signed it
}

// Raw returns the DER of the whole list.
func (l *List) Raw() []byte { return l.raw }

// Signature returns the octets of the signature.
func (l *List) Signature() []byte { return l.signature }

// Version returns 1 or 2.
func (l *List) Version() int { return l.version }

// Issuer returns the DER of the issuer's name.
func (l *List) Issuer() []byte { return l.issuer }

// ThisUpdate returns when the list was issued, in UTC.
func (l *List) ThisUpdate() time.Time { return l.thisUpdate }

// NextUpdate returns when the next list will be out at the latest, in UTC. It
// is zero if the list does not say, which RFC 5280, Section 5.1.2.5 forbids
// and some CAs do.
func (l *List) NextUpdate() time.Time { return l.nextUpdate }

// AuthorityKeyID returns the key identifier of the issuer, nil if there is
// none.
func (l *List) AuthorityKeyID() []byte { return l.keyID }

// Number returns the number of the list, nil if it has none.
func (l *List) Number() *big.Int {
	if l.number == nil {
		return nil
	}
	return new(big.Int).Set(l.number)
}

// Scope returns which certificates of the issuer the list covers.
func (l *List) Scope() Scope { return l.scope }

// Len returns the number of entries.
func (l *List) Len() int { return len(l.index) }

// Entries goes through the entries in the order of the list.
func (l *List) Entries() iter.Seq[Entry] {
	return func(yield func(Entry) bool) {
		for at := 0; at < len(l.entries); {
			e, length := l.entryAt(at, pki.Serial{})
			if length == 0 || !yield(e) {
				return
			}
			at += length
		}
	}
}

// entryAt reads the entry that begins at an offset. Its serial is given where
// it is known.
func (l *List) entryAt(at int, serial pki.Serial) (e Entry, length int) {
	in := l.entries[at:]
	length, octets := canonicalEntry(in)
	if length == 0 {
		rest := in
		e, _, err := readEntry(&rest, l.version)
		if err != nil {
			return e, 0 // cannot be: Parse has read them all
		}
		return e, len(in) - len(rest)
	}
	if serial.IsZero() {
		serial, _ = pki.SerialFromOctets(octets) // canonicalEntry has checked them
	}
	date, reason := decodeCanonical(in[:length], octets)
	return Entry{serial, date, reason}, length
}

// Lookup finds the entry of a serial. Of two with the same serial, which
// some CAs write, it is the one with the earlier date.
func (l *List) Lookup(serial pki.Serial) (Entry, bool) {
	if serial.IsZero() {
		return Entry{}, false
	}
	want := serial.Octets()
	i := sort.Search(len(l.index), func(i int) bool {
		return compareIntegers(l.serialAt(l.index[i]), want) >= 0
	})
	var found Entry
	ok := false
	for ; i < len(l.index) && bytes.Equal(l.serialAt(l.index[i]), want); i++ {
		e, _ := l.entryAt(int(l.index[i]), serial)
		if !ok || e.RevocationDate.Before(found.RevocationDate) {
			found, ok = e, true
		}
	}
	return found, ok
}

// serialAt returns the content octets of the serial of the entry that begins
// at the offset.
func (l *List) serialAt(offset uint32) []byte { return serialOf(l.entries[offset:]) }

// serialOfLong is serialOf for an entry of any length.
func serialOfLong(in cryptobyte.String) []byte {
	var entry, serial cryptobyte.String
	if !in.ReadASN1(&entry, tagSequence) || !entry.ReadASN1(&serial, tagInteger) {
		return nil // cannot be: it has been accepted
	}
	return serial
}

// readElement gives the content of the element with which in begins, and which
// we have written.
func readElement(in cryptobyte.String) []byte {
	var content cryptobyte.String
	if !in.ReadAnyASN1(&content, new(asn1.Tag)) {
		return nil
	}
	return content
}

// elementSize gives the length of the element with which in begins, and which
// we have written.
func elementSize(in cryptobyte.String) int {
	rest := in
	if !rest.ReadAnyASN1(new(cryptobyte.String), new(asn1.Tag)) {
		return 0
	}
	return len(in) - len(rest)
}

// CheckSignature returns nil if the CA signed the list: it may sign lists, as
// far as its key usage says (RFC 5280, Section 6.3.3 (f)), and the signature
// is its key's, not made with SHA-1 or MD5. It judges neither names nor times.
// Of the same key it is asked again for nothing: a list has many megabytes.
func (l *List) CheckSignature(ca *x509.Certificate) error {
	hasUsage := slices.ContainsFunc(ca.Extensions, func(e pkix.Extension) bool {
		return e.Id.Equal(encoding_asn1.ObjectIdentifier{2, 5, 29, 15})
	})
	if hasUsage && ca.KeyUsage&x509.KeyUsageCRLSign == 0 {
		return errors.New("its key usage does not allow to sign revocation lists (no cRLSign)")
	}
	algorithm, err := signatureAlgorithm(l.algorithm)
	if err != nil {
		return err
	}
	if l.digest != nil {
		return l.digest.Verify(ca.PublicKey, l.signature)
	}
	if known := l.signer.Load(); known != nil && bytes.Equal(*known, ca.RawSubjectPublicKeyInfo) {
		return nil
	}
	if err := ca.CheckSignature(algorithm, l.tbs, l.signature); err != nil {
		return fmt.Errorf("checking the signature of the revocation list: %w", err)
	}
	l.signer.Store(&ca.RawSubjectPublicKeyInfo)
	return nil
}

// compareIntegers compares the content octets of two DER INTEGERs by value.
func compareIntegers(a, b []byte) int {
	negativeA, negativeB := len(a) > 0 && a[0] >= 0x80, len(b) > 0 && b[0] >= 0x80
	switch {
	case negativeA && !negativeB:
		return -1
	case negativeB && !negativeA:
		return 1
	case len(a) != len(b):
		if (len(a) < len(b)) != negativeA {
			return -1
		}
		return 1
	}
	return bytes.Compare(a, b)
}

// signatureAlgorithm reads an AlgorithmIdentifier that Parse has accepted.
// RSA may come with NULL parameters or none (RFC 4055, Section 5), the others
// with none (RFC 5758, Section 3.2; RFC 8410, Section 3). SHA-1 and MD5 are
// not among them.
func signatureAlgorithm(der []byte) (x509.SignatureAlgorithm, error) {
	input := cryptobyte.String(der)
	var oid encoding_asn1.ObjectIdentifier
	if !input.ReadASN1(&input, tagSequence) || !input.ReadASN1ObjectIdentifier(&oid) {
		return 0, errors.New("the signature algorithm is malformed")
	}
	none := input.Empty()
	null := bytes.Equal(input, []byte{0x05, 0x00})
	rsa := encoding_asn1.ObjectIdentifier{1, 2, 840, 113549, 1, 1}
	ecdsa := encoding_asn1.ObjectIdentifier{1, 2, 840, 10045, 4, 3}
	for _, known := range []struct {
		arc encoding_asn1.ObjectIdentifier
		end int
		ok  bool // whether the parameters are right
		alg x509.SignatureAlgorithm
	}{
		{rsa, 11, none || null, x509.SHA256WithRSA},
		{rsa, 12, none || null, x509.SHA384WithRSA},
		{rsa, 13, none || null, x509.SHA512WithRSA},
		{rsa, 10, bytes.Equal(input, pssParameters(1, 32)), x509.SHA256WithRSAPSS},
		{rsa, 10, bytes.Equal(input, pssParameters(2, 48)), x509.SHA384WithRSAPSS},
		{rsa, 10, bytes.Equal(input, pssParameters(3, 64)), x509.SHA512WithRSAPSS},
		{ecdsa, 2, none, x509.ECDSAWithSHA256},
		{ecdsa, 3, none, x509.ECDSAWithSHA384},
		{ecdsa, 4, none, x509.ECDSAWithSHA512},
		{encoding_asn1.ObjectIdentifier{1, 3, 101}, 112, none, x509.PureEd25519},
	} {
		if known.ok && oid.Equal(append(slices.Clip(known.arc), known.end)) {
			return known.alg, nil
		}
	}
	return 0, fmt.Errorf("the signature algorithm %s is not supported", oid)
}

// pssParameters is the one form of RSASSA-PSS parameters that crypto/x509
// reads, too: the same SHA-2 for message and mask, a salt of its length
// (RFC 4055, Section 3.1). The hash is the last arc of its identifier.
func pssParameters(hash, salt byte) []byte {
	sha2 := []byte{0x30, 0x0d, 0x06, 0x09, 0x60, 0x86, 0x48, 0x01, 0x65, 0x03, 0x04, 0x02, hash, 0x05, 0x00}
	mgf1 := []byte{0x06, 0x09, 0x2a, 0x86, 0x48, 0x86, 0xf7, 0x0d, 0x01, 0x01, 0x08}
	params := appendTLV(nil, 0xa0, sha2)
	params = appendTLV(params, 0xa1, appendTLV(nil, 0x30, append(mgf1, sha2...)))
	params = appendTLV(params, 0xa2, []byte{0x02, 0x01, salt})
	return appendTLV(nil, 0x30, params)
}
