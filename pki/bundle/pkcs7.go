package bundle

import (
	"crypto/x509"
	encoding_asn1 "encoding/asn1"
	"encoding/pem"

	"golang.org/x/crypto/cryptobyte"
	"golang.org/x/crypto/cryptobyte/asn1"
)

// RFC 5652, Sections 4 and 5.1.
var (
	oidData       = encoding_asn1.ObjectIdentifier{1, 2, 840, 113549, 1, 7, 1}
	oidSignedData = encoding_asn1.ObjectIdentifier{1, 2, 840, 113549, 1, 7, 2}
)

// encodePKCS7 writes a SignedData without signers, which only carries
// certificates (RFC 5652, Section 5.1). They keep their order, leaf first,
// though DER sorts a SET OF: BER is what the standard asks for, and people
// look at the first.
func encodePKCS7(chain []*x509.Certificate) ([]byte, error) {
	tag0 := asn1.Tag(0).ContextSpecific().Constructed()
	var b cryptobyte.Builder
	b.AddASN1(asn1.SEQUENCE, func(b *cryptobyte.Builder) {
		b.AddASN1ObjectIdentifier(oidSignedData)
		b.AddASN1(tag0, func(b *cryptobyte.Builder) {
			b.AddASN1(asn1.SEQUENCE, func(b *cryptobyte.Builder) {
				b.AddASN1Uint64(1)
				b.AddASN1(asn1.SET, func(*cryptobyte.Builder) {}) // digestAlgorithms
				b.AddASN1(asn1.SEQUENCE, func(b *cryptobyte.Builder) { b.AddASN1ObjectIdentifier(oidData) })
				b.AddASN1(tag0, func(b *cryptobyte.Builder) {
					for _, cert := range chain {
						b.AddBytes(cert.Raw)
					}
				})
				b.AddASN1(asn1.SET, func(*cryptobyte.Builder) {}) // signerInfos
			})
		})
	})
	der, err := b.Bytes()
	if err != nil {
		return nil, err
	}
	return pem.EncodeToMemory(&pem.Block{Type: "PKCS7", Bytes: der}), nil // RFC 7468, Section 9
}
