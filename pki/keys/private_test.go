package keys_test

import (
	"bytes"
	"crypto"
	"crypto/ecdh"
	"crypto/ecdsa"
	"crypto/ed25519"
	"crypto/rand"
	"crypto/rsa"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/asn1"
	"errors"
	"io"
	"math/big"
	"testing"

	"mutual/pki/keys"
)

type brokenSigner struct{ crypto.Signer }

func (brokenSigner) Sign(io.Reader, []byte, crypto.SignerOpts) ([]byte, error) {
	return nil, errors.New("the device is gone")
}

func marshal(t testing.TB, v any) []byte {
	t.Helper()
	der, err := asn1.Marshal(v)
	if err != nil {
		t.Fatal(err)
	}
	return der
}

// oneAsymmetricKey is RFC 5958, Section 2.
type oneAsymmetricKey struct {
	Version   int
	Algorithm pkix.AlgorithmIdentifier
	Private   []byte
	Public    asn1.BitString `asn1:"optional,tag:1"`
}

func ecAlgorithm(t testing.TB) pkix.AlgorithmIdentifier {
	return pkix.AlgorithmIdentifier{
		Algorithm:  asn1.ObjectIdentifier{1, 2, 840, 10045, 2, 1},
		Parameters: asn1.RawValue{FullBytes: marshal(t, p256OID)},
	}
}

func bits(octets []byte) asn1.BitString {
	return asn1.BitString{Bytes: octets, BitLength: 8 * len(octets)}
}

// ecParts returns the scalar and the uncompressed point of a key.
func ecParts(t testing.TB, name string) (scalar, point []byte) {
	t.Helper()
	key := fixture(t, name).(*ecdsa.PrivateKey)
	scalar, err := key.Bytes()
	if err != nil {
		t.Fatal(err)
	}
	point, err = key.PublicKey.Bytes()
	if err != nil {
		t.Fatal(err)
	}
	return scalar, point
}

// TestForms reads each form in which a key may stand.
func TestForms(t *testing.T) {
	ec := fixture(t, "leaf-p256.pem").(*ecdsa.PrivateKey)
	sec1, err := x509.MarshalECPrivateKey(ec)
	if err != nil {
		t.Fatal(err)
	}
	scalar, point := ecParts(t, "leaf-p256.pem")
	compressed := append([]byte{2 | point[64]&1}, point[1:33]...)
	rsaKey := fixture(t, "rsa2048.pem").(*rsa.PrivateKey)
	ed := fixture(t, "ed25519.pem").(ed25519.PrivateKey)
	edAlgorithm := pkix.AlgorithmIdentifier{Algorithm: asn1.ObjectIdentifier{1, 3, 101, 112}}

	tests := []struct {
		name  string
		parse func([]byte) (crypto.Signer, error)
		der   []byte
		want  crypto.PublicKey
	}{
		{"SEC 1", keys.ParseSEC1, sec1, ec.Public()},
		{"SEC 1 without public key", keys.ParseSEC1, marshal(t, ecPrivateKey{1, scalar, p256OID, asn1.BitString{}}), ec.Public()},
		{"SEC 1 with a compressed point", keys.ParseSEC1, marshal(t, ecPrivateKey{1, scalar, p256OID, bits(compressed)}), ec.Public()},
		{"PKCS#1", keys.ParsePKCS1, x509.MarshalPKCS1PrivateKey(rsaKey), rsaKey.Public()},
		{"EC with its public key in version 2", keys.ParsePKCS8, marshal(t, oneAsymmetricKey{1, ecAlgorithm(t),
			marshal(t, ecPrivateKey{1, scalar, nil, asn1.BitString{}}), bits(point)}), ec.Public()},
		{"Ed25519 with its public key in version 2", keys.ParsePKCS8, marshal(t, oneAsymmetricKey{1, edAlgorithm,
			marshal(t, ed.Seed()), bits(ed.Public().(ed25519.PublicKey))}), ed.Public()},
	}
	for _, test := range tests {
		t.Run(test.name, func(t *testing.T) {
			key, err := test.parse(test.der)
			if err != nil {
				t.Fatal(err)
			}
			if !keys.Equal(key.Public(), test.want) {
				t.Error("the key read is another one")
			}
			if _, err := test.parse(append(bytes.Clone(test.der), 0)); err == nil {
				t.Error("trailing data is accepted")
			}
			truncations(t, test.der, func(der []byte) error { _, err := test.parse(der); return err })
		})
	}
}

// truncations fails if what is left of der after a cut is accepted.
func truncations(t *testing.T, der []byte, parse func([]byte) error) {
	t.Helper()
	for n := range der {
		if parse(der[:n]) == nil {
			t.Errorf("the first %d of %d octets are accepted", n, len(der))
		}
	}
}

func TestTruncatedFixtures(t *testing.T) {
	for _, f := range fixtures {
		truncations(t, fixtureDER(t, f.file), func(der []byte) error {
			_, err := keys.ParsePKCS8(der)
			return err
		})
	}
}

