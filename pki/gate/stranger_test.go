package gate

import (
	"bytes"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/tls"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/asn1"
	"io"
	"math/big"
	"net"
	"net/http"
	"sync"
	"testing"
	"time"

	"mutual/pki"
)

// withholding sends the first record of a client's second flight, which has its
// certificate, and keeps the proof of possession back.
type withholding struct {
	net.Conn
	flights int
	sent    chan struct{}
	once    sync.Once
}

// Write implements net.Conn.
func (w *withholding) Write(b []byte) (int, error) {
	if w.flights++; w.flights == 1 {
		return w.Conn.Write(b)
	}
	for rest := b; len(rest) >= 5; {
		size := 5 + int(rest[3])<<8 + int(rest[4])
		if _, err := w.Conn.Write(rest[:size]); err != nil {
			return 0, err
		}
		if rest[0] == 23 { // the rest of the flight is as good as lost
			w.once.Do(func() { close(w.sent) })
			break
		}
		rest = rest[size:]
	}
	return len(b), nil
}

// withoutKey presents a certificate to the gate and proves nothing.
func (f *fixture) withoutKey(cert tls.Certificate) {
	f.Helper()
	raw, err := net.Dial("tcp", f.address)
	if err != nil {
		f.Fatal(err)
	}
	f.Cleanup(func() { _ = raw.Close() })
	other, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		f.Fatal(err)
	}
	w := &withholding{Conn: raw, sent: make(chan struct{})}
	stolen := tls.Certificate{Certificate: cert.Certificate, PrivateKey: other}
	go func() {
		client := tls.Client(w, &tls.Config{RootCAs: f.roots, ServerName: "localhost", MinVersion: tls.VersionTLS13,
			GetClientCertificate: func(*tls.CertificateRequestInfo) (*tls.Certificate, error) { return &stolen, nil }})
		_ = client.Handshake() // it hangs until the gate ends it
	}()
	<-w.sent
}

// Whoever has only seen a certificate takes nothing away from its holder, and what
// the log says of such a handshake does not look like the holder's.
func TestWithoutTheKey(t *testing.T) {
	f := newFixture(t, options{config: func(c *Config) { c.Limits.PerIdentity, c.Limits.Handshake = 2, time.Minute }})
	alice := f.issue(pki.KindClient, "alice")
	const strangers = 4
	for range strangers {
		f.withoutKey(alice)
	}
	if !eventually(func() bool { return len(f.gate.index.of(pki.FingerprintOf(alice.Leaf.Raw))) == strangers }) {
		t.Fatal("the gate has not seen the certificate")
	}
	f.wantIn(alice)
	for _, c := range f.gate.index.of(pki.FingerprintOf(alice.Leaf.Raw)) {
		if c.state.Load() == nil {
			_ = c.Conn.SetDeadline(time.Unix(1, 0)) // as if the time for the handshake were over
		}
	}
	late := f.await("the end of a handshake", func(e entry) bool { return e.Code == string(CodeHandshake) })
	if late.Identity != "alice" || late.KeyProven == nil || *late.KeyProven {
		t.Errorf("%+v", late)
	}
	in := f.await("alice herself", func(e entry) bool { return e.Event == eventOpen })
	if in.Identity != "alice" || in.KeyProven != nil {
		t.Errorf("%+v", in)
	}
}

// The bound of an identity's connections is told when the key is proven.
func TestTooManyOfOne(t *testing.T) {
	f := newFixture(t, options{config: func(c *Config) { c.Limits.PerIdentity = 1 }})
	alice := f.issue(pki.KindClient, "alice")
	f.liveConn(alice)
	conn, err := tls.Dial("tcp", f.address, &tls.Config{RootCAs: f.roots, ServerName: "localhost", Certificates: []tls.Certificate{alice}})
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = conn.Close() }()
	if n, err := conn.Read(make([]byte, 1)); n > 0 || err != io.EOF {
		t.Errorf("the client reads %d octets, %v", n, err)
	}
	e := f.await("a refusal", func(e entry) bool { return e.Event == eventRefused })
	if e.Code != string(CodeTooMany) || e.Identity != "alice" || e.KeyProven != nil {
		t.Errorf("%+v", e)
	}
}

// strangersOwn is a certificate that nobody vouches for.
func strangersOwn(t testing.TB, serial *big.Int, subject pkix.RDNSequence) tls.Certificate {
	t.Helper()
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	name, err := asn1.Marshal(subject)
	if err != nil {
		t.Fatal(err)
	}
	template := &x509.Certificate{SerialNumber: serial, RawSubject: name, NotBefore: time.Now().Add(-time.Hour), NotAfter: time.Now().Add(time.Hour),
		ExtKeyUsage: []x509.ExtKeyUsage{x509.ExtKeyUsageClientAuth}}
	der, err := x509.CreateCertificate(rand.Reader, template, template, key.Public(), key)
	if err != nil {
		t.Fatal(err)
	}
	leaf, err := x509.ParseCertificate(der)
	if err != nil {
		t.Fatal(err)
	}
	return tls.Certificate{Certificate: [][]byte{der}, PrivateKey: key, Leaf: leaf}
}

// What a stranger writes into a certificate fills no log, however long it is.
func TestHugeCertificate(t *testing.T) {
	f := newFixture(t, options{})
	attribute := func(value string) pkix.RelativeDistinguishedNameSET {
		return pkix.RelativeDistinguishedNameSET{{Type: asn1.ObjectIdentifier{2, 5, 4, 3}, Value: value}}
	}
	var long pkix.RDNSequence
	for range 8000 {
		long = append(long, attribute("a"))
	}
	for what, cert := range map[string]tls.Certificate{
		"a serial": strangersOwn(t, new(big.Int).Lsh(big.NewInt(1), 8*100_000), pkix.RDNSequence{attribute("a")}),
		"a name":   strangersOwn(t, big.NewInt(7), long),
		"a value":  strangersOwn(t, big.NewInt(7), pkix.RDNSequence{attribute(string(bytes.Repeat([]byte("a"), 100_000)))}),
	} {
		before := len(f.log.String())
		f.wantOut(&cert)
		f.await("a refusal", func(entry) bool { return len(f.log.String()) > before })
		if grown := len(f.log.String()) - before; grown > 8<<10 {
			t.Errorf("%s without an end: the log grows by %d octets", what, grown)
		}
	}
}

// An upstream that answers before it has read the request races nothing.
func TestEarlyAnswer(t *testing.T) {
	f := newFixture(t, options{api: http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) { w.WriteHeader(http.StatusOK) })})
	alice := f.issue(pki.KindClient, "alice")
	for range 10 {
		request, err := http.NewRequestWithContext(t.Context(), http.MethodPost, f.url("/"), bytes.NewReader(make([]byte, 4<<20)))
		if err != nil {
			t.Fatal(err)
		}
		if answer, err := f.client(&alice).Do(request); err == nil { // the rest of it may be refused
			_ = answer.Body.Close()
		}
	}
	f.await("an answer", func(e entry) bool { return e.Event == eventRequest && e.Status == http.StatusOK })
}
