package keys_test

import (
	"bytes"
	"crypto"
	"crypto/ecdsa"
	"crypto/ed25519"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/rsa"
	"crypto/sha256"
	"crypto/x509"
	"encoding/asn1"
	"encoding/hex"
	"encoding/pem"
	"math/big"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"mutual/pki/keys"
)

// fixtures are the keys of testdata/keys, with what Describe says of each and
// whether CheckPublic accepts it.
var fixtures = []struct {
	file, kind string
	refused    string // part of the error of CheckPublic
}{
	{file: "root-p256.pem", kind: "ECDSA P-256"},
	{file: "issuing-p256.pem", kind: "ECDSA P-256"},
	{file: "leaf-p256.pem", kind: "ECDSA P-256"},
	{file: "p384.pem", kind: "ECDSA P-384"},
	{file: "rsa1024.pem", kind: "RSA 1024", refused: "the key (RSA 1024) is too weak: RSA needs at least 2048 bits"},
	{file: "rsa2048.pem", kind: "RSA 2048"},
	{file: "rsa3072.pem", kind: "RSA 3072"},
	{file: "rsa4096.pem", kind: "RSA 4096"},
	{file: "ed25519.pem", kind: "Ed25519"},
}

// fixtureDER returns the PKCS#8 encoding of a key of testdata/keys.
func fixtureDER(t testing.TB, name string) []byte {
	t.Helper()
	text, err := os.ReadFile(filepath.Join("..", "..", "testdata", "keys", name))
	if err != nil {
		t.Fatal(err)
	}
	block, _ := pem.Decode(text)
	if block == nil {
		t.Fatalf("%s holds no PEM", name)
	}
	return block.Bytes
}

func fixture(t testing.TB, name string) crypto.Signer {
	t.Helper()
	key, err := keys.ParsePKCS8(fixtureDER(t, name))
	if err != nil {
		t.Fatal(err)
	}
	return key
}

// wantError fails unless err says want.
func wantError(t *testing.T, err error, want string) {
	t.Helper()
	if err == nil || !strings.Contains(err.Error(), want) {
		t.Errorf("error %v, want %q in it", err, want)
	}
}

func TestFixtures(t *testing.T) {
	for _, f := range fixtures {
		t.Run(f.file, func(t *testing.T) {
			pub := fixture(t, f.file).Public()
			if got := keys.Describe(pub); got != f.kind {
				t.Errorf("Describe = %q, want %q", got, f.kind)
			}
			err := keys.CheckPublic(pub)
			if f.refused != "" {
				wantError(t, err, f.refused)
			} else if err != nil {
				t.Errorf("CheckPublic: %v", err)
			}
		})
	}
}

// TestGenerate makes a key of every kind, writes it and reads it again.
func TestGenerate(t *testing.T) {
	kinds := map[keys.Algorithm]string{
		keys.P256: "ECDSA P-256", keys.P384: "ECDSA P-384", keys.Ed25519: "Ed25519",
		keys.RSA2048: "RSA 2048", keys.RSA3072: "RSA 3072", keys.RSA4096: "RSA 4096",
	}
	for _, a := range keys.Algorithms() {
		t.Run(string(a), func(t *testing.T) {
			if testing.Short() && (a == keys.RSA3072 || a == keys.RSA4096) {
				t.Skip("slow")
			}
			if parsed, err := keys.ParseAlgorithm(string(a)); err != nil || parsed != a {
				t.Errorf("ParseAlgorithm = %q, %v", parsed, err)
			}
			key, err := keys.Generate(a)
			if err != nil {
				t.Fatal(err)
			}
			if got := keys.Describe(key.Public()); got != kinds[a] {
				t.Errorf("made %s, want %s", got, kinds[a])
			}
			if err := keys.CheckPublic(key.Public()); err != nil {
				t.Error(err)
			}
			der, err := keys.MarshalPKCS8(key)
			if err != nil {
				t.Fatal(err)
			}
			again, err := keys.ParsePKCS8(der)
			if err != nil {
				t.Fatal(err)
			}
			if !keys.Equal(again.Public(), key.Public()) {
				t.Error("the key read is another one")
			}
		})
	}
}

func TestAlgorithmErrors(t *testing.T) {
	for _, s := range []string{"", "P256", "p521", "rsa1024", "rsa", " p256"} {
		_, err := keys.ParseAlgorithm(s)
		wantError(t, err, "is no key type: p256, p384, rsa2048, rsa3072, rsa4096 or ed25519")
	}
	_, err := keys.Generate("p521")
	wantError(t, err, `generating a key: "p521" is no key type`)
}

