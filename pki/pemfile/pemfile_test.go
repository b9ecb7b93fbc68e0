package pemfile_test

import (
	"bytes"
	"crypto"
	"crypto/rand"
	"crypto/rsa"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/pem"
	"errors"
	"fmt"
	"math/big"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"mutual/pki/keys"
	"mutual/pki/pemfile"
	"mutual/pki/pkitest/tools"
)

// samples holds one of everything that a file may hold.
type samples struct {
	signer                         crypto.Signer
	cert                           *x509.Certificate
	request, list, public          []byte // DER
	pkcs8, sec1, pkcs1, encrypted  []byte // DER
	certPEM, requestPEM, listPEM   string
	keyPEM, encryptedPEM, otherPEM string
}

func block(label string, der []byte) string {
	return string(pem.EncodeToMemory(&pem.Block{Type: label, Bytes: der}))
}

func check[T any](t testing.TB) func(T, error) T {
	return func(v T, err error) T {
		t.Helper()
		if err != nil {
			t.Fatal(err)
		}
		return v
	}
}

func fixture(t testing.TB, name string) crypto.Signer {
	t.Helper()
	text := check[[]byte](t)(os.ReadFile(filepath.Join("..", "..", "testdata", "keys", name)))
	return check[crypto.Signer](t)(pemfile.Key(text, nil))
}

func newSamples(t testing.TB) samples {
	t.Helper()
	octets := check[[]byte](t)
	s := samples{signer: fixture(t, "root-p256.pem")}
	now := time.Date(2026, 1, 2, 3, 4, 5, 0, time.UTC)
	template := &x509.Certificate{SerialNumber: big.NewInt(1), Subject: pkix.Name{CommonName: "test"},
		NotBefore: now, NotAfter: now.AddDate(1, 0, 0), IsCA: true, BasicConstraintsValid: true,
		KeyUsage: x509.KeyUsageCRLSign, SubjectKeyId: []byte{1}}
	s.cert = check[*x509.Certificate](t)(x509.ParseCertificate(
		octets(x509.CreateCertificate(nil, template, template, s.signer.Public(), s.signer))))
	s.request = octets(x509.CreateCertificateRequest(rand.Reader, &x509.CertificateRequest{Subject: template.Subject}, s.signer))
	s.list = octets(x509.CreateRevocationList(rand.Reader, &x509.RevocationList{Number: big.NewInt(1),
		ThisUpdate: now, NextUpdate: now.AddDate(0, 1, 0)}, s.cert, s.signer))
	s.public = octets(x509.MarshalPKIXPublicKey(s.signer.Public()))
	s.pkcs8 = octets(keys.MarshalPKCS8(s.signer))
	s.encrypted = octets(keys.MarshalEncryptedPKCS8(s.signer, []byte("secret")))
	s.pkcs1 = x509.MarshalPKCS1PrivateKey(fixture(t, "rsa2048.pem").(*rsa.PrivateKey))
	text, _ := pem.Decode([]byte(s.sec1PEM(t)))
	s.sec1 = text.Bytes
	s.certPEM, s.requestPEM, s.listPEM = block("CERTIFICATE", s.cert.Raw), block("CERTIFICATE REQUEST", s.request), block("X509 CRL", s.list)
	s.keyPEM, s.encryptedPEM = block("PRIVATE KEY", s.pkcs8), block("ENCRYPTED PRIVATE KEY", s.encrypted)
	s.otherPEM = block("PRIVATE KEY", octets(keys.MarshalPKCS8(fixture(t, "leaf-p256.pem"))))
	return s
}

// sec1PEM takes the ECPrivateKey out of the PKCS#8, where it is the last
// element of a key as OpenSSL and Go write it.
func (s samples) sec1PEM(t testing.TB) string {
	t.Helper()
	i := bytes.Index(s.pkcs8, []byte{0x02, 0x01, 0x01, 0x04, 0x20}) // version 1, a scalar of 32 octets
	if i < 2 {
		t.Fatal("no ECPrivateKey in the key")
	}
	// The curve is only outside: it goes into the SEC 1 form as [0].
	inner := bytes.Clone(s.pkcs8[i : i+5+32])
	curve := []byte{0xa0, 0x0a, 0x06, 0x08, 0x2a, 0x86, 0x48, 0xce, 0x3d, 0x03, 0x01, 0x07}
	inner = append(inner, curve...)
	return block("EC PRIVATE KEY", append([]byte{0x30, byte(len(inner))}, inner...))
}

