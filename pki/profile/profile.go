package profile

import (
	"crypto"
	"crypto/rsa"
	"crypto/x509"
	"errors"
	"fmt"
	"net/netip"
	"net/url"
	"slices"
	"strconv"
	"strings"

	"mutual/pki"
	"mutual/pki/keys"
)

// Request is what is asked for a certificate of one kind.
type Request struct {
	Kind      pki.Kind
	Subject   Subject
	SAN       pki.SAN
	PublicKey crypto.PublicKey
	Validity  Validity

	// CRLURL is where the issuer's CRL can be fetched, http: only; it is put
	// into leaves (RFC 5280, Section 4.2.1.13).
	CRLURL string
	// Constraints bind an issuing CA. They are not for the root: Java ignores
	// them there.
	Constraints Constraints
}

// Template is a certificate that has passed the checks of its kind and its
// issuer and lacks only serial number, issuer and signature.
type Template struct {
	kind pki.Kind
	cert x509.Certificate
}

// Kind returns what the certificate is for.
func (t *Template) Kind() pki.Kind { return t.kind }

// Certificate returns the template in the form that crypto/x509 signs, a copy.
func (t *Template) Certificate() *x509.Certificate {
	c := t.cert
	return &c
}

// New checks a request. The issuer is the certificate of the CA that will
// sign, nil for a root. A RequestError says that the request alone is wrong.
func New(req Request, issuer *x509.Certificate) (*Template, error) {
	if err := Check(req, issuer); err != nil {
		return nil, err
	}
	if err := keys.CheckPublic(req.PublicKey); err != nil {
		return nil, fmt.Errorf("the public key cannot be certified: %w", err)
	}
	ski, err := keys.KeyID(req.PublicKey)
	if err != nil {
		return nil, fmt.Errorf("computing the subject key identifier: %w", err)
	}
	t := &Template{kind: req.Kind, cert: x509.Certificate{
		Subject:               req.Subject.pkixName(),
		NotBefore:             req.Validity.NotBefore,
		NotAfter:              req.Validity.NotAfter,
		PublicKey:             req.PublicKey,
		SubjectKeyId:          ski,
		BasicConstraintsValid: true,
	}}
	if req.Kind.IsCA() {
		t.fillCA(req)
	} else {
		t.fillLeaf(req)
	}
	return t, nil
}

// fillCA: key usage exactly keyCertSign and cRLSign, no extended key usage,
// the issuing CA with a path length of 0.
func (t *Template) fillCA(req Request) {
	t.cert.IsCA = true
	t.cert.KeyUsage = caKeyUsage
	t.cert.MaxPathLen = -1
	if req.Kind == pki.KindIssuing {
		t.cert.MaxPathLen, t.cert.MaxPathLenZero = 0, true
		req.Constraints.apply(&t.cert)
	}
}

// fillLeaf: exactly one extended key usage, and digitalSignature only; a
// server's RSA key may also be used for the key exchange of TLS 1.2.
func (t *Template) fillLeaf(req Request) {
	t.cert.KeyUsage = x509.KeyUsageDigitalSignature
	t.cert.ExtKeyUsage = []x509.ExtKeyUsage{x509.ExtKeyUsageClientAuth}
	if req.Kind == pki.KindServer {
		t.cert.ExtKeyUsage = []x509.ExtKeyUsage{x509.ExtKeyUsageServerAuth}
		if _, isRSA := req.PublicKey.(*rsa.PublicKey); isRSA {
			t.cert.KeyUsage |= x509.KeyUsageKeyEncipherment
		}
	}
	t.cert.DNSNames = req.SAN.DNS()
	t.cert.IPAddresses = req.SAN.IPs()
	t.cert.EmailAddresses = req.SAN.Email()
	t.cert.URIs = req.SAN.URLs()
	if req.CRLURL != "" {
		t.cert.CRLDistributionPoints = []string{req.CRLURL}
	}
}

