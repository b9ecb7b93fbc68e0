package authority

import (
	"bytes"
	"crypto"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/x509"
	"crypto/x509/pkix"
	"errors"
	"fmt"
	"net"
	"time"

	encoding_asn1 "encoding/asn1"

	"golang.org/x/crypto/cryptobyte"
	"golang.org/x/crypto/cryptobyte/asn1"

	"mutual/pki/keys"
)

// x509.CreateCertificate encodes by reflection, which is a third of what a
// batch would cost. The certificates of leaves, which have few extensions, are
// encoded here: to the same octets, as the tests show of every kind. Those of
// CAs, of which there are few, are left to it.

// The object identifiers of a leaf's certificate.
var (
	oidExtKeyUsage      = encoding_asn1.ObjectIdentifier{2, 5, 29, 37}
	oidKeyUsage         = encoding_asn1.ObjectIdentifier{2, 5, 29, 15}
	oidBasicConstraints = encoding_asn1.ObjectIdentifier{2, 5, 29, 19}
	oidSubjectKeyID     = encoding_asn1.ObjectIdentifier{2, 5, 29, 14}
	oidAuthorityKeyID   = encoding_asn1.ObjectIdentifier{2, 5, 29, 35}
	oidSubjectAltName   = encoding_asn1.ObjectIdentifier{2, 5, 29, 17}
	oidCRLPoints        = encoding_asn1.ObjectIdentifier{2, 5, 29, 31}
	oidServerAuth       = encoding_asn1.ObjectIdentifier{1, 3, 6, 1, 5, 5, 7, 3, 1}
	oidClientAuth       = encoding_asn1.ObjectIdentifier{1, 3, 6, 1, 5, 5, 7, 3, 2}
	oidECPublicKey      = encoding_asn1.ObjectIdentifier{1, 2, 840, 10045, 2, 1}
	oidP256             = encoding_asn1.ObjectIdentifier{1, 2, 840, 10045, 3, 1, 7}
)

// signLeaf signs the certificate of a leaf and gives its DER.
func signLeaf(t, issuer *x509.Certificate, signer crypto.Signer) ([]byte, error) {
	algorithm, err := keys.AlgorithmIdentifier(signer.Public())
	if err != nil {
		return nil, err
	}
	tbs, err := encodeLeaf(t, issuer, algorithm)
	if err != nil {
		return nil, fmt.Errorf("encoding the certificate: %w", err)
	}
	signature, err := keys.Sign(signer, tbs)
	if err != nil {
		return nil, err
	}
	// A fault while signing can give the key away.
	if err := keys.Verify(signer.Public(), tbs, signature); err != nil {
		return nil, fmt.Errorf("checking what was signed: %w", err)
	}
	b := cryptobyte.NewBuilder(make([]byte, 0, len(tbs)+len(algorithm)+len(signature)+16))
	b.AddASN1(asn1.SEQUENCE, func(b *cryptobyte.Builder) {
		b.AddBytes(tbs)
		b.AddBytes(algorithm)
		b.AddASN1BitString(signature)
	})
	return b.Bytes()
}

// encodeLeaf encodes TBSCertificate (RFC 5280, Section 4.1).
func encodeLeaf(t, issuer *x509.Certificate, algorithm []byte) ([]byte, error) {
	public, err := encodePublicKey(t.PublicKey)
	if err != nil {
		return nil, err
	}
	b := cryptobyte.NewBuilder(make([]byte, 0, 1024))
	b.AddASN1(asn1.SEQUENCE, func(b *cryptobyte.Builder) {
		b.AddASN1(asn1.Tag(0).Constructed().ContextSpecific(), func(b *cryptobyte.Builder) { b.AddASN1Int64(2) }) // v3
		b.AddASN1BigInt(t.SerialNumber)
		b.AddBytes(algorithm)
		b.AddBytes(issuer.RawSubject)
		b.AddASN1(asn1.SEQUENCE, func(b *cryptobyte.Builder) {
			addTime(b, t.NotBefore)
			addTime(b, t.NotAfter)
		})
		addSubject(b, t.Subject)
		b.AddBytes(public)
		b.AddASN1(asn1.Tag(3).Constructed().ContextSpecific(), func(b *cryptobyte.Builder) {
			b.AddASN1(asn1.SEQUENCE, func(b *cryptobyte.Builder) { addExtensions(b, t, issuer) })
		})
	})
	return b.Bytes()
}

