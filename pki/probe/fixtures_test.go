package probe

import (
	"context"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/tls"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/pem"
	"fmt"
	"math/big"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"
)

// probeTimeout is that of the tests: silence costs a tenth of it or a half.
const probeTimeout = 6 * time.Second

// identity is a certificate with its key, and a CA if it signs others.
type identity struct {
	certificate *x509.Certificate
	key         *ecdsa.PrivateKey
	chain       [][]byte
}

func newIdentity(t testing.TB, template *x509.Certificate, issuer *identity) *identity {
	t.Helper()
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	template.NotBefore, template.NotAfter = time.Now().Add(-time.Hour), time.Now().Add(time.Hour)
	parent, signer := template, key
	if issuer != nil {
		parent, signer = issuer.certificate, issuer.key
	}
	der, err := x509.CreateCertificate(rand.Reader, template, parent, key.Public(), signer)
	if err != nil {
		t.Fatal(err)
	}
	certificate, err := x509.ParseCertificate(der)
	if err != nil {
		t.Fatal(err)
	}
	return &identity{certificate: certificate, key: key, chain: [][]byte{der}}
}

func newCA(t testing.TB, name string) *identity {
	return newIdentity(t, &x509.Certificate{
		SerialNumber: big.NewInt(1), Subject: pkix.Name{CommonName: name},
		IsCA: true, BasicConstraintsValid: true, KeyUsage: x509.KeyUsageCertSign | x509.KeyUsageCRLSign,
	}, nil)
}

func newLeaf(t testing.TB, name string, usage x509.ExtKeyUsage, issuer *identity) *identity {
	return newIdentity(t, &x509.Certificate{
		SerialNumber: big.NewInt(0x1a2b), Subject: pkix.Name{CommonName: name},
		KeyUsage: x509.KeyUsageDigitalSignature, ExtKeyUsage: []x509.ExtKeyUsage{usage},
		DNSNames: []string{"localhost"}, IPAddresses: []net.IP{net.IPv4(127, 0, 0, 1)},
	}, issuer)
}

func (i *identity) tls() *tls.Certificate {
	return &tls.Certificate{Certificate: i.chain, PrivateKey: i.key, Leaf: i.certificate}
}

// fixture is a server with a CA of its own, and clients that the server's
// client CA knows.
type fixture struct {
	serverCA, server, clientCA, good, other *identity
}

var newFixture = sync.OnceValue(func() *fixture {
	t := fixtureTB{}
	f := &fixture{serverCA: newCA(t, "Server CA"), clientCA: newCA(t, "Client CA")}
	f.server = newLeaf(t, "localhost", x509.ExtKeyUsageServerAuth, f.serverCA)
	f.good = newLeaf(t, "alice", x509.ExtKeyUsageClientAuth, f.clientCA)
	f.other = newLeaf(t, "bob", x509.ExtKeyUsageClientAuth, f.clientCA)
	return f
})

// fixtureTB lets what all tests share be made once.
type fixtureTB struct{ testing.TB }

func (fixtureTB) Helper()           {}
func (fixtureTB) Fatal(args ...any) { panic(fmt.Sprint(args...)) }

func (f *fixture) config(t testing.TB, target string, good *identity) Config {
	t.Helper()
	parsed, err := ParseTarget(target)
	if err != nil {
		t.Fatal(err)
	}
	c := Config{Target: parsed, Roots: []*x509.Certificate{f.serverCA.certificate}, Timeout: probeTimeout, Now: time.Now}
	if good != nil {
		c.Good = good.tls()
	}
	return c
}

func run(t testing.TB, c Config) *Report {
	t.Helper()
	report, err := Run(context.Background(), c)
	if err != nil {
		t.Fatal(err)
	}
	return report
}

// modes is the mode of a report, or of each of its children if they differ, with
// where each is enforced.
func modes(r *Report) string {
	if r.Mode != Conditional && r.Mode != ModeInconclusive || len(r.Children) == 0 {
		return string(r.Mode)
	}
	var out []string
	for _, c := range r.Children {
		out = append(out, fmt.Sprintf("%s %s %s at %s", c.TLS, c.Path, c.Mode, c.EnforcedAt))
	}
	return string(r.Mode) + ": " + strings.Join(out, ", ")
}

