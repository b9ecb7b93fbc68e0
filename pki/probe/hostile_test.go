package probe

import (
	"crypto/tls"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/asn1"
	"encoding/binary"
	"encoding/json"
	"fmt"
	"io"
	"math/big"
	"net"
	"net/http"
	"runtime"
	"strings"
	"testing"
	"time"
)

// drip writes text again and again, a piece at a time, until it fails.
func drip(w io.Writer, text string, pause time.Duration) {
	for {
		if _, err := io.WriteString(w, text); err != nil {
			return
		}
		time.Sleep(pause)
	}
}

// TestHostile: whatever an endpoint does, the answer comes in time, and where
// nothing can be told that is what is said.
func TestHostile(t *testing.T) {
	t.Parallel()
	f := newFixture()
	overTLS := func(act func(*tls.Conn)) func(net.Conn) {
		return func(conn net.Conn) {
			s := tls.Server(conn, f.serverConfig(tls.RequestClientCert))
			if s.Handshake() == nil {
				act(s)
			}
		}
	}
	for _, row := range []struct {
		name, scheme string
		handle       func(net.Conn)
		want, said   string
	}{
		{"says nothing", "", func(c net.Conn) { _, _ = io.Copy(io.Discard, c) },
			"couldNotTell", "the server said nothing in time"},
		{"closes at once", "", func(net.Conn) {},
			"couldNotTell", "no TLS version was offered: the server closed the connection without an alert"},
		{"resets at once", "", func(c net.Conn) { _ = c.(*net.TCPConn).SetLinger(0) },
			"couldNotTell", ""}, // the reset may overtake the end of connect(2)
		{"one octet at a time", "", func(c net.Conn) { drip(c, "\x16", 50*time.Millisecond) },
			"couldNotTell", ""},
		{"plain HTTP", "", func(c net.Conn) { _, _ = io.WriteString(c, "HTTP/1.1 400 Bad Request\r\n\r\n") },
			"couldNotTell", "it speaks plain HTTP: there is no TLS on this port"},
		{"flood of records", "", func(c net.Conn) { drip(c, "\x16\x03\x03\x00\x04\x00\x00\x00\x00", 0) },
			"couldNotTell", "our side gave up"},
		{"flood of alerts", "", func(c net.Conn) { drip(c, "\x15\x03\x03\x00\x02\x01\x00", 0) },
			"couldNotTell", ""},
		{"silence over TLS", "https://", overTLS(func(c *tls.Conn) { _, _ = io.Copy(io.Discard, c) }),
			"couldNotTell", "no HTTP answer: the server said nothing in time"},
		{"closes after the handshake", "https://", overTLS(func(*tls.Conn) {}),
			"couldNotTell", "closed the connection without an alert"},
		{"endless fields", "", overTLS(func(c *tls.Conn) { drip(c, "HTTP/1.1 200 OK\r\n"+strings.Repeat("a: b\r\n", 9999), 0) }),
			"couldNotTell", "over 65536 octets of header fields"},
		{"a field at a time", "", overTLS(func(c *tls.Conn) { drip(c, "HTTP/1.1 200 OK\r\n", 50*time.Millisecond) }),
			"couldNotTell", "the answer did not end in time"},
		{"endless body", "", overTLS(func(c *tls.Conn) { drip(c, "HTTP/1.1 200 OK\r\n\r\n"+strings.Repeat("a", 9999), 0) }),
			"violated", "HTTP 200"},
		{"slow body", "", overTLS(func(c *tls.Conn) {
			_, _ = io.WriteString(c, "HTTP/1.1 200 OK\r\n\r\n")
			drip(c, "a", 50*time.Millisecond)
		}), "couldNotTell", "broke off"},
	} {
		t.Run(row.name, func(t *testing.T) {
			t.Parallel()
			c := f.config(t, row.scheme+serveRaw(t, row.handle), f.good)
			c.Timeout = 500 * time.Millisecond
			start := time.Now()
			report := run(t, c)
			if took := time.Since(start); took > 10*c.Timeout {
				t.Errorf("it took %v", took)
			}
			if report.Outcome.String() != row.want || !strings.Contains(report.Reason, row.said) {
				t.Errorf("got %s, %s, want %s, %s", report.Outcome, report.Reason, row.want, row.said)
			}
		})
	}
}

// record is a TLS 1.2 record for each 16 KiB of a handshake message.
func record(message []byte) []byte {
	var out []byte
	for len(message) > 0 {
		n := min(len(message), 1<<14)
		out = append(out, recordHandshake, 3, 3, byte(n>>8), byte(n))
		out = append(out, message[:n]...)
		message = message[n:]
	}
	return out
}

