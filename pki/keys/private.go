package keys

import (
	"bytes"
	"crypto"
	"crypto/ecdsa"
	"crypto/ed25519"
	"crypto/elliptic"
	"crypto/rsa"
	"crypto/x509"
	encoding_asn1 "encoding/asn1"
	"errors"
	"fmt"

	"golang.org/x/crypto/cryptobyte"
	"golang.org/x/crypto/cryptobyte/asn1"
)

// maxKeyDER bounds the encoding of a private key. One of 8192 bits, encrypted,
// has less than 5 KiB; attributes may make it longer.
const maxKeyDER = 64 << 10

// MarshalPKCS8 encodes a private key as PrivateKeyInfo (RFC 5958, Section 2).
// A signer whose key cannot leave it is an error.
func MarshalPKCS8(key crypto.Signer) ([]byte, error) {
	if key, ok := key.(*ecdsa.PrivateKey); ok && key.Curve == elliptic.P256() {
		return marshalP256(key)
	}
	der, err := x509.MarshalPKCS8PrivateKey(key)
	if err != nil {
		return nil, fmt.Errorf("encoding a private key: %w", err)
	}
	return der, nil
}

// marshalP256 gives the octets of x509.MarshalPKCS8PrivateKey, which encodes by
// reflection, in a tenth of its time: an ECPrivateKey (RFC 5915, Section 3)
// with its public key and without its parameters, which stand outside.
func marshalP256(key *ecdsa.PrivateKey) ([]byte, error) {
	private, err := key.Bytes()
	if err != nil {
		return nil, fmt.Errorf("encoding a private key: %w", err)
	}
	point, err := key.PublicKey.Bytes()
	if err != nil {
		return nil, fmt.Errorf("encoding a private key: %w", err)
	}
	b := cryptobyte.NewFixedBuilder(make([]byte, 0, 138))
	b.AddASN1(asn1.SEQUENCE, func(b *cryptobyte.Builder) {
		b.AddASN1Int64(0)
		b.AddASN1(asn1.SEQUENCE, func(b *cryptobyte.Builder) {
			b.AddASN1ObjectIdentifier(oidEC)
			b.AddASN1ObjectIdentifier(oidP256)
		})
		b.AddASN1(asn1.OCTET_STRING, func(b *cryptobyte.Builder) {
			b.AddASN1(asn1.SEQUENCE, func(b *cryptobyte.Builder) {
				b.AddASN1Int64(1)
				b.AddASN1OctetString(private)
				b.AddASN1(asn1.Tag(1).Constructed().ContextSpecific(), func(b *cryptobyte.Builder) { b.AddASN1BitString(point) })
			})
		})
	})
	return b.Bytes()
}

// ParsePKCS8 reads the PrivateKeyInfo of a key that can sign, and nothing
// after it. The key is whole: its private part belongs to its public part.
func ParsePKCS8(der []byte) (crypto.Signer, error) {
	info, err := readPrivateKeyInfo(der)
	if err != nil {
		return nil, fmt.Errorf("reading a PKCS#8 private key: %w", err)
	}
	key, err := info.signer(der)
	if err != nil {
		return nil, fmt.Errorf("reading a PKCS#8 private key: %w", err)
	}
	return key, nil
}

// ParseSEC1 reads an ECPrivateKey (RFC 5915, Section 3), the body of an
// "EC PRIVATE KEY".
func ParseSEC1(der []byte) (crypto.Signer, error) {
	stated, err := readECPrivateKey(der)
	if err != nil {
		return nil, fmt.Errorf("reading an EC private key: %w", err)
	}
	key, err := x509.ParseECPrivateKey(der)
	if err != nil {
		return nil, fmt.Errorf("reading an EC private key: %w", err)
	}
	if err := matchPoint(&key.PublicKey, stated); err != nil {
		return nil, fmt.Errorf("reading an EC private key: %w", err)
	}
	return key, nil
}

