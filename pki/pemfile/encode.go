package pemfile

import (
	"bytes"
	"crypto/x509"
	"encoding/pem"
)

// EncodeCertificates writes certificates in the order given, which in a chain
// is the leaf first.
func EncodeCertificates(certs ...*x509.Certificate) []byte {
	var b bytes.Buffer
	for _, c := range certs {
		b.Write(encode("CERTIFICATE", c.Raw))
	}
	return b.Bytes()
}

// EncodeKey writes a private key in PKCS#8.
func EncodeKey(pkcs8 []byte) []byte { return encode(labelPKCS8, pkcs8) }

// EncodeEncryptedKey writes an encrypted private key in PKCS#8.
func EncodeEncryptedKey(der []byte) []byte { return encode("ENCRYPTED PRIVATE KEY", der) }

// EncodeCRL writes a CRL.
func EncodeCRL(der []byte) []byte { return encode("X509 CRL", der) }

func encode(label string, der []byte) []byte {
	return pem.EncodeToMemory(&pem.Block{Type: label, Bytes: der})
}
