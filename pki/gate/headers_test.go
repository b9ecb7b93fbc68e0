package gate

import (
	"bufio"
	"crypto/tls"
	"crypto/x509"
	"encoding/base64"
	"fmt"
	"io"
	"net/http"
	"net/url"
	"slices"
	"strings"
	"testing"
	"time"

	"golang.org/x/net/http2"
	"golang.org/x/net/http2/hpack"

	"mutual/pki"
	"mutual/pki/store"
)

// identityFields are the names of the reference, each as some proxy writes it.
func identityFields() []string {
	return []string{
		"Client-Cert", "Client-Cert-Chain", "X-Forwarded-Client-Cert", "X-Forwarded-Tls-Client-Cert", "X-Forwarded-Tls-Client-Cert-Info",
		"X-SSL-Client-Verify", "X-SSL-Client-S-DN", "X-SSL-Cert", "X-SSL-Issuer", "SSL-Client-Cert", "SSL-Client-Verify", "SSL-Client-S-DN",
		"X-Client-Cert", "X-Client-Cert-Chain", "X-Client-Cert-DN", "X-Client-Verify", "X-ARR-ClientCert",
		"WL-Proxy-Client-Cert", "Proxy-Client-Cert", "Cf-Client-Cert-Sha256", "X-Client-Dn", "X-Forwarded-Ssl-Client-Cert", "X-Tls-Client-Subject",
		"X-Amzn-Mtls-Clientcert", "X-Amzn-Mtls-Clientcert-Subject", "X-Amzn-Mtls-Clientcert-Leaf",
	}
}

// spellings are how a field reaches an upstream that takes them for the same.
func spellings(name string) []string {
	return []string{name, strings.ToLower(name), strings.ToUpper(name), strings.ReplaceAll(name, "-", "_"), strings.ToLower(strings.Replace(name, "-", "_", 1)), strings.ReplaceAll(name, "-", ".")}
}

const forged = "forged-identity"

// Nothing that a client says of who it is reaches the upstream: in no spelling,
// in HTTP/1.1 or HTTP/2, in the header or in trailers, twice, or with the name
// in Connection, which asks a proxy to remove the field of that name. The true
// Client-Cert does.
func TestForgedIdentity(t *testing.T) {
	t.Parallel()
	f := newFixture(t, options{})
	alice := f.issue(pki.KindClient, "alice")
	tried := 0
	check := func(what string) {
		t.Helper()
		tried++
		var r *http.Request
		select {
		case r = <-f.seen:
		case <-time.After(10 * time.Second):
			t.Fatalf("%s: the upstream was not asked", what)
		}
		for name, values := range r.Header {
			if strings.Contains(strings.Join(values, " "), forged) {
				t.Errorf("%s: the upstream gets %s: %v", what, name, values)
			}
		}
		if len(r.Trailer) > 0 || r.Header.Get("Trailer") != "" {
			t.Errorf("%s: the upstream gets the trailer %v", what, r.Trailer)
		}
		want := ":" + base64.StdEncoding.EncodeToString(alice.Leaf.Raw) + ":"
		if got := r.Header["Client-Cert"]; !slices.Equal(got, []string{want}) {
			t.Errorf("%s: Client-Cert is %q", what, got)
		}
	}
	one := f.newHTTP1(alice)
	two := f.newHTTP2(alice)
	for _, name := range identityFields() {
		for _, spelled := range spellings(name) {
			for _, way := range []struct {
				what   string
				header string
				body   string
			}{
				{"header", spelled + ": " + forged + "\r\n", ""},
				{"duplicate", spelled + ": x\r\n" + spelled + ": " + forged + "\r\n", ""},
				{"Connection token", "Connection: " + spelled + ", client-cert\r\n" + spelled + ": " + forged + "\r\n", ""},
				{"trailer", "Transfer-Encoding: chunked\r\nTrailer: " + spelled + "\r\n", "1\r\nx\r\n0\r\n" + spelled + ": " + forged + "\r\n\r\n"},
			} {
				one.send("POST / HTTP/1.1\r\nHost: localhost\r\n" + way.header + lengthOf(way.body) + "\r\n" + way.body)
				check(fmt.Sprintf("HTTP/1.1, %s as %s", spelled, way.what))
			}
			lower := strings.ToLower(spelled)
			for _, way := range []struct {
				what            string
				header, trailer [][2]string
			}{
				{"header", [][2]string{{lower, forged}}, nil},
				{"duplicate", [][2]string{{lower, "x"}, {lower, forged}}, nil},
				{"trailer", [][2]string{{"trailer", lower}}, [][2]string{{lower, forged}}},
			} {
				two.send(way.header, way.trailer)
				check(fmt.Sprintf("HTTP/2, %s as %s", lower, way.what))
			}
		}
	}
	if want := len(identityFields()) * len(spellings("")) * 7; tried != want {
		t.Errorf("%d ways were tried, and not %d", tried, want)
	}
}

