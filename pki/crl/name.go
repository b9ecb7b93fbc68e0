package crl

import (
	"errors"
	"fmt"
	"unicode/utf8"

	encoding_asn1 "encoding/asn1"

	"golang.org/x/crypto/cryptobyte"
	"golang.org/x/crypto/cryptobyte/asn1"
)

// checkName checks the DER of an issuer's name: not empty (RFC 5280, Section
// 5.1.2.3), every attribute a type and a string that is what its tag says.
func checkName(der []byte) error {
	input := cryptobyte.String(der)
	var names cryptobyte.String
	if !input.ReadASN1(&names, tagSequence) || !input.Empty() {
		return errors.New("the name is no SEQUENCE")
	}
	if names.Empty() {
		return errors.New("the name is empty")
	}
	for !names.Empty() {
		var set cryptobyte.String
		if !names.ReadASN1(&set, asn1.SET) || set.Empty() {
			return errors.New("a relative name is no SET of at least one attribute")
		}
		for !set.Empty() {
			if err := checkAttribute(&set); err != nil {
				return err
			}
		}
	}
	return nil
}

func checkAttribute(set *cryptobyte.String) error {
	var attribute, value cryptobyte.String
	var oid encoding_asn1.ObjectIdentifier
	var tag asn1.Tag
	if !set.ReadASN1(&attribute, tagSequence) || !attribute.ReadASN1ObjectIdentifier(&oid) ||
		!attribute.ReadAnyASN1(&value, &tag) || !attribute.Empty() {
		return errors.New("an attribute is not a type and a value")
	}
	if !validString(tag, value) {
		return fmt.Errorf("the value of attribute %s is no valid string", oid)
	}
	return nil
}

const tagBMPString = asn1.Tag(encoding_asn1.TagBMPString)
const tagNumericString = asn1.Tag(encoding_asn1.TagNumericString)

// validString reports whether the octets are what the tag of their string
// type allows, as far as crypto/x509 checks it.
func validString(tag asn1.Tag, value []byte) bool {
	switch tag {
	case asn1.UTF8String:
		return utf8.Valid(value)
	case asn1.PrintableString:
		return all(value, isPrintable)
	case asn1.IA5String:
		return all(value, func(b byte) bool { return b < 0x80 })
	case tagNumericString:
		return all(value, func(b byte) bool { return b == ' ' || '0' <= b && b <= '9' })
	case asn1.T61String:
		return true
	case tagBMPString:
		return validBMP(value)
	}
	return false
}

// isPrintable reports whether b is in PrintableString, or is * or &, which
// CAs write there.
func isPrintable(b byte) bool {
	switch {
	case 'a' <= b && b <= 'z', 'A' <= b && b <= 'Z', '0' <= b && b <= '9', '\'' <= b && b <= ')', '+' <= b && b <= '/':
		return true
	}
	return b == ' ' || b == ':' || b == '=' || b == '?' || b == '*' || b == '&'
}

// validBMP reports whether the octets are UCS-2 without surrogates and
// noncharacters.
func validBMP(value []byte) bool {
	if len(value)%2 != 0 {
		return false
	}
	for i := 0; i < len(value); i += 2 {
		point := uint16(value[i])<<8 | uint16(value[i+1])
		if point >= 0xfffe || 0xd800 <= point && point <= 0xdfff || 0xfdd0 <= point && point <= 0xfdef {
			return false
		}
	}
	return true
}

func all(value []byte, ok func(byte) bool) bool {
	for _, b := range value {
		if !ok(b) {
			return false
		}
	}
	return true
}