// wantError fails unless err says want.
func wantError(t *testing.T, err error, want string) {
	t.Helper()
	if err == nil || !strings.Contains(err.Error(), want) {
		t.Errorf("error %v, want %q in it", err, want)
	}
}

// TestTypes reads one of everything, in PEM and in DER.
func TestTypes(t *testing.T) {
	s := newSamples(t)
	v1 := versionOne(t, s.cert)
	tests := []struct {
		label string
		der   []byte
		want  pemfile.Type
	}{
		{"CERTIFICATE", s.cert.Raw, pemfile.TypeCertificate},
		{"X509 CERTIFICATE", v1, pemfile.TypeCertificate},
		{"CERTIFICATE REQUEST", s.request, pemfile.TypeRequest},
		{"NEW CERTIFICATE REQUEST", s.request, pemfile.TypeRequest},
		{"X509 CRL", s.list, pemfile.TypeCRL},
		{"PRIVATE KEY", s.pkcs8, pemfile.TypeKey},
		{"EC PRIVATE KEY", s.sec1, pemfile.TypeKey},
		{"RSA PRIVATE KEY", s.pkcs1, pemfile.TypeKey},
		{"ENCRYPTED PRIVATE KEY", s.encrypted, pemfile.TypeEncryptedKey},
		{"PUBLIC KEY", s.public, pemfile.TypePublicKey},
	}
	for _, test := range tests {
		t.Run(test.label, func(t *testing.T) {
			for _, data := range [][]byte{[]byte(block(test.label, test.der)), test.der} {
				items, err := pemfile.Parse(data)
				if err != nil {
					t.Fatal(err)
				}
				if len(items) != 1 || items[0].Type != test.want || !bytes.Equal(items[0].DER, test.der) {
					t.Errorf("%+v", items)
				}
			}
		})
	}
}

// versionOne makes the DER of a certificate without version and extensions.
// Its signature is no longer right.
func versionOne(t *testing.T, c *x509.Certificate) []byte {
	t.Helper()
	tbs := c.RawTBSCertificate
	version := bytes.Index(tbs, []byte{0xa0, 3, 2, 1, 2})
	extensions := bytes.LastIndex(tbs, c.RawSubjectPublicKeyInfo) + len(c.RawSubjectPublicKeyInfo)
	body := tbs[version+5 : extensions]
	if len(body) < 128 || len(body) > 255 {
		t.Fatalf("%d octets", len(body))
	}
	inner := append([]byte{0x30, 0x81, byte(len(body))}, body...)
	inner = append(inner, bytes.TrimPrefix(c.Raw[4:], tbs)...)
	return append([]byte{0x30, 0x82, byte(len(inner) >> 8), byte(len(inner))}, inner...)
}

// TestPlaces reads a file as people keep them: with text, a byte order mark,
// CRLF and white space at the ends of the lines.
func TestPlaces(t *testing.T) {
	s := newSamples(t)
	text := "\xef\xbb\xbfsubject=CN = test\n\n" + s.certPEM + "\tand the key:\n" + s.keyPEM + "\n\n"
	text = strings.ReplaceAll(text, "\n", " \t\r\n")
	items, err := pemfile.Parse([]byte(text))
	if err != nil {
		t.Fatal(err)
	}
	second := 4 + strings.Count(s.certPEM, "\n")
	want := fmt.Sprintf("certificate 1 3, private key 2 %d, ", second)
	got := ""
	for _, i := range items {
		got += fmt.Sprintf("%s %d %d, ", i.Type, i.Block, i.Line)
	}
	if got != want {
		t.Errorf("got %s, want %s", got, want)
	}
}

