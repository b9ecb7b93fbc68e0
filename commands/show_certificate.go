package commands

import (
	"crypto/sha1" // a fingerprint that other programs show; nothing is trusted for it
	"crypto/x509"
	"encoding/asn1"
	"encoding/hex"
	"fmt"
	"time"

	"golang.org/x/crypto/cryptobyte"
	cbasn1 "golang.org/x/crypto/cryptobyte/asn1"

	"mutual/pki"
	"mutual/pki/keys"
)

// x509View is what stands in a certificate, in the words of RFC 5280.
type x509View struct {
	Version            int             `json:"version"`
	Serial             pki.Serial      `json:"serial"`
	Subject            string          `json:"subject"`
	Issuer             string          `json:"issuer"`
	NotBefore          time.Time       `json:"notBefore"`
	NotAfter           time.Time       `json:"notAfter"`
	DaysLeft           int             `json:"daysLeft"`
	PublicKey          keyView         `json:"publicKey"`
	SignatureAlgorithm string          `json:"signatureAlgorithm"`
	Extensions         extensionsView  `json:"extensions"`
	SHA256             pki.Fingerprint `json:"sha256"`
	SHA1               string          `json:"sha1"`
	now                time.Time
}

// keyView is a key without anything private.
type keyView struct {
	Algorithm string `json:"algorithm,omitempty"`     // empty: not known without the passphrase
	KeyID     string `json:"keyIdentifier,omitempty"` // RFC 7093, Section 2, method 1
	Encrypted *bool  `json:"encrypted,omitempty"`     // nil: not a private key
}

func (r *run) newX509View(cert *x509.Certificate) *x509View {
	sum := sha1.Sum(cert.Raw)
	return &x509View{
		Version: cert.Version, Serial: pki.NewSerial(cert.SerialNumber),
		Subject: nameText(cert.RawSubject), Issuer: nameText(cert.RawIssuer),
		NotBefore: cert.NotBefore.UTC(), NotAfter: cert.NotAfter.UTC(), DaysLeft: daysLeft(cert.NotAfter, r.now()),
		PublicKey:          newKeyView(cert.PublicKey),
		SignatureAlgorithm: signatureAlgorithmText(cert.SignatureAlgorithm, cert.Raw),
		Extensions:         newExtensionsView(cert.Extensions),
		SHA256:             pki.FingerprintOf(cert.Raw), SHA1: hexText(sum[:]),
		now: r.now(),
	}
}

// requestView is what stands in a certification request (RFC 2986): what it
// asks for, and whether it proves possession of the key.
type requestView struct {
	Subject            string         `json:"subject"`
	PublicKey          keyView        `json:"publicKey"`
	SignatureAlgorithm string         `json:"signatureAlgorithm"`
	Signature          string         `json:"signature"` // good, bad, couldNotTell
	SignatureDetail    string         `json:"signatureDetail,omitempty"`
	Extensions         extensionsView `json:"requestedExtensions"`
}

func newRequestView(der []byte) (*requestView, error) {
	csr, err := x509.ParseCertificateRequest(der)
	if err != nil {
		return nil, fmt.Errorf("reading a certificate request: %w", err)
	}
	v := &requestView{
		Subject: nameText(csr.RawSubject), PublicKey: newKeyView(csr.PublicKey), Signature: "good",
		SignatureAlgorithm: signatureAlgorithmText(csr.SignatureAlgorithm, csr.Raw),
		Extensions:         newExtensionsView(csr.Extensions),
	}
	// A key that we do not accept is not worked with: its size may be chosen to
	// keep whoever verifies busy.
	if err := keys.CheckPublic(csr.PublicKey); err != nil {
		v.Signature, v.SignatureDetail = "couldNotTell", err.Error()
	} else if err := csr.CheckSignature(); err != nil {
		v.Signature, v.SignatureDetail = "bad", err.Error()
	}
	return v, nil
}

// signatureAlgorithmText names a signature algorithm, by its object identifier
// if crypto/x509 does not know it.
func signatureAlgorithmText(a x509.SignatureAlgorithm, signed []byte) string {
	if a != x509.UnknownSignatureAlgorithm {
		return a.String()
	}
	in := cryptobyte.String(signed)
	var whole, algorithm cryptobyte.String
	var oid asn1.ObjectIdentifier
	if !in.ReadASN1(&whole, cbasn1.SEQUENCE) || !whole.SkipASN1(cbasn1.SEQUENCE) ||
		!whole.ReadASN1(&algorithm, cbasn1.SEQUENCE) || !algorithm.ReadASN1ObjectIdentifier(&oid) {
		return "unknown"
	}
	return oid.String()
}

func hexText(b []byte) string { return hex.EncodeToString(b) }
