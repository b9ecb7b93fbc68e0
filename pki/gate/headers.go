package gate

import (
	"crypto/sha1" // #nosec: what nginx calls the fingerprint
	"crypto/x509"
	"encoding/base64"
	"encoding/hex"
	"encoding/pem"
	"fmt"
	"net/http"
	"net/url"
	"slices"
	"strings"

	"mutual/pki"
)

// HeaderStyle is what the upstream is told of the client beside the Client-Cert
// field of RFC 9440, which it always gets.
type HeaderStyle string

// The styles.
const (
	HeaderNone  HeaderStyle = "none"
	HeaderXFCC  HeaderStyle = "xfcc"  // X-Forwarded-Client-Cert, as Envoy writes it
	HeaderNginx HeaderStyle = "nginx" // X-SSL-Client-*, as configurations of nginx do
)

// HeaderStyles are all of them.
func HeaderStyles() []HeaderStyle { return []HeaderStyle{HeaderNone, HeaderXFCC, HeaderNginx} }

// identityPrefixes are how the names of fields begin in which some proxy tells
// its upstream who the client is, as plain has them. A client that sends one
// claims to be somebody: none ever reaches the upstream.
var identityPrefixes = []string{
	"client-cert", // RFC 9440, with -chain
	"x-forwarded-client-cert",
	"x-forwarded-tls-client-",
	"x-forwarded-ssl-client-",
	"x-ssl-",
	"x-tls-client-",
	"ssl-client-",
	"x-client-cert",
	"x-client-verify",
	"x-client-dn",
	"x-arr-clientcert",
	"x-amzn-mtls-",
	"cf-client-cert",
	"proxy-client-cert",
	"wl-proxy-client-",
	"x-real-ip",
}

// forwardedPrefixes are fields that the gate sets itself or that nobody has set,
// which a client could send in another spelling.
var forwardedPrefixes = []string{"x-forwarded-for", "x-forwarded-host", "x-forwarded-proto", "forwarded"}

// plain gives an octet of the name of a field as the laxest upstream reads it: in
// lower case, and every character but letters and digits the same.
func plain(c byte) byte {
	switch {
	case 'A' <= c && c <= 'Z':
		return c + 'a' - 'A'
	case 'a' <= c && c <= 'z', '0' <= c && c <= '9':
		return c
	}
	return '-'
}

// begins reports whether a name, read so, begins with one of the prefixes. It is
// asked for each field of each request, and allocates nothing.
func begins(name string, prefixes []string) bool {
	return slices.ContainsFunc(prefixes, func(prefix string) bool {
		if len(name) < len(prefix) {
			return false
		}
		for i := range len(prefix) {
			if plain(name[i]) != prefix[i] {
				return false
			}
		}
		return true
	})
}

// strip removes the fields whose names begin so.
func strip(h http.Header, prefixes []string) {
	for name := range h {
		if begins(name, prefixes) {
			delete(h, name)
		}
	}
}

// stripIdentity removes what a client claims of who and where it is.
func stripIdentity(h http.Header) {
	for name := range h {
		if begins(name, identityPrefixes) || begins(name, forwardedPrefixes) && isOdd(name) {
			delete(h, name)
		}
	}
}

// isOdd reports whether a name has another character than letters, digits and
// hyphens.
func isOdd(name string) bool {
	for i := range len(name) {
		if name[i] != '-' && plain(name[i]) == '-' {
			return true
		}
	}
	return false
}

// identityHeaders are the fields that tell the upstream who the client is. They
// are made once for a connection.
type identityHeaders map[string][]string

func newIdentityHeaders(style HeaderStyle, id Identity) identityHeaders {
	cert := id.Certificate
	h := map[string]string{
		"Client-Cert": ":" + base64.StdEncoding.EncodeToString(cert.Raw) + ":", // RFC 9440, Section 2.2
	}
	switch style {
	case HeaderXFCC:
		h["X-Forwarded-Client-Cert"] = xfcc(id)
	case HeaderNginx:
		sum := sha1.Sum(cert.Raw) // #nosec: as above
		h["X-Ssl-Client-Verify"] = "SUCCESS"
		h["X-Ssl-Client-S-Dn"] = printable(pki.DistinguishedName(cert.Subject))
		h["X-Ssl-Client-I-Dn"] = printable(pki.DistinguishedName(cert.Issuer))
		h["X-Ssl-Client-Serial"] = strings.ToUpper(hex.EncodeToString(cert.SerialNumber.Bytes()))
		h["X-Ssl-Client-Fingerprint"] = hex.EncodeToString(sum[:])
		h["X-Ssl-Client-Cert"] = url.PathEscape(string(pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: cert.Raw})))
	case HeaderNone:
	}
	out := identityHeaders{}
	for name, value := range h {
		out[name] = []string{value}
	}
	return out
}

// set writes the fields in the place of all others that tell who the client is.
func (h identityHeaders) set(to http.Header) {
	stripIdentity(to)
	for name, value := range h {
		to[name] = value[:1:1] // who appends gets a copy
	}
}

// xfcc writes the field of Envoy with a hash, the subject and the names. What
// could end a value is quoted as it does.
func xfcc(id Identity) string {
	cert := id.Certificate
	parts := []string{"Hash=" + id.Fingerprint.String(), "Subject=" + quoted(pki.DistinguishedName(cert.Subject))}
	for _, u := range uris(cert) {
		parts = append(parts, "URI="+quotedIfNeeded(u))
	}
	for _, name := range cert.DNSNames {
		parts = append(parts, "DNS="+quotedIfNeeded(name))
	}
	return strings.Join(parts, ";")
}

func quoted(s string) string {
	return `"` + strings.NewReplacer(`\`, `\\`, `"`, `\"`).Replace(printable(s)) + `"`
}

func quotedIfNeeded(s string) string {
	if p := printable(s); p != s || strings.ContainsAny(p, ",;=\"\\ ") {
		return quoted(s)
	}
	return s
}

func uris(cert *x509.Certificate) []string {
	out := make([]string, len(cert.URIs))
	for i, u := range cert.URIs {
		out[i] = u.String()
	}
	return out
}

// printable escapes what must not stand in a field as RFC 4514, Section 2.4 does: a
// certificate may hold anything, and two names never look the same.
func printable(s string) string {
	var b strings.Builder
	for _, c := range []byte(s) {
		if c < ' ' || c > '~' {
			fmt.Fprintf(&b, "\\%02X", c)
			continue
		}
		b.WriteByte(c)
	}
	return b.String()
}
