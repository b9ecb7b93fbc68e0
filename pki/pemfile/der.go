package pemfile

import (
	"errors"

	"golang.org/x/crypto/cryptobyte"
	"golang.org/x/crypto/cryptobyte/asn1"
)

var errUnknownDER = errors.New("it is DER, but no certificate, request, CRL or key")

// identify tells what a whole SEQUENCE is by the tags in it. Whoever parses it
// finds out whether it is well formed.
func identify(der []byte) (Item, error) {
	input := cryptobyte.String(der)
	var body cryptobyte.String
	if !input.ReadASN1(&body, asn1.SEQUENCE) {
		return Item{}, errUnknownDER
	}
	var label string
	outer := tags(body, 3)
	switch {
	case matches(outer, asn1.INTEGER, asn1.SEQUENCE, asn1.OCTET_STRING):
		label = labelPKCS8
	case matches(outer, asn1.INTEGER, asn1.OCTET_STRING):
		label = labelSEC1
	case matches(outer, asn1.INTEGER, asn1.INTEGER, asn1.INTEGER):
		label = labelPKCS1
	case matches(outer, asn1.INTEGER, asn1.SEQUENCE):
		return Item{}, errors.New("it is PKCS#12, which is not read here")
	case matches(outer, asn1.SEQUENCE, asn1.OCTET_STRING):
		label = "ENCRYPTED PRIVATE KEY"
	case matches(outer, asn1.SEQUENCE, asn1.BIT_STRING):
		label = "PUBLIC KEY"
	case matches(outer, asn1.SEQUENCE, asn1.SEQUENCE, asn1.BIT_STRING):
		label = signedLabel(body)
	}
	if label == "" {
		return Item{}, errUnknownDER
	}
	return Item{Type: typeOfLabel(label), DER: der, label: label}, nil
}

// signedLabel tells a certificate, a CRL and a request apart by what is
// signed: TBSCertificate and TBSCertList (RFC 5280, Sections 4.1 and 5.1) and
// CertificationRequestInfo (RFC 2986, Section 4.1).
func signedLabel(body cryptobyte.String) string {
	var signed cryptobyte.String
	if !body.ReadASN1(&signed, asn1.SEQUENCE) {
		return ""
	}
	if signed.PeekASN1Tag(asn1.Tag(0).Constructed().ContextSpecific()) {
		return "CERTIFICATE" // its version
	}
	if signed.PeekASN1Tag(asn1.INTEGER) {
		_ = signed.SkipASN1(asn1.INTEGER) // a damaged one leaves no tag below
	}
	switch inner := tags(signed, 3); {
	case matches(inner, asn1.SEQUENCE, asn1.SEQUENCE, asn1.SEQUENCE):
		return "CERTIFICATE" // version 1
	case matches(inner, asn1.SEQUENCE, asn1.SEQUENCE, asn1.UTCTime),
		matches(inner, asn1.SEQUENCE, asn1.SEQUENCE, asn1.GeneralizedTime):
		return "X509 CRL"
	case matches(inner, asn1.SEQUENCE, asn1.SEQUENCE):
		return "CERTIFICATE REQUEST"
	}
	return ""
}

// tags returns the tags of the first n elements at most.
func tags(s cryptobyte.String, n int) []asn1.Tag {
	var out []asn1.Tag
	for range n {
		var element cryptobyte.String
		var tag asn1.Tag
		if !s.ReadAnyASN1(&element, &tag) {
			break
		}
		out = append(out, tag)
	}
	return out
}

// matches reports whether got begins with want.
func matches(got []asn1.Tag, want ...asn1.Tag) bool {
	if len(got) < len(want) {
		return false
	}
	for i, tag := range want {
		if got[i] != tag {
			return false
		}
	}
	return true
}
