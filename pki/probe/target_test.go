package probe

import (
	"strings"
	"testing"
)

func TestParseTarget(t *testing.T) {
	for _, row := range []struct{ text, want, serverName, authority string }{
		{"example.com", "example.com:443", "example.com", "example.com"},
		{"EXAMPLE.com:8443", "example.com:8443", "example.com", "example.com:8443"},
		{"localhost:08443", "localhost:8443", "localhost", "localhost:8443"},
		{"bücher.example", "xn--bcher-kva.example:443", "xn--bcher-kva.example", "xn--bcher-kva.example"},
		{"my_service:8443", "my_service:8443", "my_service", "my_service:8443"},
		{"127.0.0.1:1", "127.0.0.1:1", "127.0.0.1", "127.0.0.1:1"},
		{"::1", "[::1]:443", "::1", "[::1]"},
		{"[::1]", "[::1]:443", "::1", "[::1]"},
		{"[::1]:8443", "[::1]:8443", "::1", "[::1]:8443"},
		{"[::ffff:127.0.0.1]:8443", "127.0.0.1:8443", "127.0.0.1", "127.0.0.1:8443"},
		{"[fe80::1%eth0]:8443", "[fe80::1%eth0]:8443", "fe80::1", "[fe80::1]:8443"},
		{"https://example.com", "https://example.com:443/", "example.com", "example.com"},
		{"HTTPS://example.com:8443/a?b=c", "https://example.com:8443/a?b=c", "example.com", "example.com:8443"},
		{"https://example.com/a b", "https://example.com:443/a%20b", "example.com", "example.com"},
		{"https://[fe80::1%25eth0]/", "https://[fe80::1%25eth0]:443/", "fe80::1", "[fe80::1]"},
		{"tls://example.com:5432", "tls://example.com:5432", "example.com", "example.com:5432"},
		{"tls://[::1]/", "tls://[::1]:443", "::1", "[::1]"},
	} {
		got, err := ParseTarget(row.text)
		if err != nil {
			t.Errorf("%q: %v", row.text, err)
			continue
		}
		if got.String() != row.want || got.serverName() != row.serverName || got.authority() != row.authority {
			t.Errorf("%q: got %s, name %s, authority %s", row.text, got, got.serverName(), got.authority())
		}
	}
}

func TestParseTargetErrors(t *testing.T) {
	for _, row := range []struct{ text, want string }{
		{"", "the target is empty"},
		{strings.Repeat("a", 5000), "the target has 5000 octets, and at most 4096 are allowed"},
		{":443", `is no DNS name`},
		{"example.com:", `"" is no port: it is a number from 1 to 65535`},
		{"example.com:0", `"0" is no port`},
		{"example.com:65536", `"65536" is no port`},
		{"example.com:https", `"https" is no port`},
		{"example.com:+1", `"+1" is no port`},
		{"a:b:c", "write it as host:port, or [v6]:port"},
		{"*.example.com", "a wildcard is no host"},
		{"-a_b", `"-a_b" is no host name`},
		{"[fe80::1%a]b]:1", "write it as host:port"},
		{"fe80::1%a b", `the zone "a b" is no name of an interface`},
		{"bü_cher", "a host name with an underscore must be ASCII"},
		{"a b", "is no DNS name"},
		{"a\nb", "is no DNS name"},
		{"http://example.com", `the scheme "http" is neither https nor tls`},
		{"https://user@example.com", "a user or a fragment has no place in it"},
		{"https://example.com/#a", "a user or a fragment has no place in it"},
		{"https://example.com/?a b", "must be printable ASCII without spaces"},
		{"https://example.com/?ä", "must be printable ASCII without spaces"},
		{"https://example.com/\r\nX: y", "invalid control character in URL"},
		{"tls://example.com/path", "a tls:// target has no path"},
	} {
		_, err := ParseTarget(row.text)
		if err == nil || !strings.Contains(err.Error(), row.want) {
			t.Errorf("%.40q: got %v, want %q", row.text, err, row.want)
		}
	}
}

func FuzzParseTarget(f *testing.F) {
	for _, seed := range []string{
		"example.com", "example.com:8443", "[::1]:443", "fe80::1%eth0", "https://h:1/p?q", "tls://h:1", "a_b", "https://[::1%25a]/",
	} {
		f.Add(seed)
	}
	f.Fuzz(func(t *testing.T, text string) {
		target, err := ParseTarget(text)
		if err != nil {
			return
		}
		again, err := ParseTarget(target.String())
		if err != nil || again != target {
			t.Errorf("%q gives %q, which gives %q, %v", text, target, again, err)
		}
		if lines := strings.Split((&prober{Config: Config{Target: target}}).request(target.path).http1(), "\r\n"); len(lines) != 7 || strings.Count(lines[0], " ") != 2 {
			t.Errorf("%q makes the request %q", text, (&prober{Config: Config{Target: target}}).request(target.path).http1())
		}
	})
}
