package commands_test

import (
	"bytes"
	"crypto"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/tls"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/json"
	"io"
	"math/big"
	"net"
	"path/filepath"
	"strings"
	"testing"
	"time"
)

// TestInteropGateStolenKey: whoever has stolen the key of the issuing CA mints
// certificates that are genuine in every way. Only the inventory does not know
// them: they are refused, also one that repeats name and serial of alice's.
func TestInteropGateStolenKey(t *testing.T) {
	t.Parallel()
	if testing.Short() {
		t.Skip("not with -short: it is a matrix of processes")
	}
	w := newGateWorld(t, "stolen")
	lax := w.startGate("lax.jsonl", "--pki", w.dir, "--state", filepath.Join(w.out, "lax"), "--allow-all", "--any-genuine",
		"--to", "http://"+w.upstream.web.Addr().String())
	w.issueAll([]string{"alice"})
	alice := readCertificates(t, filepath.Join(w.out, "alice.crt"))[0]
	for name, serial := range map[string]*big.Int{"mallory": big.NewInt(1 << 40), "alice": alice.SerialNumber} {
		minted := w.mint(name, serial)
		for version, number := range gateVersions {
			for _, kind := range []gateKind{gateKinds[0], gateKinds[8], gateKinds[9]} {
				c := w.cell(name+"-"+version, kind, number)
				c.config.GetClientCertificate = func(*tls.CertificateRequestInfo) (*tls.Certificate, error) { return minted, nil }
				if _, err := c.call(false); err == nil || !isAlert(err) {
					t.Errorf("%s, TLS %s, %s: error %v, want an alert", name, version, kind.name, err)
				}
				if n := c.mark.received.Load(); n > 0 {
					t.Errorf("%s, TLS %s, %s: the upstream gets %d octets", name, version, kind.name, n)
				}
				if kind.gate == "web" { // nothing else is wrong with it
					c.gate = lax
					if _, err := c.call(false); err != nil {
						t.Errorf("%s, TLS %s: where any genuine one is let in: %v", name, version, err)
					}
				}
			}
		}
		for kind := range w.gates {
			w.wantLogged(kind+".jsonl", gateEvent{"refused", "notInInventory", "CN=" + name}, len(gateVersions))
		}
	}
	c := w.cell("alice", gateKinds[0], tls.VersionTLS13)
	w.certify(c)
	if _, err := c.call(false); err != nil {
		t.Errorf("alice is not let in: %v", err)
	}
}

// mint signs a client's certificate with the key of the issuing CA, without the
// PKI.
func (p *interopPKI) mint(name string, serial *big.Int) *tls.Certificate {
	p.t.Helper()
	issuer := readCertificates(p.t, p.file("issuing.crt"))[0]
	stolen, err := x509.ParsePKCS8PrivateKey(readPEM(p.t, p.file("issuing.key"), "PRIVATE KEY")[0])
	if err != nil {
		p.t.Fatal(err)
	}
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		p.t.Fatal(err)
	}
	der, err := x509.CreateCertificate(rand.Reader, &x509.Certificate{
		SerialNumber: serial, Subject: pkix.Name{CommonName: name},
		NotBefore: time.Now().Add(-time.Minute), NotAfter: time.Now().Add(time.Hour),
		KeyUsage: x509.KeyUsageDigitalSignature, ExtKeyUsage: []x509.ExtKeyUsage{x509.ExtKeyUsageClientAuth}, BasicConstraintsValid: true,
	}, issuer, key.Public(), stolen.(crypto.Signer))
	if err != nil {
		p.t.Fatal(err)
	}
	return &tls.Certificate{Certificate: [][]byte{der, issuer.Raw}, PrivateKey: key}
}

