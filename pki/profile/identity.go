package profile

import (
	"net/netip"
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
