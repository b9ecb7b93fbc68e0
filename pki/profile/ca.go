package profile

import (
	"bytes"
	"crypto/x509"
	"encoding/asn1"
	"errors"
	"fmt"
	"net/netip"
	"slices"
	"time"

	"mutual/pki/keys"
)

// caKeyUsage is what a CA's key may do, and all of it.
const caKeyUsage = x509.KeyUsageCertSign | x509.KeyUsageCRLSign

// SubjectOf gives the subject of a certificate in the attributes that a
// certificate of ours may carry, as the next certificate of the same key has
// it.
func SubjectOf(cert *x509.Certificate) Subject {
	first := func(values []string) string {
		if len(values) == 0 {
			return ""
		}
		return values[0]
	}
	n := cert.Subject
	return Subject{
		CommonName: n.CommonName, Organization: first(n.Organization), OrganizationalUnit: first(n.OrganizationalUnit),
		Country: first(n.Country), State: first(n.Province), Locality: first(n.Locality),
	}
}

// ConstraintsOf gives the permitted subtrees of a CA, for its next
// certificate. Excluded ones are an error: there are none here.
func ConstraintsOf(ca *x509.Certificate) (Constraints, error) {
	if len(ca.ExcludedDNSDomains)+len(ca.ExcludedEmailAddresses)+len(ca.ExcludedURIDomains)+len(ca.ExcludedIPRanges) > 0 {
		return Constraints{}, errors.New("the certificate has excluded subtrees, which are not known here")
	}
	c := Constraints{DNS: ca.PermittedDNSDomains, Email: ca.PermittedEmailAddresses, URI: ca.PermittedURIDomains}
	for _, r := range ca.PermittedIPRanges {
		a, ok := netip.AddrFromSlice(r.IP)
		bits, _ := r.Mask.Size()
		if !ok || a.BitLen() != 8*len(r.Mask) {
			return Constraints{}, fmt.Errorf("the IP constraint %s of the CA cannot be read", r)
		}
		c.IP = append(c.IP, netip.PrefixFrom(a, bits))
	}
	return c, nil
}

// CheckCARequest checks a certification request of a CA: its signature proves
// possession of the key, the key is one that we certify, and it asks for
// nothing but what a CA's certificate has.
func CheckCARequest(csr *x509.CertificateRequest) error {
	if err := checkPossession(csr); err != nil {
		return err
	}
	for _, e := range csr.Extensions {
		switch {
		case e.Id.Equal(oidBasicConstraints):
			if isCA, err := asksForCA(e.Value); err != nil || !isCA {
				return errors.New("the request asks for a certificate that is no CA's")
			}
		case e.Id.Equal(oidKeyUsage), e.Id.Equal(oidSubjectKeyID):
		default:
			return fmt.Errorf("the request asks for the extension %s, which an issuing CA does not have here", e.Id)
		}
	}
	return nil
}

// issuingExtensions are those that New gives an issuing CA.
func issuingExtensions() []asn1.ObjectIdentifier {
	return []asn1.ObjectIdentifier{oidSubjectKeyID, oidKeyUsage, oidBasicConstraints, oidNameConstraints, oidCRLDistributionPoints, oidAuthorityKeyID}
}

// CheckIssuing checks a certificate that was signed elsewhere against the
// profile of an issuing CA below a root: the root has signed it, for this key
// and at this time, and it has what New gives such a certificate and no more.
func CheckIssuing(cert, root *x509.Certificate, now time.Time) error {
	if err := keys.CheckPublic(cert.PublicKey); err != nil {
		return fmt.Errorf("the certificate's public key: %w", err)
	}
	if err := cert.CheckSignatureFrom(root); err != nil {
		return fmt.Errorf("the certificate is not signed by the root %s: %w", root.Subject, err)
	}
	id, err := keys.KeyID(cert.PublicKey)
	if err != nil {
		return err
	}
	switch {
	case !bytes.Equal(cert.RawIssuer, root.RawSubject), !bytes.Equal(cert.AuthorityKeyId, root.SubjectKeyId):
		return errors.New("the certificate names another issuer than the root that signed it")
	case !cert.BasicConstraintsValid, !cert.IsCA, cert.MaxPathLen != 0:
		return errors.New("the certificate is not an issuing CA's: CA:TRUE with a path length of 0")
	case cert.KeyUsage != caKeyUsage:
		return errors.New("the certificate's key usage is not keyCertSign and cRLSign")
	case len(cert.ExtKeyUsage)+len(cert.UnknownExtKeyUsage) > 0:
		return errors.New("the certificate has an extended key usage, and an issuing CA has none here")
	case len(cert.UnhandledCriticalExtensions) > 0:
		return fmt.Errorf("the certificate has the critical extension %s, which is not known here", cert.UnhandledCriticalExtensions[0])
	case cert.Subject.CommonName == "":
		return errors.New("the certificate has no common name")
	case !bytes.Equal(cert.SubjectKeyId, id):
		return errors.New("the certificate's subject key identifier is not that of its key")
	case cert.NotAfter.After(root.NotAfter):
		return fmt.Errorf("the certificate (until %s) outlives its root (%s)", stamp(cert.NotAfter), stamp(root.NotAfter))
	case !now.Before(cert.NotAfter):
		return fmt.Errorf("the certificate expired at %s", stamp(cert.NotAfter))
	case now.Before(cert.NotBefore):
		return fmt.Errorf("the certificate is not valid before %s", stamp(cert.NotBefore))
	}
	for _, e := range cert.Extensions {
		if !slices.ContainsFunc(issuingExtensions(), e.Id.Equal) {
			return fmt.Errorf("the certificate has the extension %s, which an issuing CA does not have here", e.Id)
		}
	}
	_, err = ConstraintsOf(cert)
	return err
}
