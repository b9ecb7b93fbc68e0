package probe

import (
	"context"
	"crypto/tls"
	"crypto/x509"
	"encoding/json"
	"io"
	"net"
	"net/http"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"mutual/pki"
)

func TestConfigErrors(t *testing.T) {
	f := newFixture()
	for _, row := range []struct {
		change func(*Config)
		want   string
	}{
		{func(c *Config) { c.Target = Target{} }, "probing: no target"},
		{func(c *Config) { c.Now = nil }, "probing: no clock"},
		{func(c *Config) { c.Timeout = -1 }, "probing localhost:1: the timeout -1ns is negative"},
		{func(c *Config) { c.Roots = []*x509.Certificate{} }, "probing localhost:1: the list of trust anchors is empty"},
		{func(c *Config) { c.Certificate = &tls.Certificate{PrivateKey: f.good.key} }, "probing localhost:1: the client certificate lacks its chain or its private key"},
		{func(c *Config) { c.Certificate.PrivateKey = nil }, "probing localhost:1: the client certificate lacks its chain or its private key"},
	} {
		c := f.config(t, "localhost:1", f.good)
		row.change(&c)
		if report, err := Run(context.Background(), c); err == nil || err.Error() != row.want || report != nil {
			t.Errorf("got %v, want %s", err, row.want)
		}
	}
}

func TestUnreachable(t *testing.T) {
	f := newFixture()
	for target, want := range map[string]string{
		freeAddress(t):         "connection refused",
		"no-such-host.invalid": "resolving no-such-host.invalid",
	} {
		report := run(t, f.config(t, target, f.good))
		if report.Outcome != CouldNotTell || !strings.Contains(report.Reason, want) || len(report.TLS) != 0 {
			t.Errorf("%s: got %s, %s", target, report.Outcome, report.Reason)
		}
	}
}

func TestInterrupted(t *testing.T) {
	f := newFixture()
	ctx, cancel := context.WithCancel(context.Background())
	address := serveRaw(t, func(c net.Conn) { cancel(); _, _ = io.Copy(io.Discard, c) })
	start := time.Now()
	report, err := Run(ctx, f.config(t, address, nil))
	if err != nil || report.Outcome != CouldNotTell || time.Since(start) > probeTimeout/2 {
		t.Errorf("got %+v, %v after %v", report, err, time.Since(start))
	}
}

// TestVersionNotOffered: only the versions that are offered count.
func TestVersionNotOffered(t *testing.T) {
	t.Parallel()
	f := newFixture()
	var locked atomic.Bool
	closing := func(lock bool) func(*tls.Config) {
		return func(c *tls.Config) {
			c.GetConfigForClient = func(info *tls.ClientHelloInfo) (*tls.Config, error) {
				if lock && locked.Load() || info.SupportedVersions[0] == tls.VersionTLS13 {
					locked.Store(lock)
					_ = info.Conn.Close()
				}
				return nil, nil
			}
		}
	}
	const only12 = `
		1.2 requested yes, none rejected tlsHandshake a40, ours accepted http 200
		1.3 offered no
		ok`
	for _, row := range []struct {
		name   string
		change func(*tls.Config)
		want   string
	}{
		{"only 1.2", func(c *tls.Config) { c.MaxVersion = tls.VersionTLS12 }, only12},
		{"only 1.3", func(c *tls.Config) { c.MinVersion = tls.VersionTLS13 }, `
			1.2 offered no
			1.3 requested yes, none rejected tlsPostHandshake a116, ours accepted http 200
			ok`},
		{"neither", func(c *tls.Config) { c.MinVersion, c.MaxVersion = tls.VersionTLS10, tls.VersionTLS11 }, `
			1.2 offered no
			1.3 offered no
			couldNotTell`},
		{"1.3 closed without a word", closing(false), only12},
		{"everything closed after a while", closing(true), `
			1.2 requested yes, none rejected tlsHandshake a40, ours accepted http 200
			1.3 offered unknown
			couldNotTell`},
		{"protocols refused", func(c *tls.Config) { c.NextProtos = []string{"h2"} }, `
			1.2 requested yes, none rejected tlsHandshake a40, ours accepted http 200
			1.3 requested yes, none rejected tlsPostHandshake a116, ours accepted http 200
			ok`},
		{"a weak cipher suite only", func(c *tls.Config) {
			c.MaxVersion, c.CipherSuites = tls.VersionTLS12, []uint16{tls.TLS_ECDHE_ECDSA_WITH_AES_128_CBC_SHA256}
		}, only12},
	} {
		config := f.serverConfig(tls.RequireAndVerifyClientCert)
		row.change(config)
		address := serve(t, config, hello)
		t.Run(row.name, func(t *testing.T) { checkSummary(t, run(t, f.config(t, address, f.good)), row.want) })
	}
}

