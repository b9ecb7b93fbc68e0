package crl

import (
	"bytes"
	"errors"
	"fmt"
	"math"
	"time"

	"mutual/pki"

	encoding_asn1 "encoding/asn1"

	"golang.org/x/crypto/cryptobyte"
	"golang.org/x/crypto/cryptobyte/asn1"
)

const (
	tagSequence = asn1.SEQUENCE
	tagInteger  = asn1.INTEGER
)

// UnsupportedError is the error of a list that is well formed and cannot be
// applied as it stands: by RFC 5280, Section 6.3 it must not be read as if
// the part that is not understood were absent.
type UnsupportedError struct {
	// List is what was read, to be shown and to check who signed it. Its
	// entries say nothing of a certificate of its issuer.
	List *List
	// Feature says what is not supported.
	Feature string
}

// Error says what is not supported.
func (e *UnsupportedError) Error() string {
	return "the revocation list is not supported: " + e.Feature
}

// Parse reads a revocation list in DER and nothing after it. It accepts
// versions 1 and 2 and is strict: no stray element, no empty
// revokedCertificates, no extension twice. A list that cannot be applied is
// an *UnsupportedError; any other error means that it is malformed.
func Parse(der []byte) (*List, error) {
	if len(der) > math.MaxUint32 { // what the index can address
		return nil, errors.New("parsing a revocation list: it is larger than 4 GiB")
	}
	l := &List{raw: der}
	var u unsupported
	if err := l.parse(&u); err != nil {
		return nil, fmt.Errorf("parsing a revocation list: %w", err)
	}
	if u.feature != "" {
		return nil, &UnsupportedError{List: l, Feature: u.feature}
	}
	return l, nil
}

// unsupported collects the first thing in a list that is not supported.
type unsupported struct{ feature string }

func (u *unsupported) add(feature string) {
	if u.feature == "" {
		u.feature = feature
	}
}

// err is the error of a list that we make ourselves.
func (u *unsupported) err() error {
	if u.feature == "" {
		return nil
	}
	return &UnsupportedError{Feature: u.feature}
}

// parse reads CertificateList (RFC 5280, Section 5.1).
func (l *List) parse(u *unsupported) error {
	if err := l.parseList(); err != nil {
		return err
	}
	return l.parseTBS(l.tbs, u)
}

// parseList reads what stands around the tbsCertList.
func (l *List) parseList() error {
	input := cryptobyte.String(l.raw)
	var list, tbs, outer cryptobyte.String
	if !input.ReadASN1(&list, tagSequence) {
		return errors.New("it is no SEQUENCE")
	}
	if !input.Empty() {
		return errors.New("there is something after it")
	}
	if !list.ReadASN1Element(&tbs, tagSequence) {
		return errors.New("the tbsCertList is malformed")
	}
	if !list.ReadASN1Element(&outer, tagSequence) {
		return errors.New("the signatureAlgorithm is malformed")
	}
	if !list.ReadASN1BitStringAsBytes(&l.signature) {
		return errors.New("the signatureValue is malformed")
	}
	if !list.Empty() {
		return errors.New("there is something after the signatureValue")
	}
	l.tbs, l.algorithm = tbs, outer
	return nil
}

// parseTBS reads TBSCertList.
func (l *List) parseTBS(tbs cryptobyte.String, u *unsupported) error {
	if !tbs.ReadASN1(&tbs, tagSequence) {
		return errors.New("the tbsCertList is malformed")
	}
	if err := l.parseHead(&tbs); err != nil {
		return err
	}
	l.canonical = l.version == 2
	if tbs.PeekASN1Tag(tagSequence) {
		if err := l.parseEntries(&tbs, u); err != nil {
			return err
		}
	}
	if err := l.parseExtensions(&tbs, u); err != nil {
		return err
	}
	if !tbs.Empty() {
		return errors.New("there is something where nothing may be in the tbsCertList")
	}
	return nil
}

// parseHead reads what stands before revokedCertificates.
func (l *List) parseHead(tbs *cryptobyte.String) error {
	var err error
	if l.version, err = readVersion(tbs); err != nil {
		return err
	}
	var inner, issuer cryptobyte.String
	if !tbs.ReadASN1Element(&inner, tagSequence) {
		return errors.New("the signature algorithm of the tbsCertList is malformed")
	}
	// RFC 5280, Section 5.1.1.2: the two MUST be the same.
	if !bytes.Equal(inner, l.algorithm) {
		return errors.New("its two signature algorithms differ")
	}
	if err := checkAlgorithm(inner); err != nil {
		return err
	}
	if !tbs.ReadASN1Element(&issuer, tagSequence) {
		return errors.New("the issuer is malformed")
	}
	if err := checkName(issuer); err != nil {
		return fmt.Errorf("the issuer is malformed: %w", err)
	}
	l.issuer = issuer
	if l.thisUpdate, err = readTime(tbs); err != nil {
		return fmt.Errorf("thisUpdate: %w", err)
	}
	if tbs.PeekASN1Tag(asn1.UTCTime) || tbs.PeekASN1Tag(asn1.GeneralizedTime) {
		if l.nextUpdate, err = readTime(tbs); err != nil {
			return fmt.Errorf("nextUpdate: %w", err)
		}
	}
	return nil
}

