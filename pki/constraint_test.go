package pki

import "testing"

// RFC 5280, Section 4.2.1.10.
func TestWithin(t *testing.T) {
	for _, tt := range []struct {
		name, subtree string
		within        func(name, subtree string) bool
		want          bool
	}{
		{"host.example.com", "host.example.com", HostWithin, true},
		{"HOST.example.com", "host.Example.com", HostWithin, true},
		{"sub.host.example.com", "host.example.com", HostWithin, false},
		{"host.example.com", ".example.com", HostWithin, true},
		{"example.com", ".example.com", HostWithin, false},
		{".example.com", ".example.com", HostWithin, false},
		{"badexample.com", ".example.com", HostWithin, false},
		{"", "", HostWithin, true},
		{"alice@example.com", "alice@example.com", MailboxWithin, true},
		{"Alice@example.com", "alice@example.com", MailboxWithin, false},
		{"alice@Example.com", "alice@example.COM", MailboxWithin, true},
		{"alice@example.com", "example.com", MailboxWithin, true},
		{"alice@mail.example.com", "example.com", MailboxWithin, false},
		{"alice@mail.example.com", ".example.com", MailboxWithin, true},
		{"alice@example.com", ".example.com", MailboxWithin, false},
		{`"a@b"@example.com`, "example.com", MailboxWithin, true},
		{"example.com", "example.com", MailboxWithin, false},
	} {
		if got := tt.within(tt.name, tt.subtree); got != tt.want {
			t.Errorf("%q in %q: %v", tt.name, tt.subtree, got)
		}
	}
}