// TestOneVersionOpen: every version must pass.
func TestOneVersionOpen(t *testing.T) {
	t.Parallel()
	f := newFixture()
	config := f.serverConfig(tls.RequireAndVerifyClientCert)
	config.GetConfigForClient = func(info *tls.ClientHelloInfo) (*tls.Config, error) {
		if info.SupportedVersions[0] == tls.VersionTLS13 {
			return nil, nil
		}
		return f.serverConfig(tls.NoClientCert), nil
	}
	report := run(t, f.config(t, serve(t, config, hello), nil))
	checkSummary(t, report, `
		1.2 requested no, none accepted http 200
		1.3 requested yes, none rejected tlsPostHandshake a116
		violated`)
	if want := "TLS 1.2: no client certificate is requested"; report.Reason != want {
		t.Errorf("reason %q, want %q", report.Reason, want)
	}
}

// TestHTTPDifference is the difference in HTTP over a real server.
func TestHTTPDifference(t *testing.T) {
	t.Parallel()
	f := newFixture()
	var count atomic.Int64
	known := func(r *http.Request) bool { return len(r.TLS.PeerCertificates) > 0 }
	for _, row := range []struct {
		name    string
		handler http.HandlerFunc
		want    string
	}{
		{"nobody 401, ours 403", func(w http.ResponseWriter, r *http.Request) {
			w.WriteHeader(map[bool]int{false: 401, true: 403}[known(r)])
		}, "ok requested yes, none rejected http 401, ours accepted %s 403"},
		{"another page", func(w http.ResponseWriter, r *http.Request) {
			_, _ = io.WriteString(w, map[bool]string{false: "log in", true: "secret"}[known(r)])
		}, "ok requested yes, none rejected http 200, ours accepted http 200"},
		{"a page that always changes", func(w http.ResponseWriter, _ *http.Request) {
			_, _ = io.WriteString(w, strings.Repeat("a", int(count.Add(1))))
		}, "couldNotTell requested yes, none inconclusive none 200, ours inconclusive none 200"},
		{"closed on the request", func(_ http.ResponseWriter, r *http.Request) {
			if !known(r) {
				panic(http.ErrAbortHandler)
			}
		}, "ok requested yes, none rejected http, ours accepted http 200"},
	} {
		config := f.serverConfig(tls.VerifyClientCertIfGiven)
		config.NextProtos = []string{protocolHTTP}
		address := serve(t, config, row.handler)
		t.Run(row.name, func(t *testing.T) {
			want := strings.Replace(bothVersions(row.want), "%s", string(LayerHandshake), 1)
			want = strings.Replace(want, "%s", string(LayerPostHandshake), 1)
			checkSummary(t, run(t, f.config(t, address, f.good)), want)
		})
	}
}