// message is a handshake message with a body of zeros.
func message(kind byte, size int) []byte {
	return append([]byte{kind, byte(size >> 16), byte(size >> 8), byte(size)}, make([]byte, size)...)
}

// serverHello chooses TLS 1.2 and an ECDHE cipher suite.
func serverHello() []byte {
	body := append([]byte{3, 3}, make([]byte, 32)...)
	body = append(body, 0, 0xc0, 0x2b, 0, 0, 5, 0xff, 1, 0, 1, 0)
	return append([]byte{2, 0, 0, byte(len(body))}, body...)
}

// afterHello reads a ClientHello, sends what it is given, and reads on.
func afterHello(octets []byte) func(net.Conn) {
	return func(c net.Conn) {
		_, _ = c.Read(make([]byte, 4096))
		_, _ = c.Write(octets)
		_, _ = io.Copy(io.Discard, c)
	}
}

// TestHostileMessages: what is much too long or no DER is given up in time and
// with little memory, and no name of it harms.
func TestHostileMessages(t *testing.T) {
	f := newFixture()
	garbage := f.server.tls()
	garbage.Certificate = [][]byte{{0x30, 0x82, 0xff, 0xff, 1, 2, 3}}
	names := func(n int, name []byte) *tls.Config {
		c := f.serverConfig(tls.RequireAndVerifyClientCert)
		for i := range n {
			c.ClientCAs.AddCert(&x509.Certificate{Raw: binary.BigEndian.AppendUint32(nil, uint32(i)), RawSubject: name})
		}
		return c
	}
	broken := f.serverConfig(tls.RequireAndVerifyClientCert)
	broken.Certificates = []tls.Certificate{*garbage}
	chain := record(serverHello())
	for range 40 { // each as long as three octets can say
		chain = append(chain, record(message(11, 1<<18))...)
	}
	for _, row := range []struct {
		name, address string
		want          Outcome
	}{
		{"a chain of 10 MB", serveRaw(t, afterHello(chain)), CouldNotTell},
		{"a certificate message of 16 MB", serveRaw(t, afterHello(append(record(serverHello()), record(message(11, 1<<24-1))...))), CouldNotTell},
		{"a request of 100 000 names", serveRaw(t, afterHello(append(record(serverHello()), record(message(13, 400_000))...))), CouldNotTell},
		{"broken DER", serveHTTP(t, broken, hello), CouldNotTell},
		{"as many names as fit", serveHTTP(t, names(16_000, []byte{0x30, 0}), hello), OK},
		{"names that are none", serveHTTP(t, names(100, []byte("\x1b[2J\xff")), hello), OK},
		{"frames without an end", serveRaw(t, func(c net.Conn) {
			config := f.serverConfig(tls.RequestClientCert)
			config.NextProtos = []string{"h2"}
			drip(tls.Server(c, config), strings.Repeat("\x00\x00\x00\x04\x00\x00\x00\x00\x00", 1000), 0)
		}), CouldNotTell},
		{"a head without an end", serveRaw(t, func(c net.Conn) {
			config := f.serverConfig(tls.RequestClientCert)
			config.NextProtos = []string{"h2"}
			s := tls.Server(c, config)
			_, _ = io.WriteString(s, "\x00\x00\x01\x01\x00\x00\x00\x00\x01\x88")
			drip(s, "\x00\x40\x00\x09\x00\x00\x00\x00\x01"+strings.Repeat("\x00\x01a\x01b", 1<<14)[:1<<14], 0)
		}), CouldNotTell},
	} {
		t.Run(row.name, func(t *testing.T) {
			c := f.config(t, row.address, nil)
			c.Timeout = time.Second
			var before, after runtime.MemStats
			runtime.ReadMemStats(&before)
			start := time.Now()
			report := run(t, c)
			runtime.ReadMemStats(&after)
			if took := time.Since(start); took > 5*c.Timeout*time.Duration(patience) {
				t.Errorf("it took %v", took)
			}
			if used := after.TotalAlloc - before.TotalAlloc; used > 100<<20 {
				t.Errorf("%d MiB were allocated", used>>20)
			}
			text, err := json.Marshal(report)
			if err != nil || report.Outcome != row.want || !isSafeJSON(text) {
				t.Errorf("got %s, want %s, %v\n%.2000s", report.Outcome, row.want, err, dump(report))
			}
		})
	}
}

// TestClosedAtAnyOctet cuts what a server sends after n octets. Whatever was
// cut, it never passes. Where the alert for nobody fits and the answer to ours
// does not, ours looks refused, as some servers do it.
func TestClosedAtAnyOctet(t *testing.T) {
	t.Parallel()
	f := newFixture()
	server := serveHTTP(t, f.serverConfig(tls.RequireAndVerifyClientCert), hello)
	whole := checkCut(t, f, server, 1<<20)
	if whole.Outcome != OK {
		t.Fatalf("uncut: %s", whole.Reason)
	}
	for n := 0; n < 1100; n += 11 {
		if report := checkCut(t, f, server, n); report.Outcome == OK || report.Outcome == Violated && !strings.Contains(report.Reason, "closed the connection without an alert") {
			t.Errorf("cut after %d octets: %s, %s\n%s", n, report.Outcome, report.Reason, dump(report))
		}
	}
}