func lengthOf(body string) string {
	if body != "" {
		return "" // chunked
	}
	return "Content-Length: 0\r\n"
}

// http1Conn sends requests by hand.
type http1Conn struct {
	t    testing.TB
	conn *tls.Conn
	in   *bufio.Reader
}

func (f *fixture) dialTLS(cert tls.Certificate, protocol string) *tls.Conn {
	f.Helper()
	conn, err := tls.Dial("tcp", f.address, &tls.Config{RootCAs: f.roots, ServerName: "localhost", Certificates: []tls.Certificate{cert}, NextProtos: []string{protocol}})
	if err != nil {
		f.Fatal(err)
	}
	f.Cleanup(func() { _ = conn.Close() })
	_ = conn.SetDeadline(time.Now().Add(time.Minute))
	return conn
}

func (f *fixture) newHTTP1(cert tls.Certificate) *http1Conn {
	conn := f.dialTLS(cert, "http/1.1")
	return &http1Conn{f, conn, bufio.NewReader(conn)}
}

func (c *http1Conn) send(text string) {
	c.t.Helper()
	if _, err := io.WriteString(c.conn, text); err != nil {
		c.t.Fatal(err)
	}
	answer, err := http.ReadResponse(c.in, nil)
	if err != nil {
		c.t.Fatalf("%q: %v", text, err)
	}
	if _, err := io.Copy(io.Discard, answer.Body); err != nil || answer.StatusCode != http.StatusOK {
		c.t.Fatalf("%q: %s, %v", text, answer.Status, err)
	}
}

// http2Conn sends requests by hand.
type http2Conn struct {
	t      testing.TB
	framer *http2.Framer
	stream uint32
	text   strings.Builder
	enc    *hpack.Encoder
}

func (f *fixture) newHTTP2(cert tls.Certificate) *http2Conn {
	f.Helper()
	conn := f.dialTLS(cert, "h2")
	c := &http2Conn{t: f, framer: http2.NewFramer(conn, conn), stream: 1}
	c.enc = hpack.NewEncoder(&c.text)
	if _, err := io.WriteString(conn, http2.ClientPreface); err != nil {
		f.Fatal(err)
	}
	if err := c.framer.WriteSettings(); err != nil {
		f.Fatal(err)
	}
	return c
}

func (c *http2Conn) block(fields [][2]string) []byte {
	c.text.Reset()
	for _, field := range fields {
		if err := c.enc.WriteField(hpack.HeaderField{Name: field[0], Value: field[1]}); err != nil {
			c.t.Fatal(err)
		}
	}
	return []byte(c.text.String())
}

// send sends a request with a body, and reads until it is answered.
func (c *http2Conn) send(header, trailer [][2]string) {
	c.t.Helper()
	pseudo := [][2]string{{":method", "POST"}, {":scheme", "https"}, {":authority", "localhost"}, {":path", "/"}}
	err := c.framer.WriteHeaders(http2.HeadersFrameParam{StreamID: c.stream, EndHeaders: true, BlockFragment: c.block(append(pseudo, header...))})
	if err == nil {
		err = c.framer.WriteData(c.stream, len(trailer) == 0, []byte("x"))
	}
	if err == nil && len(trailer) > 0 {
		err = c.framer.WriteHeaders(http2.HeadersFrameParam{StreamID: c.stream, EndHeaders: true, EndStream: true, BlockFragment: c.block(trailer)})
	}
	for err == nil {
		var frame http2.Frame
		if frame, err = c.framer.ReadFrame(); err != nil {
			break
		}
		switch frame := frame.(type) {
		case *http2.SettingsFrame:
			if !frame.IsAck() {
				err = c.framer.WriteSettingsAck()
			}
		case *http2.RSTStreamFrame, *http2.GoAwayFrame:
			c.t.Fatalf("answered with %v", frame)
		case *http2.DataFrame:
			if frame.StreamEnded() {
				c.stream += 2
				return
			}
		}
	}
	c.t.Fatal(err)
}

