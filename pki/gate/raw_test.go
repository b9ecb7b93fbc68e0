package gate

import (
	"bufio"
	"bytes"
	"crypto/tls"
	"crypto/x509"
	"io"
	"math/big"
	"net"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/pires/go-proxyproto"
	"github.com/pires/go-proxyproto/tlvparse"

	"mutual/pki"
)

func withSerial(cert *x509.Certificate) *x509.Certificate {
	out := *cert
	out.SerialNumber = big.NewInt(1)
	return &out
}

// echo is an upstream that gives back what it gets, and then says what remained.
func echo(t *testing.T, network, address string, headers chan<- *proxyproto.Header) string {
	t.Helper()
	l, err := net.Listen(network, address)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = l.Close() })
	go func() {
		for {
			c, err := l.Accept()
			if err != nil {
				return
			}
			go func() {
				defer func() { _ = c.Close() }()
				in := bufio.NewReader(c)
				if headers != nil {
					h, err := proxyproto.Read(in)
					if err != nil {
						t.Errorf("the PROXY protocol: %v", err)
						return
					}
					headers <- h
				}
				n, _ := io.Copy(c, in)
				_, _ = io.WriteString(c, "\nend "+big.NewInt(n).String()) // after the client has ended its side
			}()
		}
	}()
	return l.Addr().String()
}

// Octets go through both ways, one direction may end before the other, and a
// revocation cuts.
func TestRaw(t *testing.T) {
	address := echo(t, "tcp", "127.0.0.1:0", nil)
	f := newFixture(t, options{config: func(c *Config) {
		var err error
		if c.Upstream, err = ParseRawUpstream("tcp://"+address, false); err != nil {
			t.Fatal(err)
		}
	}})
	alice := f.issue(pki.KindClient, "alice")
	conn, err := tls.Dial("tcp", f.address, &tls.Config{RootCAs: f.roots, ServerName: "localhost", Certificates: []tls.Certificate{alice}})
	if err != nil {
		t.Fatal(err)
	}
	text := bytes.Repeat([]byte("0123456789"), 100_000)
	go func() {
		_, _ = conn.Write(text)
		_ = conn.CloseWrite()
	}()
	got, err := io.ReadAll(conn)
	if err != nil || !bytes.Equal(got, append(text, "\nend 1000000"...)) {
		t.Errorf("%d octets came back, %v", len(got), err)
	}
	f.await("the end", func(e entry) bool { return e.Event == "close" && e.BytesIn > 1_000_000 && e.Identity == "alice" })

	live, err := tls.Dial("tcp", f.address, &tls.Config{RootCAs: f.roots, ServerName: "localhost", Certificates: []tls.Certificate{alice}})
	if err != nil {
		t.Fatal(err)
	}
	_ = live.SetDeadline(time.Now().Add(10 * time.Second))
	if _, err := io.WriteString(live, "x"); err != nil {
		t.Fatal(err)
	}
	if _, err := io.ReadFull(live, make([]byte, 1)); err != nil {
		t.Fatal(err)
	}
	if a := f.revoke(alice, pki.KeyCompromise); a.Cut != 1 {
		t.Errorf("%d connections were cut", a.Cut)
	}
	if n, err := live.Read(make([]byte, 1)); n > 0 || err == nil {
		t.Error("it goes on")
	}
}

// The upstream is told who connects with the PROXY protocol, over a socket, too.
func TestProxyProtocol(t *testing.T) {
	headers := make(chan *proxyproto.Header, 1)
	path := filepath.Join(t.TempDir(), "up.sock")
	echo(t, "unix", path, headers)
	f := newFixture(t, options{config: func(c *Config) {
		var err error
		if c.Upstream, err = ParseRawUpstream("unix:"+path, true); err != nil {
			t.Fatal(err)
		}
	}})
	alice := f.issue(pki.KindClient, "alice")
	conn, err := tls.Dial("tcp", f.address, &tls.Config{RootCAs: f.roots, ServerName: "localhost", Certificates: []tls.Certificate{alice}})
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = conn.Close() }()
	if _, err := io.WriteString(conn, "x"); err != nil {
		t.Fatal(err)
	}
	if _, err := io.ReadFull(conn, make([]byte, 1)); err != nil {
		t.Fatal(err)
	}
	h := <-headers
	tlvs, err := h.TLVs()
	if err != nil || h.SourceAddr.String() != conn.LocalAddr().String() || h.DestinationAddr.String() != f.address {
		t.Fatalf("%v to %v, %v", h.SourceAddr, h.DestinationAddr, err)
	}
	ssl, ok := tlvparse.FindSSL(tlvs)
	cn, _ := ssl.ClientCN()
	version, _ := ssl.SSLVersion()
	if !ok || !ssl.Verified() || !ssl.ClientCertConn() || cn != "alice" || version != "TLS 1.3" {
		t.Errorf("%+v", ssl)
	}
}