func checkCut(t *testing.T, f *fixture, server string, n int) *Report {
	t.Helper()
	return run(t, f.config(t, serveRaw(t, func(c net.Conn) {
		s, err := net.Dial("tcp", server)
		if err != nil {
			return
		}
		defer s.Close()
		go func() { _, _ = io.Copy(s, c); _ = s.(*net.TCPConn).CloseWrite() }()
		_, _ = io.CopyN(c, s, int64(n))
		_ = c.(*net.TCPConn).CloseWrite()
		_, _ = io.Copy(io.Discard, s)
	}), f.good))
}

// TestNamesOfThePeer: a thousand acceptable CAs, control characters in every
// name and field, and a serial of a thousand octets.
func TestNamesOfThePeer(t *testing.T) {
	t.Parallel()
	f := newFixture()
	const evil = "\x1b[2J\r\n\u202e"
	leaf := newIdentity(t, &x509.Certificate{
		SerialNumber: new(big.Int).Lsh(big.NewInt(1), 150), Subject: pkix.Name{CommonName: evil},
		DNSNames: []string{"localhost"}, IPAddresses: []net.IP{net.IPv4(127, 0, 0, 1)},
	}, f.serverCA)
	config := f.serverConfig(tls.RequestClientCert)
	config.Certificates = []tls.Certificate{*leaf.tls()}
	config.ClientCAs = x509.NewCertPool()
	for i := range 1000 {
		name := nameDER(t, attribute(asn1.ObjectIdentifier{2, 5, 4, 3}, fmt.Sprint(evil, i)))
		config.ClientCAs.AddCert(&x509.Certificate{Raw: name, RawSubject: name})
	}
	address := serveRaw(t, func(c net.Conn) {
		s := tls.Server(c, config)
		_, _ = io.WriteString(s, "HTTP/1.1 302 "+evil[:3]+"\r\nLocation: /\x1b[2J"+strings.Repeat("a", 9999)+"\r\nContent-Length: 0\r\n\r\n")
	})
	report := run(t, f.config(t, address, nil))
	text, err := json.Marshal(report)
	if err != nil {
		t.Fatal(err)
	}
	if !isSafeJSON(text) {
		t.Errorf("control characters or too much in %.2000q", text)
	}
	v := report.TLS[1]
	if len(v.AcceptableCAs) != maxNames || v.AcceptableCAsOmitted != 900 || v.AcceptableCAs[2] != `CN=\1B[2J\0D\0A\E2\80\AE2` {
		t.Errorf("%d names, %d omitted, %q", len(v.AcceptableCAs), v.AcceptableCAsOmitted, v.AcceptableCAs)
	}
	if h := report.Cases[0].HTTP; h == nil || !strings.HasPrefix(h.Location, `/\1B[2Jaaa`) || !strings.HasSuffix(h.Location, "…") {
		t.Errorf("%+v", h)
	}
	if got := report.Server.Chain[0].Subject; got != `CN=\1B[2J\0D\0A\E2\80\AE` {
		t.Errorf("subject %s", got)
	}
	leaf.certificate.SerialNumber.Lsh(big.NewInt(1), 8000)
	if got := viewCertificate(leaf.certificate).Serial; !got.IsZero() {
		t.Errorf("serial %s", got)
	}
}

// isSafeJSON also finds what encoding/json has escaped itself.
func isSafeJSON(text []byte) bool {
	return !strings.Contains(string(text), `\u00`) && !strings.Contains(string(text), "\u202e") && len(text) < 100_000
}

// TestMemory: an endless answer does not fill the memory.
func TestMemory(t *testing.T) {
	f := newFixture()
	block := strings.Repeat("a", 1<<16)
	address := serveHTTP(t, f.serverConfig(tls.RequestClientCert), func(w http.ResponseWriter, _ *http.Request) { drip(w, block, 0) })
	var before, after runtime.MemStats
	runtime.ReadMemStats(&before)
	report := run(t, f.config(t, address, f.good))
	runtime.ReadMemStats(&after)
	if used := after.TotalAlloc - before.TotalAlloc; used > 64<<20 {
		t.Errorf("%d MiB were allocated", used>>20)
	}
	if got := report.Cases[0].HTTP; got == nil || got.BodyOctets != maxBody || !got.BodyComplete {
		t.Errorf("%+v", report.Cases[0])
	}
}
