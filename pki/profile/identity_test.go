package profile_test

import (
	"slices"
	"strings"
	"testing"

	"mutual/pki"
	"mutual/pki/pkitest"
	"mutual/pki/profile"
)

func TestIdentify(t *testing.T) {
	long := strings.Repeat("a", 60) + ".example.com"
	for _, tt := range []struct {
		kind pki.Kind
		name string
		cn   string
		san  []string
	}{
		{pki.KindClient, "alice", "alice", nil},
		{pki.KindClient, "Alice Müller", "Alice Müller", nil},
		{pki.KindClient, "help", "help", nil},
		{pki.KindClient, "alice@example.com", "alice@example.com", []string{"email:alice@example.com"}},
		{pki.KindClient, "not an@email", "not an@email", nil},
		{pki.KindClient, "a@b@c", "a@b@c", nil},
		{pki.KindClient, "laptop.example.com", "laptop.example.com", []string{"dns:laptop.example.com"}},
		{pki.KindClient, "Laptop.Example.com", "Laptop.Example.com", []string{"dns:laptop.example.com"}},
		{pki.KindClient, "device 1.2", "device 1.2", nil},
		{pki.KindClient, "v1.2", "v1.2", nil},
		{pki.KindClient, "192.0.2.7", "192.0.2.7", nil},
		{pki.KindClient, "localhost", "localhost", nil},
		{pki.KindClient, "müller.example", "müller.example", nil},
		{pki.KindClient, "spiffe://example.com/a", "spiffe://example.com/a", []string{"uri:spiffe://example.com/a"}},
		{pki.KindProbe, "alice@example.com", "alice@example.com", []string{"email:alice@example.com"}},
		{pki.KindServer, "api.example.com", "api.example.com", []string{"dns:api.example.com"}},
		{pki.KindServer, "API.example.com", "api.example.com", []string{"dns:api.example.com"}},
		{pki.KindServer, "*.example.com", "*.example.com", []string{"dns:*.example.com"}},
		{pki.KindServer, "bücher.example", "xn--bcher-kva.example", []string{"dns:xn--bcher-kva.example"}},
		{pki.KindServer, "intranet", "intranet", []string{"dns:intranet"}},
		{pki.KindServer, "192.0.2.7", "192.0.2.7", []string{"ip:192.0.2.7"}},
		{pki.KindServer, "2001:DB8::7", "2001:db8::7", []string{"ip:2001:db8::7"}},
		{pki.KindServer, "localhost", "localhost", []string{"dns:localhost", "ip:127.0.0.1", "ip:::1"}},
		{pki.KindServer, "Localhost", "localhost", []string{"dns:localhost", "ip:127.0.0.1", "ip:::1"}},
		{pki.KindServer, long, "", []string{"dns:" + long}},
	} {
		t.Run(string(tt.kind)+" "+tt.name, func(t *testing.T) {
			cn, san, err := profile.Identify(tt.kind, pkitest.MustName(t, tt.name, tt.kind))
			if err != nil {
				t.Fatal(err)
			}
			if cn != tt.cn || !slices.Equal(san.Strings(), tt.san) {
				t.Errorf("%q, %q; want %q, %q", cn, san.Strings(), tt.cn, tt.san)
			}
		})
	}
}

func TestIdentifyRefused(t *testing.T) {
	for _, tt := range []struct {
		kind       pki.Kind
		name, want string
	}{
		{pki.KindClient, "ünï@example.com", "only printable ASCII is allowed"},
		{pki.KindClient, "spiffe://example.com", "is no SPIFFE ID"},
		{pki.KindClient, "https://exa_mple.com/a", "is no absolute URI with a host"},
		{pki.KindServer, "Alice Müller", "the name of a server is a host name or an IP address"},
		{pki.KindServer, "alice@example.com", "the name of a server is a host name or an IP address"},
		{pki.KindServer, "a_b.example.com", "the name of a server is a host name or an IP address"},
		{pki.KindServer, "https://example.com/a", "the name of a server is a host name or an IP address"},
		{pki.KindServer, "1.2.3", "the last label is a number"},
		{pki.KindServer, "fe80::1%eth0", "is no IP address"},
	} {
		t.Run(tt.name, func(t *testing.T) {
			_, san, err := profile.Identify(tt.kind, pkitest.MustName(t, tt.name, tt.kind))
			wantError(t, err, tt.want, true)
			if !san.IsEmpty() {
				t.Errorf("names beside the error: %q", san.Strings())
			}
		})
	}
}

// Whatever name a person may have, what it stands for is a certificate's.
func FuzzIdentify(f *testing.F) {
	for _, s := range []string{"alice@example.com", "*.example.com", "spiffe://example.com/a", "1.2.3", "::1", "Localhost", "ü.example"} {
		f.Add(s, true)
		f.Add(s, false)
	}
	f.Fuzz(func(t *testing.T, text string, server bool) {
		kind := pki.KindClient
		if server {
			kind = pki.KindServer
		}
		name, err := pki.ParseName(text, kind)
		if err != nil {
			return
		}
		cn, san, err := profile.Identify(kind, name)
		if err != nil {
			return
		}
		if server && len(san.DNS())+len(san.IP()) == 0 || cn == "" && san.IsEmpty() || len([]rune(cn)) > 64 {
			t.Errorf("%q is %q, %q", text, cn, san.Strings())
		}
	})
}
