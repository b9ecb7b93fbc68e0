package profile_test

import (
	"slices"
	"testing"

	"mutual/pki"
	"mutual/pki/pkitest"
	"mutual/pki/profile"
)

func TestPermit(t *testing.T) {
	var c profile.Constraints
	if !c.IsEmpty() {
		t.Error("nothing is not empty")
	}
	for _, err := range []error{
		c.PermitDNS("Example.com"), c.PermitDNS("bücher.example"),
		c.PermitEmail("Example.com"), c.PermitEmail(".bücher.example"), c.PermitEmail("Alice@example.com"),
		c.PermitURI("example.com"), c.PermitURI(".Example.com"), c.PermitURI("bücher.example"),
		c.PermitIP("10.0.0.0/8"), c.PermitIP("192.0.2.7"), c.PermitIP("2001:db8::/32"),
	} {
		if err != nil {
			t.Fatal(err)
		}
	}
	if want := []string{"example.com", "xn--bcher-kva.example"}; !slices.Equal(c.DNS, want) {
		t.Errorf("DNS %q, want %q", c.DNS, want)
	}
	if want := []string{"example.com", ".xn--bcher-kva.example", "Alice@example.com"}; !slices.Equal(c.Email, want) {
		t.Errorf("email %q, want %q", c.Email, want)
	}
	if want := []string{"example.com", ".example.com", "xn--bcher-kva.example"}; !slices.Equal(c.URI, want) {
		t.Errorf("URI %q, want %q", c.URI, want)
	}
	if len(c.IP) != 3 || c.IP[1].String() != "192.0.2.7/32" {
		t.Errorf("IP %v", c.IP)
	}
	// What is permitted can be signed, and means the same when it is read back.
	cert := pkitest.NewHierarchy(t, pkitest.Config{Constraints: c}).Issuing.Certificate()
	if !cert.PermittedDNSDomainsCritical || !slices.Equal(cert.PermittedDNSDomains, c.DNS) || !slices.Equal(cert.PermittedEmailAddresses, c.Email) ||
		!slices.Equal(cert.PermittedURIDomains, c.URI) || len(cert.PermittedIPRanges) != 3 || len(cert.ExcludedDNSDomains) > 0 {
		t.Errorf("the CA permits %q, %q, %q, %v", cert.PermittedDNSDomains, cert.PermittedEmailAddresses, cert.PermittedURIDomains, cert.PermittedIPRanges)
	}
}

func TestPermitRefused(t *testing.T) {
	dns, email, uri, ip := (*profile.Constraints).PermitDNS, (*profile.Constraints).PermitEmail, (*profile.Constraints).PermitURI, (*profile.Constraints).PermitIP
	for _, tt := range []struct {
		permit     func(*profile.Constraints, string) error
		text, want string
	}{
		{dns, ".example.com", "without a leading dot or wildcard"},
		{dns, "*.example.com", "without a leading dot or wildcard"},
		{dns, "192.0.2.7", "is an IP address and no DNS name"},
		{dns, "", "is no DNS name"},
		{email, "*.example.com", "a constraint has no wildcard"},
		{email, ".*.example.com", "a constraint has no wildcard"},
		{email, "..example.com", "is no DNS name"},
		{email, "@example.com", "is no email address"},
		{email, "ü@example.com", "only printable ASCII is allowed"},
		{uri, "https://example.com", "is no DNS name"},
		{uri, "*.example.com", "a constraint has no wildcard"},
		{uri, "192.0.2.7", "is an IP address and no DNS name"},
		{uri, "", "is no DNS name"},
		{ip, "10.0.0.1/8", "has bits set behind its prefix; the range is 10.0.0.0/8"},
		{ip, "10.0.0.0/33", "is no IP range such as 10.0.0.0/8"},
		{ip, "10.0.0.0/255.0.0.0", "is no IP range"},
		{ip, "fe80::1%eth0", "is no IP range"},
		{ip, "example.com", "is no IP range"},
	} {
		t.Run(tt.text, func(t *testing.T) {
			var c profile.Constraints
			wantError(t, tt.permit(&c, tt.text), tt.want, true)
			if !c.IsEmpty() {
				t.Errorf("it was added: %+v", c)
			}
		})
	}
}