// dump is a report for a person who wonders what went wrong.
func dump(r *Report) string {
	var b strings.Builder
	fmt.Fprintf(&b, "%s at %s, %s, %s: %s", r.Mode, r.EnforcedAt, r.Strength, r.Outcome, r.Reason)
	for _, c := range r.Cases {
		fmt.Fprintf(&b, "\n%s %s %-12s %s at %s, %s: %s", c.TLS, c.Path, c.Case, c.Verdict, c.Layer, c.Strength, c.Detail)
	}
	for _, f := range r.Findings {
		fmt.Fprintf(&b, "\n%s %s %s: %s", f.ID, f.Severity, f.Where, f.Title)
	}
	return b.String()
}

// files are the fixture as real programs read it.
type files struct{ certificate, key, both, clientCA, good, list string }

func (f *fixture) write(t testing.TB, dir string) files {
	t.Helper()
	key, err := x509.MarshalPKCS8PrivateKey(f.server.key)
	if err != nil {
		t.Fatal(err)
	}
	write := func(name string, blocks ...*pem.Block) string {
		var text []byte
		for _, b := range blocks {
			text = append(text, pem.EncodeToMemory(b)...)
		}
		path := filepath.Join(dir, name)
		if err := os.WriteFile(path, text, 0o600); err != nil {
			t.Fatal(err)
		}
		return path
	}
	certificate := func(i *identity) *pem.Block { return &pem.Block{Type: "CERTIFICATE", Bytes: i.certificate.Raw} }
	private := &pem.Block{Type: "PRIVATE KEY", Bytes: key}
	list, err := x509.CreateRevocationList(rand.Reader, &x509.RevocationList{
		Number: big.NewInt(1), ThisUpdate: time.Now().Add(-time.Hour), NextUpdate: time.Now().Add(time.Hour),
		RevokedCertificateEntries: []x509.RevocationListEntry{{SerialNumber: f.good.certificate.SerialNumber, RevocationTime: time.Now().Add(-time.Minute)}},
	}, f.clientCA.certificate, f.clientCA.key)
	if err != nil {
		t.Fatal(err)
	}
	return files{
		certificate: write("server.crt", certificate(f.server)),
		key:         write("server.key", private),
		both:        write("server.pem", certificate(f.server), private),
		clientCA:    write("client-ca.crt", certificate(f.clientCA)),
		good:        write("good.crt", certificate(f.good)),
		list:        write("client-ca.crl", &pem.Block{Type: "X509 CRL", Bytes: list}),
	}
}

func freeAddress(t testing.TB) string {
	t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer l.Close()
	return l.Addr().String()
}

// startServer runs a program until the test ends, and returns when it listens.
func startServer(t testing.TB, address, program string, args ...string) {
	t.Helper()
	cmd := exec.Command(program, args...)
	stdin, err := cmd.StdinPipe() // kept open: s_server ends with it
	if err != nil {
		t.Fatal(err)
	}
	var output strings.Builder
	cmd.Stdout, cmd.Stderr = &output, &output
	cmd.WaitDelay = time.Second // its own processes may hold the output
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	exited := make(chan struct{})
	go func() { _ = cmd.Wait(); close(exited) }()
	t.Cleanup(func() {
		_ = cmd.Process.Signal(syscall.SIGTERM) // so that it ends its own processes
		select {
		case <-exited:
		case <-time.After(3 * time.Second):
			_ = cmd.Process.Kill()
			<-exited
		}
		_ = stdin.Close()
		if t.Failed() {
			t.Logf("%s said:\n%s", program, output.String())
		}
	})
	for range 200 {
		conn, err := net.Dial("tcp", address)
		if err == nil {
			_ = conn.Close()
			return
		}
		select {
		case <-exited:
			t.Fatalf("%s ended at once", program)
		case <-time.After(50 * time.Millisecond):
		}
	}
	t.Fatalf("%s does not listen on %s", program, address)
}
