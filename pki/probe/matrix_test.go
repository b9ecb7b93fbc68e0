package probe

import (
	"crypto/tls"
	"flag"
	"fmt"
	"runtime"
	"slices"
	"strings"
	"testing"
)

var (
	repeat = flag.Int("repeat", 1, "how often TestMatrix probes each server")
	loaded = flag.Bool("loaded", false, "keep all cores busy during TestMatrix")
)

// matrixRow is a server, what a probe must find of it with a good identity and
// with nothing, and the layer at which it enforces. An empty with-nothing is the
// same as with a good one.
type matrixRow struct {
	name          string
	start         func(testing.TB, *fixture) string
	good, nothing string
	at            Layer  // with a good identity; "" where versions differ
	findings      string // ids that must be there, with a good identity / with nothing
	change        func(*fixture, *Config)
}

// adminFor403 is nginx's own way to protect a part.
const adminFor403 = `ssl_verify_client optional; location / { return 200 "hello"; }
	location /admin/ { if ($ssl_client_verify != SUCCESS) { return 403; } return 200 "the secret"; }`

func twoPaths(_ *fixture, c *Config) { c.Paths = []string{"/", "/admin/"} }

const (
	notRequested = string(NotRequested)
	optUnver     = string(OptionalUnverified)
	optVer       = string(OptionalVerified)
	reqUnver     = string(RequiredUnverified)
	reqVer       = string(RequiredVerified)
	reqUnconf    = string(RequiredUnconfirmed)

	adminPages = "CONDITIONAL: 1.2 / OPTIONAL_VERIFIED at http, 1.2 /admin/ %s at app, 1.3 / OPTIONAL_VERIFIED at http, 1.3 /admin/ %[1]s at app"
	// Apache asks for the certificate after the request: in TLS 1.2 by a
	// renegotiation, in TLS 1.3 by an authentication that Go's client cannot do.
	perLocation = "INCONCLUSIVE: 1.2 / NOT_REQUESTED at none, 1.2 /admin/ %s at tlsRenegotiation, 1.3 / NOT_REQUESTED at none, 1.3 /admin/ INCONCLUSIVE at none"
)