// TestInteropGateProbe: mutual probe finds that a gate, whatever its mode, requires
// a certificate and verifies it, and finds nothing else.
func TestInteropGateProbe(t *testing.T) {
	t.Parallel()
	if testing.Short() {
		t.Skip("not with -short: it is a matrix of processes")
	}
	p := newInteropPKI(t)
	u := newGateUpstream(t)
	p.issue("server", "localhost")
	p.issue("client", "alice")
	web, greeter := "http://"+u.web.Addr().String(), newGreeter(t)
	own := []string{"--pki", p.dir, "--state", filepath.Join(p.out, "state"), "--allow-all"}
	for _, mode := range []struct {
		name, target string // before the port
		flags        []string
	}{
		{"plain", "https://localhost:", append(own, "--to", web)},
		{"h2c", "https://localhost:", append(own, "--to", strings.Replace(web, "http:", "h2c:", 1))},
		{"tcp", "tls://localhost:", append(own, "--tcp", "--to", greeter)},
		{"refuse-with", "https://localhost:", append(own, "--to", web, "--refuse-with", "403")},
		{"lists", "https://localhost:", []string{"--ca", p.trust(), "--crl", p.crls(), "--allow-all", "--to", web}},
	} {
		gate := p.startGate(mode.name+".jsonl", mode.flags...)
		_, port, _ := net.SplitHostPort(gate.address)
		for who, flags := range map[string][]string{"alice's own": p.pair("alice"), "one as alice": {"--as", "alice"}} {
			words := append([]string{"probe", mode.target + port, "--ca", p.file("root.crt"), "--json", "--fail-on", "info"}, flags...)
			code, stdout, stderr := p.try(words...)
			var result struct {
				Targets []struct {
					Mode, Outcome string
					Findings      []json.RawMessage
					TLS           []struct{ Version, Mode string }
				}
			}
			if err := json.Unmarshal([]byte(stdout), &result); err != nil || code != 0 || len(result.Targets) != 1 {
				t.Errorf("%s, %s: it exits with %d, %v:\n%s%s", mode.name, who, code, err, stdout, stderr)
				continue
			}
			found := result.Targets[0]
			if found.Mode != "REQUIRED_VERIFIED" || found.Outcome != "ok" || len(found.Findings) != 0 || len(found.TLS) != 2 {
				t.Errorf("%s, %s: it finds %+v:\n%s", mode.name, who, found, stdout)
			}
			for _, v := range found.TLS {
				if v.Mode != "REQUIRED_VERIFIED" {
					t.Errorf("%s, %s: in TLS %s it finds %s", mode.name, who, v.Version, v.Mode)
				}
			}
		}
	}
}

// newGreeter is a server of TCP that speaks first, as one of SMTP does.
func newGreeter(t *testing.T) (address string) {
	t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = l.Close() })
	go func() {
		for {
			conn, err := l.Accept()
			if err != nil {
				return
			}
			go func() {
				defer func() { _ = conn.Close() }() // the client has gone
				_, _ = io.WriteString(conn, "220 localhost\r\n")
				_, _ = io.Copy(io.Discard, conn)
			}()
		}
	}()
	return l.Addr().String()
}

// TestInteropGateStuckUpload: an upload to an upstream that does not read is over
// for the gate, too, when its client is cut.
func TestInteropGateStuckUpload(t *testing.T) {
	t.Parallel()
	if testing.Short() {
		t.Skip("not with -short: it drives a gate")
	}
	for _, protocol := range []string{"http/1.1", "h2"} {
		t.Run(protocol, func(t *testing.T) {
			w := newGateWorld(t, "stuck")
			c := w.cell("stuck", gateKind{gate: "web", protocol: protocol}, tls.VersionTLS13)
			w.issueAll([]string{c.name})
			w.certify(c)
			t.Cleanup(func() { c.mark.after.Store(true) }) // the upstream ends
			c.uploadStuck(t)
			w.run("revoke", c.name)
			w.wantLogged("web.jsonl", gateEvent{"request", "", "CN=" + c.name}, 1) // it says so when it is over
		})
	}
}

// uploadStuck sends until nothing more is taken.
func (c *gateCell) uploadStuck(t *testing.T) {
	t.Helper()
	out := io.Writer(nil)
	if c.kind.protocol == "h2" {
		conn, _, err := c.http2(t)
		if err != nil {
			t.Fatal(err)
		}
		body, in := io.Pipe()
		t.Cleanup(func() { _ = in.Close() })
		go func() { _, _ = c.ask(t, conn, "POST", c.path("/stuck"), body) }() // it is cut
		out = in
	} else {
		conn, err := c.request(t, "POST", c.path("/stuck"), "Content-Length: 1000000000\r\n")
		if err != nil {
			t.Fatal(err)
		}
		out = conn
	}
	sent := make(chan bool, 1)
	go func() {
		for {
			if _, err := out.Write(bytes.Repeat([]byte{octetBefore}, 64<<10)); err != nil {
				return
			}
			select {
			case sent <- true:
			default:
			}
		}
	}()
	for {
		select {
		case <-sent:
		case <-time.After(300 * time.Millisecond):
			if c.mark.running.Load() == 0 {
				t.Error("the upload has not reached the upstream")
			}
			return
		}
	}
}

// TestInteropGatePlainServer: the clients of TestInteropGate do resume sessions
// where a server gives some, and are let in with nothing but a certificate where
// nobody looks.
func TestInteropGatePlainServer(t *testing.T) {
	t.Parallel()
	if testing.Short() {
		t.Skip("not with -short: its gates are not needed there")
	}
	w := prepareGateWorld(t, "plain")
	plain := w.startPlain()
	w.issueAll([]string{"alice"})
	for version, number := range gateVersions {
		c := w.cell("alice", gateKinds[0], number)
		w.certify(c)
		c.gate = &interopServer{address: plain.web}
		for _, want := range []bool{false, true} {
			if resumed, err := c.call(true); err != nil || resumed != want {
				t.Errorf("TLS %s: resumed %t, %v, want %t", version, resumed, err, want)
			}
		}
		if c.sessions.count == 0 {
			t.Errorf("TLS %s: no session was given", version)
		}
	}
}