func TestCheckPublicRefuses(t *testing.T) {
	p521, err := ecdsa.GenerateKey(elliptic.P521(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	p256 := fixture(t, "leaf-p256.pem").Public().(*ecdsa.PublicKey)
	//lint:ignore SA1019 nothing else makes a point off the curve
	offCurve := &ecdsa.PublicKey{Curve: elliptic.P256(), X: p256.X, Y: new(big.Int).Add(p256.Y, big.NewInt(1))}
	dh, err := p256.ECDH()
	if err != nil {
		t.Fatal(err)
	}
	n := fixture(t, "rsa2048.pem").Public().(*rsa.PublicKey).N
	even := new(big.Int).SetBit(n, 0, 0)
	tests := []struct {
		name string
		pub  crypto.PublicKey
		want string
	}{
		{"P-521", &p521.PublicKey, "the key (ECDSA P-521) is not accepted: ECDSA must be on P-256 or P-384"},
		{"no curve", &ecdsa.PublicKey{}, "ECDSA without a curve"},
		{"off the curve", offCurve, "the key (ECDSA P-256) is no point on its curve"},
		{"ECDH", dh, "the key (ECDH P-256) is not accepted: only ECDSA, RSA and Ed25519 are"},
		{"none", nil, "the key (unknown type) is not accepted"},
		{"short Ed25519", ed25519.PublicKey{1, 2}, "the Ed25519 key has 2 octets instead of 32"},
		{"empty RSA", &rsa.PublicKey{}, "RSA 0"},
		{"huge RSA", &rsa.PublicKey{N: new(big.Int).Lsh(n, 6145), E: 65537}, "the key (RSA 8193) is too large: RSA may have at most 8192 bits"},
		{"even modulus", &rsa.PublicKey{N: even, E: 65537}, "even or negative modulus"},
		{"negative modulus", &rsa.PublicKey{N: new(big.Int).Neg(n), E: 65537}, "even or negative modulus"},
		{"exponent 3", &rsa.PublicKey{N: n, E: 3}, "public exponent 3, which must be odd and at least 65537"},
		{"even exponent", &rsa.PublicKey{N: n, E: 65538}, "public exponent 65538"},
	}
	for _, test := range tests {
		t.Run(test.name, func(t *testing.T) { wantError(t, keys.CheckPublic(test.pub), test.want) })
	}
}

func TestEqual(t *testing.T) {
	a, b := fixture(t, "root-p256.pem").Public(), fixture(t, "leaf-p256.pem").Public()
	rsaKey := fixture(t, "rsa2048.pem").Public()
	if !keys.Equal(a, a) || keys.Equal(a, b) || keys.Equal(a, rsaKey) || keys.Equal(nil, nil) || keys.Equal(a, nil) {
		t.Error("Equal takes different keys for the same, or the same for different")
	}
}

// TestKeyID computes the identifier from the end of a SubjectPublicKeyInfo,
// where the point of a P-256 key is the last 65 octets.
func TestKeyID(t *testing.T) {
	pub := fixture(t, "root-p256.pem").Public()
	spki, err := x509.MarshalPKIXPublicKey(pub)
	if err != nil {
		t.Fatal(err)
	}
	want := sha256.Sum256(spki[len(spki)-65:])
	got, err := keys.KeyID(pub)
	if err != nil || hex.EncodeToString(got) != hex.EncodeToString(want[:20]) {
		t.Errorf("KeyID = %x, %v, want %x", got, err, want[:20])
	}
	_, err = keys.KeyID("no key")
	wantError(t, err, "identifying a public key")
}

// TestAlgorithms pins the signature algorithm of each kind of key and the
// octets of its identifier.
func TestAlgorithms(t *testing.T) {
	tests := []struct {
		file string
		want x509.SignatureAlgorithm
		der  string
	}{
		{"root-p256.pem", x509.ECDSAWithSHA256, "300a06082a8648ce3d040302"},
		{"p384.pem", x509.ECDSAWithSHA384, "300a06082a8648ce3d040303"},
		{"rsa2048.pem", x509.SHA256WithRSA, "300d06092a864886f70d01010b0500"},
		{"ed25519.pem", x509.PureEd25519, "300506032b6570"},
	}
	for _, test := range tests {
		t.Run(test.file, func(t *testing.T) {
			pub := fixture(t, test.file).Public()
			algorithm, err := keys.SignatureAlgorithm(pub)
			if err != nil || algorithm != test.want {
				t.Errorf("SignatureAlgorithm = %v, %v, want %v", algorithm, err, test.want)
			}
			der, err := keys.AlgorithmIdentifier(pub)
			if err != nil || hex.EncodeToString(der) != test.der {
				t.Errorf("AlgorithmIdentifier = %x, %v, want %s", der, err, test.der)
			}
		})
	}
	_, err := keys.SignatureAlgorithm(&ecdsa.PublicKey{Curve: elliptic.P521()})
	wantError(t, err, "the key (ECDSA P-521) has no signature algorithm here")
	_, err = keys.AlgorithmIdentifier(nil)
	wantError(t, err, "the key (unknown type) has no signature algorithm here")
}

func TestSignAndVerify(t *testing.T) {
	message := []byte("who calls")
	other := fixture(t, "issuing-p256.pem").Public()
	for _, f := range fixtures {
		if f.file == "issuing-p256.pem" {
			continue
		}
		t.Run(f.file, func(t *testing.T) {
			key := fixture(t, f.file)
			signature, err := keys.Sign(key, message)
			if err != nil {
				t.Fatal(err)
			}
			again, err := keys.Sign(key, message)
			if err != nil || string(again) != string(signature) {
				t.Errorf("the second signature differs from the first: %x, %v", again, err)
			}
			if err := keys.Verify(key.Public(), message, signature); err != nil {
				t.Error(err)
			}
			refused := "the signature was not made with this key"
			wantError(t, keys.Verify(key.Public(), []byte("who else"), signature), refused)
			wantError(t, keys.Verify(other, message, signature), refused)
			wantError(t, keys.Verify(key.Public(), message, signature[1:]), refused)
			wantError(t, keys.Verify(key.Public(), message, nil), refused)
		})
	}
}

// TestSignatureIsX509s lets crypto/x509 judge what Sign makes.
func TestSignatureIsX509s(t *testing.T) {
	for _, f := range fixtures {
		key := fixture(t, f.file)
		signature, err := keys.Sign(key, []byte("message"))
		if err != nil {
			t.Fatal(err)
		}
		algorithm, err := keys.SignatureAlgorithm(key.Public())
		if err != nil {
			t.Fatal(err)
		}
		certificate := &x509.Certificate{PublicKey: key.Public()}
		if err := certificate.CheckSignature(algorithm, []byte("message"), signature); err != nil {
			t.Errorf("%s: %v", f.file, err)
		}
	}
}

// remoteSigner has a key that cannot leave it, as one in another process.
type remoteSigner struct{ crypto.Signer }

func TestRemoteSigner(t *testing.T) {
	key := remoteSigner{fixture(t, "p384.pem")}
	signature, err := keys.Sign(key, []byte("message"))
	if err != nil {
		t.Fatal(err)
	}
	if err := keys.Verify(key.Public(), []byte("message"), signature); err != nil {
		t.Error(err)
	}
	_, err = keys.MarshalPKCS8(key)
	wantError(t, err, "encoding a private key")
	_, err = keys.MarshalEncryptedPKCS8(key, []byte("secret"))
	wantError(t, err, "encoding a private key")
	_, err = keys.Sign(remoteSigner{brokenSigner{key}}, nil)
	wantError(t, err, "signing with the key (ECDSA P-384): the device is gone")
}

// ecPrivateKey is RFC 5915, Section 3, for keys that no encoder would write.
type ecPrivateKey struct {
	Version   int
	Private   []byte
	Curve     asn1.ObjectIdentifier `asn1:"optional,explicit,tag:0"`
	PublicKey asn1.BitString        `asn1:"optional,explicit,tag:1"`
}

var p256OID = asn1.ObjectIdentifier{1, 2, 840, 10045, 3, 1, 7}

// The key that nearly everyone has is encoded here, to the octets of the
// standard library; among a thousand are some that begin with a zero.
func TestMarshalPKCS8IsThatOfTheStandardLibrary(t *testing.T) {
	for range 1000 {
		key, err := keys.Generate(keys.P256)
		if err != nil {
			t.Fatal(err)
		}
		got, err := keys.MarshalPKCS8(key)
		if err != nil {
			t.Fatal(err)
		}
		want, err := x509.MarshalPKCS8PrivateKey(key)
		if err != nil || !bytes.Equal(got, want) {
			t.Fatalf("%x, %v; want %x", got, err, want)
		}
	}
}
