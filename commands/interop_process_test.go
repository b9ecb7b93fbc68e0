package commands_test

import (
	"bytes"
	"context"
	"io"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strings"
	"sync"
	"syscall"
	"testing"
	"text/template"
	"time"
)

// serverFiles are what the servers of a test read: the files of a PKI, a
// server's and two clients' certificates, and for those who want several
// things in one file, that file.
type serverFiles struct {
	pki              *interopPKI
	certificate, key string
	pair             string // certificate, chain and key
	trustAndCRLs     string // the CAs, then their CRLs
}

func newServerFiles(p *interopPKI) *serverFiles {
	p.t.Helper()
	certificate := p.issue("server", "localhost", "--bundle")
	p.issue("client", "alice")
	p.issue("client", "bob")
	s := &serverFiles{
		pki: p, certificate: certificate,
		key: filepath.Join(p.out, "localhost.key"), pair: filepath.Join(p.out, "localhost.pem"),
		trustAndCRLs: filepath.Join(p.out, "trust.pem"),
	}
	s.writeBundles()
	return s
}

// writeBundles writes anew what is made of files that may have changed.
func (s *serverFiles) writeBundles() {
	s.pki.t.Helper()
	var all []byte
	for _, path := range []string{s.pki.trust(), s.pki.crls()} {
		data, err := os.ReadFile(path)
		if err != nil {
			s.pki.t.Fatal(err)
		}
		all = append(all, data...)
	}
	if err := os.WriteFile(s.trustAndCRLs, all, 0o600); err != nil {
		s.pki.t.Fatal(err)
	}
}

// template writes a configuration of testdata/interop for this PKI, into a
// directory of its own.
func (s *serverFiles) template(name, address string) (path string) {
	t := s.pki.t
	t.Helper()
	text, err := template.ParseFiles(filepath.Join("..", "testdata", "interop", name))
	if err != nil {
		t.Fatal(err)
	}
	var out bytes.Buffer
	if err := text.Execute(&out, map[string]string{
		"Address": address, "Certificate": s.certificate, "Key": s.key, "Pair": s.pair,
		"Trust": s.pki.trust(), "CRLs": s.pki.crls(),
	}); err != nil {
		t.Fatal(err)
	}
	path = filepath.Join(t.TempDir(), name)
	if err := os.WriteFile(path, out.Bytes(), 0o600); err != nil {
		t.Fatal(err)
	}
	return path
}

// sServer are the arguments of an s_server that requires a certificate.
func (s *serverFiles) sServer(address string) []string {
	return []string{
		"s_server", "-www", "-accept", address, "-Verify", "3", "-verify_return_error",
		"-cert", s.certificate, "-cert_chain", s.pki.file("issuing.crt"), "-key", s.key,
	}
}

// interopServer is a server that runs until it is stopped or its test ends.
type interopServer struct {
	t       *testing.T
	address string
	process *os.Process
	in      io.Writer // its standard input
	log     serverLog
	stop    func()
	exited  chan struct{} // closed when it has ended
	seen    int           // octets of the log that says and reload are done with
}

// startServer runs a server, for a minute at most, and returns when it
// listens.
func startServer(t *testing.T, address, name string, args ...string) *interopServer {
	t.Helper()
	s := startProgram(t, name, args...)
	s.address = address
	s.wait("listens", func() bool {
		conn, err := net.Dial("tcp", address)
		if err == nil {
			_ = conn.Close()
		}
		return err == nil
	})
	return s
}

// startProgram runs a program until it is stopped or the test ends, for a minute
// at most.
func startProgram(t *testing.T, name string, args ...string) *interopServer {
	t.Helper()
	ctx, cancel := context.WithTimeout(context.Background(), time.Minute)
	cmd := exec.CommandContext(ctx, name, args...)
	cmd.Cancel = func() error { return cmd.Process.Signal(syscall.SIGTERM) } // nginx takes its workers along
	cmd.WaitDelay = 5 * time.Second
	in, err := cmd.StdinPipe() // kept open: s_server ends with it
	if err != nil {
		t.Fatal(err)
	}
	s := &interopServer{t: t, in: in, exited: make(chan struct{})}
	cmd.Stdout, cmd.Stderr = &s.log, &s.log
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	go func() { _ = cmd.Wait(); close(s.exited) }() // what it says is looked at, not how it ends
	s.process = cmd.Process
	s.stop = func() { cancel(); <-s.exited; _ = in.Close() }
	t.Cleanup(func() {
		s.stop()
		if t.Failed() {
			t.Logf("%s says:\n%s", name, s.log.String())
		}
	})
	return s
}