func matrix() []matrixRow {
	page := `location / { return 200 "hello"; }`
	rows := []matrixRow{
		{name: "nginx off", start: nginx("ssl_verify_client off;" + page), good: notRequested, at: LayerNone, findings: "MTLS-001/MTLS-001"},
		{name: "nginx on", start: nginx("ssl_verify_client on;" + page), good: reqVer, nothing: reqUnconf, at: LayerHTTP, findings: "MTLS-010/MTLS-010"},
		{name: "nginx on, HTTP/2", start: nginxWith("http2", "ssl_verify_client on;"+page), good: reqVer, nothing: reqUnconf, at: LayerHTTP,
			change: func(_ *fixture, c *Config) { c.ALPN = []string{"h2"} }},
		{name: "nginx on, no page", start: nginx("ssl_verify_client on; location / { return 404; }"), good: reqVer, nothing: reqUnconf, at: LayerHTTP},
		{name: "nginx optional", start: nginx("ssl_verify_client optional;" + page), good: optVer, at: LayerHTTP, findings: "MTLS-003/MTLS-003"},
		{name: "nginx optional_no_ca", start: nginx("ssl_verify_client optional_no_ca;" + page), good: optUnver, at: LayerNone, findings: "MTLS-002/MTLS-007"},
		{name: "nginx optional, /admin/ for the verified", start: nginx(adminFor403), change: twoPaths,
			good: fmt.Sprintf(adminPages, reqVer), nothing: fmt.Sprintf(adminPages, reqUnconf), at: LayerNone},
		{name: "nginx error_page =200", start: nginx("ssl_verify_client on; error_page 495 496 =200 /index.html;"), good: optUnver, at: LayerNone, findings: "MTLS-002/MTLS-007"},
		{name: "nginx error_page @nocert", start: nginx(`ssl_verify_client on; error_page 495 496 = @nocert;
			location @nocert { return 200 "please log in"; }`), good: reqVer, nothing: optUnver, at: LayerApp, findings: "/MTLS-007"},
		{name: "nginx error_page =444", start: nginx("ssl_verify_client on; error_page 495 496 =444 @none; location @none { return 444; }" + page), good: reqVer, nothing: "INCONCLUSIVE: 1.2 / INCONCLUSIVE at none, 1.3 / INCONCLUSIVE at none", at: LayerClose},
		{name: "nginx optional_no_ca, by the issuer's name", start: nginx(`ssl_verify_client optional_no_ca; if ($ssl_client_i_dn !~ "Client CA") { return 403; }` + page),
			good: reqUnver, nothing: reqUnver, at: LayerApp, findings: "MTLS-004/MTLS-004"},
		{name: "nginx, revoked", start: nginx("ssl_verify_client on; ssl_crl @list;" + page), good: string(RejectsGood), nothing: reqUnconf, at: LayerHTTP, findings: "MTLS-005/"},
		{name: "s_server -Verify", start: sServer("-Verify", "3", "-www"), good: reqUnver, at: LayerHandshake, findings: "MTLS-004/MTLS-004"},
		{name: "s_server -Verify -verify_return_error", start: sServer("-Verify", "3", "-www", "-verify_return_error"), good: reqVer, nothing: reqUnconf, at: LayerHandshake},
		{name: "s_server, silent", start: sServer("-Verify", "3", "-verify_return_error"), good: reqVer, nothing: reqUnconf, at: LayerHandshake,
			change: func(_ *fixture, c *Config) { c.App = AppNone }},
		{name: "s_server, silent, no tickets", start: sServer("-Verify", "3", "-verify_return_error", "-num_tickets", "0"), good: reqVer, nothing: reqUnconf, at: LayerHandshake,
			change: func(_ *fixture, c *Config) { c.App, c.Timeout = AppNone, probeTimeout/6 }},
		{name: "gnutls-serv", start: gnutlsServ(), good: optUnver, at: LayerNone},
		{name: "gnutls-serv --require-client-cert", start: gnutlsServ("--require-client-cert"), good: reqUnver, at: LayerHandshake, findings: "MTLS-004/MTLS-004"},
		{name: "gnutls-serv --require-client-cert --verify-client-cert", start: gnutlsServ("--require-client-cert", "--verify-client-cert"), good: reqVer, nothing: reqUnconf, at: LayerHandshake},
		{name: "HAProxy required", start: haproxy("verify required"), good: reqVer, nothing: reqUnconf, at: LayerHandshake},
		{name: "HAProxy optional", start: haproxy("verify optional"), good: optVer, at: LayerHandshake},
		{name: "HAProxy optional crt-ignore-err all", start: haproxy("verify optional crt-ignore-err all ca-ignore-err all"), good: optUnver, at: LayerNone},
		{name: "Apache require", start: apache("SSLVerifyClient require"), good: reqVer, nothing: reqUnconf, at: LayerHandshake},
		{name: "Apache per location", start: apache("<Location /admin/>\nSSLVerifyClient require\n</Location>"), change: twoPaths,
			good: fmt.Sprintf(perLocation, reqVer), nothing: fmt.Sprintf(perLocation, reqUnconf), at: LayerNone, findings: "MTLS-009/MTLS-009"},
		{name: "Node rejectUnauthorized", start: node(true), good: reqVer, nothing: reqUnconf, at: LayerHandshake},
		{name: "Node without", start: node(false), good: optUnver, at: LayerNone},
		{name: "Node, 401 by the application", start: nodeWith(false, "if (!request.client.authorized) response.statusCode = 401;"), good: reqVer, nothing: reqUnconf, at: LayerApp},
		{name: "Node, closed by the application", start: nodeWith(false, "if (!request.client.authorized) return request.destroy();"), good: reqVer, nothing: "INCONCLUSIVE: 1.2 / INCONCLUSIVE at none, 1.3 / INCONCLUSIVE at none", at: LayerClose},
		{name: "Python CERT_REQUIRED", start: python("CERT_REQUIRED"), good: reqVer, nothing: reqUnconf, at: LayerHandshake},
		{name: "Python CERT_OPTIONAL", start: python("CERT_OPTIONAL"), good: optVer, at: LayerHandshake},
		{name: "JDK need", start: java("setNeedClientAuth"), good: reqVer, nothing: reqUnconf, at: LayerClose},
		{name: "JDK want", start: java("setWantClientAuth"), good: optVer, at: LayerClose},
		{name: "stunnel verifyPeer", start: stunnel, good: string(Pinned), nothing: reqUnconf, at: LayerHandshake, findings: "MTLS-006/",
			change: func(f *fixture, c *Config) {
				if c.Good != nil {
					c.Other = f.other.tls()
				}
			}},
	}
	for _, g := range []struct {
		mode          tls.ClientAuthType
		good, nothing string
		at            Layer
	}{
		{tls.NoClientCert, notRequested, "", LayerNone},
		{tls.RequestClientCert, optUnver, "", LayerNone},
		{tls.RequireAnyClientCert, reqUnver, "", LayerHandshake},
		{tls.VerifyClientCertIfGiven, optVer, "", LayerHandshake},
		{tls.RequireAndVerifyClientCert, reqVer, reqUnconf, LayerHandshake},
	} {
		for _, tickets := range []bool{true, false} {
			rows = append(rows, matrixRow{name: fmt.Sprintf("Go %v, tickets %v", g.mode, tickets), start: goServer(g.mode, tickets), good: g.good, nothing: g.nothing, at: g.at})
		}
	}
	for _, tickets := range []bool{true, false} {
		rows = append(rows, matrixRow{name: fmt.Sprintf("Go, silent, tickets %v", tickets), start: func(t testing.TB, f *fixture) string {
			config := f.serverConfig(tls.RequireAndVerifyClientCert)
			config.SessionTicketsDisabled = !tickets
			return serveSilence(t, config)
		}, good: reqVer, nothing: reqUnconf, at: LayerHandshake, change: func(_ *fixture, c *Config) { c.App, c.Timeout = AppNone, probeTimeout/6 }})
	}
	return rows
}

