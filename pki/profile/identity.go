package profile

import (
	"crypto/x509"
	"errors"
	"net"
	"net/netip"
	"net/url"
	"slices"
	"strings"

	"mutual/pki"
)

// Identify gives the common name and the subject alternative names that a
// NAME stands for.
//
// A client's email address is also an rfc822Name, a URI with a host also a
// URI, a host name with a dot also a dNSName; anything else is a common name
// only. A server's name is a dNSName or an iPAddress, and a common name only
// where it fits; localhost brings the loopback addresses along. A name longer
// than a common name may be leaves the common name empty (RFC 5280, Section
// 4.1.2.6: the SAN is then critical).
func Identify(kind pki.Kind, name pki.Name) (commonName string, san pki.SAN, err error) {
	if kind == pki.KindServer {
		return identifyServer(name.String())
	}
	s := name.String()
	switch {
	case strings.Contains(s, "://"):
		err = san.AddURI(s)
	case strings.Contains(s, "@"):
		if _, bad := pki.ParseEmail(s); bad == nil || !isASCII(s) {
			err = san.AddEmail(s)
		}
	case strings.Contains(s, ".") && isASCII(s):
		if _, bad := pki.ParseDNS(s); bad == nil {
			err = san.AddDNS(s)
		}
	}
	if err != nil {
		return "", pki.SAN{}, &RequestError{msg: err.Error()}
	}
	return s, san, nil
}

func identifyServer(s string) (commonName string, san pki.SAN, err error) {
	if a, bad := netip.ParseAddr(s); bad == nil {
		if err := san.AddIP(s); err != nil {
			return "", pki.SAN{}, &RequestError{msg: err.Error()}
		}
		return a.Unmap().String(), san, nil
	}
	if err := san.AddDNS(s); err != nil {
		return "", pki.SAN{}, requestErrorf("the name of a server is a host name or an IP address: %v", err)
	}
	host := san.DNS()[0]
	if host == "localhost" {
		for _, loopback := range []string{"127.0.0.1", "::1"} {
			if err := san.AddIP(loopback); err != nil {
				return "", pki.SAN{}, err
			}
		}
	}
	if len(host) <= maxCommonName {
		commonName = host
	}
	return commonName, san, nil
}

func isASCII(s string) bool {
	return strings.IndexFunc(s, func(r rune) bool { return r > 0x7e }) < 0
}

// Identity is the way back: the kind and the NAME of a certificate that this
// package has made. The kind is that of its one extended key usage; the NAME is
// the common name or, where that would have been too long, the one name that
// stands in the SAN instead. A name that does not stand for what is in the
// certificate is refused.
func Identity(cert *x509.Certificate) (pki.Kind, pki.Name, error) {
	var kind pki.Kind
	switch {
	case len(cert.ExtKeyUsage) != 1 || len(cert.UnknownExtKeyUsage) > 0:
	case cert.ExtKeyUsage[0] == x509.ExtKeyUsageClientAuth:
		kind = pki.KindClient
	case cert.ExtKeyUsage[0] == x509.ExtKeyUsageServerAuth:
		kind = pki.KindServer
	}
	if kind == "" {
		return "", pki.Name{}, errors.New("it is neither a client's nor a server's certificate")
	}
	for _, text := range namesIn(cert) {
		name, err := pki.ParseName(text, kind)
		if err != nil {
			continue
		}
		if _, san, err := Identify(kind, name); err == nil && holdsSAN(cert, &san) {
			return kind, name, nil
		}
	}
	return kind, pki.Name{}, errors.New("no name in it can be that of an identity")
}

// namesIn lists what may be the NAME: the common name alone, where there is one.
func namesIn(cert *x509.Certificate) []string {
	if cert.Subject.CommonName != "" {
		return []string{cert.Subject.CommonName}
	}
	out := slices.Concat(cert.EmailAddresses, cert.DNSNames)
	for _, u := range cert.URIs {
		out = append(out, u.String())
	}
	return out
}

// holdsSAN reports whether a certificate has all names of a SAN.
func holdsSAN(cert *x509.Certificate, san *pki.SAN) bool {
	has := func(have, want []string) bool {
		return !slices.ContainsFunc(want, func(s string) bool { return !slices.Contains(have, s) })
	}
	texts := func(urls []*url.URL) (out []string) {
		for _, u := range urls {
			out = append(out, u.String())
		}
		return out
	}
	addresses := func(ips []net.IP) (out []string) {
		for _, ip := range ips {
			out = append(out, ip.String())
		}
		return out
	}
	return has(cert.DNSNames, san.DNS()) && has(cert.EmailAddresses, san.Email()) &&
		has(texts(cert.URIs), texts(san.URLs())) && has(addresses(cert.IPAddresses), addresses(san.IPs()))
}
