package pki

import "strings"

// MailboxWithin reports whether a mailbox lies in an email subtree of name
// constraints: that mailbox, those of a host, or with a leading dot those of the
// hosts below a domain (RFC 5280, Section 4.2.1.10). The local part is
// case-sensitive (Section 7.5).
func MailboxWithin(mailbox, subtree string) bool {
	at := strings.LastIndexByte(mailbox, '@')
	if at < 0 {
		return false
	}
	if i := strings.LastIndexByte(subtree, '@'); i >= 0 {
		return subtree[:i] == mailbox[:at] && strings.EqualFold(subtree[i+1:], mailbox[at+1:])
	}
	return HostWithin(mailbox[at+1:], subtree)
}

// HostWithin reports whether the host of a URI or a mailbox lies in a subtree of
// name constraints: that host and no other, or with a leading dot the hosts below
// a domain (RFC 5280, Section 4.2.1.10).
func HostWithin(host, subtree string) bool {
	if strings.HasPrefix(subtree, ".") {
		at := len(host) - len(subtree)
		return at > 0 && strings.EqualFold(host[at:], subtree)
	}
	return strings.EqualFold(subtree, host)
}