// What the upstream is told besides, and that a certificate cannot write fields
// of its own there.
func TestHeaderStyles(t *testing.T) {
	for _, tt := range []struct {
		style HeaderStyle
		want  map[string]string // what the field contains
	}{
		{HeaderNone, nil},
		{HeaderXFCC, map[string]string{"X-Forwarded-Client-Cert": `;URI=spiffe://example.com/a%22b`}},
		{HeaderNginx, map[string]string{"X-Ssl-Client-Verify": "SUCCESS", "X-Ssl-Client-S-Dn": "CN=alice", "X-Ssl-Client-I-Dn": "CN=Gate", "X-Ssl-Client-Cert": "-----BEGIN%20CERTIFICATE"}},
	} {
		f := newFixture(t, options{config: func(c *Config) { c.Header = tt.style }})
		alice := f.issue(pki.KindClient, "alice", func(r *store.IssueRequest) {
			if err := r.SAN.AddURI("spiffe://example.com/a%22b"); err != nil {
				t.Fatal(err)
			}
		})
		f.wantIn(alice)
		r := <-f.seen
		for name, part := range tt.want {
			if got := r.Header.Get(name); !strings.Contains(got, part) {
				t.Errorf("%s: %s is %q", tt.style, name, got)
			}
		}
		for name := range r.Header {
			if begins(name, identityPrefixes) && name != "Client-Cert" && tt.want[name] == "" && tt.style == HeaderNone {
				t.Errorf("%s: the upstream gets %s", tt.style, name)
			}
		}
	}
	cert := &x509.Certificate{Raw: []byte("x"), DNSNames: []string{"a\";Hash=0\r\nX: y"}, URIs: []*url.URL{}}
	if got := xfcc(Identity{Certificate: cert}); strings.ContainsAny(got, "\r\n") || strings.Contains(got, `a";Hash`) {
		t.Errorf("a name writes the field %q", got)
	}
}

// An upgrade is for WebSocket alone: one to HTTP/2 would carry requests that
// nobody judges, with fields that nobody strips. And where rules judge method and
// path, no field says that another one was meant.
func TestNoWayAround(t *testing.T) {
	f := newFixture(t, options{config: func(c *Config) {
		rules, err := ParseRules([]byte("rules: [{allow: [alice], methods: [GET], paths: [/ok]}]"))
		if err != nil {
			t.Fatal(err)
		}
		c.Rules = FixedRules(rules)
	}})
	alice := f.issue(pki.KindClient, "alice")
	one := f.newHTTP1(alice)
	one.send("GET /ok HTTP/1.1\r\nHost: localhost\r\nConnection: Upgrade, HTTP2-Settings\r\nUpgrade: h2c\r\nHTTP2-Settings: AAMAAABkAAQAAP__\r\n" +
		"X-HTTP-Method-Override: DELETE\r\nX_http_method_override: DELETE\r\nX_Forwarded_For: 1.2.3.4\r\nX-Real-IP: 1.2.3.4\r\nX-Original-URL: /admin\r\nX-Rewrite-URL: /admin\r\n\r\n")
	r := <-f.seen
	for name, values := range r.Header {
		if begins(name, append([]string{"upgrade", "http2-settings", "connection", "x-real-ip"}, overrides...)) || strings.Contains(name, "_") {
			t.Errorf("the upstream gets %s: %s", name, values)
		}
	}
	for _, line := range []string{"GET /ok/../admin", "GET http://other/admin", "GET /admin", "POST /ok", "GET /ok%2f", "GET //ok", "OPTIONS *", "CONNECT localhost:443", "GET x:http://internal/ok"} {
		c := f.newHTTP1(alice)
		if _, err := io.WriteString(c.conn, line+" HTTP/1.1\r\nHost: localhost\r\n\r\n"); err != nil {
			t.Fatal(err)
		}
		answer, err := http.ReadResponse(c.in, nil)
		if err != nil || answer.StatusCode != http.StatusForbidden && answer.StatusCode != http.StatusMethodNotAllowed && answer.StatusCode != http.StatusBadRequest {
			t.Errorf("%s: %v, %v", line, answer, err)
		}
	}
	if len(f.seen) > 0 {
		t.Errorf("the upstream was asked for %s", (<-f.seen).URL)
	}
}
