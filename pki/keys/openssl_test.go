package keys_test

import (
	"crypto"
	"crypto/x509"
	"encoding/pem"
	"errors"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"

	"mutual/pki/keys"
	"mutual/pki/pkitest/tools"
)

func openssl(t *testing.T, arguments ...string) []byte {
	t.Helper()
	out, err := exec.Command(tools.Need(t, "openssl"), arguments...).CombinedOutput()
	if err != nil {
		t.Fatalf("openssl %s: %v\n%s", strings.Join(arguments, " "), err, out)
	}
	return out
}

// TestOpenSSLReads lets openssl open the encrypted keys that we write.
func TestOpenSSLReads(t *testing.T) {
	tools.Need(t, "openssl")
	t.Parallel()
	for _, f := range fixtures {
		t.Run(f.file, func(t *testing.T) {
			der, err := keys.MarshalEncryptedPKCS8(fixture(t, f.file), passphrase)
			if err != nil {
				t.Fatal(err)
			}
			in := filepath.Join(t.TempDir(), "in.der")
			if err := os.WriteFile(in, der, 0o600); err != nil {
				t.Fatal(err)
			}
			out := filepath.Join(t.TempDir(), "out.der")
			openssl(t, "pkey", "-inform", "DER", "-in", in, "-passin", "pass:"+string(passphrase), "-pubout", "-outform", "DER", "-out", out)
			got, err := os.ReadFile(out)
			if err != nil {
				t.Fatal(err)
			}
			pub, err := x509.ParsePKIXPublicKey(got)
			if err != nil || !keys.Equal(pub, fixture(t, f.file).Public()) {
				t.Errorf("openssl read another key: %v", err)
			}
		})
	}
}

// TestOpenSSLWrites opens what openssl encrypts, in every way that we read.
func TestOpenSSLWrites(t *testing.T) {
	tools.Need(t, "openssl")
	t.Parallel()
	tests := []struct {
		name    string
		options string
	}{
		{"default", ""},
		{"AES-128 and SHA-1", "-v2 aes-128-cbc -v2prf hmacWithSHA1"},
		{"AES-192 and SHA-256", "-v2 aes-192-cbc -v2prf hmacWithSHA256"},
		{"AES-256 and SHA-384", "-v2 aes-256-cbc -v2prf hmacWithSHA384"},
		{"AES-256 and SHA-512", "-v2 aes-256-cbc -v2prf hmacWithSHA512 -iter 100000"},
		{"triple DES", "-v2 des3"},
		{"scrypt", "-scrypt"},
		{"scrypt in four lanes", "-scrypt -scrypt_N 1024 -scrypt_r 8 -scrypt_p 4"},
	}
	in := filepath.Join("..", "..", "testdata", "keys", "leaf-p256.pem")
	want := fixture(t, "leaf-p256.pem").Public()
	for _, test := range tests {
		t.Run(test.name, func(t *testing.T) {
			der := pkcs8ByOpenSSL(t, in, test.options)
			key, err := keys.ParseEncryptedPKCS8(der, passphrase)
			if err != nil {
				t.Fatal(err)
			}
			if !keys.Equal(key.Public(), want) {
				t.Error("the key read is another one")
			}
			_, err = keys.ParseEncryptedPKCS8(der, []byte("wrong"))
			if !errors.Is(err, keys.ErrPassphrase) {
				t.Errorf("wrong passphrase: %v", err)
			}
		})
	}
	_, err := keys.ParseEncryptedPKCS8(pkcs8ByOpenSSL(t, in, "-v1 PBE-SHA1-3DES"), passphrase)
	wantError(t, err, "its encryption 1.2.840.113549.1.12.1.3 is not supported, only PBES2 is")
}

func pkcs8ByOpenSSL(t *testing.T, in, options string) []byte {
	t.Helper()
	out := filepath.Join(t.TempDir(), "out.der")
	arguments := []string{"pkcs8", "-topk8", "-in", in, "-outform", "DER", "-out", out, "-passout", "pass:" + string(passphrase)}
	openssl(t, append(arguments, strings.Fields(options)...)...)
	der, err := os.ReadFile(out)
	if err != nil {
		t.Fatal(err)
	}
	return der
}

// TestOpenSSLTraditional reads the traditional forms that openssl writes.
func TestOpenSSLTraditional(t *testing.T) {
	tools.Need(t, "openssl")
	tests := []struct {
		file, options, block string
		parse                func([]byte) (crypto.Signer, error)
	}{
		{"leaf-p256.pem", "ec", "EC PRIVATE KEY", keys.ParseSEC1},
		{"leaf-p256.pem", "ec -conv_form compressed", "EC PRIVATE KEY", keys.ParseSEC1},
		{"leaf-p256.pem", "ec -no_public", "EC PRIVATE KEY", keys.ParseSEC1},
		{"p384.pem", "ec", "EC PRIVATE KEY", keys.ParseSEC1},
		{"rsa2048.pem", "rsa -traditional", "RSA PRIVATE KEY", keys.ParsePKCS1},
		{"p384.pem", "pkey -ec_conv_form compressed", "PRIVATE KEY", keys.ParsePKCS8},
	}
	for _, test := range tests {
		t.Run(test.file+" "+test.options, func(t *testing.T) {
			out := filepath.Join(t.TempDir(), "out.pem")
			in := filepath.Join("..", "..", "testdata", "keys", test.file)
			openssl(t, append(strings.Fields(test.options), "-in", in, "-out", out)...)
			text, err := os.ReadFile(out)
			if err != nil {
				t.Fatal(err)
			}
			block, _ := pem.Decode(text)
			if block == nil || block.Type != test.block {
				t.Fatalf("openssl wrote %s", text)
			}
			key, err := test.parse(block.Bytes)
			if err != nil {
				t.Fatal(err)
			}
			if !keys.Equal(key.Public(), fixture(t, test.file).Public()) {
				t.Error("the key read is another one")
			}
		})
	}
}
