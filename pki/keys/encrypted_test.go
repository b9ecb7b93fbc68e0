package keys_test

import (
	"bytes"
	"crypto/x509/pkix"
	"encoding/asn1"
	"errors"
	"fmt"
	"math/big"
	"testing"
	"time"

	"mutual/pki/keys"
)

var passphrase = []byte("correct horse")

func TestEncryptedRoundTrip(t *testing.T) {
	if testing.Short() {
		t.Skip("not with -short: it derives many keys from passphrases")
	}
	t.Parallel()
	for _, f := range fixtures {
		t.Run(f.file, func(t *testing.T) {
			key := fixture(t, f.file)
			der, err := keys.MarshalEncryptedPKCS8(key, passphrase)
			if err != nil {
				t.Fatal(err)
			}
			again, err := keys.ParseEncryptedPKCS8(der, passphrase)
			if err != nil {
				t.Fatal(err)
			}
			if !keys.Equal(again.Public(), key.Public()) {
				t.Error("the key read is another one")
			}
		})
	}
}

// TestEncryptedProfile pins what is written: PBES2, PBKDF2 with a salt of 16
// octets, 600 000 iterations and HMAC-SHA256, AES-256-CBC; fresh every time.
func TestEncryptedProfile(t *testing.T) {
	key := fixture(t, "leaf-p256.pem")
	var written [2]encryptedPrivateKeyInfo
	for i := range written {
		der, err := keys.MarshalEncryptedPKCS8(key, passphrase)
		if err != nil {
			t.Fatal(err)
		}
		written[i] = unmarshal(t, der)
	}
	e := written[0]
	kdf := pbkdf2Of(t, e)
	if len(kdf.Salt) != 16 || kdf.Iterations.Int64() != 600_000 || kdf.KeyLength != 0 ||
		fmt.Sprint(kdf.PRF.Algorithm) != "1.2.840.113549.2.9" || !bytes.Equal(kdf.PRF.Parameters.FullBytes, []byte{5, 0}) {
		t.Errorf("key derivation %+v", kdf)
	}
	if got := fmt.Sprint(e.Algorithm.Params.Cipher.Algorithm); got != "2.16.840.1.101.3.4.1.42" {
		t.Errorf("cipher %v", got)
	}
	if bytes.Equal(kdf.Salt, pbkdf2Of(t, written[1]).Salt) || bytes.Equal(e.Sealed, written[1].Sealed) {
		t.Error("two encryptions share their salt")
	}
}

// encryptedPrivateKeyInfo is RFC 5958, Section 3, with PBES2-params.
type encryptedPrivateKeyInfo struct {
	Algorithm struct {
		OID    asn1.ObjectIdentifier
		Params struct{ KDF, Cipher pkix.AlgorithmIdentifier }
	}
	Sealed []byte
}

type pbkdf2Params struct {
	Salt       []byte
	Iterations *big.Int
	KeyLength  int                      `asn1:"optional"`
	PRF        pkix.AlgorithmIdentifier `asn1:"optional"`
}

type scryptParams struct {
	Salt    []byte
	N, R, P *big.Int
}

func unmarshal(t testing.TB, der []byte) (e encryptedPrivateKeyInfo) {
	t.Helper()
	if rest, err := asn1.Unmarshal(der, &e); err != nil || len(rest) > 0 {
		t.Fatalf("%v, %d octets left", err, len(rest))
	}
	return e
}

func pbkdf2Of(t testing.TB, e encryptedPrivateKeyInfo) (p pbkdf2Params) {
	t.Helper()
	if _, err := asn1.Unmarshal(e.Algorithm.Params.KDF.Parameters.FullBytes, &p); err != nil {
		t.Fatal(err)
	}
	return p
}

func raw(der []byte) asn1.RawValue { return asn1.RawValue{FullBytes: der} }

