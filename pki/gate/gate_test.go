package gate

import (
	"bufio"
	"bytes"
	"crypto"
	"crypto/rand"
	"crypto/tls"
	"crypto/x509"
	"crypto/x509/pkix"
	"fmt"
	"io"
	"math/big"
	"net"
	"net/http"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"mutual/pki"
	"mutual/pki/keys"
	"mutual/pki/pemfile"
	"mutual/pki/profile"
	"mutual/pki/store"
)

// Everyone who is refused stands in the log with the reason, and no byte of
// theirs reaches the upstream.
func TestRefusals(t *testing.T) {
	f := newFixture(t, options{config: func(c *Config) {
		rules, err := Allow([]string{"alice", "held", "gone", "label:Pixel *", "stolen"})
		if err != nil {
			t.Fatal(err)
		}
		c.Rules = FixedRules(rules)
	}})
	alice, held, gone := f.issue(pki.KindClient, "alice"), f.issue(pki.KindClient, "held"), f.issue(pki.KindClient, "gone")
	labelled := f.issue(pki.KindClient, "phone", func(r *store.IssueRequest) { r.Label = "Pixel 8" })
	other, server := f.issue(pki.KindClient, "other"), f.issue(pki.KindServer, "alice.example.com")
	early := f.issue(pki.KindClient, "alice", func(r *store.IssueRequest) { r.Window = profile.Window{NotBefore: time.Now().Add(time.Hour)} })
	late := f.issue(pki.KindClient, "alice", func(r *store.IssueRequest) {
		r.Window = profile.Window{NotBefore: time.Now().Add(-2 * time.Hour), NotAfter: time.Now().Add(-time.Hour), AllowExpired: true}
	})
	f.revoke(gone, pki.KeyCompromise)
	f.revoke(held, pki.CertificateHold)
	f.wantIn(alice)
	f.wantIn(labelled)
	for len(f.seen) > 0 {
		<-f.seen
	}
	for _, tt := range []struct {
		who  string
		cert *tls.Certificate
		code Code
		why  string
	}{
		{"nobody", nil, CodeNoCertificate, "presented no certificate"},
		{"a stranger", selfMade(t, "alice"), CodeUnknownCA, "signed by itself and not trusted"},
		{"one of a stolen CA key", f.stolen("stolen"), CodeNotInInventory, "not in the inventory"},
		{"one that is revoked", &gone, CodeRevoked, "(keyCompromise)"},
		{"one that is held", &held, CodeRevoked, "(certificateHold)"},
		{"one that no rule names", &other, CodeNotAllowed, "no rule lets it in"},
		{"a server's", &server, CodeWrongPurpose, "meant for server authentication"},
		{"one that begins later", &early, CodeNotYetValid, "not valid for another"},
		{"one that has expired", &late, CodeExpired, "expired 1 hour ago"},
	} {
		for _, version := range []uint16{tls.VersionTLS12, tls.VersionTLS13} {
			status, body := f.get(f.client(tt.cert, func(c *tls.Config) { c.MaxVersion = version }), "/secret?token=1")
			if status != 0 {
				t.Errorf("%s, %s: answered with %d %s", tt.who, tls.VersionName(version), status, body)
			}
			e := f.await(tt.who, func(e entry) bool {
				return e.Event == "refused" && e.Code == string(tt.code) && strings.Contains(e.Reason, tt.why)
			})
			if e.Decision != "refused" || e.Peer == "" || e.DurationMs == nil || e.SNI != "localhost" {
				t.Errorf("%s: %+v", tt.who, e)
			}
			if (tt.cert != nil) != (e.Certificate != nil) {
				t.Errorf("%s: the log has the certificate %+v", tt.who, e.Certificate)
			}
		}
	}
	if len(f.seen) > 0 {
		t.Errorf("the upstream was asked %s", (<-f.seen).URL)
	}
	if out, err := f.pki.Unhold(t.Context(), f.only(held), false); err != nil || out.Changed != 1 {
		t.Fatal(out, err)
	}
	f.tell()
	f.wantIn(held) // at once, too
}

