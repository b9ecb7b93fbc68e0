package probe

import (
	"bytes"
	"context"
	"crypto/tls"
	"crypto/x509"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/url"
	"slices"
	"strings"
	"sync"
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
		{func(c *Config) { c.Now = nil }, "probing localhost:1: no clock"},
		{func(c *Config) { c.Timeout = -1 }, "probing localhost:1: the timeout -1ns is negative"},
		{func(c *Config) { c.Roots = []*x509.Certificate{} }, "probing localhost:1: the list of trust anchors is empty"},
		{func(c *Config) { c.Good = &tls.Certificate{PrivateKey: f.good.key} }, "probing localhost:1: the client certificate lacks its chain or its private key"},
		{func(c *Config) { c.Good.PrivateKey = nil }, "probing localhost:1: the client certificate lacks its chain or its private key"},
		{func(c *Config) { c.Good, c.Other = nil, c.Good }, "probing localhost:1: another certificate is of use beside a good one only"},
		{func(c *Config) { c.Family = 5 }, "probing localhost:1: there is no address family 5"},
		{func(c *Config) { c.Paths = []string{"/a b"} }, `probing localhost:1: the path "/a b" is no path of a request: it begins with / and is printable ASCII`},
		{func(c *Config) { c.Paths = []string{"admin"} }, `probing localhost:1: the path "admin" is no path of a request: it begins with / and is printable ASCII`},
		{func(c *Config) { c.Host = "a\r\nb" }, `probing localhost:1: "Host": "a\r\nb" is no header field`},
		{func(c *Config) { c.Fields = []Field{{"a b", "c"}} }, `probing localhost:1: "a b": "c" is no header field`},
		{func(c *Config) { c.Skip = []CaseID{"nobody"} }, `probing localhost:1: there is no case "nobody"`},
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
	const only12 = "REQUIRED_VERIFIED ok, 1.2 yes, 1.3 no"
	for _, row := range []struct {
		name   string
		change func(*tls.Config)
		want   string
	}{
		{"only 1.2", func(c *tls.Config) { c.MaxVersion = tls.VersionTLS12 }, only12},
		{"only 1.3", func(c *tls.Config) { c.MinVersion = tls.VersionTLS13 }, "REQUIRED_VERIFIED ok, 1.2 no, 1.3 yes"},
		{"neither", func(c *tls.Config) { c.MinVersion, c.MaxVersion = tls.VersionTLS10, tls.VersionTLS11 }, "INCONCLUSIVE couldNotTell, 1.2 no, 1.3 no"},
		{"1.3 closed without a word", closing(false), only12},
		{"everything closed after a while", closing(true), "INCONCLUSIVE couldNotTell, 1.2 yes, 1.3 unknown"},
		{"protocols refused", func(c *tls.Config) { c.NextProtos = []string{"spdy"} }, "REQUIRED_VERIFIED ok, 1.2 yes, 1.3 yes"},
		{"a weak cipher suite only", func(c *tls.Config) {
			c.MaxVersion, c.CipherSuites = tls.VersionTLS12, []uint16{tls.TLS_ECDHE_ECDSA_WITH_AES_128_CBC_SHA256}
		}, only12},
	} {
		config := f.serverConfig(tls.RequireAndVerifyClientCert)
		row.change(config)
		address := serveHTTP(t, config, hello)
		t.Run(row.name, func(t *testing.T) {
			report := run(t, f.config(t, address, f.good))
			got := fmt.Sprintf("%s %s, 1.2 %s, 1.3 %s", report.Mode, report.Outcome, report.TLS[0].Offered, report.TLS[1].Offered)
			if got != row.want {
				t.Errorf("got %s, want %s\n%s", got, row.want, dump(report))
			}
		})
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
	report := run(t, f.config(t, serveHTTP(t, config, hello), nil))
	if got, want := modes(report), "CONDITIONAL: 1.2 / NOT_REQUESTED at none, 1.3 / REQUIRED_UNCONFIRMED at tlsPostHandshake"; got != want || report.Outcome != Violated {
		t.Errorf("got %s, %s, want %s", got, report.Outcome, want)
	}
	if want := "TLS 1.2: no client certificate is requested"; report.Reason != want {
		t.Errorf("reason %q, want %q", report.Reason, want)
	}
	if f := report.Findings[0]; f.ID != "MTLS-001" || f.Severity != Critical || f.Where != "TLS 1.2, /" {
		t.Errorf("the first finding is %+v", f)
	}
}

// TestApplications are servers that judge for themselves.
func TestApplications(t *testing.T) {
	t.Parallel()
	f := newFixture()
	var count atomic.Int64
	who := func(r *http.Request) string {
		if len(r.TLS.PeerCertificates) == 0 {
			return ""
		}
		if _, err := r.TLS.PeerCertificates[0].Verify(x509.VerifyOptions{Roots: f.serverConfig(tls.NoClientCert).ClientCAs, KeyUsages: []x509.ExtKeyUsage{x509.ExtKeyUsageClientAuth}}); err != nil {
			return "stranger"
		}
		return "good"
	}
	for _, row := range []struct {
		name    string
		auth    tls.ClientAuthType
		handler http.HandlerFunc
		want    Mode
		at      Layer
	}{
		{"401 for nobody, 403 for strangers", tls.RequestClientCert, func(w http.ResponseWriter, r *http.Request) {
			w.WriteHeader(map[string]int{"": 401, "stranger": 403, "good": 200}[who(r)])
		}, RequiredVerified, LayerApp},
		{"hidden from all but the good", tls.RequestClientCert, func(w http.ResponseWriter, r *http.Request) {
			if who(r) != "good" {
				w.WriteHeader(404)
			}
		}, RequiredVerified, LayerApp},
		{"any certificate", tls.RequestClientCert, func(w http.ResponseWriter, r *http.Request) {
			if who(r) == "" {
				w.WriteHeader(401)
			}
		}, RequiredUnverified, LayerApp},
		{"required, and the application refuses strangers", tls.RequireAnyClientCert, func(w http.ResponseWriter, r *http.Request) {
			if who(r) != "good" {
				w.WriteHeader(403)
			}
		}, RequiredVerified, LayerHandshake},
		{"it shows who comes", tls.VerifyClientCertIfGiven, func(w http.ResponseWriter, r *http.Request) {
			fmt.Fprintf(w, "you are %q", who(r))
		}, OptionalVerified, LayerHandshake},
		{"a log-in page", tls.RequestClientCert, func(w http.ResponseWriter, r *http.Request) {
			_, _ = io.WriteString(w, map[bool]string{false: "please log in", true: "the secret"}[who(r) == "good"])
		}, RequiredVerified, LayerApp},
		{"a log-in page elsewhere", tls.RequestClientCert, func(w http.ResponseWriter, r *http.Request) {
			if who(r) != "good" {
				http.Redirect(w, r, "/login", http.StatusFound)
			}
		}, RequiredVerified, LayerApp},
		{"a page that always changes", tls.RequestClientCert, func(w http.ResponseWriter, _ *http.Request) {
			_, _ = io.WriteString(w, strings.Repeat("a", int(count.Add(1))))
		}, ModeInconclusive, LayerNone},
		{"a page with the time", tls.RequestClientCert, func(w http.ResponseWriter, _ *http.Request) {
			fmt.Fprintf(w, "welcome to our page, on which there is nothing to see but the time: it is %d", time.Now().UnixNano())
		}, OptionalUnverified, LayerNone},
		{"it believes names", tls.RequireAnyClientCert, func(w http.ResponseWriter, r *http.Request) {
			if c := r.TLS.PeerCertificates[0]; c.Issuer.CommonName != "Client CA" || c.Subject.CommonName != "alice" {
				w.WriteHeader(403)
			}
		}, RequiredUnverified, LayerHandshake},
		{"it looks at dates only", tls.RequireAnyClientCert, func(w http.ResponseWriter, r *http.Request) {
			if c, at := r.TLS.PeerCertificates[0], time.Now().Add(-30*time.Minute); who(r) != "good" && (at.Before(c.NotBefore) || at.After(c.NotAfter)) {
				w.WriteHeader(403)
			}
		}, RequiredUnverified, LayerHandshake},
		{"almost the same page", tls.RequestClientCert, func(w http.ResponseWriter, r *http.Request) {
			fmt.Fprintf(w, "%s hello %v", strings.Repeat("all of the secret ", 100), who(r) == "good")
		}, ModeInconclusive, LayerNone},
		{"closed on the request", tls.RequestClientCert, func(_ http.ResponseWriter, r *http.Request) {
			if who(r) == "" {
				panic(http.ErrAbortHandler)
			}
		}, RequiredUnverified, LayerClose},
	} {
		config := f.serverConfig(row.auth)
		config.NextProtos = []string{protocolHTTP}
		address := serveHTTP(t, config, row.handler)
		t.Run(row.name, func(t *testing.T) {
			t.Parallel()
			report := run(t, f.config(t, address, f.good))
			if report.Mode != row.want || report.EnforcedAt != row.at {
				t.Errorf("got %s at %s, want %s at %s\n%s", report.Mode, report.EnforcedAt, row.want, row.at, dump(report))
			}
		})
	}
}

// TestNothingGiven: without a good certificate a refusal by an application proves
// nothing.
func TestNothingGiven(t *testing.T) {
	t.Parallel()
	f := newFixture()
	for _, auth := range []tls.ClientAuthType{tls.RequestClientCert, tls.RequireAnyClientCert} {
		config := f.serverConfig(auth)
		config.NextProtos = []string{protocolHTTP}
		report := run(t, f.config(t, serveHTTP(t, config, func(w http.ResponseWriter, _ *http.Request) { w.WriteHeader(401) }), nil))
		if report.Mode != RequiredUnconfirmed || report.Strength != Weak || report.Outcome != CouldNotTell {
			t.Errorf("%v: %s", auth, dump(report))
		}
	}
}

// TestTicketThenClosed: who got a ticket was let in, whatever comes then.
func TestTicketThenClosed(t *testing.T) {
	t.Parallel()
	f := newFixture()
	config := f.serverConfig(tls.RequestClientCert)
	config.MinVersion = tls.VersionTLS13
	address := serveRaw(t, func(c net.Conn) {
		s := tls.Server(c, config)
		if s.Handshake() == nil {
			_ = s.Close()
		}
	})
	for range 20 {
		report := run(t, f.config(t, "tls://"+address, nil))
		if report.Mode == RequiredUnconfirmed || report.Outcome == OK {
			t.Fatalf("%s", dump(report))
		}
	}
}

// TestJudgedAfterTheHandshake: an application looks at the certificate, says
// nothing, and closes the connection of all but the good.
func TestJudgedAfterTheHandshake(t *testing.T) {
	t.Parallel()
	f := newFixture()
	config := f.serverConfig(tls.RequestClientCert)
	address := serveRaw(t, func(c net.Conn) {
		s := tls.Server(c, config)
		if s.Handshake() != nil {
			return
		}
		defer s.Close()
		certificates := s.ConnectionState().PeerCertificates
		if len(certificates) > 0 && certificates[0].Equal(f.good.certificate) {
			_, _ = io.Copy(io.Discard, s)
		}
	})
	for i := range 10 {
		t.Run(fmt.Sprint(i), func(t *testing.T) {
			t.Parallel() // each waits for silence
			if report := run(t, f.config(t, "tls://"+address, f.good)); report.Mode != RequiredVerified || report.EnforcedAt != LayerClose {
				t.Errorf("%s", dump(report))
			}
		})
	}
}

// TestHiccup: the first connection fails for another reason than a missing
// certificate.
func TestHiccup(t *testing.T) {
	t.Parallel()
	f := newFixture()
	for name, hiccup := range map[string]func(http.ResponseWriter){
		"closed": func(http.ResponseWriter) { panic(http.ErrAbortHandler) },
		"503":    func(w http.ResponseWriter) { w.WriteHeader(503) },
	} {
		var connections atomic.Int64
		config := f.serverConfig(tls.VerifyClientCertIfGiven)
		config.MinVersion, config.NextProtos = tls.VersionTLS13, []string{protocolHTTP}
		address := serveHTTP(t, config, func(w http.ResponseWriter, r *http.Request) {
			if connections.Add(1) == 1 {
				hiccup(w)
				return
			}
			hello(w, r)
		})
		if report := run(t, f.config(t, address, f.good)); report.Outcome == OK {
			t.Errorf("%s: %s", name, dump(report))
		}
	}
}

// TestLateTicket: the verdict comes after the silence, and the page after that.
func TestLateTicket(t *testing.T) {
	t.Parallel()
	f := newFixture()
	config := f.serverConfig(tls.RequireAndVerifyClientCert)
	config.MinVersion, config.NextProtos = tls.VersionTLS13, []string{protocolHTTP}
	config.VerifyConnection = func(tls.ConnectionState) error { time.Sleep(200 * time.Millisecond); return nil }
	address := serveHTTP(t, config, func(w http.ResponseWriter, r *http.Request) { time.Sleep(200 * time.Millisecond); hello(w, r) })
	c := f.config(t, address, f.good)
	c.Timeout = time.Second
	if report := run(t, c); report.Mode != RequiredVerified {
		t.Errorf("%s", dump(report))
	}
}

// TestServerName: the name that is sent is the one that is verified.
func TestServerName(t *testing.T) {
	t.Parallel()
	f := newFixture()
	address := serveHTTP(t, f.serverConfig(tls.RequireAndVerifyClientCert), hello)
	for name, want := range map[string]Outcome{"localhost": OK, "evil.example": Violated} {
		c := f.config(t, "other.example:1", f.good)
		c.ConnectTo, c.ServerName = address, name
		if report := run(t, c); report.Outcome != want {
			t.Errorf("%s: %s", name, dump(report))
		}
	}
}

// TestLockedOut: a server that lets nobody in any more after some connections
// makes the rest look refused; the control shows it.
func TestLockedOut(t *testing.T) {
	t.Parallel()
	f := newFixture()
	for after := int64(3); after < 12; after++ {
		var connections atomic.Int64
		config := f.serverConfig(tls.RequireAnyClientCert)
		config.GetConfigForClient = func(info *tls.ClientHelloInfo) (*tls.Config, error) {
			if connections.Add(1) > after {
				_ = info.Conn.Close()
			}
			return nil, nil
		}
		report := run(t, f.config(t, serveHTTP(t, config, hello), f.good))
		if report.Outcome == OK || report.Mode == RequiredVerified {
			t.Errorf("after %d connections: %s\n%s", after, report.Mode, dump(report))
		}
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
			if report.Mode != ModeInconclusive || len(report.Cases) != 2 || report.Cases[0].Verdict != Inconclusive || report.Findings[0].ID != "MTLS-012" {
				t.Errorf("%s", dump(report))
			}
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
			return server, nil
		}
		config.VerifyConnection = func(state tls.ConnectionState) error {
			certificates.Add(int64(len(state.PeerCertificates)))
			return nil
		}
		report := run(t, f.config(t, serveHTTP(t, config, hello), f.good))
		if report.Outcome != Violated || !strings.Contains(report.Reason, "the server is not trusted") || certificates.Load() != 0 {
			t.Errorf("got %s, %s, %d certificates", report.Outcome, report.Reason, certificates.Load())
		}
	}
}