// TestNotWhole refuses keys whose parts do not belong together.
func TestNotWhole(t *testing.T) {
	scalar, _ := ecParts(t, "leaf-p256.pem")
	_, otherPoint := ecParts(t, "root-p256.pem")
	strange := marshal(t, ecPrivateKey{1, scalar, p256OID, bits(otherPoint)})
	ed := fixture(t, "ed25519.pem").(ed25519.PrivateKey)
	edAlgorithm := pkix.AlgorithmIdentifier{Algorithm: asn1.ObjectIdentifier{1, 3, 101, 112}}
	x25519, err := ecdh.X25519().GenerateKey(rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	x25519DER, err := x509.MarshalPKCS8PrivateKey(x25519)
	if err != nil {
		t.Fatal(err)
	}
	const unmatched = "the private key does not belong to the public key beside it"

	tests := []struct {
		name  string
		parse func([]byte) (crypto.Signer, error)
		der   []byte
		want  string
	}{
		{"SEC 1 with another point", keys.ParseSEC1, strange, "reading an EC private key: " + unmatched},
		{"PKCS#8 with another point within", keys.ParsePKCS8, marshal(t, oneAsymmetricKey{0, ecAlgorithm(t), strange, asn1.BitString{}}),
			"reading a PKCS#8 private key: " + unmatched},
		{"version 2 with another point", keys.ParsePKCS8, marshal(t, oneAsymmetricKey{1, ecAlgorithm(t),
			marshal(t, ecPrivateKey{1, scalar, nil, asn1.BitString{}}), bits(otherPoint)}), unmatched},
		{"version 2 with another Ed25519 key", keys.ParsePKCS8, marshal(t, oneAsymmetricKey{1, edAlgorithm,
			marshal(t, ed.Seed()), bits(make([]byte, 32))}), unmatched},
		{"short Ed25519", keys.ParsePKCS8, marshal(t, oneAsymmetricKey{0, edAlgorithm, marshal(t, ed.Seed()[:31]), asn1.BitString{}}), "its Ed25519 key has a wrong length"},
		{"scalar zero", keys.ParseSEC1, marshal(t, ecPrivateKey{1, make([]byte, 32), p256OID, asn1.BitString{}}), "reading an EC private key: "},
		{"unknown curve", keys.ParseSEC1, marshal(t, ecPrivateKey{1, scalar, asn1.ObjectIdentifier{1, 2, 3}, asn1.BitString{}}), "unknown elliptic curve"},
		{"X25519", keys.ParsePKCS8, x25519DER, "its algorithm 1.3.101.110 makes no signatures or is not supported"},
		{"version 3", keys.ParsePKCS8, marshal(t, oneAsymmetricKey{2, edAlgorithm, marshal(t, ed.Seed()), asn1.BitString{}}), "its version 2 is unknown"},
		{"SEC 1 as PKCS#8", keys.ParsePKCS8, strange, "damaged or no PrivateKeyInfo"},
		{"PKCS#8 as SEC 1", keys.ParseSEC1, fixtureDER(t, "leaf-p256.pem"), "damaged or no ECPrivateKey"},
		{"PKCS#8 as PKCS#1", keys.ParsePKCS1, fixtureDER(t, "rsa2048.pem"), "damaged or no RSAPrivateKey"},
		{"long", keys.ParsePKCS8, make([]byte, 1<<17), "it has 131072 octets, and at most 65536 are read"},
	}
	for _, test := range tests {
		t.Run(test.name, func(t *testing.T) {
			_, err := test.parse(test.der)
			wantError(t, err, test.want)
		})
	}
}

// rsaPrivateKey is RFC 8017, Appendix A.1.2.
type rsaPrivateKey struct {
	Version                    int
	N, E, D, P, Q, Dp, Dq, Inv *big.Int
}

func TestBadRSA(t *testing.T) {
	k := fixture(t, "rsa2048.pem").(*rsa.PrivateKey)
	other := fixture(t, "rsa3072.pem").(*rsa.PrivateKey)
	whole := func() rsaPrivateKey {
		return rsaPrivateKey{0, k.N, big.NewInt(int64(k.E)), k.D, k.Primes[0], k.Primes[1],
			k.Precomputed.Dp, k.Precomputed.Dq, k.Precomputed.Qinv}
	}
	if _, err := keys.ParsePKCS1(marshal(t, whole())); err != nil {
		t.Fatal(err)
	}
	tests := []struct {
		name   string
		change func(*rsaPrivateKey)
		want   string
	}{
		{"modulus of another key", func(k *rsaPrivateKey) { k.N = other.N }, "reading an RSA private key: "},
		{"exponent of another key", func(k *rsaPrivateKey) { k.D = other.D }, "reading an RSA private key: "},
		{"another prime", func(k *rsaPrivateKey) { k.P = other.Primes[0] }, "reading an RSA private key: "},
		{"wrong coefficient", func(k *rsaPrivateKey) { k.Inv = k.Dp }, "reading an RSA private key: "},
		{"zero prime", func(k *rsaPrivateKey) { k.P = new(big.Int) }, "reading an RSA private key: "},
		{"negative modulus", func(k *rsaPrivateKey) { k.N = new(big.Int).Neg(k.N) }, "reading an RSA private key: "},
		{"huge modulus", func(k *rsaPrivateKey) { k.N = new(big.Int).Lsh(k.N, 8192) }, "it has more than 8192 bits"},
		{"three primes", func(k *rsaPrivateKey) { k.Version = 1 }, "its version 1, for more than two primes, is not supported"},
	}
	for _, test := range tests {
		t.Run(test.name, func(t *testing.T) {
			changed := whole()
			test.change(&changed)
			_, err := keys.ParsePKCS1(marshal(t, changed))
			wantError(t, err, test.want)
			pkcs8 := oneAsymmetricKey{Algorithm: pkix.AlgorithmIdentifier{
				Algorithm: asn1.ObjectIdentifier{1, 2, 840, 113549, 1, 1, 1}, Parameters: asn1.NullRawValue,
			}, Private: marshal(t, changed)}
			_, err = keys.ParsePKCS8(marshal(t, pkcs8))
			wantError(t, err, "reading a PKCS#8 private key: ")
		})
	}
}