func selfMade(t *testing.T, name string) *tls.Certificate {
	t.Helper()
	key, err := keys.Generate(keys.P256)
	if err != nil {
		t.Fatal(err)
	}
	return signed(t, name, key, nil, key)
}

// stolen is a certificate that somebody signs with the key of the issuing CA.
func (f *fixture) stolen(name string) *tls.Certificate {
	f.Helper()
	data, err := os.ReadFile(filepath.Join(f.dir, "issuing.key"))
	if err != nil {
		f.Fatal(err)
	}
	ca, err := pemfile.Key(data, nil)
	if err != nil {
		f.Fatal(err)
	}
	_, issuing, err := f.pki.Trusted(f.Context())
	if err != nil {
		f.Fatal(err)
	}
	key, err := keys.Generate(keys.P256)
	if err != nil {
		f.Fatal(err)
	}
	return signed(f, name, key, issuing[0], ca)
}

func signed(t testing.TB, name string, key crypto.Signer, issuer *x509.Certificate, by crypto.Signer) *tls.Certificate {
	t.Helper()
	template := &x509.Certificate{
		SerialNumber: big.NewInt(time.Now().UnixNano()), Subject: pkix.Name{CommonName: name}, NotBefore: time.Now().Add(-time.Hour), NotAfter: time.Now().Add(time.Hour),
		KeyUsage: x509.KeyUsageDigitalSignature, ExtKeyUsage: []x509.ExtKeyUsage{x509.ExtKeyUsageClientAuth}, BasicConstraintsValid: true,
	}
	if issuer == nil {
		issuer = template
	}
	der, err := x509.CreateCertificate(rand.Reader, template, issuer, key.Public(), by)
	if err != nil {
		t.Fatal(err)
	}
	leaf, err := x509.ParseCertificate(der)
	if err != nil {
		t.Fatal(err)
	}
	return &tls.Certificate{Certificate: [][]byte{der}, PrivateKey: key, Leaf: leaf}
}

// What is let in stands in the log with all that an operator asks for, and
// nothing of the query.
func TestLogOfARequest(t *testing.T) {
	f := newFixture(t, options{})
	alice := f.issue(pki.KindClient, "alice@example.com")
	answer, err := f.client(&alice).Post(f.url("/v1/x%20y?token=secret"), "text/plain", strings.NewReader("12345"))
	if err != nil {
		t.Fatal(err)
	}
	_, _ = io.Copy(io.Discard, answer.Body)
	_ = answer.Body.Close()
	e := f.await("the request", func(e entry) bool { return e.Event == "request" })
	if strings.Contains(f.log.String(), "secret") || e.Query != "redacted" {
		t.Errorf("the log has the query:\n%s", f.log)
	}
	want := fmt.Sprint("POST", "/v1/x%20y", f.address, 200, int64(5), int64(6), "allowed", "allow-all", "alice@example.com", "TLS 1.3", "h2", "HTTP/2.0")
	got := fmt.Sprint(e.Method, e.Path, e.Host, e.Status, e.BytesIn, e.BytesOut, e.Decision, e.Rule, e.Identity, e.TLS, e.ALPN, e.Protocol)
	if got != want {
		t.Errorf("%s, want %s", got, want)
	}
	c := e.Certificate
	if c == nil || c.Serial != pki.NewSerial(alice.Leaf.SerialNumber).String() || c.SHA256 != pki.FingerprintOf(alice.Leaf.Raw).String() ||
		!c.NotAfter.Equal(alice.Leaf.NotAfter) || c.Issuer != alice.Leaf.Issuer.String() || len(c.SANs) != 1 || c.SANs[0] != "email:alice@example.com" {
		t.Errorf("the certificate is %+v", c)
	}
}

