package profile

import (
	"crypto/x509"
	"fmt"
	"net"
	"net/netip"
	"net/url"
	"slices"
	"strings"

	"mutual/pki"
)

// Constraints are the permitted subtrees of a name-constrained CA (RFC 5280,
// Section 4.2.1.10). A kind of name without an entry is not constrained.
type Constraints struct {
	DNS   []string // a host and all below it
	Email []string // a mailbox, a host, or .domain for all hosts below it
	URI   []string // a host, or .domain for all hosts below it
	IP    []netip.Prefix
}

// IsEmpty reports whether nothing is constrained.
func (c *Constraints) IsEmpty() bool { return len(c.DNS)+len(c.Email)+len(c.URI)+len(c.IP) == 0 }

// PermitDNS adds a host name and all below it.
func (c *Constraints) PermitDNS(s string) error {
	if strings.HasPrefix(s, ".") || strings.HasPrefix(s, "*") {
		return requestErrorf("%q: a DNS constraint is written without a leading dot or wildcard; it covers the name and all below it", s)
	}
	host, err := pki.ParseDNS(s)
	if err != nil {
		return &RequestError{msg: err.Error()}
	}
	c.DNS = append(c.DNS, host)
	return nil
}

// PermitEmail adds a mailbox, the mailboxes of a host, or with a leading dot
// those of all hosts below a domain.
func (c *Constraints) PermitEmail(s string) error {
	parse := parseHostForm
	if strings.Contains(s, "@") {
		parse = pki.ParseEmail
	}
	form, err := parse(s)
	if err != nil {
		return &RequestError{msg: err.Error()}
	}
	c.Email = append(c.Email, form)
	return nil
}

// PermitURI adds the URIs of a host, or with a leading dot those of all hosts
// below a domain.
func (c *Constraints) PermitURI(s string) error {
	form, err := parseHostForm(s)
	if err != nil {
		return &RequestError{msg: err.Error()}
	}
	c.URI = append(c.URI, form)
	return nil
}

// parseHostForm checks a host, or all hosts below a domain, and gives it in
// lower-case A-labels.
func parseHostForm(s string) (string, error) {
	domain, below := strings.CutPrefix(s, ".")
	host, err := pki.ParseDNS(domain)
	switch {
	case err != nil:
		return "", err
	case strings.HasPrefix(host, "*"):
		return "", fmt.Errorf("%q: a constraint has no wildcard; a leading dot covers all hosts below a domain", s)
	case below:
		return "." + host, nil
	}
	return host, nil
}

// PermitIP adds a range of addresses: 10.0.0.0/8, or one address.
func (c *Constraints) PermitIP(s string) error {
	prefix, err := netip.ParsePrefix(s)
	if err != nil {
		a, bad := netip.ParseAddr(s)
		if bad != nil || a.Zone() != "" {
			return requestErrorf("%q is no IP range such as 10.0.0.0/8", s)
		}
		prefix = netip.PrefixFrom(a, a.BitLen())
	}
	if prefix.Addr().Is4In6() { // a name of the kind is an IPv4 address of 4 octets
		return requestErrorf("%q is an IPv4 range written as IPv6; write it as 192.0.2.0/24", s)
	}
	if prefix != prefix.Masked() {
		return requestErrorf("%q has bits set behind its prefix; the range is %s", s, prefix.Masked())
	}
	c.IP = append(c.IP, prefix)
	return nil
}

func (c *Constraints) apply(t *x509.Certificate) {
	if c.IsEmpty() {
		return
	}
	t.PermittedDNSDomainsCritical = true
	t.PermittedDNSDomains = c.DNS
	t.PermittedEmailAddresses = c.Email
	t.PermittedURIDomains = c.URI
	for _, p := range c.IP {
		t.PermittedIPRanges = append(t.PermittedIPRanges, &net.IPNet{
			IP: p.Addr().AsSlice(), Mask: net.CIDRMask(p.Bits(), p.Addr().BitLen()),
		})
	}
}

// checkPermitted refuses a name outside the issuer's permitted subtrees: a
// certificate with one verifies nowhere. The host forms of email and URI
// constraints mean exactly that host (RFC 5280, Section 4.2.1.10).
func checkPermitted(san *pki.SAN, issuer *x509.Certificate) error {
	for _, name := range san.DNS() {
		host := strings.TrimPrefix(name, "*.")
		if !permitted(issuer.PermittedDNSDomains, func(c string) bool {
			return host == c || strings.HasSuffix(host, "."+c)
		}) {
			return outside("DNS name", name, issuer.PermittedDNSDomains)
		}
	}
	for _, mailbox := range san.Email() {
		if !permitted(issuer.PermittedEmailAddresses, func(c string) bool {
			return pki.MailboxWithin(mailbox, c)
		}) {
			return outside("email address", mailbox, issuer.PermittedEmailAddresses)
		}
	}
	for _, text := range san.URI() {
		u, err := url.Parse(text)
		if err != nil || !permitted(issuer.PermittedURIDomains, func(c string) bool { return pki.HostWithin(u.Hostname(), c) }) {
			return outside("URI", text, issuer.PermittedURIDomains)
		}
	}
	return checkPermittedIPs(san.IPs(), issuer.PermittedIPRanges)
}

func checkPermittedIPs(ips []net.IP, ranges []*net.IPNet) error {
	for _, ip := range ips {
		if len(ranges) > 0 && !slices.ContainsFunc(ranges, func(r *net.IPNet) bool { return r.Contains(ip) }) {
			var names []string
			for _, r := range ranges {
				names = append(names, r.String())
			}
			return outside("IP address", ip.String(), names)
		}
	}
	return nil
}

func permitted(constraints []string, covers func(string) bool) bool {
	return len(constraints) == 0 || slices.ContainsFunc(constraints, covers)
}

func outside(what, name string, constraints []string) error {
	return fmt.Errorf("the %s %q lies outside what the issuing CA may sign for: %s", what, name, strings.Join(constraints, ", "))
}
