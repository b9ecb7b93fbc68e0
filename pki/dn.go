package pki

import "crypto/x509/pkix"

// What a name of a certificate may have before it is cut: crypto/x509 takes any
// number of attributes, and to write a name takes time by their square.
const (
	maxAttributes     = 64
	maxAttributeValue = 1024 // octets
)

// DistinguishedName writes the name of a certificate's subject or issuer as
// pkix.Name does (RFC 4514, Section 2). It takes a time that is bounded whoever
// made the certificate: what is too long ends with an ellipsis.
func DistinguishedName(n pkix.Name) string {
	var sequence pkix.RDNSequence
	for _, a := range n.Names {
		sequence = append(sequence, pkix.RelativeDistinguishedNameSET{a})
	}
	short, cut := shorten(sequence)
	if !cut {
		return n.String()
	}
	var name pkix.Name
	name.FillFromRDNSequence(&short)
	return name.String() + "…"
}

// RDNSequenceText is DistinguishedName for a name in the order of the certificate.
func RDNSequenceText(s pkix.RDNSequence) string {
	short, cut := shorten(s)
	if !cut {
		return s.String()
	}
	return short.String() + "…"
}

// shorten gives the beginning of a name, and whether it is not all of it.
func shorten(s pkix.RDNSequence) (short pkix.RDNSequence, cut bool) {
	left := maxAttributes
	for _, set := range s {
		if left == 0 {
			return short, true
		}
		if len(set) > left {
			set, cut = set[:left], true
		}
		left -= len(set)
		var kept pkix.RelativeDistinguishedNameSET
		for _, a := range set {
			if text, ok := a.Value.(string); ok && len(text) > maxAttributeValue {
				a.Value, cut = text[:maxAttributeValue], true
			}
			kept = append(kept, a)
		}
		short = append(short, kept)
	}
	return short, cut
}
