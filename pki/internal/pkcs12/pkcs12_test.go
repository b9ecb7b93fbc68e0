package pkcs12

import (
	"crypto"
	"crypto/x509"
	"encoding/pem"
	"errors"
	"os"
	"path/filepath"
	"strings"
	"testing"

	gopkcs12 "software.sslmate.com/src/go-pkcs12"

	"mutual/pki/keys"
)

const (
	bundles  = "../../../testdata/bundles"
	name     = "alice@example.com"
	password = "secret"
)

// bundle reads a file of testdata/bundles, without the PEM around it.
func bundle(t testing.TB, file string) []byte {
	t.Helper()
	data, err := os.ReadFile(filepath.Join(bundles, file))
	if err != nil {
		t.Fatal(err)
	}
	if block, _ := pem.Decode(data); block != nil {
		return block.Bytes
	}
	return data
}

// alice is what every file of testdata/bundles holds.
func alice(t testing.TB) Contents {
	t.Helper()
	c, err := Decode(bundle(t, "openssl.p12"), password)
	if err != nil {
		t.Fatal(err)
	}
	return *c
}

// fixtureKey reads a key of testdata/keys.
func fixtureKey(t testing.TB, file string) crypto.Signer {
	t.Helper()
	data, err := os.ReadFile(filepath.Join("../../../testdata/keys", file))
	if err != nil {
		t.Fatal(err)
	}
	block, _ := pem.Decode(data)
	key, err := keys.ParsePKCS8(block.Bytes)
	if err != nil {
		t.Fatal(err)
	}
	return key
}

func wantError(t *testing.T, err error, want string) {
	t.Helper()
	if err == nil || !strings.Contains(err.Error(), want) {
		t.Errorf("error %v, want %q in it", err, want)
	}
}

// wantContents compares what a file holds, the certificates in any order.
func wantContents(t *testing.T, got *Contents, want Contents) {
	t.Helper()
	if got.FriendlyName != want.FriendlyName {
		t.Errorf("the friendly name is %q, want %q", got.FriendlyName, want.FriendlyName)
	}
	if !keys.Equal(got.Key.Public(), want.Key.Public()) {
		t.Error("it is another key")
	}
	if len(got.Certificates) != len(want.Certificates) {
		t.Fatalf("%d certificates, want %d", len(got.Certificates), len(want.Certificates))
	}
	for _, cert := range want.Certificates {
		found := false
		for _, c := range got.Certificates {
			found = found || c.Equal(cert)
		}
		if !found {
			t.Errorf("the certificate of %s is missing", cert.Subject)
		}
	}
}

// TestDecodeRealFiles reads what real programs have written.
func TestDecodeRealFiles(t *testing.T) {
	if testing.Short() {
		t.Skip("not with -short: it derives many keys from passphrases")
	}
	want := alice(t)
	if len(want.Certificates) != 2 || want.FriendlyName != name ||
		!keys.Equal(want.Key.Public(), fixtureKey(t, "leaf-p256.pem").Public()) {
		t.Fatalf("openssl.p12 holds %+v", want)
	}
	for _, file := range []string{"openssl.p12", "openssl-legacy.p12", "nss.p12", "gnutls.pem", "java.p12"} {
		t.Run(file, func(t *testing.T) {
			got, err := Decode(bundle(t, file), password)
			if err != nil {
				t.Fatal(err)
			}
			wantContents(t, got, want)
			if _, err := Decode(bundle(t, file), "Secret"); !errors.Is(err, ErrPassword) {
				t.Errorf("a wrong password is %v", err)
			}
		})
	}
}

