package pemfile

import (
	"bytes"
	"crypto/x509"
	"encoding/base64"
	"encoding/pem"
	"io"
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
func EncodeCRL(der []byte) []byte { return encode(labelCRL, der) }

const labelCRL = "X509 CRL"

// WriteCRL writes to w what EncodeCRL gives, and holds a piece of it at a time:
// a list may have a million entries.
func WriteCRL(w io.Writer, der []byte) error {
	const octets, chars, lines = 48, 64, 1024 // of a line, and lines of a piece
	if _, err := io.WriteString(w, begin+labelCRL+dashes+"\n"); err != nil {
		return err
	}
	piece := make([]byte, 0, lines*(chars+1))
	for len(der) > 0 {
		line := der[:min(octets, len(der))]
		piece = base64.StdEncoding.AppendEncode(piece, line)
		piece = append(piece, '\n')
		if der = der[len(line):]; len(piece) == cap(piece) || len(der) == 0 {
			if _, err := w.Write(piece); err != nil {
				return err
			}
			piece = piece[:0]
		}
	}
	_, err := io.WriteString(w, end+labelCRL+dashes+"\n")
	return err
}

func encode(label string, der []byte) []byte {
	return pem.EncodeToMemory(&pem.Block{Type: label, Bytes: der})
}
