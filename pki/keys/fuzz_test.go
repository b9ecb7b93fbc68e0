package keys

import (
	"bytes"
	"crypto"
	"crypto/x509"
	"encoding/pem"
	"os"
	"path/filepath"
	"testing"

	"golang.org/x/crypto/cryptobyte"
	"golang.org/x/crypto/cryptobyte/asn1"
)

// fixtureKeys returns every key of testdata/keys in PKCS#8.
func fixtureKeys(f *testing.F) [][]byte {
	f.Helper()
	paths, err := filepath.Glob(filepath.Join("..", "..", "testdata", "keys", "*.pem"))
	if err != nil || len(paths) == 0 {
		f.Fatalf("no key in testdata/keys: %v", err)
	}
	var out [][]byte
	for _, path := range paths {
		text, err := os.ReadFile(path)
		if err != nil {
			f.Fatal(err)
		}
		block, _ := pem.Decode(text)
		if block == nil {
			f.Fatalf("%s holds no PEM", path)
		}
		out = append(out, block.Bytes)
	}
	return out
}

// FuzzPrivateKey reads a key in each of the plain forms. What is read can be
// written and read again, and is the same key.
func FuzzPrivateKey(f *testing.F) {
	for _, der := range fixtureKeys(f) {
		f.Add(der)
		input := cryptobyte.String(der)
		var body, inner cryptobyte.String
		if input.ReadASN1(&body, asn1.SEQUENCE) && body.SkipASN1(asn1.INTEGER) &&
			body.SkipASN1(asn1.SEQUENCE) && body.ReadASN1(&inner, asn1.OCTET_STRING) {
			f.Add([]byte(inner))
		}
	}
	f.Fuzz(func(t *testing.T, der []byte) {
		for _, parse := range []func([]byte) (crypto.Signer, error){ParsePKCS8, ParseSEC1, ParsePKCS1} {
			key, err := parse(der)
			if err != nil {
				continue
			}
			written, err := MarshalPKCS8(key)
			if err != nil {
				t.Fatalf("writing the key that was read: %v", err)
			}
			again, err := ParsePKCS8(written)
			if err != nil {
				t.Fatalf("reading it again: %v", err)
			}
			if !Equal(key.Public(), again.Public()) {
				t.Fatal("it came back as another key")
			}
		}
	})
}

// FuzzEncrypted takes encrypted keys apart, and decrypts those that ask for
// little work.
func FuzzEncrypted(f *testing.F) {
	for _, der := range fixtureKeys(f)[:3] { // each takes 600 000 iterations
		key, err := ParsePKCS8(der)
		if err != nil {
			f.Fatal(err)
		}
		sealed, err := MarshalEncryptedPKCS8(key, []byte("passphrase"))
		if err != nil {
			f.Fatal(err)
		}
		f.Add(sealed)
		// The same with 32 768 iterations instead of 600 000, which does not open.
		f.Add(bytes.Replace(sealed, []byte{2, 3, 0x09, 0x27, 0xc0}, []byte{2, 3, 0x00, 0x80, 0x00}, 1))
	}
	f.Fuzz(func(t *testing.T, der []byte) {
		scheme, _, err := readEncrypted(der)
		if err != nil || scheme.Cost() > 1<<15 {
			return
		}
		key, err := parseEncrypted(der, []byte("passphrase"))
		if err != nil {
			return
		}
		if _, err := x509.MarshalPKIXPublicKey(key.Public()); err != nil {
			t.Fatal(err)
		}
	})
}

// FuzzVerify gives Verify anything as a signature.
func FuzzVerify(f *testing.F) {
	var signers []crypto.Signer
	for _, der := range fixtureKeys(f) {
		key, err := ParsePKCS8(der)
		if err != nil {
			f.Fatal(err)
		}
		signature, err := Sign(key, []byte("message"))
		if err != nil {
			f.Fatal(err)
		}
		signers = append(signers, key)
		f.Add(signature)
	}
	f.Fuzz(func(t *testing.T, signature []byte) {
		for _, key := range signers {
			if Verify(key.Public(), []byte("another message"), signature) == nil {
				t.Fatalf("the signature %x of another message is accepted", signature)
			}
		}
	})
}
