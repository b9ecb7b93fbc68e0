package keys

import (
	"crypto"
	"crypto/ecdh"
	"crypto/ecdsa"
	"crypto/ed25519"
	"crypto/elliptic"
	"crypto/rsa"
	"crypto/sha256"
	"crypto/x509"
	"errors"
	"fmt"

	"golang.org/x/crypto/cryptobyte"
	"golang.org/x/crypto/cryptobyte/asn1"
)

// The bounds on an RSA key. The upper one is what crypto/tls accepts: a larger
// modulus costs whoever verifies too much time.
const (
	minRSABits = 2048
	maxRSABits = 8192
)

// CheckPublic returns nil for a public key that we are willing to certify or
// to trust: ECDSA on P-256 or P-384, Ed25519, and RSA of 2048 to 8192 bits
// with an odd public exponent above 2^16.
func CheckPublic(pub crypto.PublicKey) error {
	switch pub := pub.(type) {
	case *ecdsa.PublicKey:
		if pub.Curve != elliptic.P256() && pub.Curve != elliptic.P384() {
			return fmt.Errorf("the key (%s) is not accepted: ECDSA must be on P-256 or P-384", Describe(pub))
		}
		if _, err := pub.Bytes(); err != nil {
			return fmt.Errorf("the key (%s) is no point on its curve", Describe(pub))
		}
		return nil
	case *rsa.PublicKey:
		return checkRSA(pub)
	case ed25519.PublicKey:
		if len(pub) != ed25519.PublicKeySize {
			return fmt.Errorf("the Ed25519 key has %d octets instead of %d", len(pub), ed25519.PublicKeySize)
		}
		return nil
	}
	return fmt.Errorf("the key (%s) is not accepted: only ECDSA, RSA and Ed25519 are", Describe(pub))
}

func checkRSA(pub *rsa.PublicKey) error {
	bits := rsaBits(pub)
	switch {
	case bits < minRSABits:
		return fmt.Errorf("the key (%s) is too weak: RSA needs at least %d bits", Describe(pub), minRSABits)
	case bits > maxRSABits:
		return fmt.Errorf("the key (%s) is too large: RSA may have at most %d bits", Describe(pub), maxRSABits)
	case pub.N.Sign() < 0 || pub.N.Bit(0) == 0:
		return errors.New("the RSA key has an even or negative modulus")
	case pub.E <= 1<<16 || pub.E&1 == 0:
		// FIPS 186-5, Appendix A.1.1: odd, and larger than 2^16.
		return fmt.Errorf("the RSA key has the public exponent %d, which must be odd and at least 65537", pub.E)
	}
	return nil
}

func rsaBits(pub *rsa.PublicKey) int {
	if pub.N == nil {
		return 0
	}
	return pub.N.BitLen()
}

// Describe names the kind of a public key, accepted or not: "ECDSA P-256",
// "RSA 2048", "Ed25519".
func Describe(pub crypto.PublicKey) string {
	switch pub := pub.(type) {
	case *ecdsa.PublicKey:
		if pub.Curve == nil {
			return "ECDSA without a curve"
		}
		return "ECDSA " + pub.Curve.Params().Name
	case *rsa.PublicKey:
		return fmt.Sprintf("RSA %d", rsaBits(pub))
	case ed25519.PublicKey:
		return "Ed25519"
	case *ecdh.PublicKey:
		return fmt.Sprintf("ECDH %v", pub.Curve())
	}
	return "unknown type"
}

// Equal reports whether a and b are the same public key. A key of an unknown
// kind equals nothing.
func Equal(a, b crypto.PublicKey) bool {
	k, ok := a.(interface{ Equal(crypto.PublicKey) bool })
	return ok && k.Equal(b)
}

// KeyID returns the identifier of a public key for the subject and authority
// key identifier extensions: the leftmost 160 bits of the SHA-256 of the
// BIT STRING subjectPublicKey, without its tag, length and count of unused
// bits (RFC 7093, Section 2, method 1).
func KeyID(pub crypto.PublicKey) ([]byte, error) {
	if key, ok := pub.(*ecdsa.PublicKey); ok { // the point: most keys are such, and nothing has to be encoded
		point, err := key.Bytes()
		if err != nil {
			return nil, fmt.Errorf("identifying a public key: %w", err)
		}
		sum := sha256.Sum256(point)
		return sum[:20], nil
	}
	der, err := x509.MarshalPKIXPublicKey(pub)
	if err != nil {
		return nil, fmt.Errorf("identifying a public key: %w", err)
	}
	input := cryptobyte.String(der)
	var info, algorithm cryptobyte.String
	var key []byte
	if !input.ReadASN1(&info, asn1.SEQUENCE) ||
		!info.ReadASN1(&algorithm, asn1.SEQUENCE) ||
		!info.ReadASN1BitStringAsBytes(&key) {
		return nil, errors.New("identifying a public key: its encoding is no SubjectPublicKeyInfo")
	}
	sum := sha256.Sum256(key)
	return sum[:20], nil
}
