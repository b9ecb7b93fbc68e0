package authority

import (
	"crypto"
	"crypto/rand"
	"crypto/x509"
	"errors"
	"fmt"
	"io"

	"mutual/pki"
	"mutual/pki/keys"
)

// CA is a certification authority that can sign: a certificate and the
// private key that belongs to it.
type CA struct {
	cert   *x509.Certificate
	signer crypto.Signer
}

// ErrKeyMismatch says that a private key does not belong to its certificate.
var ErrKeyMismatch = errors.New("the private key does not belong to the certificate")

// NewCA joins a CA's certificate and key. It refuses a key that is another
// certificate's, and a certificate that is no CA's.
func NewCA(cert *x509.Certificate, signer crypto.Signer) (*CA, error) {
	if !keys.Equal(cert.PublicKey, signer.Public()) {
		return nil, ErrKeyMismatch
	}
	if !cert.BasicConstraintsValid || !cert.IsCA {
		return nil, errors.New("the certificate is not a CA's")
	}
	return &CA{cert: cert, signer: signer}, nil
}

// Certificate returns the CA's own certificate.
func (ca *CA) Certificate() *x509.Certificate { return ca.cert }

// WithCertificate is the same key under another certificate of it.
func (ca *CA) WithCertificate(cert *x509.Certificate) (*CA, error) { return NewCA(cert, ca.signer) }

// Sign signs a message with the CA's key, as the journal's head is signed.
func (ca *CA) Sign(message []byte) ([]byte, error) { return keys.Sign(ca.signer, message) }

// serialOctets is the size of our serial numbers: 128 bits, of which 126 are
// random.
const serialOctets = 16

// NewSerial draws a serial number: 16 octets from a CSPRNG (nil: the
// system's), the first between 0x40 and 0x7f, so that it is positive, never
// short, and fits the 20 octets of RFC 5280, Section 4.1.2.2.
func NewSerial(random io.Reader) (pki.Serial, error) {
	if random == nil {
		random = rand.Reader
	}
	b := make([]byte, serialOctets)
	if _, err := io.ReadFull(random, b); err != nil {
		return pki.Serial{}, fmt.Errorf("drawing a serial number: %w", err)
	}
	b[0] = b[0]&0x7f | 0x40
	return pki.SerialFromOctets(b)
}
