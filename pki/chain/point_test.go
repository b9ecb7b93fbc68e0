package chain

import (
	"bytes"
	"crypto/x509"
	"crypto/x509/pkix"
	"testing"

	"golang.org/x/crypto/cryptobyte"
	"golang.org/x/crypto/cryptobyte/asn1"
)

// FuzzPoints reads anything as the cRLDistributionPoints of a certificate. Each
// name that comes out is one whole element, and stands in what was read or
// under the name of the issuer.
func FuzzPoints(f *testing.F) {
	uri := func(s string) []byte {
		return element(asn1.Tag(6).ContextSpecific(), []byte(s))
	}
	point := func(parts ...[]byte) []byte { return element(asn1.SEQUENCE, parts...) }
	named := func(parts ...[]byte) []byte {
		return element(asn1.Tag(0).ContextSpecific().Constructed(), element(asn1.Tag(0).ContextSpecific().Constructed(), parts...))
	}
	relative := element(asn1.Tag(0).ContextSpecific().Constructed(), element(asn1.Tag(1).ContextSpecific().Constructed(), point([]byte("\x06\x03\x55\x04\x03"), []byte("\x0c\x01a"))))
	reasons := element(asn1.Tag(1).ContextSpecific(), []byte{1, 6})
	other := element(asn1.Tag(2).ContextSpecific().Constructed(), uri("http://other"))
	for _, points := range [][]byte{
		nil, point(), point(named(uri("http://crl.example/1"))), point(named(uri("a"), uri("b")), reasons),
		point(relative), point(named(uri("a")), other), append(point(named(uri("a")), other), point(named(uri("b")))...),
	} {
		f.Add(element(asn1.SEQUENCE, points))
	}
	issuer := element(asn1.SEQUENCE, element(asn1.SET, element(asn1.SEQUENCE, []byte("\x06\x03\x55\x04\x03\x0c\x02CA"))))
	f.Fuzz(func(t *testing.T, value []byte) {
		c := &x509.Certificate{RawIssuer: issuer, Extensions: []pkix.Extension{{Id: oidCRLPoints, Value: value}}}
		set, err := pointsOf(c)
		if err != nil && set != nil {
			t.Fatalf("both names and an error: %v", err)
		}
		for name := range set {
			in := cryptobyte.String(name)
			var general cryptobyte.String
			var tag asn1.Tag
			if !in.ReadAnyASN1Element(&general, &tag) || !in.Empty() {
				t.Fatalf("%x is not one element", name)
			}
			if !bytes.Contains(value, []byte(name)) && !bytes.Contains([]byte(name), issuer[2:]) {
				t.Fatalf("%x comes from nowhere", name)
			}
		}
	})
}

func element(tag asn1.Tag, parts ...[]byte) []byte {
	var b cryptobyte.Builder
	b.AddASN1(tag, func(b *cryptobyte.Builder) { b.AddBytes(bytes.Join(parts, nil)) })
	return b.BytesOrPanic()
}
