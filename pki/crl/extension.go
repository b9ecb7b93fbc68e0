package crl

import (
	"bytes"
	"errors"
	"fmt"
	"math/big"

	"mutual/pki"

	encoding_asn1 "encoding/asn1"

	"golang.org/x/crypto/cryptobyte"
	"golang.org/x/crypto/cryptobyte/asn1"
)

// The identifiers of the extensions that we know, as content octets: a list
// has one per entry, so they are compared without being parsed.
const (
	idReasonCode        = "\x55\x1d\x15" // 2.5.29.21, RFC 5280, Section 5.3.1
	idInvalidityDate    = "\x55\x1d\x18" // 2.5.29.24, RFC 5280, Section 5.3.2
	idCertificateIssuer = "\x55\x1d\x1d" // 2.5.29.29, RFC 5280, Section 5.3.3
	idAuthorityKeyID    = "\x55\x1d\x23" // 2.5.29.35, RFC 5280, Section 5.2.1
	idNumber            = "\x55\x1d\x14" // 2.5.29.20, RFC 5280, Section 5.2.3
	idDelta             = "\x55\x1d\x1b" // 2.5.29.27, RFC 5280, Section 5.2.4
	idScope             = "\x55\x1d\x1c" // 2.5.29.28, RFC 5280, Section 5.2.5
)

// maxNumber is the length of the longest CRL number (RFC 5280, Section 5.2.3).
const maxNumber = 20

// extension is one of a list or of an entry; id is content octets.
type extension struct {
	id       []byte
	critical bool
	value    cryptobyte.String
}

// readExtensions reads the content of an Extensions and calls each. It
// refuses an empty one (RFC 5280, Section 5.1.2.7) and an extension that is
// there twice (Section 4.2).
func readExtensions(in cryptobyte.String, each func(extension) error) error {
	if in.Empty() {
		return errors.New("the extensions are empty, and must then be absent")
	}
	seen := make([][]byte, 0, 4)
	for !in.Empty() {
		x, err := readExtension(&in)
		if err != nil {
			return err
		}
		for _, id := range seen {
			if bytes.Equal(id, x.id) {
				return fmt.Errorf("the extension %s is there twice", oidText(x.id))
			}
		}
		if len(seen) == maxExtensions {
			return fmt.Errorf("there are more than %d extensions", maxExtensions)
		}
		seen = append(seen, x.id)
		if err := each(x); err != nil {
			return err
		}
	}
	return nil
}

// maxExtensions bounds the search for doubles; real lists have up to six.
const maxExtensions = 64

func readExtension(in *cryptobyte.String) (x extension, err error) {
	var ext, id cryptobyte.String
	if !in.ReadASN1(&ext, tagSequence) || !ext.ReadASN1(&id, asn1.OBJECT_IDENTIFIER) {
		return x, errors.New("an extension has no identifier")
	}
	if !isKnown(id) && oidText(id) == "" {
		return x, errors.New("the identifier of an extension is malformed")
	}
	x.id = id
	if ext.PeekASN1Tag(asn1.BOOLEAN) {
		// DER leaves out a default, so what is written is TRUE.
		if !ext.ReadASN1Boolean(&x.critical) || !x.critical {
			return x, fmt.Errorf("the extension %s: its criticality is malformed", oidText(id))
		}
	}
	if !ext.ReadASN1(&x.value, asn1.OCTET_STRING) || !ext.Empty() {
		return x, fmt.Errorf("the extension %s is malformed", oidText(id))
	}
	return x, nil
}

func isKnown(id []byte) bool {
	switch string(id) {
	case idReasonCode, idInvalidityDate, idCertificateIssuer, idAuthorityKeyID, idNumber, idDelta, idScope:
		return true
	}
	return false
}

// oidText gives the content octets of an identifier as text, "" if malformed.
func oidText(id []byte) string {
	element := cryptobyte.String(appendTLV(nil, byte(asn1.OBJECT_IDENTIFIER), id))
	var oid encoding_asn1.ObjectIdentifier
	if !element.ReadASN1ObjectIdentifier(&oid) {
		return ""
	}
	return oid.String()
}

