package gate

import (
	"bytes"
	"context"
	"crypto"
	"crypto/tls"
	"crypto/x509"
	"encoding/json"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/http/httptest"
	"path/filepath"
	"slices"
	"sync"
	"testing"
	"time"

	"mutual/pki"
	"mutual/pki/keys"
	"mutual/pki/pkitest"
	"mutual/pki/profile"
	"mutual/pki/store"
)

// fixture is a PKI, a gate that follows it, and an upstream that tells what it
// was asked.
type fixture struct {
	testing.TB
	pki      *store.PKI
	dir      string
	state    string
	roots    *x509.CertPool
	gate     *Gate
	address  string
	log      *logged
	upstream *httptest.Server
	seen     chan *http.Request // what the upstream was asked
	stop     func()             // ends the gate
	warned   *logged
	control  *Control
}

// logged is a log in memory.
type logged struct {
	mu   sync.Mutex
	text bytes.Buffer
}

// Write implements io.Writer.
func (l *logged) Write(b []byte) (int, error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.text.Write(b)
}

// Close implements io.Closer.
func (l *logged) Close() error { return nil }

func (l *logged) String() string {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.text.String()
}

// eventually waits until something has come about, for at most ten seconds, and
// reports whether it has.
func eventually(is func() bool) bool {
	for end := time.Now().Add(10 * time.Second); !is(); time.Sleep(2 * time.Millisecond) {
		if time.Now().After(end) {
			return false
		}
	}
	return true
}

// entry is a line of the log.
type entry struct {
	Event, Peer, SNI, ALPN, TLS, Identity, Label, Rule, Decision, Code, Reason, Method, Host, Path, Query, Protocol string
	UpstreamError                                                                                                   string
	Certificate                                                                                                     *struct {
		Serial, SHA256, Subject, Issuer string
		SANs                            []string
		NotAfter                        time.Time
	}
	Status            int
	BytesIn, BytesOut int64
	Epoch             int64
	Time              time.Time
	DurationMs        *float64
	KeyProven         *bool
	Lines             int64
}

// entries reads the log. A line that is not JSON fails the test.
func (f *fixture) entries() []entry {
	f.Helper()
	var out []entry
	for line := range bytes.Lines([]byte(f.log.String())) {
		var e entry
		if err := json.Unmarshal(line, &e); err != nil {
			f.Fatalf("%v in the line %q", err, line)
		}
		out = append(out, e)
	}
	return out
}

// await waits for a line of the log.
func (f *fixture) await(what string, is func(entry) bool) entry {
	f.Helper()
	var found entry
	if !eventually(func() bool {
		entries := f.entries()
		i := slices.IndexFunc(entries, is)
		if i >= 0 {
			found = entries[i]
		}
		return i >= 0
	}) {
		f.Fatalf("the log never has %s:\n%s", what, f.log)
	}
	return found
}

// options of a fixture.
type options struct {
	config func(*Config)              // changes the gate
	source func(*PKIConfig)           // changes how the PKI is followed
	files  func(*fixture) *FileConfig // follows files instead
	api    http.Handler               // of the upstream
}

