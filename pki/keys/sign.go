package keys

import (
	"crypto"
	"crypto/ecdsa"
	"crypto/ed25519"
	"crypto/elliptic"
	"crypto/rsa"
	_ "crypto/sha256" // crypto.SHA256
	_ "crypto/sha512" // crypto.SHA384
	"crypto/x509"
	encoding_asn1 "encoding/asn1"
	"fmt"

	"golang.org/x/crypto/cryptobyte"
	"golang.org/x/crypto/cryptobyte/asn1"
)

// scheme is how a kind of key signs.
type scheme struct {
	x509 x509.SignatureAlgorithm
	hash crypto.Hash // 0: the message is signed, not its hash
	oid  encoding_asn1.ObjectIdentifier
	null bool // the parameters are NULL, not absent
}

// schemeOf says how a key signs. It does not judge the size of an RSA key:
// that is for CheckPublic.
func schemeOf(pub crypto.PublicKey) (scheme, error) {
	switch pub := pub.(type) {
	case *ecdsa.PublicKey:
		switch pub.Curve {
		case elliptic.P256(): // ecdsa-with-SHA256, RFC 5758, Section 3.2
			return scheme{x509: x509.ECDSAWithSHA256, hash: crypto.SHA256,
				oid: encoding_asn1.ObjectIdentifier{1, 2, 840, 10045, 4, 3, 2}}, nil
		case elliptic.P384(): // ecdsa-with-SHA384, RFC 5758, Section 3.2
			return scheme{x509: x509.ECDSAWithSHA384, hash: crypto.SHA384,
				oid: encoding_asn1.ObjectIdentifier{1, 2, 840, 10045, 4, 3, 3}}, nil
		}
	case *rsa.PublicKey: // sha256WithRSAEncryption with NULL, RFC 4055, Section 5
		return scheme{x509: x509.SHA256WithRSA, hash: crypto.SHA256, null: true,
			oid: encoding_asn1.ObjectIdentifier{1, 2, 840, 113549, 1, 1, 11}}, nil
	case ed25519.PublicKey: // id-Ed25519, RFC 8410, Section 3
		return scheme{x509: x509.PureEd25519,
			oid: encoding_asn1.ObjectIdentifier{1, 3, 101, 112}}, nil
	}
	return scheme{}, fmt.Errorf("the key (%s) has no signature algorithm here", Describe(pub))
}

// digest is what the private key is given of a message.
func (s scheme) digest(message []byte) []byte {
	if s.hash == 0 {
		return message
	}
	h := s.hash.New()
	h.Write(message)
	return h.Sum(nil)
}

// SignatureAlgorithm returns the algorithm with which the key signs: SHA-384
// for P-384, SHA-256 for P-256 and RSA (PKCS #1 v1.5), and Ed25519's own.
func SignatureAlgorithm(pub crypto.PublicKey) (x509.SignatureAlgorithm, error) {
	s, err := schemeOf(pub)
	return s.x509, err
}

// AlgorithmIdentifier returns the DER of the AlgorithmIdentifier that stands
// in what the key signs (RFC 5280, Section 4.1.1.2).
func AlgorithmIdentifier(pub crypto.PublicKey) ([]byte, error) {
	s, err := schemeOf(pub)
	if err != nil {
		return nil, err
	}
	var b cryptobyte.Builder
	b.AddASN1(asn1.SEQUENCE, func(b *cryptobyte.Builder) {
		b.AddASN1ObjectIdentifier(s.oid)
		if s.null {
			b.AddASN1NULL()
		}
	})
	return b.Bytes()
}

// Digested is a message as a key of a kind is given it: for most keys its
// hash, so that a large message is read once to be signed and checked.
type Digested struct {
	scheme scheme
	digest []byte
}

// Digest makes of a message what keys like pub sign.
func Digest(pub crypto.PublicKey, message []byte) (Digested, error) {
	s, err := schemeOf(pub)
	if err != nil {
		return Digested{}, err
	}
	return Digested{s, s.digest(message)}, nil
}

// Sign signs the message as SignatureAlgorithm says of the signer's key. The
// signer is given no source of chance, with which the keys of this package
// sign the same message always the same way (ECDSA by RFC 6979).
func Sign(signer crypto.Signer, message []byte) ([]byte, error) {
	d, err := Digest(signer.Public(), message)
	if err != nil {
		return nil, fmt.Errorf("signing: %w", err)
	}
	return d.Sign(signer)
}

// Sign is the function Sign for the message. The signer's key is of the kind
// that the digest was made for.
func (d Digested) Sign(signer crypto.Signer) ([]byte, error) {
	signature, err := signer.Sign(nil, d.digest, d.scheme.hash)
	if err != nil {
		return nil, fmt.Errorf("signing with the key (%s): %w", Describe(signer.Public()), err)
	}
	return signature, nil
}

// Verify returns nil if the signature is one that Sign makes for the message
// with the private key of pub.
func Verify(pub crypto.PublicKey, message, signature []byte) error {
	d, err := Digest(pub, message)
	if err != nil {
		return fmt.Errorf("verifying a signature: %w", err)
	}
	return d.Verify(pub, signature)
}

// Verify is the function Verify for the message. A key of another kind than
// the digest was made for has not signed it.
func (d Digested) Verify(pub crypto.PublicKey, signature []byte) error {
	good := false
	if s, err := schemeOf(pub); err == nil && s.x509 == d.scheme.x509 {
		good = d.isSignedBy(pub, signature)
	}
	if !good {
		return fmt.Errorf("the signature was not made with this key (%s)", Describe(pub))
	}
	return nil
}

func (d Digested) isSignedBy(pub crypto.PublicKey, signature []byte) bool {
	switch pub := pub.(type) {
	case *ecdsa.PublicKey:
		return ecdsa.VerifyASN1(pub, d.digest, signature)
	case *rsa.PublicKey:
		return rsa.VerifyPKCS1v15(pub, d.scheme.hash, d.digest, signature) == nil
	case ed25519.PublicKey:
		return len(pub) == ed25519.PublicKeySize && ed25519.Verify(pub, d.digest, signature)
	}
	return false
}