// readVersion reads the optional version, which may only be v2 (RFC 5280,
// Section 5.1.2.1); without it the list is of version 1.
func readVersion(tbs *cryptobyte.String) (int, error) {
	if !tbs.PeekASN1Tag(tagInteger) {
		return 1, nil
	}
	var version int64
	if !tbs.ReadASN1Integer(&version) {
		return 0, errors.New("the version is malformed")
	}
	if version != 1 {
		return 0, fmt.Errorf("the version is written as %d, and only 1 (v2) may be", version)
	}
	return 2, nil
}

func checkAlgorithm(der cryptobyte.String) error {
	var oid encoding_asn1.ObjectIdentifier
	var parameters cryptobyte.String
	var tag asn1.Tag
	if !der.ReadASN1(&der, tagSequence) || !der.ReadASN1ObjectIdentifier(&oid) ||
		!der.Empty() && !der.ReadAnyASN1Element(&parameters, &tag) || !der.Empty() {
		return errors.New("the signature algorithm is malformed")
	}
	return nil
}

// readTime reads a Time in the one form that RFC 5280, Section 5.1.2.4
// allows: in seconds and in GMT. A GeneralizedTime before 2050 is read, too.
func readTime(in *cryptobyte.String) (time.Time, error) {
	var t time.Time
	var text cryptobyte.String
	element := *in
	switch {
	case in.PeekASN1Tag(asn1.UTCTime):
		if !in.ReadASN1(&text, asn1.UTCTime) || len(text) != len("060102150405Z") || text[12] != 'Z' ||
			!element.ReadASN1UTCTime(&t) {
			return t, errors.New("the UTCTime is malformed")
		}
	case in.PeekASN1Tag(asn1.GeneralizedTime):
		if !in.ReadASN1(&text, asn1.GeneralizedTime) || len(text) != len("20060102150405Z") || text[14] != 'Z' ||
			!element.ReadASN1GeneralizedTime(&t) {
			return t, errors.New("the GeneralizedTime is malformed")
		}
	default:
		return t, errors.New("it is no time")
	}
	return t.UTC(), nil
}

// parseEntries reads revokedCertificates, which is absent and not empty when
// there are none (RFC 5280, Section 5.1.2.6).
func (l *List) parseEntries(tbs *cryptobyte.String, u *unsupported) error {
	if !tbs.ReadASN1(&l.entries, tagSequence) {
		return errors.New("revokedCertificates is malformed")
	}
	if l.entries.Empty() {
		return errors.New("revokedCertificates is empty, and must then be absent")
	}
	// An entry has at least 20 octets: the first guess is never far too large.
	offsets := make([]uint32, 0, len(l.entries)/32+1)
	sorted, canonical := true, l.canonical
	var last []byte
	for at := 0; at < len(l.entries); {
		offsets = append(offsets, uint32(at))
		length, serial := canonicalEntry(l.entries[at:])
		if length == 0 || l.version == 1 {
			rest := l.entries[at:]
			_, feature, err := readEntry(&rest, l.version)
			if err != nil {
				return fmt.Errorf("entry %d: %w", len(offsets), err)
			}
			if feature != "" {
				u.add(feature)
			}
			length, serial, canonical = len(l.entries)-at-len(rest), serialOf(l.entries[at:]), false
		}
		if last != nil && sorted {
			order := compareIntegers(last, serial)
			sorted, canonical = order <= 0, canonical && order < 0
		}
		last = serial
		at += length
	}
	l.index, l.canonical = offsets, canonical
	if !sorted {
		sortBySerial(l.index, l.serialAt)
	}
	return nil
}

// readEntry reads one of revokedCertificates. The feature says what in it is
// not supported.
func readEntry(in *cryptobyte.String, version int) (e Entry, feature string, err error) {
	var entry, serial cryptobyte.String
	if !in.ReadASN1(&entry, tagSequence) {
		return e, "", errors.New("it is no SEQUENCE")
	}
	if !entry.ReadASN1(&serial, tagInteger) {
		return e, "", errors.New("the serial number is malformed")
	}
	if e.Serial, err = pki.SerialFromOctets(serial); err != nil {
		return e, "", err
	}
	if e.RevocationDate, err = readTime(&entry); err != nil {
		return e, "", fmt.Errorf("the revocation date: %w", err)
	}
	if entry.PeekASN1Tag(tagSequence) {
		if version == 1 {
			return e, "", errors.New("it has extensions, and the list is of version 1")
		}
		if feature, err = readEntryExtensions(&entry, &e); err != nil {
			return e, "", err
		}
	}
	if !entry.Empty() {
		return e, "", errors.New("there is something after it")
	}
	return e, feature, nil
}
