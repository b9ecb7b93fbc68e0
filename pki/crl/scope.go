package crl

import (
	"bytes"
	"errors"
	"slices"

	"golang.org/x/crypto/cryptobyte"
	"golang.org/x/crypto/cryptobyte/asn1"
)

// Scope says which certificates of its issuer a list covers: all of them if
// it is zero (RFC 5280, Section 5.2.5).
type Scope struct {
	OnlyUserCerts bool
	OnlyCACerts   bool
	// Point is not nil if the list covers only certificates that name this
	// distribution point.
	Point *DistributionPointName
}

// DistributionPointName is where a list is found (RFC 5280, Section
// 4.2.1.13): GeneralNames, or a part of a name to be added to the issuer's.
type DistributionPointName struct {
	FullName [][]byte // the DER of each GeneralName
	Relative []byte   // the content of the RelativeDistinguishedName
}

var errScope = errors.New("the issuing distribution point is malformed")

// readScope reads IssuingDistributionPoint.
func readScope(value cryptobyte.String, u *unsupported) (s Scope, err error) {
	var content cryptobyte.String
	// Section 5.2.5: an empty SEQUENCE is not allowed.
	if !value.ReadASN1(&content, tagSequence) || !value.Empty() || content.Empty() {
		return s, errScope
	}
	var point, reasons cryptobyte.String
	var hasPoint, hasReasons, attributes, indirect bool
	if !content.ReadOptionalASN1(&point, &hasPoint, asn1.Tag(0).ContextSpecific().Constructed()) ||
		!readFlag(&content, 1, &s.OnlyUserCerts) ||
		!readFlag(&content, 2, &s.OnlyCACerts) ||
		!content.ReadOptionalASN1(&reasons, &hasReasons, asn1.Tag(3).ContextSpecific()) ||
		!readFlag(&content, 4, &indirect) ||
		!readFlag(&content, 5, &attributes) || !content.Empty() {
		return s, errScope
	}
	if s.OnlyUserCerts && s.OnlyCACerts || attributes && (s.OnlyUserCerts || s.OnlyCACerts) {
		return s, errors.New("the issuing distribution point holds only two kinds of certificates at once")
	}
	if hasPoint {
		if s.Point, err = ReadDistributionPointName(point); err != nil {
			return s, errScope
		}
	}
	switch {
	case indirect:
		u.add("it is indirect")
	case hasReasons:
		u.add("it covers only some reasons (onlySomeReasons)")
	case attributes:
		u.add("it covers only attribute certificates")
	}
	return s, nil
}

// readFlag reads a BOOLEAN DEFAULT FALSE with the context-specific tag; DER
// leaves out FALSE.
func readFlag(in *cryptobyte.String, tag uint8, out *bool) bool {
	var content cryptobyte.String
	if !in.ReadOptionalASN1(&content, out, asn1.Tag(tag).ContextSpecific()) {
		return false
	}
	return !*out || len(content) == 1 && content[0] == 0xff
}

// ReadDistributionPointName reads the CHOICE DistributionPointName, as it
// stands in a list and in a certificate's cRLDistributionPoints.
func ReadDistributionPointName(der []byte) (*DistributionPointName, error) {
	in := cryptobyte.String(der)
	name := new(DistributionPointName)
	var content cryptobyte.String
	full, relative := asn1.Tag(0).ContextSpecific().Constructed(), asn1.Tag(1).ContextSpecific().Constructed()
	switch {
	case in.PeekASN1Tag(full) && in.ReadASN1(&content, full):
		for !content.Empty() {
			var general cryptobyte.String
			var tag asn1.Tag
			if !content.ReadAnyASN1Element(&general, &tag) {
				return nil, errors.New("the distribution point's name is malformed")
			}
			name.FullName = append(name.FullName, general)
		}
	case in.PeekASN1Tag(relative) && in.ReadASN1(&content, relative):
		name.Relative = content
	}
	if !in.Empty() || len(name.FullName) == 0 && len(name.Relative) == 0 {
		return nil, errors.New("the distribution point's name is malformed")
	}
	return name, nil
}

// Equal reports whether two lists with these scopes cover the same certificates.
func (s Scope) Equal(other Scope) bool {
	if s.OnlyUserCerts != other.OnlyUserCerts || s.OnlyCACerts != other.OnlyCACerts || (s.Point == nil) != (other.Point == nil) {
		return false
	}
	return s.Point == nil || bytes.Equal(s.Point.Relative, other.Point.Relative) && slices.EqualFunc(s.Point.FullName, other.Point.FullName, bytes.Equal)
}
