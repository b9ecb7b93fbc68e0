package probe

import (
	"crypto/tls"
	"crypto/x509"
	"fmt"
	"io"
	"log"
	"net"
	"net/http"
	"testing"
)

// serverConfig is that of a Go server with one mode of client authentication.
func (f *fixture) serverConfig(mode tls.ClientAuthType) *tls.Config {
	pool := x509.NewCertPool()
	pool.AddCert(f.clientCA.certificate)
	return &tls.Config{
		Certificates: []tls.Certificate{f.server.tls()},
		ClientAuth:   mode,
		ClientCAs:    pool,
		MinVersion:   tls.VersionTLS12,
	}
}

// serve answers HTTP/1.1 on loopback until the test ends.
func serve(t testing.TB, config *tls.Config, handler http.HandlerFunc) (address string) {
	t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	server := &http.Server{Handler: handler, ErrorLog: log.New(io.Discard, "", 0)}
	done := make(chan struct{})
	go func() { defer close(done); _ = server.Serve(tls.NewListener(l, config)) }()
	t.Cleanup(func() { _ = server.Close(); <-done })
	return l.Addr().String()
}

func hello(w http.ResponseWriter, _ *http.Request) { fmt.Fprintln(w, "hello") }

// goModes holds what a probe must find with no certificate of ours, with a
// good one, and with one of another CA.
var goModes = []struct {
	mode                    tls.ClientAuthType
	nobody, alice, stranger string
}{
	{tls.NoClientCert, `
		1.2 requested no, none accepted http 200
		1.3 requested no, none accepted http 200
		violated`, `
		1.2 requested no, none accepted http 200, ours inconclusive none 200
		1.3 requested no, none accepted http 200, ours inconclusive none 200
		violated`, `
		1.2 requested no, none accepted http 200, ours inconclusive none 200
		1.3 requested no, none accepted http 200, ours inconclusive none 200
		violated`},
	{tls.RequestClientCert, `
		1.2 requested yes, none accepted http 200
		1.3 requested yes, none accepted http 200
		violated`, `
		1.2 requested yes, none accepted http 200, ours accepted http 200
		1.3 requested yes, none accepted http 200, ours accepted http 200
		violated`, `
		1.2 requested yes, none accepted http 200, ours accepted http 200
		1.3 requested yes, none accepted http 200, ours accepted http 200
		violated`},
	{tls.RequireAnyClientCert, `
		1.2 requested yes, none rejected tlsHandshake a40
		1.3 requested yes, none rejected tlsPostHandshake a116
		ok`, `
		1.2 requested yes, none rejected tlsHandshake a40, ours accepted http 200
		1.3 requested yes, none rejected tlsPostHandshake a116, ours accepted http 200
		ok`, `
		1.2 requested yes, none rejected tlsHandshake a40, ours accepted http 200
		1.3 requested yes, none rejected tlsPostHandshake a116, ours accepted http 200
		ok`},
	{tls.VerifyClientCertIfGiven, `
		1.2 requested yes, none accepted http 200
		1.3 requested yes, none accepted http 200
		violated`, `
		1.2 requested yes, none accepted http 200, ours accepted http 200
		1.3 requested yes, none accepted http 200, ours accepted http 200
		violated`, `
		1.2 requested yes, none accepted http 200, ours rejected tlsHandshake a48
		1.3 requested yes, none accepted http 200, ours rejected tlsPostHandshake a48
		violated`},
	{tls.RequireAndVerifyClientCert, `
		1.2 requested yes, none rejected tlsHandshake a40
		1.3 requested yes, none rejected tlsPostHandshake a116
		ok`, `
		1.2 requested yes, none rejected tlsHandshake a40, ours accepted http 200
		1.3 requested yes, none rejected tlsPostHandshake a116, ours accepted http 200
		ok`, `
		1.2 requested yes, none rejected tlsHandshake a40, ours rejected tlsHandshake a48
		1.3 requested yes, none rejected tlsPostHandshake a116, ours rejected tlsPostHandshake a48
		violated`},
}

func TestMatrixGo(t *testing.T) {
	t.Parallel()
	f := newFixture()
	for _, row := range goModes {
		for _, noTickets := range []bool{false, true} {
			config := f.serverConfig(row.mode)
			config.SessionTicketsDisabled = noTickets
			address := serve(t, config, hello)
			check := func(who string, client *identity, want string) {
				t.Run(fmt.Sprintf("%v/noTickets=%v/%s", row.mode, noTickets, who), func(t *testing.T) {
					t.Parallel()
					checkSummary(t, run(t, f.config(t, address, client)), want)
				})
			}
			check("nobody", nil, row.nobody)
			check("good", f.good, row.alice)
			check("stranger", f.stranger, row.stranger)
		}
	}
}

// TestMatrixGoSilent is for a server that speaks no HTTP and sends nothing:
// with tickets they decide, without them silence does, weakly.
func TestMatrixGoSilent(t *testing.T) {
	t.Parallel()
	f := newFixture()
	for _, noTickets := range []bool{false, true} {
		config := f.serverConfig(tls.RequireAndVerifyClientCert)
		config.SessionTicketsDisabled = noTickets
		address := serveSilence(t, config)
		t.Run(fmt.Sprintf("noTickets=%v", noTickets), func(t *testing.T) {
			t.Parallel()
			report := run(t, f.config(t, "tls://"+address, f.good))
			checkSummary(t, report, `
				1.2 requested yes, none rejected tlsHandshake a40, ours accepted tlsHandshake
				1.3 requested yes, none rejected tlsPostHandshake a116, ours accepted tlsPostHandshake
				ok`)
			ours := report.TLS[1].Ours
			if want := map[bool]Strength{false: Strong, true: Weak}[noTickets]; ours.Strength != want || ours.SessionTicket == noTickets {
				t.Errorf("strength %s, ticket %v", ours.Strength, ours.SessionTicket)
			}
		})
	}
}

// serveSilence finishes handshakes and reads.
func serveSilence(t testing.TB, config *tls.Config) (address string) {
	return serveRaw(t, func(conn net.Conn) {
		_, _ = io.Copy(io.Discard, tls.Server(conn, config))
	})
}

// serveRaw calls handle for each connection, and closes it afterwards or when
// the test ends.
func serveRaw(t testing.TB, handle func(net.Conn)) (address string) {
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
			t.Cleanup(func() { _ = conn.Close() })
			go func() { defer conn.Close(); handle(conn) }()
		}
	}()
	return l.Addr().String()
}