// A client gets no session that could be resumed: not a ticket, not an ID.
func TestNobodyIsResumed(t *testing.T) {
	f := newFixture(t, options{})
	alice := f.issue(pki.KindClient, "alice")
	for _, version := range []uint16{tls.VersionTLS12, tls.VersionTLS13} {
		sessions := &countingCache{ClientSessionCache: tls.NewLRUClientSessionCache(8)}
		for range 2 {
			c := f.client(&alice, http1, func(c *tls.Config) { c.MaxVersion, c.ClientSessionCache = version, sessions })
			answer, err := c.Get(f.url("/"))
			if err != nil {
				t.Fatal(err)
			}
			if _, err := io.Copy(io.Discard, answer.Body); err != nil || answer.TLS.DidResume {
				t.Errorf("%s: resumed %v, %v", tls.VersionName(version), answer.TLS.DidResume, err)
			}
			_ = answer.Body.Close()
			c.CloseIdleConnections()
		}
		if sessions.count > 0 {
			t.Errorf("%s: the gate gave %d sessions", tls.VersionName(version), sessions.count)
		}
	}
}

type countingCache struct {
	tls.ClientSessionCache
	count int
}

// Put implements tls.ClientSessionCache.
func (c *countingCache) Put(key string, s *tls.ClientSessionState) {
	if s != nil {
		c.count++
	}
	c.ClientSessionCache.Put(key, s)
}

// liveConn opens a connection on which something goes on.
func (f *fixture) liveConn(cert tls.Certificate) (net.Conn, *bufio.Reader) {
	f.Helper()
	conn, err := tls.Dial("tcp", f.address, &tls.Config{RootCAs: f.roots, ServerName: "localhost", Certificates: []tls.Certificate{cert}})
	if err != nil {
		f.Fatal(err)
	}
	f.Cleanup(func() { _ = conn.Close() })
	_ = conn.SetDeadline(time.Now().Add(20 * time.Second))
	in := bufio.NewReader(conn)
	f.ask(conn, in, http.StatusOK)
	return conn, in
}

func (f *fixture) ask(conn net.Conn, in *bufio.Reader, want int) {
	f.Helper()
	if _, err := io.WriteString(conn, "GET / HTTP/1.1\r\nHost: localhost\r\n\r\n"); err != nil {
		f.Fatal(err)
	}
	answer, err := http.ReadResponse(in, nil)
	if err != nil {
		f.Fatal(err)
	}
	if _, err := io.Copy(io.Discard, answer.Body); err != nil || answer.StatusCode != want {
		f.Fatalf("answered with %s, %v", answer.Status, err)
	}
}

// wantCut waits until the gate has cut a connection.
func (f *fixture) wantCut(in io.Reader, code Code) {
	f.Helper()
	if n, err := io.Copy(io.Discard, in); err == nil && n > 0 {
		f.Errorf("%d octets came before the end", n)
	}
	f.await("the cut", func(e entry) bool { return e.Event == "cut" && e.Code == string(code) })
}

// A connection ends with its certificate, to the second.
func TestExpiryCuts(t *testing.T) {
	t.Parallel()
	f := newFixture(t, options{})
	end := time.Now().Add(2 * time.Second).Truncate(time.Second).Add(time.Second)
	short := f.issue(pki.KindClient, "short", func(r *store.IssueRequest) { r.Window = profile.Window{NotAfter: end} })
	_, in := f.liveConn(short)
	f.wantCut(in, CodeExpired)
	if late := time.Since(end); late < 0 || late > 3*time.Second {
		t.Errorf("cut %s after its end", late)
	}
	f.wantOut(&short)
}

