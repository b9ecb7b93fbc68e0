package pkcs12

import (
	"bytes"
	"crypto"
	"crypto/rand"
	"crypto/x509"
	"crypto/x509/pkix"
	encoding_asn1 "encoding/asn1"
	"math/big"
	"testing"
	"time"

	"golang.org/x/crypto/cryptobyte/asn1"

	"mutual/pki/keys"
)

func selfSigned(t testing.TB, key crypto.Signer) *x509.Certificate {
	t.Helper()
	template := &x509.Certificate{SerialNumber: big.NewInt(1), Subject: pkix.Name{CommonName: name}, NotAfter: time.Unix(1<<32, 0)}
	der, err := x509.CreateCertificate(rand.Reader, template, template, key.Public(), key)
	if err != nil {
		t.Fatal(err)
	}
	cert, err := x509.ParseCertificate(der)
	if err != nil {
		t.Fatal(err)
	}
	return cert
}

// file makes a file of safes, with a MAC of one iteration.
func file(safes ...[]byte) []byte {
	safe := sequence(safes...)
	m := macData{hash: hashOf(oidSHA256), salt: []byte("salt"), iterations: 1}
	mac := sequence(sequence(sequence(oid(oidSHA256)), octets(m.of(safe, terminated(password)))), octets(m.salt))
	return sequence(integer(3), contentInfo(oidData, octets(safe)), mac)
}

// integer is a small INTEGER.
func integer(n int) []byte {
	return element(asn1.INTEGER, big.NewInt(int64(n)).Bytes())
}

func plainSafe(bags ...[]byte) []byte { return contentInfo(oidData, octets(sequence(bags...))) }

func keyBag(t *testing.T, key crypto.Signer) []byte {
	t.Helper()
	der, err := keys.MarshalPKCS8(key)
	if err != nil {
		t.Fatal(err)
	}
	return bag(oidKeyBag, der, nil)
}

func certBag(kind encoding_asn1.ObjectIdentifier, der []byte) []byte {
	return bag(oidCertBag, sequence(oid(kind), explicit(octets(der))), nil)
}

// dearKeyBag is the bag of a key whose encryption asks for so many iterations.
func dearKeyBag(iterations int) []byte {
	pbkdf2 := encoding_asn1.ObjectIdentifier{1, 2, 840, 113549, 1, 5, 12}
	aes := encoding_asn1.ObjectIdentifier{2, 16, 840, 1, 101, 3, 4, 1, 42}
	count := element(asn1.INTEGER, append([]byte{0}, big.NewInt(int64(iterations)).Bytes()...))
	if count[3] < 0x80 {
		count = element(asn1.INTEGER, big.NewInt(int64(iterations)).Bytes())
	}
	kdf := sequence(oid(pbkdf2), sequence(octets([]byte("salt")), count))
	algorithm := sequence(oid(oidPBES2), sequence(kdf, sequence(oid(aes), octets(make([]byte, 16)))))
	return bag(oidShroudedKeyBag, sequence(algorithm, octets(make([]byte, 32))), nil)
}

// sealedSafe is an encrypted safe.
func sealedSafe(t *testing.T, bags ...[]byte) []byte {
	t.Helper()
	algorithm, sealed, err := keys.SealPBES2(sequence(bags...), []byte(password), 1)
	if err != nil {
		t.Fatal(err)
	}
	content := sequence(oid(oidData), algorithm, element(asn1.Tag(0).ContextSpecific(), sealed))
	return contentInfo(oidEncryptedData, sequence(element(asn1.INTEGER, []byte{0}), content))
}