func newFixture(t testing.TB, o options) *fixture {
	t.Helper()
	dir := t.TempDir()
	f := &fixture{TB: t, dir: filepath.Join(dir, "pki"), state: filepath.Join(dir, "state"), log: &logged{}, warned: &logged{}, seen: make(chan *http.Request, 4096)}
	f.pki = f.open(func(opts store.Options) (*store.PKI, error) {
		return store.Init(t.Context(), f.dir, store.InitRequest{
			Name: "Gate", KeyType: keys.P256, Settings: store.Settings{KeyType: keys.P256, Test: true, TTL: pkitest.MustLifetime(t, "1d"),
				CRLTTL: pkitest.MustLifetime(t, "30d"), RootCRLTTL: pkitest.MustLifetime(t, "1y")},
			RootTTL: pkitest.MustLifetime(t, "10y"), IssuingTTL: pkitest.MustLifetime(t, "5y"),
		}, opts)
	})
	f.roots = x509.NewCertPool()
	root, _, err := f.pki.Trusted(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	for _, c := range root {
		f.roots.AddCert(c)
	}
	f.upstream = httptest.NewUnstartedServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		select {
		case f.seen <- r:
		default:
		}
		if o.api != nil {
			o.api.ServeHTTP(w, r)
			return
		}
		_, _ = io.Copy(io.Discard, r.Body)
		_, _ = io.WriteString(w, "hello\n")
	}))
	f.upstream.Config.Protocols = new(http.Protocols)
	f.upstream.Config.Protocols.SetHTTP1(true)
	f.upstream.Config.Protocols.SetUnencryptedHTTP2(true)
	f.upstream.Start()
	t.Cleanup(f.upstream.Close)
	f.start(o)
	return f
}

func (f *fixture) open(do func(store.Options) (*store.PKI, error)) *store.PKI {
	f.Helper()
	p, err := do(store.Options{Now: time.Now, Actor: store.Actor{User: "test"}})
	if err != nil {
		f.Fatal(err)
	}
	f.Cleanup(func() { _ = p.Close() })
	return p
}

// start starts a gate; the one before it has been stopped.
func (f *fixture) start(o options) {
	f.Helper()
	c := f.config(o)
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		f.Fatal(err)
	}
	f.address = l.Addr().String()
	if f.control, err = ListenControl(filepath.Join(f.dir, "gates"), f.TempDir(), f.address); err != nil {
		f.Fatal(err)
	}
	if f.gate, err = New(f.Context(), c); err != nil {
		f.Fatal(err)
	}
	ctx, cancel := context.WithCancel(context.Background())
	var group sync.WaitGroup
	group.Go(func() { f.gate.Serve(ctx, l) })
	group.Go(func() { f.control.Serve(f.gate) })
	var once sync.Once
	f.stop = func() {
		once.Do(func() {
			cancel()
			f.control.Close()
			group.Wait()
			_ = c.Source.Close()
			if err := c.Log.Close(); err != nil {
				f.Error(err)
			}
		})
	}
	f.Cleanup(f.stop)
}

// config is that of a gate that lets in everyone who is genuine.
func (f *fixture) config(o options) Config {
	f.Helper()
	up, err := ParseUpstream(f.upstream.URL)
	if err != nil {
		f.Fatal(err)
	}
	log, err := NewLog(func() (io.WriteCloser, error) { return f.log, nil }, false)
	if err != nil {
		f.Fatal(err)
	}
	server := f.issue(pki.KindServer, "localhost")
	c := Config{
		Rules: FixedRules(AllowAll()), Certificate: GivenCertificate(&server), Upstream: up, Log: log, Now: time.Now,
		Limits: DefaultLimits(), Lease: 10 * time.Second, Header: HeaderNone, Warn: func(s string) { _, _ = fmt.Fprintln(f.warned, s) },
	}
	source := PKIConfig{Options: store.Options{Now: time.Now, Actor: store.Actor{User: "gate"}}, Memory: f.state}
	if o.source != nil {
		o.source(&source)
	}
	c.Source = NewPKISource(f.dir, source)
	if o.files != nil {
		if c.Source, err = NewFileSource(*o.files(f)); err != nil {
			f.Fatal(err)
		}
	}
	if o.config != nil {
		o.config(&c)
	}
	return c
}

// issue issues a certificate of a day.
func (f *fixture) issue(kind pki.Kind, name string, change ...func(*store.IssueRequest)) tls.Certificate {
	f.Helper()
	key, err := keys.Generate(keys.P256)
	if err != nil {
		f.Fatal(err)
	}
	return f.issueFor(kind, name, key, change...)
}