func TestEncryptedErrors(t *testing.T) {
	key := fixture(t, "leaf-p256.pem")
	_, err := keys.MarshalEncryptedPKCS8(key, nil)
	wantError(t, err, "encrypting a private key: the passphrase is empty")
	good, err := keys.MarshalEncryptedPKCS8(key, passphrase)
	if err != nil {
		t.Fatal(err)
	}
	_, err = keys.ParseEncryptedPKCS8(fixtureDER(t, "leaf-p256.pem"), passphrase)
	wantError(t, err, "decrypting a private key: it is damaged or no EncryptedPrivateKeyInfo")
	_, err = keys.ParseEncryptedPKCS8(append(bytes.Clone(good), 0), passphrase)
	wantError(t, err, "it is damaged or no EncryptedPrivateKeyInfo")
	truncations(t, good, func(der []byte) error {
		_, err := keys.ParseEncryptedPKCS8(der, passphrase)
		return err
	})
}

func TestWrongPassphrase(t *testing.T) {
	if testing.Short() {
		t.Skip("not with -short: it derives many keys from passphrases")
	}
	der, err := keys.MarshalEncryptedPKCS8(fixture(t, "leaf-p256.pem"), passphrase)
	if err != nil {
		t.Fatal(err)
	}
	for _, wrong := range []string{"", "Correct horse", "correct horse "} {
		_, err := keys.ParseEncryptedPKCS8(der, []byte(wrong))
		if !errors.Is(err, keys.ErrPassphrase) {
			t.Errorf("passphrase %q: %v", wrong, err)
		}
		if err != nil && err.Error() != "decrypting a private key: wrong passphrase, or the key is damaged" {
			t.Errorf("the error says %q", err)
		}
	}
	// One wrong passphrase in 256 leaves a good padding: with one iteration
	// there is time to meet many of them.
	e := unmarshal(t, der)
	p := pbkdf2Of(t, e)
	p.Iterations = big.NewInt(1)
	e.Algorithm.Params.KDF.Parameters = raw(marshal(t, p))
	quick := marshal(t, e)
	for i := range 5000 {
		if _, err := keys.ParseEncryptedPKCS8(quick, fmt.Append(nil, i)); !errors.Is(err, keys.ErrPassphrase) {
			t.Fatalf("passphrase %d: %v", i, err)
		}
	}
}