// TestDecodeRefuses gives Decode files whose maker knows the password.
func TestDecodeRefuses(t *testing.T) {
	c := alice(t)
	key, cert := keyBag(t, c.Key), certBag(oidX509Certificate, c.Certificates[0].Raw)
	dearMAC := sequence(sequence(sequence(oid(oidSHA1)), octets(make([]byte, 20))), octets(nil), integer(0x7fffffff))
	nested := bytes.Repeat([]byte{0x30, 0x80}, 40)
	for _, test := range []struct {
		name string
		data []byte
		want string
	}{
		{"nothing", nil, "its encoding is damaged or cut off"},
		{"cut off", file(plainSafe(key, cert))[:300], "its encoding is damaged or cut off"},
		{"more after it", append(file(plainSafe(key, cert)), 0), "it has data after its end"},
		{"too long", make([]byte, MaxSize+1), "at most 1048576 are read"},
		{"nested", nested, "it is nested too deeply"},
		{"a length of 4 GiB", []byte{0x30, 0x84, 0xff, 0xff, 0xff, 0xff}, "its encoding is damaged"},
		{"a length of nine octets", []byte{0x30, 0x89, 1, 1, 1, 1, 1, 1, 1, 1, 1}, "its encoding is damaged"},
		{"a high tag", []byte{0x3f, 0x81, 0x01, 0}, "its encoding is damaged"},
		{"version 4", sequence(integer(4)), "its version is 4, and only 3 is read"},
		{"signed", sequence(integer(3), contentInfo(oidEncryptedData, octets(nil))), "protected by a signature"},
		{"no MAC", sequence(integer(3), contentInfo(oidData, octets(sequence()))), "it has no MAC"},
		{"a dear MAC", sequence(integer(3), contentInfo(oidData, octets(sequence())), dearMAC), "more than 10000000 iterations"},
		{"no key", file(plainSafe(cert)), "it holds no private key"},
		{"no certificate", file(plainSafe(key)), "it holds no certificate"},
		{"two keys", file(plainSafe(key), plainSafe(key, cert)), "it holds more than one private key"},
		{"a safe in a safe", file(plainSafe(bag(oidSafeContentsBag, sequence(key), nil))), "a safe inside a safe"},
		{"an unknown safe", file(contentInfo(oidX509Certificate, octets(nil))), "it has a safe of the type 1.2.840.113549.1.9.22.1"},
		{"an SDSI certificate", file(plainSafe(key, certBag(oidData, nil))), "which is not X.509"},
		{"no certificate in the bag", file(plainSafe(key, certBag(oidX509Certificate, []byte{5, 0}))), "a certificate in it: "},
		{"many safes", file(bytes.Repeat(plainSafe(), 33)), "it has more than 32 safes"},
		{"many bags", file(plainSafe(bytes.Repeat(bag(oidData, nil, nil), 257))), "it has more than 256 bags"},
		{"many certificates", file(plainSafe(bytes.Repeat(cert, 65))), "it has more than 64 certificates"},
		{"a dear key", file(plainSafe(dearKeyBag(2_000_000_000))), "1 to 10000000 are accepted"},
		{"a dear key inside", file(sealedSafe(t, dearKeyBag(2_000_000_000))), "1 to 10000000 are accepted"},
		{"all that is left", file(sealedSafe(t, dearKeyBag(MaxCost))), "more than 10000000 iterations"},
		{"a dear triple DES", file(plainSafe(legacyKeyBag(oidTripleDES, 0x7fffff, 8))), "more than 10000000 iterations"},
		{"no iterations", file(plainSafe(legacyKeyBag(oidTripleDES, 0, 8))), "it is damaged or cut off"},
		{"half a block", file(plainSafe(legacyKeyBag(oidTripleDES, 1, 7))), "it is damaged or cut off"},
		{"RC4", file(plainSafe(legacyKeyBag(encoding_asn1.ObjectIdentifier{1, 2, 840, 113549, 1, 12, 1, 1}, 1, 8))), "its encryption 1.2.840.113549.1.12.1.1 is not supported"},
		{"noise in triple DES", file(plainSafe(legacyKeyBag(oidTripleDES, 1, 8))), "what is encrypted in it is damaged"},
	} {
		t.Run(test.name, func(t *testing.T) {
			_, err := Decode(test.data, password)
			wantError(t, err, "reading PKCS#12: ")
			wantError(t, err, test.want)
		})
	}
}

// legacyKeyBag is the bag of a key of zeros under an algorithm of PKCS#12.
func legacyKeyBag(id encoding_asn1.ObjectIdentifier, iterations, size int) []byte {
	count := element(asn1.INTEGER, append([]byte{byte(iterations >> 16)}, byte(iterations>>8), byte(iterations)))
	if iterations < 128 {
		count = element(asn1.INTEGER, []byte{byte(iterations)})
	}
	algorithm := sequence(oid(id), sequence(octets([]byte("salt")), count))
	return bag(oidShroudedKeyBag, sequence(algorithm, octets(make([]byte, size))), nil)
}

// TestToDER converts the pieces that BER allows.
func TestToDER(t *testing.T) {
	for _, test := range []struct{ name, in, out, err string }{
		{"DER", "\x30\x03\x04\x01a", "\x30\x03\x04\x01a", ""},
		{"a long length", "\x30\x81\x03\x04\x01a", "\x30\x03\x04\x01a", ""},
		{"indefinite", "\x30\x80\x04\x01a\x00\x00", "\x30\x03\x04\x01a", ""},
		{"indefinite in indefinite", "\x30\x80\x30\x80\x00\x00\x00\x00", "\x30\x02\x30\x00", ""},
		{"octets in pieces", "\x24\x80\x04\x01a\x24\x03\x04\x01b\x04\x00\x00\x00", "\x04\x02ab", ""},
		{"pieces of something else", "\x24\x80\x02\x01a\x00\x00", "", "its encoding is damaged"},
		{"no end", "\x30\x80\x04\x01a", "", "its encoding is damaged"},
		{"the end too early", "\x30\x05\x30\x80\x04\x01a\x00\x00", "", "its encoding is damaged"},
		{"indefinite octets", "\x04\x80a\x00\x00", "", "its encoding is damaged"},
	} {
		t.Run(test.name, func(t *testing.T) {
			out, err := toDER([]byte(test.in))
			if test.err != "" {
				wantError(t, err, test.err)
				return
			}
			if err != nil || string(out) != test.out {
				t.Errorf("%x, %v, want %x", out, err, test.out)
			}
		})
	}
}
