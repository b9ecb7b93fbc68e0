package authority

import (
	"crypto"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/asn1"
	"fmt"

	"mutual/pki/keys"
)

// The extensions that a CA asks for: BasicConstraints critical CA:TRUE with a
// path length of 0, and KeyUsage critical keyCertSign and cRLSign. Whoever
// signs leaves refuses such a request.
var (
	wantsCA    = pkix.Extension{Id: asn1.ObjectIdentifier{2, 5, 29, 19}, Critical: true, Value: []byte{0x30, 0x06, 0x01, 0x01, 0xff, 0x02, 0x01, 0x00}}
	wantsUsage = pkix.Extension{Id: asn1.ObjectIdentifier{2, 5, 29, 15}, Critical: true, Value: []byte{0x03, 0x02, 0x01, 0x06}}
)

// CreateRequest makes a certification request (RFC 2986) for the key of an
// issuing CA, in DER.
func CreateRequest(signer crypto.Signer, commonName string) ([]byte, error) {
	alg, err := keys.SignatureAlgorithm(signer.Public())
	if err != nil {
		return nil, err
	}
	der, err := x509.CreateCertificateRequest(nil, &x509.CertificateRequest{
		Subject:            pkix.Name{CommonName: commonName},
		SignatureAlgorithm: alg,
		ExtraExtensions:    []pkix.Extension{wantsCA, wantsUsage},
	}, signer)
	if err != nil {
		return nil, fmt.Errorf("signing the request: %w", err)
	}
	return der, nil
}

// CreateRequest asks for the next certificate of the CA's own key.
func (ca *CA) CreateRequest() ([]byte, error) {
	return CreateRequest(ca.signer, ca.cert.Subject.CommonName)
}