// TestHostileParameters changes one parameter of a good key at a time. Each is
// refused before any work is done.
func TestHostileParameters(t *testing.T) {
	if testing.Short() {
		t.Skip("not with -short: it derives many keys from passphrases")
	}
	der, err := keys.MarshalEncryptedPKCS8(fixture(t, "leaf-p256.pem"), passphrase)
	if err != nil {
		t.Fatal(err)
	}
	type change func(*encryptedPrivateKeyInfo)
	pbkdf2 := func(f func(*pbkdf2Params)) change {
		return func(e *encryptedPrivateKeyInfo) {
			p := pbkdf2Of(t, *e)
			f(&p)
			e.Algorithm.Params.KDF.Parameters = raw(marshal(t, p))
		}
	}
	scrypt := func(n, r, p int64) change {
		return func(e *encryptedPrivateKeyInfo) {
			e.Algorithm.Params.KDF = pkix.AlgorithmIdentifier{
				Algorithm:  asn1.ObjectIdentifier{1, 3, 6, 1, 4, 1, 11591, 4, 11},
				Parameters: raw(marshal(t, scryptParams{[]byte("salt"), big.NewInt(n), big.NewInt(r), big.NewInt(p)})),
			}
		}
	}
	const damaged = "it is damaged or no EncryptedPrivateKeyInfo"
	tests := []struct {
		name   string
		change change
		want   string
	}{
		{"eleven million iterations", pbkdf2(func(p *pbkdf2Params) { p.Iterations = big.NewInt(11_000_000) }),
			"it asks for 11000000 iterations of PBKDF2, and 1 to 10000000 are accepted"},
		{"2^63 iterations", pbkdf2(func(p *pbkdf2Params) { p.Iterations = new(big.Int).Lsh(big.NewInt(1), 63) }), "it asks for 9223372036854775808 iterations"},
		{"2^64 iterations", pbkdf2(func(p *pbkdf2Params) { p.Iterations = new(big.Int).Lsh(big.NewInt(1), 64) }), damaged},
		{"no iteration", pbkdf2(func(p *pbkdf2Params) { p.Iterations = new(big.Int) }), "it asks for 0 iterations"},
		{"minus one iteration", pbkdf2(func(p *pbkdf2Params) { p.Iterations = big.NewInt(-1) }), damaged},
		{"key length of another cipher", pbkdf2(func(p *pbkdf2Params) { p.KeyLength = 16 }), damaged},
		{"HMAC with MD5", pbkdf2(func(p *pbkdf2Params) { p.PRF.Algorithm = asn1.ObjectIdentifier{1, 2, 840, 113549, 2, 6} }),
			"its pseudorandom function 1.2.840.113549.2.6 is not supported"},
		{"HMAC with parameters", pbkdf2(func(p *pbkdf2Params) { p.PRF.Parameters = raw([]byte{4, 0}) }), damaged},
		{"scrypt of 1 GiB", scrypt(1<<20, 8, 1), "it asks scrypt for N=1048576, r=8, p=1, which is out of bounds or more than 256 MiB"},
		{"scrypt whose product overflows", scrypt(1<<32, 1<<31, 2), "it asks scrypt for N=4294967296"},
		{"scrypt with a large r", scrypt(2, 1<<40, 1), "it asks scrypt for N=2"},
		{"scrypt with a large p", scrypt(2, 1, 1<<62), "it asks scrypt for N=2"},
		{"scrypt with N=1", scrypt(1, 8, 1), "it asks scrypt for N=1"},
		{"scrypt with r=0", scrypt(2, 0, 1), "it asks scrypt for N=2, r=0"},
		{"scrypt with N no power of two", scrypt(3, 8, 1), "scrypt: N must be"},
		{"unknown derivation", func(e *encryptedPrivateKeyInfo) { e.Algorithm.Params.KDF.Algorithm = p256OID }, "its key derivation 1.2.840.10045.3.1.7 is not supported"},
		{"unknown cipher", func(e *encryptedPrivateKeyInfo) { e.Algorithm.Params.Cipher.Algorithm = p256OID }, "its cipher 1.2.840.10045.3.1.7 is not supported"},
		{"PBES1", func(e *encryptedPrivateKeyInfo) { e.Algorithm.OID = asn1.ObjectIdentifier{1, 2, 840, 113549, 1, 5, 3} },
			"its encryption 1.2.840.113549.1.5.3 is not supported, only PBES2 is: convert it with openssl pkcs8 -topk8 -v2 aes-256-cbc"},
		{"short IV", func(e *encryptedPrivateKeyInfo) { e.Algorithm.Params.Cipher.Parameters = raw([]byte{4, 1, 0}) }, "its encrypted octets are cut off or damaged"},
		{"no content", func(e *encryptedPrivateKeyInfo) { e.Sealed = nil }, "its encrypted octets are cut off or damaged"},
		{"cut content", func(e *encryptedPrivateKeyInfo) { e.Sealed = e.Sealed[:len(e.Sealed)-1] }, "its encrypted octets are cut off or damaged"},
	}
	for _, test := range tests {
		t.Run(test.name, func(t *testing.T) {
			e := unmarshal(t, der)
			test.change(&e)
			start := time.Now()
			_, err := keys.ParseEncryptedPKCS8(marshal(t, e), passphrase)
			wantError(t, err, test.want)
			if d := time.Since(start); d > 5*time.Second {
				t.Errorf("refusing it took %v", d)
			}
		})
	}
}
