package chain

import (
	"crypto/x509"
	"slices"
	"strings"

	"mutual/pki"

	"golang.org/x/crypto/cryptobyte"
	"golang.org/x/crypto/cryptobyte/asn1"
)

// judgeConstraints checks of the name constraints what crypto/x509 does not.
//
// Go 1.26.8 takes the host form of an email or URI constraint for a domain:
// example.com permits sub.example.com there (CVE-2026-78664, CVE-2026-78665),
// while RFC 5280, Section 4.2.1.10 permits only that host.
//
// Constraints on other kinds of names are ignored by crypto/x509 where the
// extension is not critical, as RFC 5280 wants it to be.
func judgeConstraints(r *Result, path []*x509.Certificate) {
	for i, ca := range path[1:] {
		if !supportedConstraints(extension(ca, oidNameConstraints)) {
			r.set(CheckChain, CouldNotTell, "its issuer %s has name constraints that are not supported", subjectText(ca))
		}
		for _, c := range path[:i+1] {
			for _, email := range c.EmailAddresses {
				if !within(email, ca.PermittedEmailAddresses, ca.ExcludedEmailAddresses, pki.MailboxWithin) {
					r.set(CheckChain, Bad, "the email address %q is outside the name constraints of %s", clip(email), subjectText(ca))
				}
			}
			for _, uri := range c.URIs {
				if !within(uri.Hostname(), ca.PermittedURIDomains, ca.ExcludedURIDomains, pki.HostWithin) {
					r.set(CheckChain, Bad, "the URI %q is outside the name constraints of %s", clip(uri.String()), subjectText(ca))
				}
			}
		}
	}
}

// misread reports whether crypto/x509 refused a name that judgeConstraints has
// let pass, because it takes the host form of an excluded name for a domain.
func misread(detail string) bool {
	return (strings.HasPrefix(detail, "email address ") || strings.HasPrefix(detail, "URI ")) &&
		strings.Contains(detail, "is excluded by constraint")
}

// within reports whether a name is permitted and not excluded. Without a
// permitted name all are; the empty constraint matches every name.
func within(name string, permitted, excluded []string, in func(name, subtree string) bool) bool {
	match := func(c string) bool { return c == "" || in(name, c) }
	return (len(permitted) == 0 || slices.ContainsFunc(permitted, match)) && !slices.ContainsFunc(excluded, match)
}

// supportedConstraints reports whether a NameConstraints holds only names of
// the kinds that crypto/x509 checks: email, DNS, URI and IP.
func supportedConstraints(value []byte) bool {
	if value == nil {
		return true
	}
	in := cryptobyte.String(value)
	var content cryptobyte.String
	if !in.ReadASN1(&content, asn1.SEQUENCE) || !in.Empty() {
		return false
	}
	for !content.Empty() {
		var subtrees cryptobyte.String
		var tag asn1.Tag
		if !content.ReadAnyASN1(&subtrees, &tag) {
			return false
		}
		for !subtrees.Empty() {
			var subtree, base cryptobyte.String
			if !subtrees.ReadASN1(&subtree, asn1.SEQUENCE) || !subtree.ReadAnyASN1(&base, &tag) || !subtree.Empty() {
				return false // a minimum or maximum: RFC 5280 forbids them
			}
			switch tag {
			case asn1.Tag(1).ContextSpecific(), asn1.Tag(2).ContextSpecific(), asn1.Tag(6).ContextSpecific(), asn1.Tag(7).ContextSpecific():
			default:
				return false
			}
		}
	}
	return true
}
