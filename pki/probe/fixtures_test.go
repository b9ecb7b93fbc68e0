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

func (i *identity) tls() tls.Certificate {
	return tls.Certificate{Certificate: i.chain, PrivateKey: i.key}
}

// fixture is a server with a CA of its own, and three clients: nobody, one
// whom the server's client CA knows, and one of another CA.
type fixture struct {
	serverCA, server, clientCA, good, stranger *identity
}

var newFixture = sync.OnceValue(func() *fixture {
	t := fixtureTB{}
	f := &fixture{serverCA: newCA(t, "Server CA"), clientCA: newCA(t, "Client CA")}
	f.server = newLeaf(t, "localhost", x509.ExtKeyUsageServerAuth, f.serverCA)
	f.good = newLeaf(t, "alice", x509.ExtKeyUsageClientAuth, f.clientCA)
	f.stranger = newLeaf(t, "alice", x509.ExtKeyUsageClientAuth, newCA(t, "Another CA"))
	return f
})

// fixtureTB lets what all tests share be made once.
type fixtureTB struct{ testing.TB }

func (fixtureTB) Helper()           {}
func (fixtureTB) Fatal(args ...any) { panic(fmt.Sprint(args...)) }

func (f *fixture) config(t testing.TB, target string, client *identity) Config {
	t.Helper()
	parsed, err := ParseTarget(target)
	if err != nil {
		t.Fatal(err)
	}
	c := Config{Target: parsed, Roots: []*x509.Certificate{f.serverCA.certificate}, Timeout: probeTimeout, Now: time.Now}
	if client != nil {
		certificate := client.tls()
		c.Certificate = &certificate
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

// summary is a line for each version and one for the outcome.
func summary(r *Report) string {
	var b strings.Builder
	for _, v := range r.TLS {
		if v.Offered != Yes {
			fmt.Fprintf(&b, "%s offered %s\n", v.Version, v.Offered)
			continue
		}
		fmt.Fprintf(&b, "%s requested %s, none %s", v.Version, v.Requested, attemptSummary(&v.None))
		if v.Ours != nil {
			fmt.Fprintf(&b, ", ours %s", attemptSummary(v.Ours))
		}
		b.WriteByte('\n')
	}
	return b.String() + r.Outcome.String()
}

func attemptSummary(a *Attempt) string {
	s := fmt.Sprintf("%s %s", a.Verdict, a.Layer)
	if a.Alert != nil {
		s += fmt.Sprintf(" a%d", a.Alert.Number)
	}
	if a.HTTP != nil {
		s += fmt.Sprintf(" %d", a.HTTP.Status)
	}
	return s
}

// checkSummary compares line by line; want's lines may be indented.
func checkSummary(t testing.TB, r *Report, want string) {
	t.Helper()
	var lines []string
	for _, line := range strings.Split(strings.TrimSpace(want), "\n") {
		lines = append(lines, strings.TrimSpace(line))
	}
	if got, want := summary(r), strings.Join(lines, "\n"); got != want {
		t.Errorf("got\n%s\nwant\n%s\nreason: %s\n%+v", got, want, r.Reason, r.TLS)
	}
}

// files are the fixture as real programs read it.
type files struct{ certificate, key, clientCA string }

func (f *fixture) write(t testing.TB, dir string) files {
	t.Helper()
	key, err := x509.MarshalPKCS8PrivateKey(f.server.key)
	if err != nil {
		t.Fatal(err)
	}
	write := func(name, kind string, der []byte) string {
		path := filepath.Join(dir, name)
		if err := os.WriteFile(path, pem.EncodeToMemory(&pem.Block{Type: kind, Bytes: der}), 0o600); err != nil {
			t.Fatal(err)
		}
		return path
	}
	return files{
		certificate: write("server.crt", "CERTIFICATE", f.server.certificate.Raw),
		key:         write("server.key", "PRIVATE KEY", key),
		clientCA:    write("client-ca.crt", "CERTIFICATE", f.clientCA.certificate.Raw),
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
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	exited := make(chan struct{})
	go func() { _ = cmd.Wait(); close(exited) }()
	t.Cleanup(func() {
		_ = cmd.Process.Kill()
		<-exited
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
