package probe

import (
	"encoding/asn1"
	"encoding/hex"
	"fmt"
	"strings"
	"unicode"
	"unicode/utf16"
	"unicode/utf8"

	"golang.org/x/crypto/cryptobyte"
	cryptobyte_asn1 "golang.org/x/crypto/cryptobyte/asn1"
)

// The bounds on what a report repeats of the peer's.
const (
	maxNames  = 100 // acceptable CAs
	maxChain  = 16  // certificates
	maxText   = 512 // characters of a name or a detail
	maxSerial = 64  // octets
)

// escape makes text of the peer's safe for a terminal and bounded: what is not
// printable, or no UTF-8, becomes \XX for each octet (RFC 4514, Section 2.4).
func escape(s string) string {
	var b strings.Builder
	for n := 0; s != ""; n++ {
		if n == maxText {
			return b.String() + "…"
		}
		r, size := utf8.DecodeRuneInString(s)
		if r == utf8.RuneError && size == 1 || !unicode.IsPrint(r) {
			for _, c := range []byte(s[:size]) {
				fmt.Fprintf(&b, `\%02X`, c)
			}
		} else {
			b.WriteString(s[:size])
		}
		s = s[size:]
	}
	return b.String()
}

// distinguishedName gives a DER Name as RFC 4514 text, the last RDN first;
// what cannot be decoded is # and its octets in hexadecimal.
func distinguishedName(der []byte) string {
	rdns, ok := parseName(der)
	if !ok {
		return escape("#" + hex.EncodeToString(der[:min(len(der), maxText)]))
	}
	var b strings.Builder
	for i := len(rdns) - 1; i >= 0 && b.Len() <= 4*maxText; i-- {
		b.WriteString(rdns[i])
		if i > 0 {
			b.WriteByte(',')
		}
	}
	return escape(b.String())
}

// parseName reads a Name into the text of each of its RDNs (RFC 5280,
// Section 4.1.2.4).
func parseName(der []byte) (rdns []string, ok bool) {
	input := cryptobyte.String(der)
	var sequence cryptobyte.String
	if !input.ReadASN1(&sequence, cryptobyte_asn1.SEQUENCE) || !input.Empty() {
		return nil, false
	}
	for !sequence.Empty() {
		var set cryptobyte.String
		if !sequence.ReadASN1(&set, cryptobyte_asn1.SET) {
			return nil, false
		}
		var attributes []string
		for !set.Empty() {
			text, ok := parseAttribute(&set)
			if !ok {
				return nil, false
			}
			attributes = append(attributes, text)
		}
		rdns = append(rdns, strings.Join(attributes, "+"))
	}
	return rdns, true
}

func parseAttribute(set *cryptobyte.String) (text string, ok bool) {
	var attribute, element, value cryptobyte.String
	var oid asn1.ObjectIdentifier
	var tag cryptobyte_asn1.Tag
	if !set.ReadASN1(&attribute, cryptobyte_asn1.SEQUENCE) ||
		!attribute.ReadASN1ObjectIdentifier(&oid) ||
		!attribute.ReadAnyASN1Element(&element, &tag) || !attribute.Empty() {
		return "", false
	}
	octets := element[:min(len(element), maxText)]
	if !element.ReadAnyASN1(&value, &tag) {
		return "", false
	}
	name := attributeName(oid.String())
	decoded, known := decodeString(tag, value)
	if name == "" || !known {
		if name == "" {
			name = oid.String()
		}
		return name + "=#" + hex.EncodeToString(octets), true
	}
	return name + "=" + escapeValue(decoded), true
}

// attributeName gives the short names of RFC 4514, Section 3, and two more
// that are common in certificates.
func attributeName(oid string) string {
	switch oid {
	case "2.5.4.3":
		return "CN"
	case "2.5.4.5":
		return "serialNumber"
	case "2.5.4.6":
		return "C"
	case "2.5.4.7":
		return "L"
	case "2.5.4.8":
		return "ST"
	case "2.5.4.9":
		return "STREET"
	case "2.5.4.10":
		return "O"
	case "2.5.4.11":
		return "OU"
	case "0.9.2342.19200300.100.1.1":
		return "UID"
	case "0.9.2342.19200300.100.1.25":
		return "DC"
	case "1.2.840.113549.1.9.1":
		return "emailAddress"
	}
	return ""
}

// decodeString reads the string types of a DirectoryString and IA5String.
// TeletexString is read as Latin-1, as everyone writes it.
func decodeString(tag cryptobyte_asn1.Tag, value []byte) (string, bool) {
	value = value[:min(len(value), 4*maxText)]
	switch tag {
	case cryptobyte_asn1.UTF8String, cryptobyte_asn1.PrintableString, cryptobyte_asn1.IA5String:
		return string(value), true
	case cryptobyte_asn1.T61String:
		runes := make([]rune, len(value))
		for i, c := range value {
			runes[i] = rune(c)
		}
		return string(runes), true
	case cryptobyte_asn1.Tag(30): // BMPString
		if len(value)%2 != 0 {
			return "", false
		}
		units := make([]uint16, 0, len(value)/2)
		for i := 0; i < len(value); i += 2 {
			units = append(units, uint16(value[i])<<8|uint16(value[i+1]))
		}
		return string(utf16.Decode(units)), true
	}
	return "", false
}

// escapeValue puts a backslash before what RFC 4514, Section 2.4, wants one.
func escapeValue(s string) string {
	var b strings.Builder
	for i, r := range []byte(s) {
		special := strings.IndexByte(`"+,;<>\`, r) >= 0
		edge := r == ' ' && (i == 0 || i == len(s)-1) || r == '#' && i == 0
		if special || edge {
			b.WriteByte('\\')
		}
		b.WriteByte(r)
	}
	return b.String()
}
