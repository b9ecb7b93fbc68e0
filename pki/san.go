package pki

import (
	"errors"
	"fmt"
	"net"
	"net/netip"
	"net/url"
	"slices"
	"strings"

	"golang.org/x/net/idna"
)

// SAN is a set of subject alternative names (RFC 5280, Section 4.2.1.6), each
// checked when it was added and there once. The zero value is empty.
type SAN struct {
	dns   []string
	ip    []netip.Addr
	email []string
	uri   []string
}

// DNS returns the host names as A-labels in lower case, in the order added.
func (s *SAN) DNS() []string { return slices.Clone(s.dns) }

// IP returns the addresses.
func (s *SAN) IP() []netip.Addr { return slices.Clone(s.ip) }

// Email returns the mailboxes.
func (s *SAN) Email() []string { return slices.Clone(s.email) }

// URI returns the URIs.
func (s *SAN) URI() []string { return slices.Clone(s.uri) }

// IsEmpty reports whether there is no name at all.
func (s *SAN) IsEmpty() bool { return len(s.dns)+len(s.ip)+len(s.email)+len(s.uri) == 0 }

// IPs returns the addresses in the form of package net.
func (s *SAN) IPs() []net.IP {
	var out []net.IP
	for _, a := range s.ip {
		out = append(out, a.AsSlice())
	}
	return out
}

// URLs returns the URIs in the form of package net/url.
func (s *SAN) URLs() []*url.URL {
	var out []*url.URL
	for _, t := range s.uri {
		u, err := url.Parse(t)
		if err != nil {
			continue // cannot be: AddURI parsed it
		}
		out = append(out, u)
	}
	return out
}

// Strings returns every name with its type in front, as "dns:example.com".
func (s *SAN) Strings() []string {
	var out []string
	for _, v := range s.dns {
		out = append(out, "dns:"+v)
	}
	for _, v := range s.ip {
		out = append(out, "ip:"+v.String())
	}
	for _, v := range s.email {
		out = append(out, "email:"+v)
	}
	for _, v := range s.uri {
		out = append(out, "uri:"+v)
	}
	return out
}

// AddDNS adds a host name, of which the leftmost label may be "*". A name in
// Unicode is stored in its A-label form (RFC 5891, Section 4.4).
func (s *SAN) AddDNS(name string) error {
	ascii, err := ParseDNS(name)
	if err != nil {
		return err
	}
	if !slices.Contains(s.dns, ascii) {
		s.dns = append(s.dns, ascii)
	}
	return nil
}

// AddIP adds an IPv4 or IPv6 address without a zone.
func (s *SAN) AddIP(text string) error {
	a, err := netip.ParseAddr(text)
	if err != nil || a.Zone() != "" {
		return fmt.Errorf("%q is no IP address", text)
	}
	if a = a.Unmap(); !slices.Contains(s.ip, a) {
		s.ip = append(s.ip, a)
	}
	return nil
}

// AddEmail adds a mailbox, local@domain in ASCII.
func (s *SAN) AddEmail(text string) error {
	mailbox, err := ParseEmail(text)
	if err != nil {
		return err
	}
	if !slices.Contains(s.email, mailbox) {
		s.email = append(s.email, mailbox)
	}
	return nil
}

// AddURI adds an absolute URI with a host; at most one of them may be a
// SPIFFE ID.
func (s *SAN) AddURI(text string) error {
	if err := checkURI(text); err != nil {
		return err
	}
	if u, err := url.Parse(text); err == nil {
		text = u.String() // as it will be signed
	}
	if slices.Contains(s.uri, text) {
		return nil
	}
	if isSPIFFE(text) && slices.ContainsFunc(s.uri, isSPIFFE) {
		return fmt.Errorf("%q is a second SPIFFE ID, and a certificate has at most one", text)
	}
	s.uri = append(s.uri, text)
	return nil
}

// ParseDNS checks a host name, of which the leftmost label may be "*", and
// gives it in lower-case A-labels. A single label is allowed: localhost.
func ParseDNS(name string) (string, error) {
	if _, err := netip.ParseAddr(name); err == nil {
		return "", fmt.Errorf("%q is an IP address and no DNS name", name)
	}
	if len(name) > 4*MaxServerName {
		return "", errors.New("the DNS name is longer than 253 characters")
	}
	host, wildcard := strings.CutPrefix(strings.ToLower(name), "*.")
	ascii := host
	if strings.IndexFunc(host, func(r rune) bool { return r > 0x7e }) >= 0 || strings.Contains(host, "xn--") {
		var err error
		if ascii, err = idna.Registration.ToASCII(host); err != nil {
			return "", fmt.Errorf("%q is no DNS name: %w", name, err)
		}
	}
	if err := checkHost(ascii); err != nil {
		return "", fmt.Errorf("%q is no DNS name: %w", name, err)
	}
	if wildcard {
		ascii = "*." + ascii
	}
	if len(ascii) > MaxServerName {
		return "", fmt.Errorf("the DNS name %q is longer than 253 characters", name)
	}
	return ascii, nil
}

