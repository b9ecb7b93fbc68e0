package commands_test

import (
	"net"
	"path/filepath"
	"strings"
	"testing"

	"mutual/pki/pkitest/tools"
)

// interopServers are programs that require client certificates, with the
// files of the PKI as they stand. They read their CRLs when they start.
var interopServers = []struct {
	name, program   string
	args            func(s *serverFiles, address string) []string
	nobody, revoked string // what curl is told
	says            string // what the server says of the revoked client
}{
	{
		name: "openssl s_server, leaf", program: "openssl",
		args: func(s *serverFiles, address string) []string {
			// s_server reads only the first list of the file that -CRL names,
			// which is therefore the issuing CA's.
			return append(s.sServer(address), "-CAfile", s.pki.trust(), "-CRL", s.pki.crls(), "-crl_check")
		},
		nobody: "alert (handshake failure|certificate required)", revoked: "alert certificate revoked",
		says: "verify error:num=23:certificate revoked",
	},
	{
		name: "openssl s_server, chain", program: "openssl",
		args: func(s *serverFiles, address string) []string {
			return append(s.sServer(address), "-CAfile", s.trustAndCRLs, "-crl_check_all")
		},
		nobody: "alert (handshake failure|certificate required)", revoked: "alert certificate revoked",
		says: "verify error:num=23:certificate revoked",
	},
	{
		name: "gnutls-serv", program: "gnutls-serv",
		args: func(s *serverFiles, address string) []string {
			_, port, _ := net.SplitHostPort(address)
			return []string{
				"--http", "--port", port, "--require-client-cert", "--verify-client-cert",
				"--x509certfile", s.certificate, "--x509keyfile", s.key,
				"--x509cafile", s.pki.trust(), "--x509crlfile", s.pki.crls(),
			}
		},
		// It may close the connection before its alert is read.
		nobody: ".", revoked: ".", says: "The certificate chain is revoked.",
	},
	{
		name: "haproxy", program: "haproxy",
		args: func(s *serverFiles, address string) []string {
			return []string{"-db", "-f", s.template("haproxy.cfg", address)}
		},
		nobody: "alert (handshake failure|certificate required)", revoked: "alert certificate revoked",
		says: `certificate "alice": verification error 23`,
	},
}

// TestInteropServers: real servers let alice in, and nobody not; after her
// revocation they refuse her for being revoked, and bob stays in.
func TestInteropServers(t *testing.T) {
	t.Parallel()
	for _, tt := range interopServers {
		t.Run(tt.name, func(t *testing.T) {
			t.Parallel()
			program := tools.Need(t, tt.program, "curl")
			p := newInteropPKI(t)
			files := newServerFiles(p)
			start := func() *interopServer {
				files.writeBundles()
				address := freeAddress(t)
				return startServer(t, address, program, tt.args(files, address)...)
			}

			s := start()
			for _, version := range []string{"1.2", "1.3"} {
				checkCall(t, p, s, version, "nobody", "000 .*"+tt.nobody)
				checkCall(t, p, s, version, "alice", "200 ")
				checkCall(t, p, s, version, "bob", "200 ")
			}
			s.stop()

			p.run("revoke", "alice")
			s = start()
			for _, version := range []string{"1.2", "1.3"} {
				checkCall(t, p, s, version, "alice", "000 .*"+tt.revoked)
				checkCall(t, p, s, version, "bob", "200 ")
			}
			s.stop() // gnutls-serv keeps what it says until it ends
			if n := strings.Count(s.log.String(), tt.says); n < 2 {
				t.Errorf("%s says %d times %q, want it for TLS 1.2 and 1.3:\n%s", tt.name, n, tt.says, s.log.String())
			}
		})
	}
}

// TestInteropNginx: the same nginx, reloaded after the revocation, refuses
// alice, with "ssl_verify_client on" and the files as they stand.
func TestInteropNginx(t *testing.T) {
	t.Parallel()
	nginx := tools.Need(t, "nginx", "curl", "openssl")
	p := newInteropPKI(t)
	address := freeAddress(t)
	config := newServerFiles(p).template("nginx.conf", address)
	s := startServer(t, address, nginx, "-p", filepath.Dir(config), "-c", config, "-e", "stderr")
	for _, version := range []string{"1.2", "1.3"} {
		checkCall(t, p, s, version, "nobody", "400 ")
		s.says("client sent no required SSL certificate")
		checkCall(t, p, s, version, "alice", "200 ")
		checkCall(t, p, s, version, "bob", "200 ")
		checkSClient(t, p, s, version, "alice", "HTTP/1.1 200 OK")
	}

	p.run("revoke", "alice", "--reason", "keyCompromise")
	s.reload()
	for _, version := range []string{"1.2", "1.3"} {
		checkCall(t, p, s, version, "alice", "400 ")
		s.says("client SSL certificate verify error: (23:certificate revoked)")
		checkSClient(t, p, s, version, "alice", "HTTP/1.1 400 Bad Request")
		s.says("client SSL certificate verify error: (23:certificate revoked)")
		checkCall(t, p, s, version, "bob", "200 ")
		checkSClient(t, p, s, version, "bob", "HTTP/1.1 200 OK")
	}

	p.run("hold", "bob")
	s.reload()
	checkCall(t, p, s, "1.3", "bob", "400 ")
	s.says("client SSL certificate verify error: (23:certificate revoked)")
	p.run("unhold", "bob")
	s.reload()
	checkCall(t, p, s, "1.3", "bob", "200 ")
	checkCall(t, p, s, "1.3", "alice", "400 ")
}

// TestInteropRevokedServer: clients refuse a server whose certificate is
// revoked, with the CRLs as they stand.
func TestInteropRevokedServer(t *testing.T) {
	t.Parallel()
	tools.Need(t, "openssl", "curl", "gnutls-cli")
	p := newInteropPKI(t)
	files := newServerFiles(p)
	address := freeAddress(t)
	_, port, _ := net.SplitHostPort(address)
	startServer(t, address, "openssl", append(files.sServer(address), "-CAfile", p.trust())...)

	clients := []struct {
		name          string
		args          func() []string
		good, revoked string
	}{
		{"curl", func() []string {
			return append(curlArgs(p, address, "1.3", "alice"), "--crlfile", p.crls())
		}, "200", "SSL certificate problem: certificate revoked"},
		{"openssl", func() []string {
			return append(sClientArgs(p, address, "1.3", "alice"), "-crl_check_all", "-CAfile", files.trustAndCRLs)
		}, "HTTP/1.0 200 ok", "verify error:num=23:certificate revoked"},
		{"gnutls-cli", func() []string {
			return []string{"--port", port, "--x509cafile", p.trust(), "--x509crlfile", p.crls(),
				"--x509certfile", filepath.Join(p.out, "alice.crt"), "--x509keyfile", filepath.Join(p.out, "alice.key"), "localhost"}
		}, "Status: The certificate is trusted.", "The certificate chain is revoked."},
	}
	for _, c := range clients {
		checkClient(t, c.name, c.args(), c.good)
	}
	p.run("revoke", "localhost", "--reason", "superseded")
	files.writeBundles()
	for _, c := range clients {
		checkClient(t, c.name, c.args(), c.revoked)
	}
}
