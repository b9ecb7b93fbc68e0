package probe

import (
	"errors"
	"fmt"
	"net"
	"net/netip"
	"net/url"
	"strconv"
	"strings"

	"mutual/pki"
)

// maxTarget bounds the text of a target.
const maxTarget = 4096

// zoneCharacters may stand in the zone of an IPv6 address: the unreserved
// ones (RFC 6874, Section 2), but no tilde.
const zoneCharacters = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-._"

// Target is an endpoint to probe. The zero value is no target.
type Target struct {
	host string // A-labels in lower case, or an IP address
	port string
	path string // with the query, as it stands in the request
	app  Application
}

// ParseTarget reads host, host:port, [v6]:port, https://host[:port]/path or
// tls://host[:port]. The port is 443 if none is given. With tls:// no HTTP
// request is made; with https:// an HTTP answer is expected.
func ParseTarget(s string) (Target, error) {
	if s == "" {
		return Target{}, errors.New("the target is empty")
	}
	if len(s) > maxTarget {
		return Target{}, fmt.Errorf("the target has %d octets, and at most %d are allowed", len(s), maxTarget)
	}
	t, err := parseTarget(s)
	if err != nil {
		return Target{}, fmt.Errorf("%q is no target: %w", s, err)
	}
	return t, nil
}

func parseTarget(s string) (Target, error) {
	if strings.Contains(s, "://") {
		return parseURL(s)
	}
	host, port, err := splitHostPort(s)
	if err != nil {
		return Target{}, err
	}
	return newTarget(host, port, "/", AppAuto)
}

func parseURL(s string) (Target, error) {
	u, err := url.Parse(s)
	if err != nil {
		var inner *url.Error
		if errors.As(err, &inner) {
			err = inner.Err
		}
		return Target{}, err
	}
	if u.User != nil || u.Fragment != "" {
		return Target{}, errors.New("a user or a fragment has no place in it")
	}
	host, port, err := splitHostPort(u.Host)
	if err != nil {
		return Target{}, err
	}
	switch strings.ToLower(u.Scheme) {
	case "https":
		return newTarget(host, port, u.RequestURI(), AppHTTP)
	case "tls":
		if u.Path != "" && u.Path != "/" || u.RawQuery != "" {
			return Target{}, errors.New("a tls:// target has no path")
		}
		return newTarget(host, port, "/", AppNone)
	}
	return Target{}, fmt.Errorf("the scheme %q is neither https nor tls", u.Scheme)
}

// splitHostPort also takes a host without a port and an IPv6 address without
// brackets, whose port is then 443.
func splitHostPort(s string) (host, port string, err error) {
	bare := s
	if strings.HasPrefix(s, "[") && strings.HasSuffix(s, "]") {
		bare = s[1 : len(s)-1]
	}
	if _, err := netip.ParseAddr(bare); err == nil {
		return bare, "443", nil
	}
	if !strings.Contains(s, ":") {
		return s, "443", nil
	}
	host, port, err = net.SplitHostPort(s)
	if err != nil {
		return "", "", errors.New("write it as host:port, or [v6]:port")
	}
	return host, port, nil
}

func newTarget(host, port, path string, app Application) (Target, error) {
	n, err := strconv.ParseUint(port, 10, 16)
	if err != nil || n == 0 {
		return Target{}, fmt.Errorf("%q is no port: it is a number from 1 to 65535", port)
	}
	host, err = parseHost(host)
	if err != nil {
		return Target{}, err
	}
	for _, c := range []byte(path) { // it stands in a request line
		if c <= ' ' || c > '~' {
			return Target{}, errors.New("the path and query must be printable ASCII without spaces: escape the rest with %")
		}
	}
	return Target{host: host, port: strconv.FormatUint(n, 10), path: path, app: app}, nil
}

// parseHost brings a host name into A-labels. An underscore is let through:
// no host name has one (RFC 1123, Section 2.1), but container networks do.
func parseHost(s string) (string, error) {
	if a, err := netip.ParseAddr(s); err == nil {
		if strings.Trim(a.Zone(), zoneCharacters) != "" {
			return "", fmt.Errorf("the zone %q is no name of an interface", a.Zone())
		}
		return a.Unmap().String(), nil
	}
	if strings.HasPrefix(s, "*") {
		return "", errors.New("a wildcard is no host")
	}
	if !strings.Contains(s, "_") {
		return pki.ParseDNS(s)
	}
	if _, err := pki.ParseDNS(strings.ReplaceAll(s, "_", "x")); err != nil {
		return "", fmt.Errorf("%q is no host name", s)
	}
	for _, c := range []byte(s) {
		if c >= 0x80 {
			return "", errors.New("a host name with an underscore must be ASCII")
		}
	}
	return strings.ToLower(s), nil
}

// Host gives the host: a name in A-labels or an IP address.
func (t Target) Host() string { return t.host }

// Port gives the port.
func (t Target) Port() string { return t.port }

// IsZero reports whether t is no target.
func (t Target) IsZero() bool { return t.host == "" }

// String gives a text that ParseTarget reads as the same target.
func (t Target) String() string {
	address := net.JoinHostPort(t.host, t.port)
	if strings.Contains(t.host, "%") && t.app != AppAuto { // RFC 6874, Section 2
		address = strings.Replace(address, "%", "%25", 1)
	}
	switch t.app {
	case AppHTTP:
		return "https://" + address + t.path
	case AppNone:
		return "tls://" + address
	}
	return address
}

// serverName is the name to verify and, unless it is an address, to send in
// SNI: without the zone, which means something on this machine only.
func (t Target) serverName() string {
	name, _, _ := strings.Cut(t.host, "%")
	return name
}

// authority is the value of the Host field (RFC 9110, Section 7.2).
func (t Target) authority() string {
	if t.port != "443" {
		return net.JoinHostPort(t.serverName(), t.port)
	}
	if strings.Contains(t.host, ":") {
		return "[" + t.serverName() + "]"
	}
	return t.host
}