func TestParseErrors(t *testing.T) {
	s := newSamples(t)
	lines := strings.Split(strings.TrimSpace(s.certPEM), "\n")
	join := func(lines ...string) string { return strings.Join(lines, "\n") + "\n" }
	last := len(lines) - 1
	body := join(lines[1:last]...)
	cut := string(s.cert.Raw[:len(s.cert.Raw)-1])
	tests := []struct{ name, data, want string }{
		{"empty", "", "it is empty"},
		{"blank", " \n\n", "it is empty"},
		{"text", "hello\n", "it is neither PEM nor DER"},
		{"no BEGIN", body, "it is neither PEM nor DER"},
		{"cut DER", cut, "it is DER that is cut off, or has data after its end"},
		{"DER and more", string(s.cert.Raw) + "\n", "it is DER that is cut off, or has data after its end"},
		{"DER of something else", "\x30\x03\x02\x01\x05", "it is DER, but no certificate, request, CRL or key"},
		{"an empty SEQUENCE", "\x30\x00", "it is DER, but no certificate, request, CRL or key"},
		{"PKCS#12", "\x30\x07\x02\x01\x03\x30\x02\x05\x00", "it is PKCS#12, which is not read here"},
		{"no END", s.keyPEM + "\n" + join(lines[:last]...), "block 2 (line 7): the block has no END"},
		{"BEGIN in a block", join(lines[:last]...) + s.keyPEM, "block 1 (line 1): the block has no END"},
		{"another END", join(lines[0]) + body + "-----END PRIVATE KEY-----\n", "block 1 (line 1): its END, in line"},
		{"damaged END", join(lines[0]) + body + "-----END CERTIFICATE----\n", "is another block's or damaged"},
		{"END alone", "text\n" + lines[last] + "\n", "line 2: an END without a BEGIN"},
		{"damaged BEGIN", "-----BEGIN CERTIFICATE----\n" + body + lines[last], "block 1 (line 1): the BEGIN line is damaged or does not stand alone"},
		{"indented BEGIN", " " + s.certPEM, "block 1 (line 1): the BEGIN line is damaged or does not stand alone"},
		{"everything in a line", strings.ReplaceAll(s.certPEM, "\n", ""), "block 1 (line 1): the BEGIN line is damaged or does not stand alone"},
		{"long label", "-----BEGIN " + strings.Repeat("A", 65) + "-----\n", "the BEGIN line is damaged"},
		{"unknown label", s.certPEM + block("OPENSSH PRIVATE KEY", s.pkcs8), `"OPENSSH PRIVATE KEY" is not known here`},
		{"header", join(lines[0], "Comment: mine", "") + body + lines[last], "block 1 (line 1): it has a header, in line 2, which is not allowed"},
		{"traditional encryption", "-----BEGIN EC PRIVATE KEY-----\nProc-Type: 4,ENCRYPTED\nDEK-Info: AES-256-CBC,00\n\nAAAA\n-----END EC PRIVATE KEY-----\n",
			"block 1 (line 1): it is traditional encrypted PEM, which is not read: convert it with openssl pkcs8 -topk8 -v2 aes-256-cbc"},
		{"bad character", join(lines[0], "MII*") + lines[last], "block 1 (line 1): the base64 of the certificate is damaged"},
		{"space in a line", join(lines[0], "MI IA") + lines[last], "the base64 of the certificate is damaged"},
		{"no padding", join(lines[0], "MAA") + lines[last], "the base64 of the certificate is damaged"},
		{"data after the end", block("CERTIFICATE", append(bytes.Clone(s.cert.Raw), 0)), "block 1 (line 1): the certificate is cut off, or has data after its end"},
		{"cut", block("X509 CRL", s.list[:40]), "block 1 (line 1): the CRL is cut off"},
		{"empty block", "-----BEGIN CERTIFICATE-----\n-----END CERTIFICATE-----\n", "block 1 (line 1): the certificate is cut off"},
		{"10 001 blocks", strings.Repeat("-----BEGIN EC PARAMETERS-----\n-----END EC PARAMETERS-----\n", 10_001), "line 20001: more than 10000 blocks"},
	}
	for _, test := range tests {
		t.Run(test.name, func(t *testing.T) {
			_, err := pemfile.Parse([]byte(test.data))
			wantError(t, err, test.want)
		})
	}
}

