package chain

import (
	"bytes"
	"fmt"
	"strings"

	"golang.org/x/crypto/cryptobyte"
	"golang.org/x/crypto/cryptobyte/asn1"
)

// sameName reports whether two names in DER are the same without regard to
// case, white space and string type (a part of RFC 5280, Section 7.1).
// Names are otherwise compared octet by octet; this only finds a list of the
// same key, and says why a chain was not found.
func sameName(a, b []byte) bool {
	if bytes.Equal(a, b) {
		return true
	}
	foldedA, okA := foldName(a)
	foldedB, okB := foldName(b)
	return okA && okB && foldedA == foldedB
}

// foldName gives a name in a form in which equal names are equal.
func foldName(der []byte) (string, bool) {
	in := cryptobyte.String(der)
	var names cryptobyte.String
	if !in.ReadASN1(&names, asn1.SEQUENCE) || !in.Empty() {
		return "", false
	}
	var out strings.Builder
	for !names.Empty() {
		var set cryptobyte.String
		if !names.ReadASN1(&set, asn1.SET) {
			return "", false
		}
		out.WriteString("/")
		for !set.Empty() {
			var attribute, id, value cryptobyte.String
			var tag asn1.Tag
			if !set.ReadASN1(&attribute, asn1.SEQUENCE) || !attribute.ReadASN1(&id, asn1.OBJECT_IDENTIFIER) ||
				!attribute.ReadAnyASN1(&value, &tag) || !attribute.Empty() {
				return "", false
			}
			text := string(value)
			if tag == asn1.PrintableString || tag == asn1.UTF8String || tag == asn1.IA5String {
				tag = asn1.UTF8String
				text = strings.ToLower(strings.Join(strings.Fields(text), " "))
			}
			fmt.Fprintf(&out, "%x %d %q,", id, tag, text)
		}
	}
	return out.String(), true
}
