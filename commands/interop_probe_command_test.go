package commands_test

import (
	"encoding/json"
	"net"
	"net/http"
	"net/http/httptest"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"mutual/pki/pkitest/tools"
)

// probeCase is one probe with what it must end with and say.
type probeCase struct {
	name  string
	flags []string
	code  int
	want  string
}

func (p *interopPKI) probe(target string, cases []probeCase) {
	p.t.Helper()
	for _, c := range cases {
		code, stdout, stderr := p.try(append([]string{"probe", target}, c.flags...)...)
		if code != c.code || !strings.Contains(stdout, c.want) {
			p.t.Errorf("%s: mutual probe %s %q exits with %d, want %d and %q:\n%s%s", c.name, target, c.flags, code, c.code, c.want, stdout, stderr)
		}
	}
}

// pair are the flags for the certificate and key of a name.
func (p *interopPKI) pair(name string) []string {
	return []string{"--cert", filepath.Join(p.out, name+".crt"), "--key", filepath.Join(p.out, name+".key")}
}

// TestProbeNginx probes an nginx that requires certificates: as nobody, with
// alice's before and after her revocation, and as an identity.
func TestProbeNginx(t *testing.T) {
	t.Parallel()
	nginx := tools.Need(t, "nginx")
	p, other := newInteropPKI(t), newInteropPKI(t)
	other.issue("client", "alice")
	address := freeAddress(t)
	config := newServerFiles(p).template("nginx.conf", address)
	s := startServer(t, address, nginx, "-p", filepath.Dir(config), "-c", config, "-e", "stderr")
	_, port, _ := net.SplitHostPort(address)
	target := "https://localhost:" + port + "/"
	ca := []string{"--ca", p.file("root.crt")}
	p.probe(target, []probeCase{
		{"nobody", ca, 0, "LOCKED"},
		{"alice", append(p.pair("alice"), ca...), 0, "REQUIRED_VERIFIED"},
		{"a stranger", append(other.pair("alice"), ca...), 3, "your certificate is refused, as everyone"},
		{"as alice", append([]string{"--as", "alice"}, ca...), 0, "REQUIRED_VERIFIED"},
		{"a server that is not trusted", []string{"--ca", other.file("root.crt")}, 3, "the server is not trusted"},
		{"a server that is not checked", nil, 0, "not checked: give --ca FILE"},
	})
	p.checkProbeOnRecord("alice")

	p.run("revoke", "alice")
	s.reload()
	p.probe(target, []probeCase{
		{"alice, revoked", append(p.pair("alice"), ca...), 3, "REFUSED"},
		{"as alice, revoked", append([]string{"--as", "alice"}, ca...), 1, ""},
		{"bob", append(p.pair("bob"), ca...), 0, "REQUIRED_VERIFIED"},
		{"nobody", ca, 0, "LOCKED"},
	})
}

// TestProbeOpenSSL is the same with a server that refuses in the handshake.
func TestProbeOpenSSL(t *testing.T) {
	t.Parallel()
	openssl := tools.Need(t, "openssl")
	p := newInteropPKI(t)
	files := newServerFiles(p)
	start := func() (*interopServer, string) {
		files.writeBundles()
		address := freeAddress(t)
		_, port, _ := net.SplitHostPort(address)
		return startServer(t, address, openssl, append(files.sServer(address), "-CAfile", files.trustAndCRLs, "-crl_check_all")...), "localhost:" + port
	}
	ca := []string{"--ca", p.file("root.crt")}
	s, target := start()
	p.probe(target, []probeCase{
		{"nobody", ca, 0, "LOCKED"},
		{"alice", append(p.pair("alice"), ca...), 0, "REQUIRED_VERIFIED"},
		{"as alice", append([]string{"--as", "alice"}, ca...), 0, "REQUIRED_VERIFIED"},
	})
	s.stop()
	p.run("revoke", "alice", "--reason", "keyCompromise")
	_, target = start()
	p.probe(target, []probeCase{
		{"alice, revoked", append(p.pair("alice"), ca...), 3, "the server sent the alert certificate_revoked (44)"},
		{"bob", append(p.pair("bob"), ca...), 0, "REQUIRED_VERIFIED"},
	})
}

// checkProbeOnRecord: the certificate that --as has minted is hidden from
// list, and in the inventory and the journal as a probe's.
func (p *interopPKI) checkProbeOnRecord(name string) {
	p.t.Helper()
	type row struct{ Name, Kind, Serial, State, NotBefore, NotAfter string }
	read := func(words ...string) (rows []row) {
		p.t.Helper()
		if err := json.Unmarshal([]byte(p.run(append(words, "--json")...)), &rows); err != nil {
			p.t.Fatal(err)
		}
		return rows
	}
	for _, r := range read("list", "--all") {
		if r.Kind == "probe" {
			p.t.Errorf("list shows %+v", r)
		}
	}
	probes := read("list", "--kind", "probe")
	if len(probes) != 1 || probes[0].Name != name || probes[0].State != "valid" {
		p.t.Fatalf("the probes are %+v", probes)
	}
	if end, err := time.Parse(time.RFC3339, probes[0].NotAfter); err != nil || time.Until(end) > 5*time.Minute {
		p.t.Errorf("the probe's certificate ends at %s, %v", probes[0].NotAfter, err)
	}
	log := p.run("log", "--json")
	if !strings.Contains(log, probes[0].Serial) || !strings.Contains(log, `"probe"`) {
		p.t.Errorf("the journal lacks the probe %s:\n%s", probes[0].Serial, log)
	}
	if s := p.run("log", "--verify"); !strings.HasPrefix(s, "good") {
		p.t.Errorf("log --verify: %s", s)
	}
}

// TestProbeCouldNotTell: what cannot be probed ends with 4, in bounded time.
func TestProbeCouldNotTell(t *testing.T) {
	t.Parallel()
	p := newInteropPKI(t)
	silent, err := net.Listen("tcp", "127.0.0.1:0") // the kernel connects, and nobody answers
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = silent.Close() })
	plain := httptest.NewServer(http.NotFoundHandler())
	t.Cleanup(plain.Close)
	for _, tt := range []struct{ name, target, want string }{
		{"silence", silent.Addr().String(), "COULD NOT TELL"},
		{"a closed port", freeAddress(t), "connection refused"},
		{"plain HTTP", plain.Listener.Addr().String(), "COULD NOT TELL"},
	} {
		t.Run(tt.name, func(t *testing.T) {
			t.Parallel()
			began := time.Now()
			p.with(t).probe(tt.target, []probeCase{{tt.name, []string{"--timeout", "300ms"}, 4, tt.want}})
			// One connection for each of the two versions, and some to confirm.
			if took := time.Since(began); took > 5*time.Second {
				t.Errorf("it took %s", took)
			}
			code, stdout, _ := p.try("probe", tt.target, "--timeout", "300ms", "--json")
			var result struct{ Targets []struct{ Outcome string } }
			if err := json.Unmarshal([]byte(stdout), &result); err != nil || code != 4 || len(result.Targets) != 1 || result.Targets[0].Outcome != "couldNotTell" {
				t.Errorf("with --json it exits with %d, %v: %s", code, err, stdout)
			}
		})
	}
}