func TestUpstreams(t *testing.T) {
	for text, want := range map[string]struct {
		local bool
		str   string
	}{
		"http://127.0.0.1:8080": {true, "http://127.0.0.1:8080"}, "http://localhost": {true, "http://localhost"}, "https://[::1]:8443/": {true, "https://[::1]:8443"},
		"h2c://127.0.0.2:1": {true, "h2c://127.0.0.2:1"}, "unix:/run/x": {true, "unix:/run/x"}, "h2c+unix:/run/x": {true, "unix:/run/x"},
		"http://10.0.0.1:80": {false, "http://10.0.0.1:80"}, "http://api.example.com": {false, "http://api.example.com"}, "http://localhost.example.com": {false, "http://localhost.example.com"},
	} {
		u, err := ParseUpstream(text)
		if err != nil || u.Local() != want.local || u.String() != want.str {
			t.Errorf("%s: %v, local %v, %v", text, u, u.Local(), err)
		}
	}
	for _, text := range []string{"", "127.0.0.1:80", "ftp://x", "http://", "http://a/b", "http://a?b", "http://u:p@a", "unix:", "http://a#b", "http://:80"} {
		if u, err := ParseUpstream(text); err == nil || !strings.Contains(err.Error(), "is no upstream") && !strings.Contains(err.Error(), "does not name") {
			t.Errorf("%q: %v, %v", text, u, err)
		}
	}
	for _, text := range []string{"", "127.0.0.1", ":80", "unix:"} {
		if u, err := ParseRawUpstream(text, false); err == nil {
			t.Errorf("%q: %v", text, u)
		}
	}
}

// The server's certificate is read again when its files change: also where a
// symbolic link on the way leads elsewhere, and not while only one of two has.
func TestCertificateFiles(t *testing.T) {
	f := newFixture(t, options{})
	dir := t.TempDir()
	write := func(to string, cert tls.Certificate) {
		t.Helper()
		if err := os.MkdirAll(filepath.Join(dir, to), 0o700); err != nil {
			t.Fatal(err)
		}
		chain, key := pemOf(t, cert)
		f.replace(filepath.Join(dir, to, "s.crt"), chain)
		f.replace(filepath.Join(dir, to, "s.key"), key)
	}
	one, two, three := f.issue(pki.KindServer, "one"), f.issue(pki.KindServer, "two"), f.issue(pki.KindServer, "three")
	write("a", one)
	write("b", two)
	if err := os.Symlink("a", filepath.Join(dir, "now")); err != nil {
		t.Fatal(err)
	}
	s, err := CertificateFiles(filepath.Join(dir, "now", "s.crt"), filepath.Join(dir, "now", "s.key"), nil, time.Now())
	if err != nil {
		t.Fatal(err)
	}
	want := func(cert tls.Certificate, why string) {
		t.Helper()
		err := s.look(time.Now())
		if got := s.current.Load().Leaf.Subject.CommonName; got != cert.Leaf.Subject.CommonName {
			t.Errorf("it shows %s, want %s", got, cert.Leaf.Subject.CommonName)
		}
		if (err == nil) != (why == "") || err != nil && !strings.Contains(err.Error(), why) {
			t.Errorf("%v, want %q", err, why)
		}
	}
	want(one, "")
	if err := os.Symlink("b", filepath.Join(dir, "next")); err != nil {
		t.Fatal(err)
	}
	if err := os.Rename(filepath.Join(dir, "next"), filepath.Join(dir, "now")); err != nil {
		t.Fatal(err)
	}
	want(two, "")
	want(two, "")
	chain, key := pemOf(t, three)
	f.replace(filepath.Join(dir, "b", "s.crt"), chain)
	want(two, "the key is not that of the certificate")
	want(two, "the key is not that of the certificate")
	f.replace(filepath.Join(dir, "b", "s.key"), key)
	want(three, "")
	f.replace(filepath.Join(dir, "b", "s.key"), []byte("rubbish"))
	want(three, "s.key")
	if err := os.Remove(filepath.Join(dir, "b", "s.crt")); err != nil {
		t.Fatal(err)
	}
	want(three, "reading the server's certificate")
	asked := 0
	s.renew = func() { asked++ }
	f.replace(filepath.Join(dir, "b", "s.crt"), chain)
	f.replace(filepath.Join(dir, "b", "s.key"), key)
	for _, later := range []time.Duration{0, 17 * time.Hour, 17*time.Hour + time.Second, 18 * time.Hour} {
		if err := s.look(time.Now().Add(later)); err != nil {
			t.Error(err)
		}
	}
	if asked != 2 { // from two thirds of a day on, once a minute
		t.Errorf("it was asked to renew %d times", asked)
	}
	if err := s.look(time.Now().Add(25 * time.Hour)); err != nil { // it is asked first
		t.Error(err)
	}
	if err := s.look(time.Now().Add(25*time.Hour + time.Second)); err == nil || !strings.Contains(err.Error(), "has expired") {
		t.Errorf("after its end: %v", err)
	}
}
