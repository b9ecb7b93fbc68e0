package chain

import (
	"bytes"
	"crypto/x509"
	"fmt"
)

// Trusted splits the certificates of CAs as they lie in one file: those that
// signed themselves are trust anchors, and the others may lead there. Without one
// that signed itself all are anchors. One that is no CA's is an error, which goes on
// after the name of the file.
func Trusted(cas []*x509.Certificate) (anchors, intermediates []*x509.Certificate, err error) {
	for _, ca := range cas {
		switch {
		case !ca.IsCA:
			return nil, nil, fmt.Errorf("holds the certificate of %s, which is no CA's and cannot be trusted as one", ca.Subject)
		case bytes.Equal(ca.RawSubject, ca.RawIssuer):
			anchors = append(anchors, ca)
		default:
			intermediates = append(intermediates, ca)
		}
	}
	if len(anchors) == 0 {
		return intermediates, nil, nil
	}
	return anchors, intermediates, nil
}