// A change of the rules counts for who is in already.
func TestRuleChangeCuts(t *testing.T) {
	t.Parallel()
	file := filepath.Join(t.TempDir(), "rules.yaml")
	write := func(text string) {
		if err := os.WriteFile(file+".new", []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
		if err := os.Rename(file+".new", file); err != nil {
			t.Fatal(err)
		}
	}
	write("rules: [{name: both, allow: [alice, bob]}]")
	f := newFixture(t, options{config: func(c *Config) {
		var err error
		if c.Rules, err = RulesFile(file, time.Now()); err != nil {
			t.Fatal(err)
		}
	}})
	alice, bob := f.issue(pki.KindClient, "alice"), f.issue(pki.KindClient, "bob")
	_, ofAlice := f.liveConn(alice)
	conn, ofBob := f.liveConn(bob)
	write("rules: [{name: one, allow: [bob], paths: [/]}]")
	f.wantCut(ofAlice, CodeNotAllowed)
	f.wantOut(&alice)
	f.ask(conn, ofBob, http.StatusOK)
	if status, body := f.get(f.client(&bob), "/other"); status != http.StatusForbidden || !strings.Contains(body, "notAllowed") {
		t.Errorf("bob gets %d %s for another path", status, body)
	}
	write("rules: broken")
	if !eventually(func() bool { return strings.Contains(f.warned.String(), file) }) {
		t.Fatalf("nobody was warned: %q", f.warned)
	}
	f.ask(conn, ofBob, http.StatusOK) // the last good ones are in force
}

// A gate that cannot read its PKI any more goes on for the lease, and then
// refuses and cuts everyone; when it can read again, it lets them in.
func TestLease(t *testing.T) {
	t.Parallel()
	f := newFixture(t, options{config: func(c *Config) { c.Lease = 1500 * time.Millisecond }})
	alice := f.issue(pki.KindClient, "alice")
	_, in := f.liveConn(alice)
	away := f.dir + ".away"
	if err := os.Rename(f.dir, away); err != nil {
		t.Fatal(err)
	}
	f.wantIn(alice)
	f.wantCut(in, CodeSourceLost)
	f.wantOut(&alice)
	if why := f.gate.Ready(); why == nil || why.Code != CodeSourceLost {
		t.Errorf("it is ready: %v", why)
	}
	if err := os.Rename(away, f.dir); err != nil {
		t.Fatal(err)
	}
	eventually(func() bool { return f.gate.Ready() == nil })
	f.wantIn(alice)
}

// A PKI that is older than what was seen of it would let in again who was
// revoked since: a gate refuses everyone, also after a restart, until it is told.
func TestRollback(t *testing.T) {
	t.Parallel()
	f := newFixture(t, options{})
	alice, bob := f.issue(pki.KindClient, "alice"), f.issue(pki.KindClient, "bob")
	f.stop()
	old := f.copyPKI()
	f.start(options{})
	f.revoke(alice, pki.KeyCompromise)
	_, in := f.liveConn(bob)
	if err := os.Rename(f.dir, f.dir+".newer"); err != nil {
		t.Fatal(err)
	}
	if err := os.Rename(old, f.dir); err != nil {
		t.Fatal(err)
	}
	f.pki = f.open(func(o store.Options) (*store.PKI, error) { return store.Open(t.Context(), f.dir, o) })
	f.wantCut(in, CodeRolledBack)
	f.wantOut(&alice)
	f.wantOut(&bob)
	f.stop()
	c := f.config(options{source: nil})
	if _, err := New(t.Context(), c); err == nil || !strings.Contains(err.Error(), "gone backwards") {
		t.Errorf("it starts: %v", err)
	}
	_ = c.Source.Close()
	f.start(options{source: func(c *PKIConfig) { c.AcceptRollback = true }})
	f.wantIn(alice) // as it was told
	f.wantIn(bob)
	f.stop()
	f.start(options{}) // it was told once, and the epochs of now are remembered
	f.wantIn(bob)
}

// copyPKI copies the PKI as a backup of its files would.
func (f *fixture) copyPKI() string {
	f.Helper()
	to := f.dir + ".old"
	if err := os.CopyFS(to, os.DirFS(f.dir)); err != nil {
		f.Fatal(err)
	}
	err := filepath.WalkDir(to, func(path string, d os.DirEntry, err error) error {
		if err == nil && d.IsDir() {
			return os.Chmod(path, 0o700)
		}
		if err == nil {
			return os.Chmod(path, 0o600)
		}
		return err
	})
	if err != nil {
		f.Fatal(err)
	}
	return to
}

// With RefuseWith the handshake ends well, and the answer names the reason.
func TestRefuseWith(t *testing.T) {
	f := newFixture(t, options{config: func(c *Config) { c.RefuseWith = http.StatusForbidden }})
	alice := f.issue(pki.KindClient, "alice")
	f.wantIn(alice)
	<-f.seen
	f.revoke(alice, pki.KeyCompromise)
	for name, cert := range map[Code]*tls.Certificate{CodeRevoked: &alice, CodeNoCertificate: nil, CodeUnknownCA: selfMade(t, "alice")} {
		for _, protocol := range []func(*tls.Config){http1, func(*tls.Config) {}} {
			status, body := f.get(f.client(cert, protocol), "/")
			if status != http.StatusForbidden || !strings.Contains(body, `"code":"`+string(name)+`"`) {
				t.Errorf("%s: %d %s", name, status, body)
			}
		}
	}
	if len(f.seen) > 0 {
		t.Error("the upstream was asked")
	}
	f.await("the refusal", func(e entry) bool {
		return e.Event == "refused" && e.Code == "revoked" && e.Status == http.StatusForbidden
	})
}

// Limits hold: connections in all, of one identity, and requests a second.
func TestLimits(t *testing.T) {
	t.Parallel()
	f := newFixture(t, options{config: func(c *Config) { c.Limits.Connections, c.Limits.PerIdentity, c.Limits.Rate = 4, 2, 5 }})
	alice, bob, carol := f.issue(pki.KindClient, "alice"), f.issue(pki.KindClient, "bob"), f.issue(pki.KindClient, "carol")
	first, _ := f.liveConn(alice)
	conn, in := f.liveConn(alice)
	f.wantOut(&alice)
	f.await("a refusal", func(e entry) bool { return e.Code == string(CodeTooMany) && e.Identity == "alice" })
	f.liveConn(bob)
	f.liveConn(bob)
	f.wantOut(&carol)
	f.await("a refusal", func(e entry) bool { return e.Code == string(CodeTooMany) && e.Identity == "" })
	_ = first.Close()
	eventually(func() bool { n, _ := f.gate.index.size(); return n < 4 })
	f.wantIn(carol)
	status := 0
	for range 20 {
		if _, err := io.WriteString(conn, "GET / HTTP/1.1\r\nHost: localhost\r\n\r\n"); err != nil {
			t.Fatal(err)
		}
		answer, err := http.ReadResponse(in, nil)
		if err != nil {
			t.Fatal(err)
		}
		_, _ = io.Copy(io.Discard, answer.Body)
		status = answer.StatusCode
	}
	if status != http.StatusTooManyRequests {
		t.Errorf("the twentieth request in a row gets %d", status)
	}
}

// Draining lets a request that runs end, and cuts the rest.
func TestDrain(t *testing.T) {
	t.Parallel()
	begun, release := make(chan struct{}), make(chan struct{})
	f := newFixture(t, options{
		config: func(c *Config) { c.Drain = 10 * time.Second },
		api: http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
			close(begun)
			<-release
			_, _ = io.WriteString(w, "done")
		}),
	})
	alice := f.issue(pki.KindClient, "alice")
	got := make(chan string)
	go func() {
		_, body := f.get(f.client(&alice), "/")
		got <- body
	}()
	<-begun
	ended := make(chan struct{})
	go func() { f.stop(); close(ended) }()
	eventually(func() bool { return f.gate.Ready() != nil })
	if conn, err := net.Dial("tcp", f.address); err == nil {
		_ = conn.SetDeadline(time.Now().Add(5 * time.Second))
		if n, err := conn.Read(make([]byte, 1)); err == nil || n > 0 {
			t.Error("somebody new is let in")
		}
		_ = conn.Close()
	}
	close(release)
	if body := <-got; body != "done" {
		t.Errorf("the request that ran ends with %q", body)
	}
	<-ended
}