func (f *fixture) issueFor(kind pki.Kind, name string, key crypto.Signer, change ...func(*store.IssueRequest)) tls.Certificate {
	f.Helper()
	req := store.IssueRequest{Kind: kind, Name: pkitest.MustName(f, name, kind), PublicKey: key.Public(), Window: profile.Window{}}
	for _, do := range change {
		do(&req)
	}
	issued, err := f.pki.Issue(f.Context(), req)
	if err != nil {
		f.Fatal(err)
	}
	out := tls.Certificate{PrivateKey: key, Leaf: issued.Certificate}
	for _, c := range issued.Chain {
		out.Certificate = append(out.Certificate, c.Raw)
	}
	return out
}

// lasting makes a certificate last from now on.
func lasting(d time.Duration) func(*store.IssueRequest) {
	return func(r *store.IssueRequest) { r.Window = profile.Window{NotAfter: time.Now().Add(d)} }
}

// revoke revokes a certificate and waits for the gate.
func (f *fixture) revoke(cert tls.Certificate, reason pki.Reason) Acknowledged {
	f.Helper()
	if _, err := f.pki.Revoke(f.Context(), f.only(cert), reason, false); err != nil {
		f.Fatal(err)
	}
	return f.tell()
}

func (f *fixture) only(cert tls.Certificate) store.Selection {
	return store.Selection{Certificates: []pki.Fingerprint{pki.FingerprintOf(cert.Leaf.Raw)}}
}

// tell tells the gate of the newest epoch, as an act does, and returns its
// answer.
func (f *fixture) tell() Acknowledged {
	f.Helper()
	epoch, err := f.pki.Epoch(f.Context())
	if err != nil {
		f.Fatal(err)
	}
	answers, err := Tell(f.Context(), filepath.Join(f.dir, "gates"), epoch.Number, false, nil, time.Now)
	if err != nil || len(answers) != 1 || answers[0].Error != "" {
		f.Fatalf("the gate answers %+v, %v", answers, err)
	}
	return answers[0]
}

// client calls the gate with a certificate; nil: with none.
func (f *fixture) client(cert *tls.Certificate, change ...func(*tls.Config)) *http.Client {
	config := &tls.Config{RootCAs: f.roots, ServerName: "localhost", GetClientCertificate: func(*tls.CertificateRequestInfo) (*tls.Certificate, error) {
		if cert == nil {
			return &tls.Certificate{}, nil
		}
		return cert, nil
	}}
	for _, do := range change {
		do(config)
	}
	tr := &http.Transport{TLSClientConfig: config, Protocols: new(http.Protocols)}
	tr.Protocols.SetHTTP1(true)
	tr.Protocols.SetHTTP2(len(config.NextProtos) == 0)
	f.Cleanup(tr.CloseIdleConnections)
	return &http.Client{Transport: tr, Timeout: 20 * time.Second}
}

func (f *fixture) url(path string) string { return "https://" + f.address + path }

// get asks for a page and gives its status, 0 where the connection was refused.
func (f *fixture) get(c *http.Client, path string) (status int, body string) {
	f.Helper()
	answer, err := c.Get(f.url(path))
	if err != nil {
		return 0, err.Error()
	}
	defer func() { _ = answer.Body.Close() }()
	text, err := io.ReadAll(answer.Body)
	if err != nil {
		return 0, err.Error()
	}
	return answer.StatusCode, string(text)
}

// wantIn and wantOut call the gate on a new connection.
func (f *fixture) wantIn(cert tls.Certificate) {
	f.Helper()
	if status, body := f.get(f.client(&cert), "/"); status != http.StatusOK {
		f.Errorf("%s is not let in: %d %s", cert.Leaf.Subject, status, body)
	}
}

func (f *fixture) wantOut(cert *tls.Certificate) {
	f.Helper()
	if status, body := f.get(f.client(cert), "/"); status != 0 {
		f.Errorf("it is answered: %d %s", status, body)
	}
}

func http1(c *tls.Config) { c.NextProtos = []string{"http/1.1"} }