// Check makes every check of New but that of the public key, so that a request
// can be refused before there is one.
func Check(req Request, issuer *x509.Certificate) error {
	if req.Kind == pki.KindRoot != (issuer == nil) {
		return errors.New("a root has no issuer, and everything else has one")
	}
	if err := req.Subject.Check(); err != nil {
		return err
	}
	if !req.Validity.NotAfter.After(req.Validity.NotBefore) {
		return requestErrorf("the certificate would end before it begins")
	}
	if issuer != nil && req.Validity.NotAfter.After(issuer.NotAfter) {
		return errors.New("the certificate would outlive its issuer")
	}
	if req.CRLURL != "" {
		if err := CheckCRLURL(req.CRLURL); err != nil {
			return err
		}
	}
	if req.Kind.IsCA() {
		return req.checkCA(issuer)
	}
	return req.checkLeaf(issuer)
}

// checkCA: a CA's name is never empty, for it is how a CRL and the next
// certificate are found; and the issuer's path length must leave room for a CA
// (RFC 5280, Section 4.2.1.9).
func (req *Request) checkCA(issuer *x509.Certificate) error {
	if issuer != nil && issuer.MaxPathLenZero {
		return errors.New("the issuer's path length of 0 allows no CA below it")
	}
	if req.Subject.CommonName == "" {
		return requestErrorf("a CA needs a common name")
	}
	if !req.SAN.IsEmpty() {
		return requestErrorf("a CA has no subject alternative names")
	}
	if req.Kind != pki.KindIssuing && !req.Constraints.IsEmpty() {
		return requestErrorf("name constraints belong on the issuing CA: Java ignores them on a root")
	}
	return nil
}

func (req *Request) checkLeaf(issuer *x509.Certificate) error {
	switch req.Kind {
	case pki.KindClient, pki.KindProbe:
	case pki.KindServer:
		if len(req.SAN.DNS())+len(req.SAN.IP()) == 0 {
			return requestErrorf("a server's certificate needs a DNS name or an IP address")
		}
		if cn := req.Subject.CommonName; cn != "" && !req.names(cn) {
			return requestErrorf("the common name %q of a server is none of its DNS names and IP addresses", cn)
		}
	default:
		return fmt.Errorf("there is no profile for the kind %q", req.Kind)
	}
	if req.Subject.isEmpty() && req.SAN.IsEmpty() {
		return requestErrorf("the certificate would name nobody")
	}
	if !req.Constraints.IsEmpty() {
		return requestErrorf("only a CA has name constraints")
	}
	return checkPermitted(&req.SAN, issuer)
}

// names reports whether s is a DNS name or an IP address of the request.
func (req *Request) names(s string) bool {
	a, err := netip.ParseAddr(s)
	return slices.Contains(req.SAN.DNS(), s) || err == nil && slices.Contains(req.SAN.IP(), a)
}

// CheckCRLURL checks a CRL distribution point: an absolute http: URL. Fetching
// a CRL over https would need the CRL to be fetched.
func CheckCRLURL(s string) error {
	u, err := url.Parse(s)
	if err != nil || u.Scheme != "http" || !plainHost(u.Hostname()) || !plainPort(u.Port()) || u.User != nil || u.Fragment != "" || !isASCII(s) ||
		strings.ContainsAny(s, " \"<>\\^`{|}") { // none of them stands in a URI (RFC 3986, Section 2)
		return requestErrorf("%q is no CRL address: it is an absolute http: URL (https would need a CRL to fetch the CRL)", s)
	}
	return nil
}

// plainHost reports whether a CRL can be fetched from the host.
func plainHost(host string) bool {
	if _, err := netip.ParseAddr(host); err == nil {
		return true
	}
	name, err := pki.ParseDNS(host)
	return err == nil && !strings.HasPrefix(name, "*")
}

func plainPort(port string) bool {
	n, err := strconv.ParseUint(port, 10, 16)
	return port == "" || err == nil && n > 0
}