// readEntryExtensions reads crlEntryExtensions into the entry.
func readEntryExtensions(in *cryptobyte.String, e *Entry) (feature string, err error) {
	var extensions cryptobyte.String
	if !in.ReadASN1(&extensions, tagSequence) {
		return "", errors.New("the extensions are malformed")
	}
	err = readExtensions(extensions, func(x extension) error {
		switch string(x.id) {
		case idReasonCode:
			e.Reason, err = readReason(x.value)
			return err
		case idInvalidityDate: // says nothing of whether it is revoked
		case idCertificateIssuer:
			feature = "it is indirect (certificateIssuer)"
		default:
			if x.critical {
				feature = "an entry has the unknown critical extension " + oidText(x.id)
			}
		}
		return nil
	})
	return feature, err
}

func readReason(value cryptobyte.String) (pki.Reason, error) {
	var code int
	if !value.ReadASN1Enum(&code) || !value.Empty() {
		return 0, errors.New("the reason code is malformed")
	}
	if code < 0 || code > 0xff || !pki.Reason(code).Valid() {
		return 0, fmt.Errorf("the reason code %d does not exist", code)
	}
	return pki.Reason(code), nil
}

// parseExtensions reads the optional crlExtensions.
func (l *List) parseExtensions(tbs *cryptobyte.String, u *unsupported) error {
	var wrapped, extensions cryptobyte.String
	var present bool
	if !tbs.ReadOptionalASN1(&wrapped, &present, asn1.Tag(0).Constructed().ContextSpecific()) {
		return errors.New("the extensions are malformed")
	}
	if !present {
		return nil
	}
	if l.version == 1 {
		return errors.New("it has extensions and is of version 1")
	}
	if !wrapped.ReadASN1(&extensions, tagSequence) || !wrapped.Empty() {
		return errors.New("the extensions are malformed")
	}
	return readExtensions(extensions, func(x extension) error { return l.setExtension(x, u) })
}

func (l *List) setExtension(x extension, u *unsupported) (err error) {
	switch string(x.id) {
	case idAuthorityKeyID:
		if x.critical {
			return errors.New("the authority key identifier is critical")
		}
		l.keyID, err = readKeyID(x.value)
	case idNumber:
		l.number, err = readNumber(x.value)
	case idDelta:
		u.add("it is a delta list")
	case idScope:
		l.scope, err = readScope(x.value, u)
	default:
		if x.critical {
			u.add("it has the unknown critical extension " + oidText(x.id))
		}
	}
	return err
}

// readKeyID reads AuthorityKeyIdentifier (RFC 5280, Section 4.2.1.1), of which
// only the key identifier is of interest.
func readKeyID(value cryptobyte.String) ([]byte, error) {
	malformed := errors.New("the authority key identifier is malformed")
	var content, keyID cryptobyte.String
	var present bool
	if !value.ReadASN1(&content, tagSequence) || !value.Empty() ||
		!content.ReadOptionalASN1(&keyID, &present, asn1.Tag(0).ContextSpecific()) {
		return nil, malformed
	}
	var issuer, serial cryptobyte.String
	var hasIssuer, hasSerial bool
	if !content.ReadOptionalASN1(&issuer, &hasIssuer, asn1.Tag(1).ContextSpecific().Constructed()) ||
		!content.ReadOptionalASN1(&serial, &hasSerial, asn1.Tag(2).ContextSpecific()) ||
		hasIssuer != hasSerial || !content.Empty() {
		return nil, malformed
	}
	return keyID, nil
}

func readNumber(value cryptobyte.String) (*big.Int, error) {
	n := new(big.Int)
	if !value.ReadASN1Integer(n) || !value.Empty() {
		return nil, errors.New("the CRL number is malformed")
	}
	if n.Sign() < 0 || n.BitLen() >= 8*maxNumber {
		return nil, fmt.Errorf("the CRL number is negative or longer than %d octets", maxNumber)
	}
	return n, nil
}
