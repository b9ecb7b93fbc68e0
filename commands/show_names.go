package commands

import (
	"encoding/asn1"
	"net"
	"net/netip"
	"unicode/utf8"

	"golang.org/x/crypto/cryptobyte"
	cbasn1 "golang.org/x/crypto/cryptobyte/asn1"
)

func contextTag(n uint8) cbasn1.Tag { return cbasn1.Tag(n).ContextSpecific() }

// generalNames writes the GeneralNames of RFC 5280, Section 4.2.1.6, each with
// its type in front. All of a certificate's are there: crypto/x509 leaves out
// the types that it does not know, such as a UPN.
func generalNames(in cryptobyte.String) (names []string, ok bool) {
	for !in.Empty() {
		var content cryptobyte.String
		var tag cbasn1.Tag
		if !in.ReadAnyASN1(&content, &tag) {
			return names, false
		}
		names = append(names, generalName(tag, content))
	}
	return names, true
}

// generalName writes one GeneralName: "dns:example.com". What cannot be read
// as its type is written in hexadecimal behind "#".
func generalName(tag cbasn1.Tag, content cryptobyte.String) string {
	switch tag {
	case contextTag(0).Constructed():
		return otherName(content)
	case contextTag(1):
		return "email:" + string(content)
	case contextTag(2):
		return "dns:" + string(content)
	case contextTag(3).Constructed():
		return "x400Address:#" + hexText(content)
	case contextTag(4).Constructed():
		return "directoryName:" + nameText(content)
	case contextTag(5).Constructed():
		return "ediPartyName:#" + hexText(content)
	case contextTag(6):
		return "uri:" + string(content)
	case contextTag(7):
		return "ip:" + addressText(content)
	case contextTag(8):
		return "registeredID:" + registeredID(content)
	}
	return "unknown:#" + hexText(content)
}

// addressText writes an iPAddress: of 4 or 16 octets, or twice as many for an
// address and a mask in a name constraint (RFC 5280, Section 4.2.1.10).
func addressText(octets []byte) string {
	if a, ok := netip.AddrFromSlice(octets); ok {
		return a.String()
	}
	if n := len(octets); n == 8 || n == 32 {
		address, _ := netip.AddrFromSlice(octets[:n/2])
		mask := net.IPMask(octets[n/2:])
		if ones, bits := mask.Size(); bits > 0 {
			return netip.PrefixFrom(address, ones).String()
		}
		return address.String() + "/" + mask.String()
	}
	return "#" + hexText(octets)
}

// oidUPN is Microsoft's userPrincipalName.
const oidUPN = "1.3.6.1.4.1.311.20.2.3"

// otherName writes the name with its type's object identifier; a UPN has a
// name of its own.
func otherName(content cryptobyte.String) string {
	whole := "otherName:#" + hexText(content)
	var oid asn1.ObjectIdentifier
	var explicit, value cryptobyte.String
	var tag cbasn1.Tag
	if !content.ReadASN1ObjectIdentifier(&oid) || !content.ReadASN1(&explicit, contextTag(0).Constructed()) || !content.Empty() {
		return whole
	}
	encoded := explicit
	if !explicit.ReadAnyASN1(&value, &tag) || !explicit.Empty() {
		return whole
	}
	text := "#" + hexText(encoded)
	switch tag {
	case cbasn1.UTF8String, cbasn1.IA5String, cbasn1.PrintableString:
		if utf8.Valid(value) {
			text = string(value)
		}
	}
	if oid.String() == oidUPN {
		return "upn:" + text
	}
	return "otherName:" + oid.String() + ":" + text
}

// registeredID writes the object identifier of which der is the content.
func registeredID(content []byte) string {
	if len(content) == 0 || len(content) > 127 {
		return "#" + hexText(content)
	}
	in := cryptobyte.String(append([]byte{byte(cbasn1.OBJECT_IDENTIFIER), byte(len(content))}, content...))
	var oid asn1.ObjectIdentifier
	if !in.ReadASN1ObjectIdentifier(&oid) {
		return "#" + hexText(content)
	}
	return oid.String()
}