// Who says nothing, or does not go on, does not hold a place for long: not in the
// handshake, and not in the header of a request.
func TestSlowClients(t *testing.T) {
	t.Parallel()
	f := newFixture(t, options{config: func(c *Config) {
		c.Limits.Handshake, c.Limits.Header, c.Limits.HeaderBytes = 300*time.Millisecond, 300*time.Millisecond, 4096
	}})
	alice := f.issue(pki.KindClient, "alice")
	for _, text := range []string{"", "GET / HTTP/1.1\r\n\r\n", "\x16\x03\x01\x02\x00\x01"} {
		conn, err := net.Dial("tcp", f.address)
		if err != nil {
			t.Fatal(err)
		}
		_ = conn.SetDeadline(time.Now().Add(10 * time.Second))
		if _, err := io.WriteString(conn, text); err != nil {
			t.Fatal(err)
		}
		if _, err := io.Copy(io.Discard, conn); err != nil && !strings.Contains(err.Error(), "reset") {
			t.Errorf("%q: %v", text, err)
		}
		_ = conn.Close()
	}
	f.await("a slow one", func(e entry) bool {
		return e.Code == string(CodeHandshake) && e.Reason == "the handshake took too long"
	})
	f.await("one without TLS", func(e entry) bool {
		return e.Code == string(CodeHandshake) && strings.Contains(e.Reason, "first record does not look like a TLS handshake")
	})
	conn := f.dialTLS(alice, "http/1.1")
	if _, err := io.WriteString(conn, "GET / HTTP/1.1\r\nHost: localhost\r\n"); err != nil {
		t.Fatal(err)
	}
	if _, err := io.Copy(io.Discard, conn); err != nil {
		t.Error(err)
	}
	conn = f.dialTLS(alice, "http/1.1")
	if _, err := io.WriteString(conn, "GET / HTTP/1.1\r\nHost: localhost\r\nX: "+strings.Repeat("x", 20_000)+"\r\n\r\n"); err != nil {
		t.Fatal(err)
	}
	if answer, err := http.ReadResponse(bufio.NewReader(conn), nil); err != nil || answer.StatusCode != http.StatusRequestHeaderFieldsTooLarge {
		t.Errorf("a header of 20 000 octets: %v, %v", answer, err)
	}
	if len(f.seen) > 0 {
		t.Error("the upstream was asked")
	}
}