// encodePublicKey encodes SubjectPublicKeyInfo.
func encodePublicKey(public crypto.PublicKey) ([]byte, error) {
	key, ok := public.(*ecdsa.PublicKey)
	if !ok || key.Curve != elliptic.P256() {
		return x509.MarshalPKIXPublicKey(public)
	}
	point, err := key.Bytes()
	if err != nil {
		return nil, err
	}
	b := cryptobyte.NewBuilder(make([]byte, 0, 128))
	b.AddASN1(asn1.SEQUENCE, func(b *cryptobyte.Builder) {
		b.AddASN1(asn1.SEQUENCE, func(b *cryptobyte.Builder) {
			b.AddASN1ObjectIdentifier(oidECPublicKey)
			b.AddASN1ObjectIdentifier(oidP256)
		})
		b.AddASN1BitString(point)
	})
	return b.Bytes()
}

// addTime: UTCTime through 2049, then GeneralizedTime (RFC 5280, Section
// 4.1.2.5).
func addTime(b *cryptobyte.Builder, t time.Time) {
	if t = t.UTC(); t.Year() < 2050 {
		b.AddASN1UTCTime(t)
		return
	}
	b.AddASN1GeneralizedTime(t)
}

// addSubject encodes the attributes that profile.Subject has, in the order in
// which pkix.Name does.
func addSubject(b *cryptobyte.Builder, name pkix.Name) {
	b.AddASN1(asn1.SEQUENCE, func(b *cryptobyte.Builder) {
		for _, a := range []struct {
			arc    int // below 2.5.4
			values []string
		}{{6, name.Country}, {8, name.Province}, {7, name.Locality}, {10, name.Organization}, {11, name.OrganizationalUnit}, {3, []string{name.CommonName}}} {
			if len(a.values) == 0 || a.values[0] == "" {
				continue
			}
			b.AddASN1(asn1.SET, func(b *cryptobyte.Builder) {
				b.AddASN1(asn1.SEQUENCE, func(b *cryptobyte.Builder) {
					b.AddASN1ObjectIdentifier(encoding_asn1.ObjectIdentifier{2, 5, 4, a.arc})
					tag := asn1.UTF8String
					if isPrintable(a.values[0]) {
						tag = asn1.PrintableString
					}
					b.AddASN1(tag, func(b *cryptobyte.Builder) { b.AddBytes([]byte(a.values[0])) })
				})
			})
		}
	})
}

// isPrintable reports whether a text fits a PrintableString (X.680, Section
// 41.4).
func isPrintable(s string) bool {
	for _, c := range []byte(s) {
		switch {
		case 'a' <= c && c <= 'z', 'A' <= c && c <= 'Z', '0' <= c && c <= '9', '\'' <= c && c <= ')', '+' <= c && c <= '/':
		case c == ' ', c == ':', c == '=', c == '?':
		default:
			return false
		}
	}
	return true
}

// addExtensions adds those of a leaf, in the order of crypto/x509.
func addExtensions(b *cryptobyte.Builder, t, issuer *x509.Certificate) {
	addExtension(b, oidKeyUsage, true, func(b *cryptobyte.Builder) { addKeyUsage(b, t.KeyUsage) })
	addExtension(b, oidExtKeyUsage, false, func(b *cryptobyte.Builder) {
		b.AddASN1(asn1.SEQUENCE, func(b *cryptobyte.Builder) {
			for _, usage := range t.ExtKeyUsage {
				switch usage {
				case x509.ExtKeyUsageServerAuth:
					b.AddASN1ObjectIdentifier(oidServerAuth)
				case x509.ExtKeyUsageClientAuth:
					b.AddASN1ObjectIdentifier(oidClientAuth)
				default:
					b.SetError(errors.New("an extended key usage that no leaf has"))
				}
			}
		})
	})
	addExtension(b, oidBasicConstraints, true, func(b *cryptobyte.Builder) { b.AddASN1(asn1.SEQUENCE, func(*cryptobyte.Builder) {}) })
	addExtension(b, oidSubjectKeyID, false, func(b *cryptobyte.Builder) { b.AddASN1OctetString(t.SubjectKeyId) })
	addExtension(b, oidAuthorityKeyID, false, func(b *cryptobyte.Builder) {
		b.AddASN1(asn1.SEQUENCE, func(b *cryptobyte.Builder) { addTagged(b, 0, issuer.SubjectKeyId) })
	})
	if len(t.DNSNames)+len(t.EmailAddresses)+len(t.IPAddresses)+len(t.URIs) > 0 {
		emptySubject := t.Subject.CommonName == "" && len(t.Subject.ToRDNSequence()) == 0
		addExtension(b, oidSubjectAltName, emptySubject, func(b *cryptobyte.Builder) { // RFC 5280, Section 4.1.2.6
			b.AddASN1(asn1.SEQUENCE, func(b *cryptobyte.Builder) { addNames(b, t) })
		})
	}
	if len(t.CRLDistributionPoints) > 0 {
		addExtension(b, oidCRLPoints, false, func(b *cryptobyte.Builder) { addPoints(b, t.CRLDistributionPoints) })
	}
}

