package pki

import (
	"crypto/x509/pkix"
	"encoding/asn1"
	"strings"
	"testing"
)

func attributes(n int, value string) (out pkix.RDNSequence) {
	for range n {
		out = append(out, pkix.RelativeDistinguishedNameSET{{Type: asn1.ObjectIdentifier{2, 5, 4, 3}, Value: value}})
	}
	return out
}

// A name is written as crypto/x509 does, and one without an end is cut.
func TestDistinguishedName(t *testing.T) {
	plain := pkix.RDNSequence{
		{{Type: asn1.ObjectIdentifier{2, 5, 4, 6}, Value: "DE"}},
		{{Type: asn1.ObjectIdentifier{2, 5, 4, 3}, Value: "a, b"}, {Type: asn1.ObjectIdentifier{1, 2, 3}, Value: "x"}},
	}
	var name pkix.Name
	name.FillFromRDNSequence(&plain)
	if got := DistinguishedName(name); got != name.String() || got != `CN=a\, b,C=DE,1.2.3=#130178` {
		t.Errorf("%q", got)
	}
	if got := RDNSequenceText(plain); got != plain.String() {
		t.Errorf("%q", got)
	}
	for what, long := range map[string]pkix.RDNSequence{
		"many attributes": attributes(100_000, "a"),
		"a long value":    attributes(1, strings.Repeat("a", 100_000)),
		"one long set": {func() (set pkix.RelativeDistinguishedNameSET) {
			for _, one := range attributes(100_000, "a") {
				set = append(set, one...)
			}
			return set
		}()},
	} {
		var name pkix.Name
		name.FillFromRDNSequence(&long)
		for _, got := range []string{DistinguishedName(name), RDNSequenceText(long)} {
			if len(got) > maxAttributes*(maxAttributeValue+16) || !strings.HasSuffix(got, "…") || !strings.HasPrefix(got, "CN=a") {
				t.Errorf("%s: %.40q, %d octets", what, got, len(got))
			}
		}
	}
}