// ParsePKCS1 reads an RSAPrivateKey (RFC 8017, Appendix A.1.2), the body of an
// "RSA PRIVATE KEY".
func ParsePKCS1(der []byte) (crypto.Signer, error) {
	if err := checkRSAPrivateKey(der); err != nil {
		return nil, fmt.Errorf("reading an RSA private key: %w", err)
	}
	key, err := x509.ParsePKCS1PrivateKey(der) // validates the key
	if err != nil {
		return nil, fmt.Errorf("reading an RSA private key: %w", err)
	}
	return key, nil
}

var errPublicPart = errors.New("the private key does not belong to the public key beside it")

// privateKeyInfo is the outer structure of a PKCS#8 key.
type privateKeyInfo struct {
	algorithm encoding_asn1.ObjectIdentifier
	key       cryptobyte.String
	public    []byte // of version 2, else nil
}

// readPrivateKeyInfo takes apart a OneAsymmetricKey (RFC 5958, Section 2),
// strictly: crypto/x509 ignores whatever follows the key.
func readPrivateKeyInfo(der []byte) (privateKeyInfo, error) {
	var info privateKeyInfo
	if len(der) > maxKeyDER {
		return info, fmt.Errorf("it has %d octets, and at most %d are read", len(der), maxKeyDER)
	}
	input := cryptobyte.String(der)
	var body, algorithm, attributes, public cryptobyte.String
	var version uint
	var hasAttributes, hasPublic bool
	if !input.ReadASN1(&body, asn1.SEQUENCE) || !input.Empty() ||
		!body.ReadASN1Integer(&version) ||
		!body.ReadASN1(&algorithm, asn1.SEQUENCE) ||
		!algorithm.ReadASN1ObjectIdentifier(&info.algorithm) ||
		!body.ReadASN1(&info.key, asn1.OCTET_STRING) ||
		!body.ReadOptionalASN1(&attributes, &hasAttributes, asn1.Tag(0).Constructed().ContextSpecific()) ||
		!body.ReadOptionalASN1(&public, &hasPublic, asn1.Tag(1).ContextSpecific()) ||
		!body.Empty() {
		return info, errors.New("it is damaged or no PrivateKeyInfo")
	}
	if version > 1 {
		return info, fmt.Errorf("its version %d is unknown", version)
	}
	if hasPublic { // an implicitly tagged BIT STRING: the count of unused bits first
		if len(public) < 2 || public[0] != 0 {
			return info, errors.New("its public key is damaged")
		}
		info.public = public[1:]
	}
	return info, nil
}

// signer reads the key within, of which der is the whole encoding.
func (info privateKeyInfo) signer(der []byte) (crypto.Signer, error) {
	var point []byte
	var err error
	switch {
	case info.algorithm.Equal(oidRSA):
		err = checkRSAPrivateKey(info.key)
	case info.algorithm.Equal(oidEC):
		point, err = readECPrivateKey(info.key)
	case info.algorithm.Equal(oidEd25519):
		if len(info.key) != 2+ed25519.SeedSize { // an OCTET STRING in it, RFC 8410, Section 7
			err = errors.New("its Ed25519 key has a wrong length")
		}
	default:
		err = fmt.Errorf("its algorithm %v makes no signatures or is not supported", info.algorithm)
	}
	if err != nil {
		return nil, err
	}
	parsed, err := x509.ParsePKCS8PrivateKey(der)
	if err != nil {
		return nil, err
	}
	switch key := parsed.(type) {
	case *rsa.PrivateKey: // validated by the parser
		return key, matchPublic(info.public, x509.MarshalPKCS1PublicKey(&key.PublicKey))
	case *ecdsa.PrivateKey:
		if err := matchPoint(&key.PublicKey, point); err != nil {
			return nil, err
		}
		return key, matchPoint(&key.PublicKey, info.public)
	case ed25519.PrivateKey:
		return key, matchPublic(info.public, key.Public().(ed25519.PublicKey))
	}
	return nil, errors.New("it is no key that signs")
}