// TestNotChecked: without roots the chain is shown and not judged.
func TestNotChecked(t *testing.T) {
	t.Parallel()
	f := newFixture()
	address := serveHTTP(t, f.serverConfig(tls.RequireAndVerifyClientCert), hello)
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

// TestSenders: our certificate is sent though the server's list of acceptable
// CAs does not hold its issuer, and it is said that others would not.
func TestSenders(t *testing.T) {
	t.Parallel()
	f := newFixture()
	address := serveHTTP(t, f.serverConfig(tls.RequireAnyClientCert), hello)
	elsewhere := newLeaf(t, "carol", x509.ExtKeyUsageClientAuth, newCA(t, "Another CA"))
	for who, want := range map[*identity]bool{f.good: true, elsewhere: false} {
		report := run(t, f.config(t, address, who))
		if s := report.Senders; s == nil || s.Go != want || s.Java != want || s.Browsers != want || s.Reason == "" {
			t.Errorf("%+v, want %v", s, want)
		}
		if has := slices.ContainsFunc(report.Findings, func(f Finding) bool { return f.ID == "MTLS-016" }); has == want {
			t.Errorf("%s", dump(report))
		}
		for _, c := range report.Cases {
			if sent := c.CertificateSent; sent != (c.Case != CaseNone) {
				t.Errorf("%s: sent %v", c.Case, sent)
			}
		}
	}
	if s := run(t, f.config(t, address, nil)).Senders; s != nil {
		t.Errorf("without a certificate: %+v", s)
	}
}

// TestLevels counts connections: about a dozen for check, one a version for
// observe, and only the cases that were asked for.
func TestLevels(t *testing.T) {
	t.Parallel()
	f := newFixture()
	for _, row := range []struct {
		name   string
		change func(*Config)
		cases  string
		mode   Mode
	}{
		{"check", func(*Config) {}, "none good stranger impostor false-proof none good stranger impostor false-proof good good", RequiredVerified},
		{"nothing given", func(c *Config) { c.Good = nil }, "none stranger impostor false-proof none stranger impostor false-proof none none", RequiredUnconfirmed},
		{"observe", func(c *Config) { c.Level = Observe }, "none none", RequiredUnconfirmed},
		{"only", func(c *Config) { c.Only = []CaseID{CaseStranger} }, "none stranger none stranger none none", RequiredUnconfirmed},
		{"skip", func(c *Config) { c.Skip = []CaseID{CaseImpostor, CaseFalseProof} }, "none good stranger none good stranger good good", RequiredVerified},
		{"other", func(c *Config) { c.Other = f.other.tls() }, "none good other stranger impostor false-proof none good other stranger impostor false-proof good good", RequiredVerified},
	} {
		var connections atomic.Int64
		config := f.serverConfig(tls.RequireAndVerifyClientCert)
		config.GetConfigForClient = func(*tls.ClientHelloInfo) (*tls.Config, error) {
			connections.Add(1)
			return nil, nil
		}
		c := f.config(t, serveHTTP(t, config, hello), f.good)
		paced := 0
		c.Pace = func(context.Context) error { paced++; return nil }
		row.change(&c)
		report := run(t, c)
		var cases []string
		for _, x := range report.Cases {
			cases = append(cases, string(x.Case))
		}
		if strings.Join(cases, " ") != row.cases || report.Mode != row.mode || connections.Load() != int64(len(cases)) || paced != len(cases) {
			t.Errorf("%s: got %s, %d connections, %s", row.name, report.Mode, connections.Load(), strings.Join(cases, " "))
		}
	}
}

// TestAlertExpected: the alert of nobody and of strangers can be insisted on.
func TestAlertExpected(t *testing.T) {
	t.Parallel()
	f := newFixture()
	address := serveHTTP(t, f.serverConfig(tls.RequireAndVerifyClientCert), hello)
	for _, row := range []struct {
		alerts []int
		want   Outcome
		said   string
	}{
		{nil, OK, ""},
		{[]int{40, 116, 48}, OK, ""},
		{[]int{40, 116}, Violated, "the case stranger is not refused"},
		{[]int{48}, Violated, "the case none is not refused"},
		{[]int{0}, Violated, "the case none is not refused"},
	} {
		c := f.config(t, address, nil)
		c.Alerts = row.alerts
		report := run(t, c)
		has := slices.ContainsFunc(report.Findings, func(f Finding) bool { return f.ID == "MTLS-013" && f.Severity == Critical })
		if report.Outcome != row.want || has != (row.want == Violated) || !strings.Contains(report.Reason, row.said) {
			t.Errorf("%v: got %s, %s", row.alerts, report.Outcome, report.Reason)
		}
	}
}

// TestKeyLogAndTrace: the secrets and the octets of every connection.
func TestKeyLogAndTrace(t *testing.T) {
	t.Parallel()
	f := newFixture()
	c := f.config(t, serveHTTP(t, f.serverConfig(tls.RequireAndVerifyClientCert), hello), f.good)
	var secrets bytes.Buffer
	c.KeyLog = &secrets
	traces := map[string]*bytes.Buffer{}
	c.Trace = func(number int, what string) (io.WriteCloser, error) {
		b := new(bytes.Buffer)
		traces[fmt.Sprint(number, " ", what)] = b
		return nopCloser{b}, nil
	}
	report := run(t, c)
	if !strings.Contains(secrets.String(), "CLIENT_RANDOM ") || !strings.Contains(secrets.String(), "CLIENT_HANDSHAKE_TRAFFIC_SECRET ") {
		t.Errorf("the secrets are %q", secrets.String())
	}
	first := traces["1 none-tls1.2"]
	if len(traces) != len(report.Cases) || first == nil || !strings.Contains(first.String(), "\n000000 16 03 01 ") || !strings.Contains(first.String(), "# the server sent the alert handshake_failure (40)\n") {
		t.Errorf("%d traces, the first %s", len(traces), first)
	}
	c.Trace = func(int, string) (io.WriteCloser, error) { return nil, errors.New("the disk is full") }
	if _, err := Run(t.Context(), c); err == nil || err.Error() != "tracing: the disk is full" {
		t.Errorf("got %v", err)
	}
}

type nopCloser struct{ io.Writer }

func (nopCloser) Close() error { return nil }

// TestWays: by another address, name and address family, and through proxies.
func TestWays(t *testing.T) {
	t.Parallel()
	f := newFixture()
	var names sync.Map
	config := f.serverConfig(tls.RequireAndVerifyClientCert)
	config.GetConfigForClient = func(info *tls.ClientHelloInfo) (*tls.Config, error) {
		names.Store(info.ServerName, true)
		return nil, nil
	}
	address := serveHTTP(t, config, hello)
	_, port, _ := net.SplitHostPort(address)
	asked := make(chan string, 1000)
	tunnel := serveHTTP(t, nil, func(w http.ResponseWriter, r *http.Request) {
		asked <- r.Method + " " + r.Host
		if r.Host != "localhost:"+port {
			w.WriteHeader(http.StatusForbidden)
			return
		}
		conn, _, err := w.(http.Hijacker).Hijack()
		if err != nil {
			return
		}
		defer conn.Close()
		_, _ = io.WriteString(conn, "HTTP/1.1 200 go ahead\r\n\r\n")
		pipe(conn, address)
	})
	socks := serveRaw(t, func(conn net.Conn) {
		greeting := make([]byte, 3)
		_, _ = io.ReadFull(conn, greeting)
		_, _ = conn.Write([]byte{5, 0})
		head := make([]byte, 5)
		_, _ = io.ReadFull(conn, head)
		rest := make([]byte, int(head[4])+2)
		_, _ = io.ReadFull(conn, rest)
		asked <- "socks " + string(rest[:head[4]])
		_, _ = conn.Write([]byte{5, 0, 0, 1, 127, 0, 0, 1, 0, 0})
		pipe(conn, address)
	})
	for _, row := range []struct {
		name, target string
		change       func(*Config)
		mode         Mode
		said         string
	}{
		{"connect to", "localhost:1", func(c *Config) { c.ConnectTo = address }, RequiredVerified, ""},
		{"another name", address, func(c *Config) { c.ServerName = "localhost" }, RequiredVerified, ""},
		{"IPv4", "localhost:" + port, func(c *Config) { c.Family = 4 }, RequiredVerified, ""},
		{"no IPv6", address, func(c *Config) { c.Family = 6 }, Unreachable, "127.0.0.1 is no address of IPv6"},
		{"HTTP proxy", "localhost:" + port, func(c *Config) { c.Proxy = &url.URL{Scheme: "http", Host: tunnel} }, RequiredVerified, "CONNECT localhost:" + port},
		{"HTTP proxy says no", "127.0.0.1:" + port, func(c *Config) { c.Proxy = &url.URL{Scheme: "http", Host: tunnel} }, Unreachable, "it answers HTTP 403"},
		{"SOCKS5 proxy", "localhost:" + port, func(c *Config) { c.Proxy = &url.URL{Scheme: "socks5", Host: socks} }, RequiredVerified, "socks localhost"},
		{"no proxy there", "localhost:" + port, func(c *Config) { c.Proxy = &url.URL{Scheme: "socks5", Host: freeAddress(t)} }, Unreachable, "refused"},
	} {
		c := f.config(t, row.target, f.good)
		row.change(&c)
		report := run(t, c)
		said := report.Reason
		for len(asked) > 0 {
			said += "\n" + <-asked
		}
		if report.Mode != row.mode || !strings.Contains(said, row.said) {
			t.Errorf("%s: got %s, %s", row.name, report.Mode, said)
		}
	}
	if _, ok := names.Load("localhost"); !ok {
		t.Error("the name was not sent")
	}
}

// pipe connects a client with a server.
func pipe(conn net.Conn, address string) {
	server, err := net.Dial("tcp", address)
	if err != nil {
		return
	}
	defer server.Close()
	go func() { _, _ = io.Copy(server, conn); _ = server.(*net.TCPConn).CloseWrite() }()
	_, _ = io.Copy(conn, server)
}

// TestReportJSON pins the names, which are a promise.
func TestReportJSON(t *testing.T) {
	at := time.Date(2026, 1, 2, 3, 4, 5, 0, time.UTC)
	serial, err := pki.ParseSerialHex("1a2b")
	if err != nil {
		t.Fatal(err)
	}
	report := &Report{
		Target: "h:443", Address: "127.0.0.1:443", Mode: RequiredVerified, EnforcedAt: LayerHTTP, Strength: Strong, Outcome: OK, Expected: ExpectVerified, Reason: "why", Stack: "nginx",
		TLS:      []Version{{Version: "1.3", Offered: Yes, Requested: Yes, AcceptableCAs: []string{"CN=CA"}, AcceptableCAsOmitted: 1, Mode: RequiredVerified, EnforcedAt: LayerHTTP, Reason: "why"}},
		Children: []Child{{Path: "/", TLS: "1.3", Mode: RequiredVerified, EnforcedAt: LayerHTTP, Strength: Strong, Outcome: OK, Reason: "why"}},
		Cases: []Case{
			{Case: CaseNone, TLS: "1.3", Path: "/", Verdict: Rejected, Layer: LayerPostHandshake, Strength: Strong, Detail: "said", Alert: newAlert(116, fromRemote), OctetsRead: 1, OctetsWritten: 2, Milliseconds: 3},
			{Case: CaseGood, TLS: "1.3", Path: "/", Control: true, Verdict: Accepted, Layer: LayerHTTP, Strength: Strong, Detail: "said", CertificateSent: true, SessionTickets: 2,
				HTTP: &HTTP{Protocol: "HTTP/2", Status: 302, Location: "/x", Server: "s", BodyOctets: 1, BodySHA256: "00", BodyComplete: true}},
		},
		Findings: []Finding{{ID: "MTLS-001", Severity: Critical, Where: "all", Title: "t", Meaning: "m", Fix: "f", References: []string{"r"}}},
		Senders:  &Senders{Go: true, Reason: "why"},
		Server: &Server{Chain: []Certificate{{Subject: "CN=a", Issuer: "CN=b", Serial: serial, NotBefore: at, NotAfter: at}},
			Omitted: 1, Trust: Untrusted, TrustDetail: "why"},
		Timings: Timings{DNS: 0.5, TCP: 1, TLS: 2},
	}
	got, err := json.Marshal(report)
	if err != nil {
		t.Fatal(err)
	}
	want := `{"target":"h:443","address":"127.0.0.1:443","mode":"REQUIRED_VERIFIED","enforcedAt":"http","strength":"strong","outcome":"ok","expected":"required-verified","reason":"why","stack":"nginx",` +
		`"tls":[{"version":"1.3","offered":"yes","requested":"yes","acceptableCAs":["CN=CA"],"acceptableCAsOmitted":1,"mode":"REQUIRED_VERIFIED","enforcedAt":"http","reason":"why"}],` +
		`"children":[{"path":"/","tls":"1.3","mode":"REQUIRED_VERIFIED","enforcedAt":"http","strength":"strong","outcome":"ok","reason":"why"}],` +
		`"cases":[{"case":"none","tls":"1.3","path":"/","verdict":"rejected","layer":"tlsPostHandshake","strength":"strong","detail":"said","certificateSent":false,"sessionTickets":0,` +
		`"alert":{"level":"fatal","number":116,"name":"certificate_required","from":"remote"},"octetsRead":1,"octetsWritten":2,"ms":3},` +
		`{"case":"good","tls":"1.3","path":"/","control":true,"verdict":"accepted","layer":"http","strength":"strong","detail":"said","certificateSent":true,"sessionTickets":2,` +
		`"http":{"protocol":"HTTP/2","status":302,"location":"/x","server":"s","bodyOctets":1,"bodySHA256":"00","bodyComplete":true},"octetsRead":0,"octetsWritten":0,"ms":0}],` +
		`"findings":[{"id":"MTLS-001","severity":"critical","where":"all","title":"t","meaning":"m","fix":"f","references":["r"]}],` +
		`"senders":{"go":true,"java":false,"browsers":false,"reason":"why"},` +
		`"server":{"chain":[{"subject":"CN=a","issuer":"CN=b","serial":"1a2b","notBefore":"2026-01-02T03:04:05Z","notAfter":"2026-01-02T03:04:05Z",` +
		`"sha256":"` + strings.Repeat("0", 64) + `"}],"omitted":1,"trust":"untrusted","trustDetail":"why"},` +
		`"timings":{"dnsMs":0.5,"tcpMs":1,"tlsMs":2}}`
	if string(got) != want {
		t.Errorf("got\n%s\nwant\n%s", got, want)
	}
}