// TestUntrustedServer: nothing but handshakes, and no client certificate.
func TestUntrustedServer(t *testing.T) {
	t.Parallel()
	f := newFixture()
	otherCA := newCA(t, "Server CA")
	for _, row := range []struct {
		name, host string
		change     func(*Config)
		want       string
	}{
		{"another root of the same name", "127.0.0.1", func(c *Config) { c.Roots = []*x509.Certificate{otherCA.certificate} }, "certificate signed by unknown authority"},
		{"another name", "127.0.0.2", func(*Config) {}, "certificate is valid for 127.0.0.1, not 127.0.0.2"},
		{"expired", "127.0.0.1", func(c *Config) { c.Now = func() time.Time { return time.Now().Add(2 * time.Hour) } }, "certificate has expired"},
	} {
		t.Run(row.name, func(t *testing.T) {
			var octets, certificates atomic.Int64
			config := f.serverConfig(tls.RequestClientCert)
			l, err := net.Listen("tcp", row.host+":0")
			if err != nil {
				t.Skipf("no loopback address %s", row.host)
			}
			defer l.Close()
			go func() {
				for {
					conn, err := l.Accept()
					if err != nil {
						return
					}
					s := tls.Server(conn, config)
					n, _ := io.Copy(io.Discard, s)
					octets.Add(n)
					certificates.Add(int64(len(s.ConnectionState().PeerCertificates)))
					_ = s.Close()
				}
			}()
			c := f.config(t, l.Addr().String(), f.good)
			row.change(&c)
			report := run(t, c)
			if report.Outcome != Violated || !strings.Contains(report.Reason, "the server is not trusted: x509: "+row.want) {
				t.Errorf("got %s, %s", report.Outcome, report.Reason)
			}
			checkSummary(t, report, `
				1.2 requested yes, none inconclusive none
				1.3 requested yes, none inconclusive none
				violated`)
			if octets.Load() != 0 || certificates.Load() != 0 {
				t.Errorf("the server read %d octets and %d certificates", octets.Load(), certificates.Load())
			}
		})
	}
}

// TestServerChanges: the second connection reaches a server that is not
// trusted, and it does not get the certificate.
func TestServerChanges(t *testing.T) {
	t.Parallel()
	f := newFixture()
	other := newLeaf(t, "localhost", x509.ExtKeyUsageServerAuth, newCA(t, "Another CA"))
	for _, version := range []uint16{tls.VersionTLS12, tls.VersionTLS13} {
		var connections, certificates atomic.Int64
		config := f.serverConfig(tls.RequireAnyClientCert)
		config.MinVersion, config.MaxVersion, config.Certificates = version, version, nil
		config.GetCertificate = func(*tls.ClientHelloInfo) (*tls.Certificate, error) {
			server := f.server.tls()
			if connections.Add(1) > 1 {
				server = other.tls()
			}
			return &server, nil
		}
		config.VerifyConnection = func(state tls.ConnectionState) error {
			certificates.Add(int64(len(state.PeerCertificates)))
			return nil
		}
		report := run(t, f.config(t, serve(t, config, hello), f.good))
		if report.Outcome != Violated || !strings.Contains(report.Reason, "the server is not trusted") || certificates.Load() != 0 {
			t.Errorf("got %s, %s, %d certificates", report.Outcome, report.Reason, certificates.Load())
		}
	}
}

// TestNotChecked: without roots the chain is shown and not judged.
func TestNotChecked(t *testing.T) {
	t.Parallel()
	f := newFixture()
	address := serve(t, f.serverConfig(tls.RequireAndVerifyClientCert), hello)
	_, port, err := net.SplitHostPort(address)
	if err != nil {
		t.Fatal(err)
	}
	c := f.config(t, "https://localhost:"+port+"/path", f.good)
	c.Roots = nil
	report := run(t, c)
	if report.Outcome != OK || report.Server.Trust != NotChecked || report.Address != address {
		t.Errorf("got %s, %s, %s, %s", report.Outcome, report.Reason, report.Server.Trust, report.Address)
	}
	leaf := f.server.certificate
	want := Certificate{
		Subject: "CN=localhost", Issuer: "CN=Server CA", Serial: pki.NewSerial(leaf.SerialNumber),
		NotBefore: leaf.NotBefore, NotAfter: leaf.NotAfter, SHA256: pki.FingerprintOf(leaf.Raw),
	}
	if got := report.Server.Chain; len(got) != 1 || got[0] != want {
		t.Errorf("got %+v, want %+v", got, want)
	}
	if x := report.Timings; x.DNS <= 0 || x.TCP <= 0 || x.TLS <= 0 {
		t.Errorf("timings %+v", x)
	}
	if got := report.TLS[0].AcceptableCAs; len(got) != 1 || got[0] != "CN=Client CA" {
		t.Errorf("acceptable CAs %q", got)
	}
}