func TestCertificates(t *testing.T) {
	s := newSamples(t)
	for name, data := range map[string]string{
		"chain":       s.certPEM + s.certPEM,
		"with a key":  s.keyPEM + s.certPEM + s.certPEM,
		"key between": s.certPEM + s.encryptedPEM + s.certPEM,
	} {
		certs, err := pemfile.Certificates([]byte(data))
		if err != nil || len(certs) != 2 {
			t.Errorf("%s: %d certificates, %v", name, len(certs), err)
		}
	}
	tests := []struct{ name, data, want string }{
		{"key", s.keyPEM, "it holds a private key, no certificate"},
		{"keys", s.keyPEM + s.encryptedPEM + s.otherPEM, "it holds 2 private keys and an encrypted private key, no certificate"},
		{"request", string(s.request), "it holds a certificate request, no certificate"},
		{"CRL beside", s.certPEM + s.listPEM, "a CRL does not belong beside a certificate"},
		{"parameters", "-----BEGIN EC PARAMETERS-----\n-----END EC PARAMETERS-----\n", "it holds no certificate"},
		{"no certificate within", block("CERTIFICATE", s.pkcs8), "block 1 (line 1): reading a certificate: x509: "},
		{"empty", "", "it is empty"},
	}
	for _, test := range tests {
		t.Run(test.name, func(t *testing.T) {
			_, err := pemfile.Certificates([]byte(test.data))
			wantError(t, err, test.want)
		})
	}
}

func TestKey(t *testing.T) {
	s := newSamples(t)
	rsaPublic := fixture(t, "rsa2048.pem").Public()
	for name, test := range map[string]struct {
		data       string
		passphrase string
		want       crypto.PublicKey
	}{
		"PKCS#8":           {s.keyPEM, "", s.signer.Public()},
		"passphrase spare": {s.keyPEM, "secret", s.signer.Public()},
		"DER":              {string(s.pkcs8), "", s.signer.Public()},
		"encrypted":        {s.encryptedPEM, "secret", s.signer.Public()},
		"encrypted DER":    {string(s.encrypted), "secret", s.signer.Public()},
		"SEC 1":            {s.sec1PEM(t), "", s.signer.Public()},
		"SEC 1 DER":        {string(s.sec1), "", s.signer.Public()},
		"PKCS#1":           {block("RSA PRIVATE KEY", s.pkcs1), "", rsaPublic},
		"PKCS#1 DER":       {string(s.pkcs1), "", rsaPublic},
		"with its chain":   {s.keyPEM + s.certPEM + s.certPEM, "", s.signer.Public()},
		"with parameters":  {block("EC PARAMETERS", []byte{6, 1, 1}) + s.sec1PEM(t), "", s.signer.Public()},
	} {
		key, err := pemfile.Key([]byte(test.data), []byte(test.passphrase))
		if err != nil || !keys.Equal(key.Public(), test.want) {
			t.Errorf("%s: %v", name, err)
		}
	}
	_, err := pemfile.Key([]byte(s.encryptedPEM), nil)
	if !errors.Is(err, pemfile.ErrEncrypted) {
		t.Errorf("no passphrase: %v", err)
	}
	_, err = pemfile.Key([]byte(s.certPEM+s.encryptedPEM), []byte("wrong"))
	if !errors.Is(err, keys.ErrPassphrase) {
		t.Errorf("wrong passphrase: %v", err)
	}
	tests := []struct{ name, data, want string }{
		{"certificate", s.certPEM, "it holds a certificate, no private key"},
		{"public key", string(s.public), "it holds a public key, no private key"},
		{"two", s.keyPEM + s.otherPEM, "it holds 2 private keys, and one private key is wanted"},
		{"request beside", s.requestPEM + s.keyPEM, "block 1 (line 1): a certificate request does not belong beside a private key"},
		{"PKCS#8 labelled EC", block("EC PRIVATE KEY", s.pkcs8), "block 1 (line 1): reading an EC private key: it is damaged"},
		{"SEC 1 labelled PKCS#8", block("PRIVATE KEY", s.sec1), "block 1 (line 1): reading a PKCS#8 private key: it is damaged"},
	}
	for _, test := range tests {
		t.Run(test.name, func(t *testing.T) {
			_, err := pemfile.Key([]byte(test.data), nil)
			wantError(t, err, test.want)
		})
	}
}

