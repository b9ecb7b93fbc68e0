package profile

import (
	"crypto/x509"
	"encoding/asn1"
	"fmt"

	"golang.org/x/crypto/cryptobyte"
	cbasn1 "golang.org/x/crypto/cryptobyte/asn1"

	"mutual/pki"
	"mutual/pki/keys"
)

var (
	oidSubjectKeyID     = asn1.ObjectIdentifier{2, 5, 29, 14}
	oidKeyUsage         = asn1.ObjectIdentifier{2, 5, 29, 15}
	oidSubjectAltName   = asn1.ObjectIdentifier{2, 5, 29, 17}
	oidBasicConstraints = asn1.ObjectIdentifier{2, 5, 29, 19}
	oidExtKeyUsage      = asn1.ObjectIdentifier{2, 5, 29, 37}

	oidNameConstraints       = asn1.ObjectIdentifier{2, 5, 29, 30}
	oidCRLDistributionPoints = asn1.ObjectIdentifier{2, 5, 29, 31}
	oidAuthorityKeyID        = asn1.ObjectIdentifier{2, 5, 29, 35}
)

// checkPossession checks that the key of a request is one that we certify, and that
// whoever made it has it.
func checkPossession(csr *x509.CertificateRequest) error {
	if err := keys.CheckPublic(csr.PublicKey); err != nil {
		return fmt.Errorf("the request's public key cannot be certified: %w", err)
	}
	if err := csr.CheckSignature(); err != nil {
		return fmt.Errorf("the request's signature does not prove possession of its key: %w", err)
	}
	return nil
}

// CheckCSR checks a certification request (RFC 2986): its signature proves
// possession of the key, the key is one that we certify, and it asks neither
// to be a CA nor for a critical extension that we do not know.
func CheckCSR(csr *x509.CertificateRequest) error {
	if err := checkPossession(csr); err != nil {
		return err
	}
	for _, e := range csr.Extensions {
		switch {
		case e.Id.Equal(oidBasicConstraints):
			isCA, err := asksForCA(e.Value)
			if err != nil {
				return fmt.Errorf("reading the request's basic constraints: %w", err)
			}
			if isCA {
				return fmt.Errorf("the request asks for a CA certificate (CA:TRUE), and only leaves are signed here")
			}
		case e.Id.Equal(oidSubjectAltName), e.Id.Equal(oidKeyUsage), e.Id.Equal(oidExtKeyUsage), e.Id.Equal(oidSubjectKeyID):
		case e.Critical:
			return fmt.Errorf("the request asks for the critical extension %s, which is not known here", e.Id)
		}
	}
	return nil
}

// asksForCA reads BasicConstraints (RFC 5280, Section 4.2.1.9).
func asksForCA(der []byte) (bool, error) {
	in := cryptobyte.String(der)
	var body cryptobyte.String
	var isCA bool
	if !in.ReadASN1(&body, cbasn1.SEQUENCE) || !in.Empty() {
		return false, fmt.Errorf("not a sequence")
	}
	if body.PeekASN1Tag(cbasn1.BOOLEAN) && !body.ReadASN1Boolean(&isCA) {
		return false, fmt.Errorf("not a boolean")
	}
	return isCA, nil
}

// NamesOf gives the subject alternative names that a request asks for, each
// checked like one given by hand.
func NamesOf(csr *x509.CertificateRequest) (pki.SAN, error) {
	var san pki.SAN
	for _, v := range csr.DNSNames {
		if err := san.AddDNS(v); err != nil {
			return pki.SAN{}, err
		}
	}
	for _, v := range csr.IPAddresses {
		if err := san.AddIP(v.String()); err != nil {
			return pki.SAN{}, err
		}
	}
	for _, v := range csr.EmailAddresses {
		if err := san.AddEmail(v); err != nil {
			return pki.SAN{}, err
		}
	}
	for _, v := range csr.URIs {
		if err := san.AddURI(v.String()); err != nil {
			return pki.SAN{}, err
		}
	}
	return san, nil
}