// A name outside the permitted subtrees is refused. The host forms of email
// and URI constraints mean that host alone (CVE-2026-78664, CVE-2026-78665).
func TestPermittedNames(t *testing.T) {
	dns, email, uri, ip := (*pki.SAN).AddDNS, (*pki.SAN).AddEmail, (*pki.SAN).AddURI, (*pki.SAN).AddIP
	for _, tt := range []struct {
		constraint string // dns, email, uri or ip of the table below
		permits    string
		add        func(*pki.SAN, string) error
		name       string
		outside    string // the kind of name in the error; "": permitted
	}{
		{"dns", "example.com", dns, "example.com", ""},
		{"dns", "example.com", dns, "a.b.example.com", ""},
		{"dns", "example.com", dns, "*.example.com", ""},
		{"dns", "example.com", dns, "badexample.com", "DNS name"},
		{"dns", "example.com", dns, "example.com.evil", "DNS name"},
		{"dns", "a.example.com", dns, "*.example.com", "DNS name"},
		{"dns", "example.com", email, "alice@evil.example", ""},
		{"email", "example.com", email, "alice@example.com", ""},
		{"email", "example.com", email, "alice@EXAMPLE.com", ""},
		{"email", "example.com", email, "alice@sub.example.com", "email address"},
		{"email", ".example.com", email, "alice@sub.example.com", ""},
		{"email", ".example.com", email, "alice@example.com", "email address"},
		{"email", "alice@example.com", email, "alice@example.com", ""},
		{"email", "alice@example.com", email, "alice@Example.com", ""},
		{"email", "alice@example.com", email, "Alice@example.com", "email address"},
		{"email", "alice@example.com", email, "bob@example.com", "email address"},
		{"uri", "example.com", uri, "https://example.com:8443/a", ""},
		{"uri", "example.com", uri, "https://EXAMPLE.com/a", ""},
		{"uri", "example.com", uri, "https://sub.example.com/a", "URI"},
		{"uri", ".example.com", uri, "https://sub.example.com/a", ""},
		{"uri", ".example.com", uri, "https://example.com/a", "URI"},
		{"uri", "example.com", uri, "spiffe://example.com/a", ""},
		{"uri", "example.com", uri, "https://192.0.2.7/", "URI"},
		{"uri", "example.com", uri, "https://example.com@evil.example/", "URI"},
		{"ip", "10.0.0.0/8", ip, "10.1.2.3", ""},
		{"ip", "10.0.0.0/8", ip, "11.1.2.3", "IP address"},
		{"ip", "10.0.0.0/8", ip, "::ffff:10.1.2.3", ""},
		{"ip", "10.0.0.0/8", ip, "2001:db8::1", "IP address"},
		{"ip", "2001:db8::/32", ip, "2001:db8::1", ""},
	} {
		t.Run(tt.constraint+" "+tt.permits+" "+tt.name, func(t *testing.T) {
			var c profile.Constraints
			permit := map[string]func(string) error{"dns": c.PermitDNS, "email": c.PermitEmail, "uri": c.PermitURI, "ip": c.PermitIP}[tt.constraint]
			if err := permit(tt.permits); err != nil {
				t.Fatal(err)
			}
			h := pkitest.NewHierarchy(t, pkitest.Config{Constraints: c})
			req := leafRequest(t, h, pki.KindClient, "alice")
			if err := tt.add(&req.SAN, tt.name); err != nil {
				t.Fatal(err)
			}
			_, err := profile.New(req, h.Issuing.Certificate())
			if tt.outside == "" {
				if err != nil {
					t.Error(err)
				}
				return
			}
			wantError(t, err, "the "+tt.outside+" ", false)
			wantError(t, err, "lies outside what the issuing CA may sign for: ", false)
		})
	}
}
