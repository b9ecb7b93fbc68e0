package bundle_test

import (
	"bytes"
	"encoding/binary"
	"errors"
	"path/filepath"
	"testing"

	"mutual/pki/bundle"
	"mutual/pki/keys"
	"mutual/pki/pemfile"
)

// TestDecodeRealFiles reads what real programs have written.
func TestDecodeRealFiles(t *testing.T) {
	if testing.Short() {
		t.Skip("not with -short: it derives many keys from passphrases")
	}
	for _, file := range []string{"openssl.p12", "openssl-legacy.p12", "nss.p12", "gnutls.pem", "java.p12", "java.jks"} {
		t.Run(file, func(t *testing.T) {
			id, err := bundle.Decode(readBundle(t, file), secret)
			if err != nil {
				t.Fatal(err)
			}
			wantIdentity(t, id, name)
		})
	}
}

// TestDecodePEM reads key and certificates in any order, and a password only
// where there is something to decrypt.
func TestDecodePEM(t *testing.T) {
	id := alice(t)
	der, err := keys.MarshalPKCS8(id.Key)
	if err != nil {
		t.Fatal(err)
	}
	sealed, err := keys.MarshalEncryptedPKCS8(id.Key, []byte(password))
	if err != nil {
		t.Fatal(err)
	}
	never := func() ([]byte, error) { return nil, errors.New("asked for a password") }
	wrong := func() ([]byte, error) { return []byte("wrong"), nil }
	key, encrypted := pemfile.EncodeKey(der), pemfile.EncodeEncryptedKey(sealed)
	leaf, issuer := pemfile.EncodeCertificates(id.Chain[0]), pemfile.EncodeCertificates(id.Chain[1])
	for _, test := range []struct {
		name     string
		blocks   [][]byte
		password func() ([]byte, error)
		want     string
	}{
		{"key first", [][]byte{key, leaf, issuer}, never, ""},
		{"issuer first", [][]byte{issuer, leaf, key}, never, ""},
		{"encrypted", [][]byte{encrypted, leaf, issuer}, secret, ""},
		{"encrypted, wrong password", [][]byte{encrypted, leaf, issuer}, wrong, "wrong password, or the file is damaged"},
		{"encrypted, no password", [][]byte{encrypted, leaf, issuer}, never, "asked for a password"},
		{"no key", [][]byte{leaf, issuer}, never, "it holds 2 certificates, no private key"},
		{"no certificate", [][]byte{key}, never, "it holds a private key, no certificate"},
		{"two keys", [][]byte{key, key, leaf}, never, "one private key is wanted"},
		{"another's certificate", [][]byte{key, issuer}, never, "it holds no certificate for its private key"},
		{"nothing", nil, never, "it is empty"},
		{"a JCEKS", [][]byte{[]byte("\xce\xce\xce\xce")}, never, "it is a JCEKS"},
		{"something else", [][]byte{[]byte("hello")}, never, "it is neither PEM nor DER"},
		{"too long", [][]byte{make([]byte, bundle.MaxFile+1)}, never, "at most 1048576 are read"},
	} {
		t.Run(test.name, func(t *testing.T) {
			got, err := bundle.Decode(bytes.Join(test.blocks, nil), test.password)
			if test.want != "" {
				wantError(t, err, test.want)
				return
			}
			if err != nil {
				t.Fatal(err)
			}
			wantIdentity(t, got, "")
		})
	}
}

// TestDecodeJKSRefuses changes a JKS of Java: version, entries, type and the
// length of the key stand at fixed places, for the alias has 17 octets.
func TestDecodeJKSRefuses(t *testing.T) {
	const version, entries, kind, length = 4, 8, 12, 43
	good := readBundle(t, "java.jks")
	chain := length + 4 + int(binary.BigEndian.Uint32(good[length:]))
	with := func(at int, value uint32) []byte {
		data := bytes.Clone(good)
		binary.BigEndian.PutUint32(data[at:], value)
		return data
	}
	for _, test := range []struct {
		name string
		data []byte
		want string
	}{
		{"cut off", good[:len(good)-1], "it is damaged or cut off"},
		{"only the magic", good[:4], "it is damaged or cut off"},
		{"more after it", append(bytes.Clone(good), 0), "it is damaged or cut off"},
		{"version", with(version, 3), "its version 3 is unknown"},
		{"many entries", with(entries, 1<<31), "it has 2147483648 entries"},
		{"no entry", with(entries, 0), "it is damaged or cut off"},
		{"an unknown entry", with(kind, 7), "it has an entry of the unknown type 7"},
		{"a key of 4 GiB", with(length, 1<<32-1), "it is damaged or cut off"},
		{"a short key", with(length, 30), "it is damaged or cut off"},
		{"many certificates", with(chain, 1<<31), "a key in it has 2147483648 certificates"},
		{"changed", with(length+60, 0), "wrong password, or the file is damaged"},
		{"empty", append(append(bytes.Clone(good[:entries]), 0, 0, 0, 0), emptyJKSDigest...), "it holds no private key"},
	} {
		t.Run(test.name, func(t *testing.T) {
			_, err := bundle.Decode(test.data, secret)
			wantError(t, err, "reading JKS: "+test.want)
		})
	}
	_, err := bundle.Decode(good, func() ([]byte, error) { return []byte("pässword"), nil })
	wantError(t, err, "other characters than ASCII")
}

// emptyJKSDigest ends a JKS without entries: the SHA-1 of the password in
// UTF-16, of Java's "Mighty Aphrodite", and of what stands before it.
const emptyJKSDigest = "\x80\xcf\x05\xe7\x75\x4e\x9c\x65\xa3\x17\x4c\x14\xee\x39\x84\x15\x6a\x70\xf8\x5c"

// FuzzDecode reads anything that no password protects, and every JKS. What is
// behind the passwords of PKCS#12 is fuzzed where it is decoded.
func FuzzDecode(f *testing.F) {
	paths, err := filepath.Glob(filepath.Join(bundles, "*.*"))
	if err != nil || len(paths) < 6 {
		f.Fatalf("%v: only %d files in %s", err, len(paths), bundles)
	}
	for _, path := range paths {
		f.Add(readBundle(f, filepath.Base(path)))
	}
	f.Add(encode(f, bundle.Options{Format: bundle.PEM}))
	f.Add(encode(f, bundle.Options{Format: bundle.JKS}))
	f.Fuzz(func(t *testing.T, data []byte) {
		password := secret
		if !bytes.HasPrefix(data, []byte("\xfe\xed\xfe\xed")) {
			password = func() ([]byte, error) { return nil, errors.New("no password") }
		}
		id, err := bundle.Decode(data, password)
		if err != nil {
			return
		}
		if _, err := bundle.Encode(id, bundle.Options{Format: bundle.PEM}); err != nil {
			t.Fatalf("what was read cannot be written: %v", err)
		}
	})
}