// TestDecodeOther reads what go-pkcs12 writes: RC2, both MACs, an empty and a
// non-ASCII password.
func TestDecodeOther(t *testing.T) {
	want := alice(t)
	want.FriendlyName = "" // it writes none
	for _, test := range []struct {
		name     string
		encoder  *gopkcs12.Encoder
		password string
		err      string
	}{
		{"modern", gopkcs12.Modern2023, password, ""},
		{"triple DES", gopkcs12.LegacyDES, password, ""},
		{"RC2", gopkcs12.LegacyRC2, password, ""},
		{"empty password", gopkcs12.Modern2023, "", ""},
		{"empty password, RC2", gopkcs12.LegacyRC2, "", ""},
		{"non-ASCII password", gopkcs12.Modern2023, "pässwörd", ""},
		{"PBMAC1", gopkcs12.Modern2026, password, "its MAC algorithm 1.2.840.113549.1.5.14 is not supported"},
		{"no MAC", gopkcs12.Passwordless, "", "it has no MAC"},
	} {
		t.Run(test.name, func(t *testing.T) {
			der, err := test.encoder.Encode(want.Key, want.Certificates[0], want.Certificates[1:], test.password)
			if err != nil {
				t.Fatal(err)
			}
			got, err := Decode(der, test.password)
			if test.err != "" {
				wantError(t, err, test.err)
				return
			}
			if err != nil {
				t.Fatal(err)
			}
			wantContents(t, got, want)
		})
	}
}

// TestEncode writes every kind of key and reads it with go-pkcs12 and with
// Decode.
func TestEncode(t *testing.T) {
	if testing.Short() {
		t.Skip("not with -short: it derives many keys from passphrases")
	}
	for _, file := range []string{"leaf-p256.pem", "p384.pem", "rsa2048.pem", "ed25519.pem"} {
		for scheme, label := range map[Scheme]string{Modern: "modern", Legacy: "legacy"} {
			t.Run(file+" "+label, func(t *testing.T) {
				want := Contents{FriendlyName: "Älïce 😀", Key: fixtureKey(t, file)}
				want.Certificates = []*x509.Certificate{selfSigned(t, want.Key), alice(t).Certificates[1]}
				der, err := Encode(want, password, scheme)
				if err != nil {
					t.Fatal(err)
				}
				got, err := Decode(der, password)
				if err != nil {
					t.Fatal(err)
				}
				wantContents(t, got, want)
				if out, err := toDER(der); err != nil || string(out) != string(der) {
					t.Errorf("it is not DER: %v", err)
				}
				key, leaf, chain, err := gopkcs12.DecodeChain(der, password)
				if err != nil {
					t.Fatal(err)
				}
				if !leaf.Equal(want.Certificates[0]) || len(chain) != 1 || !keys.Equal(key.(crypto.Signer).Public(), want.Key.Public()) {
					t.Error("go-pkcs12 reads something else")
				}
			})
		}
	}
}

// TestFriendlyNames has the name and the same localKeyId on key and leaf, as
// go-pkcs12 shows them, and nothing on the issuer.
func TestFriendlyNames(t *testing.T) {
	der, err := Encode(alice(t), password, Modern)
	if err != nil {
		t.Fatal(err)
	}
	//lint:ignore SA1019 nothing else of it shows the attributes
	blocks, err := gopkcs12.ToPEM(der, password)
	if err != nil {
		t.Fatal(err)
	}
	if len(blocks) != 3 {
		t.Fatalf("%d bags, want 3", len(blocks))
	}
	leaf, issuer, key := blocks[0].Headers, blocks[1].Headers, blocks[2].Headers
	if leaf["friendlyName"] != name || key["friendlyName"] != name || len(issuer) != 0 {
		t.Errorf("friendly names: leaf %q, key %q, issuer %q", leaf, key, issuer)
	}
	if len(leaf["localKeyId"]) != 40 || leaf["localKeyId"] != key["localKeyId"] {
		t.Errorf("localKeyId: leaf %q, key %q", leaf, key)
	}
}

func TestEncodeRefuses(t *testing.T) {
	good := alice(t)
	for _, test := range []struct {
		name     string
		contents Contents
		password string
		want     string
	}{
		{"empty password", good, "", "the password is empty"},
		{"non-ASCII password", good, "pässword", "the password is not ASCII"},
		{"control character", good, "secret\n", "the password is not ASCII"},
		{"no certificate", Contents{Key: good.Key}, password, "there is no certificate"},
		{"another key", Contents{Key: fixtureKey(t, "p384.pem"), Certificates: good.Certificates}, password, "the first certificate is not the key's"},
	} {
		t.Run(test.name, func(t *testing.T) {
			_, err := Encode(test.contents, test.password, Modern)
			wantError(t, err, "encoding PKCS#12: "+test.want)
		})
	}
}
