// Package keys makes, names, reads and writes the asymmetric keys of a PKI,
// and signs and verifies with them.
//
// There is one signature algorithm for each kind of key, so a key alone says
// how it signs. Private keys are written as PKCS#8 (RFC 5958), plain or
// encrypted, and are read in the older forms, too. Nothing here panics on a
// bad key or takes long over one: sizes and costs are bounded before the work
// is begun.
package keys

import (
	"crypto"
	"crypto/ecdsa"
	"crypto/ed25519"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/rsa"
	"fmt"
)

// Algorithm is a kind of key that Generate makes, by its name on the command
// line.
type Algorithm string

// The kinds of key. P256 is what every program reads and the one to use.
const (
	P256    Algorithm = "p256"
	P384    Algorithm = "p384"
	RSA2048 Algorithm = "rsa2048"
	RSA3072 Algorithm = "rsa3072"
	RSA4096 Algorithm = "rsa4096"
	Ed25519 Algorithm = "ed25519"
)

// Algorithms lists the kinds of key, the default first.
func Algorithms() []Algorithm {
	return []Algorithm{P256, P384, RSA2048, RSA3072, RSA4096, Ed25519}
}

// ParseAlgorithm reads a kind of key by its name.
func ParseAlgorithm(s string) (Algorithm, error) {
	for _, a := range Algorithms() {
		if s == string(a) {
			return a, nil
		}
	}
	return "", fmt.Errorf("%q is no key type: p256, p384, rsa2048, rsa3072, rsa4096 or ed25519", s)
}

// AlgorithmOf gives the kind of a key that Generate could have made.
func AlgorithmOf(pub crypto.PublicKey) (Algorithm, error) {
	switch pub := pub.(type) {
	case *ecdsa.PublicKey:
		switch pub.Curve {
		case elliptic.P256():
			return P256, nil
		case elliptic.P384():
			return P384, nil
		}
	case *rsa.PublicKey:
		switch rsaBits(pub) {
		case 2048:
			return RSA2048, nil
		case 3072:
			return RSA3072, nil
		case 4096:
			return RSA4096, nil
		}
	case ed25519.PublicKey:
		return Ed25519, nil
	}
	return "", fmt.Errorf("no key type that can be made here is like this key (%s)", Describe(pub))
}

// Generate makes a new private key.
func Generate(a Algorithm) (crypto.Signer, error) {
	switch a {
	case P256:
		return ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	case P384:
		return ecdsa.GenerateKey(elliptic.P384(), rand.Reader)
	case RSA2048:
		return rsa.GenerateKey(rand.Reader, 2048)
	case RSA3072:
		return rsa.GenerateKey(rand.Reader, 3072)
	case RSA4096:
		return rsa.GenerateKey(rand.Reader, 4096)
	case Ed25519:
		_, key, err := ed25519.GenerateKey(rand.Reader)
		return key, err
	}
	return nil, fmt.Errorf("generating a key: %q is no key type", string(a))
}