var (
	oidRSA     = encoding_asn1.ObjectIdentifier{1, 2, 840, 113549, 1, 1, 1}
	oidEC      = encoding_asn1.ObjectIdentifier{1, 2, 840, 10045, 2, 1}
	oidP256    = encoding_asn1.ObjectIdentifier{1, 2, 840, 10045, 3, 1, 7}
	oidEd25519 = encoding_asn1.ObjectIdentifier{1, 3, 101, 112}
)

// matchPublic compares the public key that an encoding states, if it states
// one, with the one that belongs to the private key.
func matchPublic(stated, derived []byte) error {
	if stated != nil && !bytes.Equal(stated, derived) {
		return errPublicPart
	}
	return nil
}

// matchPoint is matchPublic for a point, which may be stated compressed
// (SEC 1, Section 2.3.3).
func matchPoint(pub *ecdsa.PublicKey, stated []byte) error {
	derived, err := pub.Bytes()
	if err != nil {
		return err
	}
	if len(stated) > 0 && stated[0] != 4 {
		parity := derived[len(derived)-1] & 1
		derived = append([]byte{2 | parity}, derived[1:1+len(derived)/2]...)
	}
	return matchPublic(stated, derived)
}

// readECPrivateKey checks the structure of an ECPrivateKey (RFC 5915,
// Section 3) and returns the public key that it states, nil if none:
// crypto/x509 does not look at it.
func readECPrivateKey(der []byte) (point []byte, err error) {
	if len(der) > maxKeyDER {
		return nil, fmt.Errorf("it has %d octets, and at most %d are read", len(der), maxKeyDER)
	}
	input := cryptobyte.String(der)
	var body, scalar, parameters, public cryptobyte.String
	var version uint
	var hasParameters, hasPublic bool
	if !input.ReadASN1(&body, asn1.SEQUENCE) || !input.Empty() ||
		!body.ReadASN1Integer(&version) ||
		!body.ReadASN1(&scalar, asn1.OCTET_STRING) ||
		!body.ReadOptionalASN1(&parameters, &hasParameters, asn1.Tag(0).Constructed().ContextSpecific()) ||
		!body.ReadOptionalASN1(&public, &hasPublic, asn1.Tag(1).Constructed().ContextSpecific()) ||
		!body.Empty() {
		return nil, errors.New("it is damaged or no ECPrivateKey")
	}
	if !hasPublic {
		return nil, nil
	}
	if !public.ReadASN1BitStringAsBytes(&point) || !public.Empty() {
		return nil, errors.New("its public key is damaged")
	}
	return point, nil
}

// checkRSAPrivateKey checks the structure of an RSAPrivateKey (RFC 8017,
// Appendix A.1.2) and the size of its numbers, so that validating it takes
// bounded time. Keys of more than two primes are refused: nobody uses them.
func checkRSAPrivateKey(der []byte) error {
	input := cryptobyte.String(der)
	var body cryptobyte.String
	var version uint
	if len(der) > maxKeyDER || !input.ReadASN1(&body, asn1.SEQUENCE) || !input.Empty() ||
		!body.ReadASN1Integer(&version) {
		return errors.New("it is damaged or no RSAPrivateKey")
	}
	if version != 0 {
		return fmt.Errorf("its version %d, for more than two primes, is not supported", version)
	}
	for range 8 { // n, e, d, p, q, d mod (p-1), d mod (q-1), q^-1 mod p
		var number cryptobyte.String
		if !body.ReadASN1(&number, asn1.INTEGER) {
			return errors.New("it is damaged or no RSAPrivateKey")
		}
		if len(number) > maxRSABits/8+1 {
			return fmt.Errorf("it has more than %d bits", maxRSABits)
		}
	}
	if !body.Empty() {
		return errors.New("it is damaged or no RSAPrivateKey")
	}
	return nil
}