// AnyGenuine lets in what the CA has signed and the inventory does not know; who
// is revoked there stays out.
func TestAnyGenuine(t *testing.T) {
	f := newFixture(t, options{source: func(c *PKIConfig) { c.AnyGenuine = true }})
	alice := f.issue(pki.KindClient, "alice")
	f.wantIn(*f.stolen("somebody"))
	f.wantIn(alice)
	f.revoke(alice, pki.KeyCompromise)
	f.wantOut(&alice)
	f.wantOut(selfMade(t, "alice"))
}

// A client is told the names of the CAs, so that it knows which certificate to
// show.
func TestNamesOfCAs(t *testing.T) {
	f := newFixture(t, options{})
	roots, issuing, err := f.pki.Trusted(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	var names [][]byte
	conn, err := tls.Dial("tcp", f.address, &tls.Config{RootCAs: f.roots, ServerName: "localhost", MaxVersion: tls.VersionTLS12,
		GetClientCertificate: func(r *tls.CertificateRequestInfo) (*tls.Certificate, error) {
			names = r.AcceptableCAs
			return &tls.Certificate{}, nil
		}})
	if err == nil {
		_ = conn.Close()
		t.Error("nobody is let in")
	}
	for _, ca := range append(roots, issuing...) {
		if !slices.ContainsFunc(names, func(n []byte) bool { return bytes.Equal(n, ca.RawSubject) }) {
			t.Errorf("%s is not named", ca.Subject)
		}
	}
}