// checkHost checks letters, digits and hyphens (RFC 1123, Section 2.1).
func checkHost(host string) error {
	if len(host) > MaxServerName {
		return errors.New("it is longer than 253 characters")
	}
	labels := strings.Split(host, ".")
	for _, label := range labels {
		if label == "" || len(label) > 63 {
			return errors.New("a label has 1 to 63 characters")
		}
		if label[0] == '-' || label[len(label)-1] == '-' {
			return errors.New("a label neither begins nor ends with a hyphen")
		}
		for _, r := range label {
			if r != '-' && (r < '0' || r > '9') && (r < 'a' || r > 'z') {
				return fmt.Errorf("%q is not allowed in a label", r)
			}
		}
	}
	if last := labels[len(labels)-1]; strings.Trim(last, "0123456789") == "" {
		return errors.New("the last label is a number")
	}
	return nil
}

// ParseEmail checks a mailbox: a dot-atom, @ and a host name, all in ASCII. A
// non-ASCII one in a certificate makes Go refuse the whole certificate.
func ParseEmail(text string) (string, error) {
	for _, r := range text {
		if r > 0x7e || r < 0x21 {
			return "", fmt.Errorf("the email address %q holds %q, and only printable ASCII is allowed", text, r)
		}
	}
	local, domain, ok := strings.Cut(text, "@")
	if !ok || local == "" || len(local) > 64 {
		return "", fmt.Errorf("%q is no email address of the form local@domain", text)
	}
	for _, atom := range strings.Split(local, ".") {
		if atom == "" || strings.ContainsAny(atom, `()<>[]:;@\,"`) {
			return "", fmt.Errorf("%q is no email address of the form local@domain", text)
		}
	}
	if err := checkHost(strings.ToLower(domain)); err != nil {
		return "", fmt.Errorf("%q is no email address of the form local@domain: %w", text, err)
	}
	return text, nil
}

// checkURI checks an absolute URI with a host (RFC 5280, Section 4.2.1.6) and,
// where the scheme is spiffe, the rules of a SPIFFE ID.
func checkURI(text string) error {
	if len(text) > 2048 {
		return errors.New("the URI is longer than 2048 characters")
	}
	for _, r := range text {
		if r > 0x7e || r < 0x21 {
			return fmt.Errorf("the URI %q holds %q, and only printable ASCII is allowed", text, r)
		}
	}
	u, err := url.Parse(text)
	if err != nil || u.Scheme == "" || u.Host == "" || u.Opaque != "" {
		return fmt.Errorf("%q is no absolute URI with a host", text)
	}
	host := u.Hostname()
	if _, err := netip.ParseAddr(host); err != nil {
		if err := checkSPIFFEOrHost(u, host); err != nil {
			return fmt.Errorf("%q is no absolute URI with a host: %w", text, err)
		}
	}
	if isSPIFFE(text) && (hasDotSegment(u.Path) || u.Port() != "" || u.User != nil || strings.ContainsAny(text, "?#") || len(u.Path) < 2) {
		return fmt.Errorf("%q is no SPIFFE ID: it is spiffe://trust-domain/path, without port, user, query or fragment", text)
	}
	return nil
}

// checkSPIFFEOrHost checks the host; a SPIFFE trust domain may hold underscores.
func checkSPIFFEOrHost(u *url.URL, host string) error {
	if strings.EqualFold(u.Scheme, "spiffe") {
		host = strings.ReplaceAll(host, "_", "x")
	}
	return checkHost(strings.ToLower(host))
}

// hasDotSegment reports whether a path is not the one it resolves to.
func hasDotSegment(path string) bool {
	return slices.ContainsFunc(strings.Split(strings.Trim(path, "/"), "/"), func(s string) bool { return s == "." || s == ".." || s == "" })
}

func isSPIFFE(text string) bool {
	return len(text) >= 9 && strings.EqualFold(text[:9], "spiffe://")
}

// Merge adds every name of another set.
func (s *SAN) Merge(other *SAN) error {
	for _, v := range other.dns {
		if err := s.AddDNS(v); err != nil {
			return err
		}
	}
	for _, v := range other.ip {
		if err := s.AddIP(v.String()); err != nil {
			return err
		}
	}
	for _, v := range other.email {
		if err := s.AddEmail(v); err != nil {
			return err
		}
	}
	for _, v := range other.uri {
		if err := s.AddURI(v); err != nil {
			return err
		}
	}
	return nil
}