func addExtension(b *cryptobyte.Builder, id encoding_asn1.ObjectIdentifier, critical bool, value func(*cryptobyte.Builder)) {
	b.AddASN1(asn1.SEQUENCE, func(b *cryptobyte.Builder) {
		b.AddASN1ObjectIdentifier(id)
		if critical {
			b.AddASN1Boolean(true)
		}
		b.AddASN1(asn1.OCTET_STRING, value)
	})
}

// addKeyUsage encodes a BIT STRING of named bits, of which the trailing zeros
// are left out (X.690, Section 11.2.2).
func addKeyUsage(b *cryptobyte.Builder, usage x509.KeyUsage) {
	if usage&^(x509.KeyUsageDigitalSignature|x509.KeyUsageKeyEncipherment) != 0 || usage == 0 {
		b.SetError(errors.New("a key usage that no leaf has"))
		return
	}
	bits, unused := byte(0x80), byte(7) // digitalSignature is bit 0, keyEncipherment bit 2
	if usage&x509.KeyUsageKeyEncipherment != 0 {
		bits, unused = bits|0x20, 5
	}
	b.AddASN1(asn1.BIT_STRING, func(b *cryptobyte.Builder) { b.AddBytes([]byte{unused, bits}) })
}

// addNames adds the GeneralNames (RFC 5280, Section 4.2.1.6).
func addNames(b *cryptobyte.Builder, t *x509.Certificate) {
	for _, host := range t.DNSNames {
		addTagged(b, 2, []byte(host))
	}
	for _, mailbox := range t.EmailAddresses {
		addTagged(b, 1, []byte(mailbox))
	}
	for _, address := range t.IPAddresses {
		addTagged(b, 7, shortIP(address))
	}
	for _, uri := range t.URIs {
		addTagged(b, 6, []byte(uri.String()))
	}
}

// addPoints adds DistributionPoints with a full name, a URI each (RFC 5280,
// Section 4.2.1.13).
func addPoints(b *cryptobyte.Builder, urls []string) {
	b.AddASN1(asn1.SEQUENCE, func(b *cryptobyte.Builder) {
		for _, url := range urls {
			b.AddASN1(asn1.SEQUENCE, func(b *cryptobyte.Builder) {
				b.AddASN1(asn1.Tag(0).Constructed().ContextSpecific(), func(b *cryptobyte.Builder) {
					b.AddASN1(asn1.Tag(0).Constructed().ContextSpecific(), func(b *cryptobyte.Builder) { addTagged(b, 6, []byte(url)) })
				})
			})
		}
	})
}

// addTagged adds octets with a context-specific tag; every text here is an
// IA5String, of which pki.SAN and profile.CheckCRLURL make sure.
func addTagged(b *cryptobyte.Builder, tag asn1.Tag, octets []byte) {
	if tag != 0 && tag != 7 && bytes.ContainsFunc(octets, func(r rune) bool { return r > 0x7f }) {
		b.SetError(errors.New("a name that is not in ASCII"))
		return
	}
	b.AddASN1(tag.ContextSpecific(), func(b *cryptobyte.Builder) { b.AddBytes(octets) })
}

func shortIP(a net.IP) []byte {
	if four := a.To4(); four != nil {
		return four
	}
	return a
}