// TestNotInTheList: our certificate is sent though the server's list of
// acceptable CAs does not hold its issuer.
func TestNotInTheList(t *testing.T) {
	t.Parallel()
	f := newFixture()
	report := run(t, f.config(t, serve(t, f.serverConfig(tls.RequireAnyClientCert), hello), f.stranger))
	for _, v := range report.TLS {
		if !v.Ours.CertificateSent || v.None.CertificateSent {
			t.Errorf("%+v", v)
		}
	}
}

// TestReportJSON pins the names, which are a promise.
func TestReportJSON(t *testing.T) {
	at := time.Date(2026, 1, 2, 3, 4, 5, 0, time.UTC)
	serial, err := pki.ParseSerialHex("1a2b")
	if err != nil {
		t.Fatal(err)
	}
	report := &Report{
		SchemaVersion: SchemaVersion, Target: "h:443", Address: "127.0.0.1:443", Outcome: OK, Reason: "why",
		TLS: []Version{{
			Version: "1.3", Offered: Yes, Requested: Yes, AcceptableCAs: []string{"CN=CA"}, AcceptableCAsOmitted: 1, Outcome: OK, Reason: "why",
			None: Attempt{Verdict: Rejected, Layer: LayerPostHandshake, Strength: Strong, Detail: "said", Alert: newAlert(116, fromRemote)},
			Ours: &Attempt{Verdict: Accepted, Layer: LayerHTTP, Strength: Strong, Detail: "said", CertificateSent: true, SessionTicket: true,
				HTTP: &HTTP{Status: 302, Location: "/x", BodyOctets: 1, BodySHA256: "00", BodyComplete: true}},
		}},
		Server: &Server{Chain: []Certificate{{Subject: "CN=a", Issuer: "CN=b", Serial: serial, NotBefore: at, NotAfter: at}},
			Omitted: 1, Trust: Untrusted, TrustDetail: "why"},
		Timings: Timings{DNS: 0.5, TCP: 1, TLS: 2},
	}
	got, err := json.Marshal(report)
	if err != nil {
		t.Fatal(err)
	}
	want := `{"schemaVersion":1,"target":"h:443","address":"127.0.0.1:443","outcome":"ok","reason":"why","tls":[` +
		`{"version":"1.3","offered":"yes","requested":"yes","acceptableCAs":["CN=CA"],"acceptableCAsOmitted":1,"outcome":"ok","reason":"why",` +
		`"none":{"verdict":"rejected","layer":"tlsPostHandshake","strength":"strong","detail":"said","certificateSent":false,"sessionTicket":false,` +
		`"alert":{"number":116,"name":"certificate_required","from":"remote"}},` +
		`"ours":{"verdict":"accepted","layer":"http","strength":"strong","detail":"said","certificateSent":true,"sessionTicket":true,` +
		`"http":{"status":302,"location":"/x","bodyOctets":1,"bodySHA256":"00","bodyComplete":true}}}],` +
		`"server":{"chain":[{"subject":"CN=a","issuer":"CN=b","serial":"1a2b","notBefore":"2026-01-02T03:04:05Z","notAfter":"2026-01-02T03:04:05Z",` +
		`"sha256":"` + strings.Repeat("0", 64) + `"}],"omitted":1,"trust":"untrusted","trustDetail":"why"},` +
		`"timings":{"dnsMs":0.5,"tcpMs":1,"tlsMs":2}}`
	if string(got) != want {
		t.Errorf("got\n%s\nwant\n%s", got, want)
	}
}