// reload makes an nginx read its files again, and returns when the workers
// with the old ones are gone.
func (s *interopServer) reload() {
	s.t.Helper()
	s.seen = len(s.log.String())
	if err := s.process.Signal(syscall.SIGHUP); err != nil {
		s.t.Fatal(err)
	}
	s.says("exited with code 0")
}

// says waits until the server has said something since the last time.
func (s *interopServer) says(want string) {
	s.t.Helper()
	s.wait("says "+want, func() bool {
		i := strings.Index(s.log.String()[s.seen:], want)
		if i >= 0 {
			s.seen += i + len(want)
		}
		return i >= 0
	})
}

// wait waits for something that the server is to do while it runs.
func (s *interopServer) wait(what string, done func() bool) {
	s.t.Helper()
	for deadline := time.Now().Add(40 * time.Second); ; time.Sleep(20 * time.Millisecond) {
		ended := s.hasEnded()
		switch {
		case done():
			return
		case ended:
			s.t.Fatalf("the server has ended, and not: it %s:\n%s", what, s.log.String())
		case time.Now().After(deadline):
			s.t.Fatalf("waited too long until the server %s:\n%s", what, s.log.String())
		}
	}
}

func (s *interopServer) hasEnded() bool {
	select {
	case <-s.exited:
		return true
	default:
		return false
	}
}

// serverLog is what a running program says.
type serverLog struct {
	mu   sync.Mutex
	text strings.Builder
}

func (l *serverLog) Write(b []byte) (int, error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.text.Write(b)
}

func (l *serverLog) String() string {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.text.String()
}

func freeAddress(t *testing.T) string {
	t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer l.Close()
	return l.Addr().String()
}

// checkCall calls with curl, in a fresh session, as a client or as nobody, and
// compares the status of the answer (000: none) and what curl complains of
// with a regular expression. Only an answer counts: in TLS 1.3 a client is
// connected before it is judged.
func checkCall(t *testing.T, p *interopPKI, s *interopServer, version, who, want string) {
	t.Helper()
	_, output := program(t, "curl", curlArgs(p, s.address, version, who)...)
	if !regexp.MustCompile("^" + want).MatchString(output) {
		t.Errorf("TLS %s, %s: curl says %q, want %q", version, who, output, want)
	}
}

func curlArgs(p *interopPKI, address, version, who string) []string {
	_, port, _ := net.SplitHostPort(address)
	args := []string{
		"--silent", "--max-time", "10", "--output", os.DevNull, "--write-out", "%{stderr}%{http_code} %{errormsg}",
		"--noproxy", "*", "--tlsv" + version, "--tls-max", version, "--cacert", p.file("root.crt"), "https://localhost:" + port + "/",
	}
	if who != "nobody" {
		args = append(args, "--cert", filepath.Join(p.out, who+".crt"), "--key", filepath.Join(p.out, who+".key"))
	}
	return args
}

func checkSClient(t *testing.T, p *interopPKI, s *interopServer, version, who, want string) {
	t.Helper()
	checkClient(t, "openssl", sClientArgs(p, s.address, version, who), want)
}

func sClientArgs(p *interopPKI, address, version, who string) []string {
	return []string{
		"s_client", "-quiet", "-connect", address, "-verify_return_error",
		"-CAfile", p.file("root.crt"), "-servername", "localhost", "-tls" + strings.ReplaceAll(version, ".", "_"),
		"-cert", filepath.Join(p.out, who+".crt"), "-key", filepath.Join(p.out, who+".key"),
	}
}

// checkClient runs a client that gets a page, and expects it to say something.
func checkClient(t *testing.T, name string, args []string, want string) {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), 20*time.Second)
	defer cancel()
	cmd := exec.CommandContext(ctx, name, args...)
	cmd.WaitDelay = time.Second
	in, err := cmd.StdinPipe() // open until the server has answered and closed
	if err != nil {
		t.Fatal(err)
	}
	var said serverLog
	cmd.Stdout, cmd.Stderr = &said, &said
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	_, _ = io.WriteString(in, "GET / HTTP/1.0\r\n\r\n") // who refuses the server reads nothing
	_ = cmd.Wait()                                      // what it says is the verdict, not its exit code
	if !strings.Contains(said.String(), want) {
		t.Errorf("%s does not say %q:\n%s", name, want, said.String())
	}
}