func TestRequestAndCRLs(t *testing.T) {
	s := newSamples(t)
	request, err := pemfile.Request([]byte(s.requestPEM))
	if err != nil || request.Subject.CommonName != "test" {
		t.Errorf("request: %v", err)
	}
	lists, err := pemfile.CRLs([]byte(s.listPEM + s.listPEM))
	if err != nil || len(lists) != 2 || !bytes.Equal(lists[0], s.list) {
		t.Errorf("CRLs: %d, %v", len(lists), err)
	}
	_, err = pemfile.Request([]byte(s.requestPEM + s.requestPEM))
	wantError(t, err, "it holds 2 certificate requests, and one certificate request is wanted")
	_, err = pemfile.Request([]byte(s.certPEM))
	wantError(t, err, "it holds a certificate, no certificate request")
	_, err = pemfile.Request([]byte(block("CERTIFICATE REQUEST", s.cert.Raw)))
	wantError(t, err, "block 1 (line 1): reading a certificate request: ")
	_, err = pemfile.CRLs([]byte(s.keyPEM))
	wantError(t, err, "it holds a private key, no CRL")
	_, err = pemfile.CRLs([]byte(s.listPEM + s.certPEM))
	wantError(t, err, "a certificate does not belong beside a CRL")
}

func TestEncode(t *testing.T) {
	s := newSamples(t)
	for name, test := range map[string]struct{ got, want string }{
		"certificates":  {string(pemfile.EncodeCertificates(s.cert, s.cert)), s.certPEM + s.certPEM},
		"key":           {string(pemfile.EncodeKey(s.pkcs8)), s.keyPEM},
		"encrypted key": {string(pemfile.EncodeEncryptedKey(s.encrypted)), s.encryptedPEM},
		"CRL":           {string(pemfile.EncodeCRL(s.list)), s.listPEM},
	} {
		if test.got != test.want {
			t.Errorf("%s: %s", name, test.got)
		}
	}
}

// TestOpenSSLKeys reads the PEM of openssl's older commands.
func TestOpenSSLKeys(t *testing.T) {
	program := tools.Need(t, "openssl")
	run := func(arguments ...string) []byte {
		t.Helper()
		return check[[]byte](t)(exec.Command(program, arguments...).Output())
	}
	in := filepath.Join("..", "..", "testdata", "keys", "leaf-p256.pem")
	check[crypto.Signer](t)(pemfile.Key(run("ecparam", "-name", "prime256v1", "-genkey"), nil))
	check[crypto.Signer](t)(pemfile.Key(run("ec", "-in", in), nil))
	check[crypto.Signer](t)(pemfile.Key(run("pkcs8", "-topk8", "-in", in, "-passout", "pass:secret"), []byte("secret")))
	_, err := pemfile.Key(run("ec", "-in", in, "-aes256", "-passout", "pass:secret"), []byte("secret"))
	wantError(t, err, "traditional encrypted PEM")
	_, err = pemfile.Key(run("genrsa", "-traditional", "-aes128", "-passout", "pass:secret", "2048"), []byte("secret"))
	wantError(t, err, "traditional encrypted PEM")
}

// A CRL is written as encoding/pem writes it, whatever its length.
func TestEncodeCRL(t *testing.T) {
	for _, n := range []int{1, 47, 48, 49, 48 * 1024, 48*1024 + 1, 100_000} {
		der := bytes.Repeat([]byte{0x30, 0x2f, 0xfe}, n)[:n]
		if want := pem.EncodeToMemory(&pem.Block{Type: "X509 CRL", Bytes: der}); !bytes.Equal(pemfile.EncodeCRL(der), want) {
			t.Errorf("%d octets are written otherwise", n)
		}
	}
}
