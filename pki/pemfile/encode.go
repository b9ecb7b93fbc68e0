package pemfile

import (
	"bytes"
	"crypto/x509"
	"encoding/base64"
	"encoding/pem"
	"sync"

	"mutual/pki/internal/large"
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

// EncodeCRL writes a CRL, octet for octet as encoding/pem does. One may have a
// million entries: the text gets its size at once, and two cores write it.
func EncodeCRL(der []byte) []byte {
	const head, foot = begin + labelCRL + dashes + "\n", end + labelCRL + dashes + "\n"
	lines := (len(der) + lineOctets - 1) / lineOctets
	size := base64.StdEncoding.EncodedLen(len(der)) + lines
	out := append(large.Make(len(head)+size+len(foot)), head...)
	text := out[len(out) : len(out)+size]
	half := lines / 2
	var first sync.WaitGroup
	first.Go(func() { encodeLines(text, der[:half*lineOctets]) })
	encodeLines(text[half*(lineChars+1):], der[half*lineOctets:])
	first.Wait()
	return append(out[:len(head)+size], foot...)
}

const labelCRL = "X509 CRL"

// A line of PEM has so many characters, for so many octets (RFC 7468, Section 2).
const lineChars, lineOctets = 64, 48

// encodeLines writes octets into lines.
func encodeLines(text, octets []byte) {
	for len(octets) > 0 {
		line := octets[:min(lineOctets, len(octets))]
		octets = octets[len(line):]
		base64.StdEncoding.Encode(text, line)
		n := base64.StdEncoding.EncodedLen(len(line))
		text[n] = '\n'
		text = text[n+1:]
	}
}

func encode(label string, der []byte) []byte {
	return pem.EncodeToMemory(&pem.Block{Type: label, Bytes: der})
}