// TestMatrix runs each server and finds how it treats certificates, in TLS 1.2
// and 1.3. With -repeat 100, and with -loaded, the modes are the same each time.
func TestMatrix(t *testing.T) {
	t.Parallel()
	if *loaded {
		load(t)
	}
	f := newFixture()
	for _, row := range matrix() {
		t.Run(row.name, func(t *testing.T) {
			t.Parallel()
			address := row.start(t, f)
			with, without, _ := strings.Cut(row.findings, "/")
			nothing := row.nothing
			if nothing == "" {
				nothing = row.good
			}
			for range *repeat {
				row.check(t, f, address, f.good, row.good, with)
				row.check(t, f, address, nil, nothing, without)
			}
		})
	}
}

func (row matrixRow) check(t *testing.T, f *fixture, address string, good *identity, want, finding string) {
	t.Helper()
	c := f.config(t, address, good)
	if row.change != nil {
		row.change(f, &c)
	}
	report := run(t, c)
	if got := modes(report); got != want {
		t.Errorf("got %s, want %s\n%s", got, want, dump(report))
	}
	if good != nil && report.EnforcedAt != row.at {
		t.Errorf("it is enforced at %s, want %s\n%s", report.EnforcedAt, row.at, dump(report))
	}
	if finding != "" && !slices.ContainsFunc(report.Findings, func(f Finding) bool { return f.ID == finding }) {
		t.Errorf("%s is missing\n%s", finding, dump(report))
	}
	for _, v := range report.TLS {
		if v.Offered != Yes {
			t.Errorf("TLS %s is offered: %s", v.Version, v.Offered)
		}
	}
}

// load keeps every core busy until the test ends.
func load(t *testing.T) {
	stop := make(chan struct{})
	t.Cleanup(func() { close(stop) })
	for range 2 * runtime.NumCPU() {
		go func() {
			for n := 0; ; n++ {
				select {
				case <-stop:
					return
				default:
				}
			}
		}()
	}
}
