//go:build unix

package commands

import (
	"bufio"
	"bytes"
	"crypto/tls"
	"crypto/x509"
	"encoding/json"
	"flag"
	"fmt"
	"io"
	"math/rand/v2"
	"net"
	"net/http"
	"net/http/httptest"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"mutual/pki"
	"mutual/pki/gate/proof"
	"mutual/pki/pemfile"
	"mutual/pki/store"
)

var gateKills = flag.Int("gate-kills", 20, "how often TestGateKilled kills an act, and every fourth time the gate")

// guarded is a PKI and a gate, which is a process, in front of a small API.
type guarded struct {
	*testing.T
	dir, pki string
	env      []string
	api      *httptest.Server
	flags    []string
	cmd      *exec.Cmd
	address  string
	said     *bytes.Buffer
	exited   chan struct{}
}

func newGuarded(t *testing.T, flags ...string) *guarded {
	t.Helper()
	if racing && t.Name() != "TestGateKilled" {
		t.Skip("not with the race detector: one process with it is enough")
	}
	dir := t.TempDir()
	g := &guarded{T: t, dir: dir, pki: filepath.Join(dir, "pki"), flags: flags}
	g.env = append(os.Environ(), "MUTUAL_PKI="+g.pki, "XDG_STATE_HOME="+filepath.Join(dir, "state"), "XDG_RUNTIME_DIR="+dir)
	g.api = httptest.NewServer(proof.API())
	t.Cleanup(g.api.Close)
	g.run(0, "init", "--name", "Guarded", "-q")
	return g
}

// run runs a command that ends with the code, and gives what it printed on both
// streams.
func (g *guarded) run(code int, words ...string) string {
	g.Helper()
	cmd := exec.Command("mutual", words...)
	cmd.Env = g.env
	out, err := cmd.CombinedOutput()
	if cmd.ProcessState == nil || cmd.ProcessState.ExitCode() != code {
		g.Fatalf("mutual %q ends with %v, want %d:\n%s", words, err, code, out)
	}
	return string(out)
}

// start starts the gate and waits until it listens.
func (g *guarded) start() {
	g.Helper()
	words := append([]string{"gate", "--to", g.api.URL, "--allow-all", "--log", filepath.Join(g.dir, "gate.jsonl")}, g.flags...)
	if !slices.Contains(g.flags, "--listen") {
		words = append(words, "--listen", "127.0.0.1:0")
	}
	g.cmd = exec.Command("mutual", words...)
	g.cmd.Env = g.env
	stderr, err := g.cmd.StderrPipe()
	if err != nil {
		g.Fatal(err)
	}
	if err := g.cmd.Start(); err != nil {
		g.Fatal(err)
	}
	cmd := g.cmd
	watchdog := time.AfterFunc(time.Minute, func() { _ = cmd.Process.Kill() })
	listens, exited := make(chan string, 1), make(chan struct{})
	g.exited = exited
	var said bytes.Buffer
	g.said = &said
	go func() {
		defer close(exited)
		in := bufio.NewScanner(stderr)
		for in.Scan() {
			_, _ = fmt.Fprintln(&said, in.Text())
			if rest, ok := strings.CutPrefix(in.Text(), "mutual: note: the gate listens at "); ok {
				address, _, _ := strings.Cut(rest, ",")
				listens <- address
			}
		}
		_ = cmd.Wait() // its state is looked at
		watchdog.Stop()
	}()
	g.Cleanup(func() {
		_ = cmd.Process.Signal(syscall.SIGCONT)
		_ = cmd.Process.Kill() // it may have ended
		<-exited
	})
	select {
	case g.address = <-listens:
	case <-exited:
		g.Fatalf("the gate has ended:\n%s", &said)
	}
}

// end ends the gate with a signal and gives its exit code.
func (g *guarded) end(signal syscall.Signal) int {
	g.Helper()
	if err := g.cmd.Process.Signal(signal); err != nil {
		g.Fatal(err)
	}
	<-g.exited
	return g.cmd.ProcessState.ExitCode()
}

// issue issues to a name and gives the certificate.
func (g *guarded) issue(name string) *tls.Certificate {
	g.Helper()
	g.run(0, "issue", "client", name, "--out", filepath.Join(g.dir, "out"), "-q")
	cert, err := tls.LoadX509KeyPair(filepath.Join(g.dir, "out", name+".crt"), filepath.Join(g.dir, "out", name+".key"))
	if err != nil {
		g.Fatal(err)
	}
	return &cert
}

func (g *guarded) clientConfig(cert *tls.Certificate) *tls.Config {
	g.Helper()
	data, err := pemfile.ReadFile(filepath.Join(g.pki, "root.crt"), pemfile.MaxFile)
	if err != nil {
		g.Fatal(err)
	}
	roots := x509.NewCertPool()
	roots.AppendCertsFromPEM(data)
	return &tls.Config{RootCAs: roots, ServerName: "localhost", Certificates: []tls.Certificate{*cert}}
}

// isIn reports whether a new connection is answered.
func (g *guarded) isIn(cert *tls.Certificate) bool {
	g.Helper()
	status, _, err := proof.Client{Address: g.address, Config: g.clientConfig(cert)}.Hello(g.Context())
	return err == nil && status == http.StatusOK
}

// live opens an endless answer and gives a channel that is closed when it ends.
func (g *guarded) live(cert *tls.Certificate) <-chan struct{} {
	g.Helper()
	conn, err := tls.Dial("tcp", g.address, g.clientConfig(cert))
	if err != nil {
		g.Fatal(err)
	}
	g.Cleanup(func() { _ = conn.Close() })
	if _, err := io.WriteString(conn, "GET /stream HTTP/1.1\r\nHost: localhost\r\n\r\n"); err != nil {
		g.Fatal(err)
	}
	answer, err := http.ReadResponse(bufio.NewReader(conn), nil)
	if err != nil || answer.StatusCode != http.StatusOK {
		g.Fatalf("%v, %v", answer, err)
	}
	ended := make(chan struct{})
	go func() {
		defer close(ended)
		_, _ = io.Copy(io.Discard, answer.Body)
	}()
	return ended
}

func (g *guarded) wantEnd(what string, ended <-chan struct{}, within time.Duration) {
	g.Helper()
	select {
	case <-ended:
	case <-time.After(within):
		g.Errorf("%s: the stream goes on", what)
	}
}

// What acts and the gate say to each other, with real processes: a revocation is
// acknowledged, a gate that does not answer is named, one that was killed is not
// counted, and what was revoked stays out after a restart.
func TestGateProcess(t *testing.T) {
	g := newGuarded(t, "--drain", "2s")
	alice, bob, carol := g.issue("alice"), g.issue("bob"), g.issue("carol")
	g.start()
	first := g.address
	ofAlice, ofBob := g.live(alice), g.live(bob)
	if out := g.run(0, "revoke", "alice"); !strings.Contains(out, "gate  "+g.address+"  1 live connection cut in ") {
		t.Errorf("revoke says\n%s", out)
	}
	g.wantEnd("alice", ofAlice, 5*time.Second)
	if g.isIn(alice) || !g.isIn(bob) {
		t.Error("alice is let in, or bob is not")
	}
	var again struct{ Gates []struct{ Gate string } }
	if err := json.Unmarshal([]byte(g.run(0, "revoke", "alice", "--json")), &again); err != nil || len(again.Gates) != 1 {
		t.Errorf("an act that changes nothing asks the gates: %+v, %v", again, err)
	}

	if err := g.cmd.Process.Signal(syscall.SIGSTOP); err != nil {
		t.Fatal(err)
	}
	out := g.run(4, "revoke", "bob", "--reason", "keyCompromise")
	for _, want := range []string{"did not acknowledge", "has not acknowledged it: it did not answer", "revoked  bob", "CRL  issuing CA"} {
		if !strings.Contains(out, want) {
			t.Errorf("%q is missing:\n%s", want, out)
		}
	}
	if err := g.cmd.Process.Signal(syscall.SIGCONT); err != nil {
		t.Fatal(err)
	}
	g.wantEnd("bob", ofBob, 5*time.Second)

	if err := os.Rename(filepath.Join(g.dir, "gate.jsonl"), filepath.Join(g.dir, "old.jsonl")); err != nil {
		t.Fatal(err)
	}
	if err := g.cmd.Process.Signal(syscall.SIGHUP); err != nil {
		t.Fatal(err)
	}
	waitFor(t, "the new log", func() bool { _, err := os.Stat(filepath.Join(g.dir, "gate.jsonl")); return err == nil })
	if !g.isIn(carol) {
		t.Error("carol is not let in")
	}

	g.end(syscall.SIGKILL)
	if out := g.run(0, "hold", "carol"); strings.Contains(out, "gate") {
		t.Errorf("a dead gate is counted:\n%s", out)
	}
	if left, err := os.ReadDir(filepath.Join(g.pki, "gates")); err != nil || len(left) > 0 {
		t.Errorf("%v is left, %v", left, err)
	}
	g.start()
	if g.isIn(alice) || g.isIn(bob) || g.isIn(carol) || g.address == first {
		t.Error("somebody who is revoked is let in after a restart")
	}
	if out := g.run(0, "unhold", "carol"); !strings.Contains(out, "0 live connections cut") {
		t.Errorf("unhold says\n%s", out)
	}
	if !g.isIn(carol) {
		t.Error("carol is not let in again at once")
	}
	if n := strings.Count(g.run(0, "list"), " server "); n != 1 {
		t.Errorf("%d server certificates were issued", n)
	}
	ofCarol := g.live(carol)
	began := time.Now()
	if code := g.end(syscall.SIGTERM); code != 0 {
		t.Errorf("it ends with %d:\n%s", code, g.said)
	}
	g.wantEnd("carol", ofCarol, time.Second)
	if took := time.Since(began); took < 1500*time.Millisecond {
		t.Errorf("the stream had only %s to drain", took)
	}
	if left, err := os.ReadDir(filepath.Join(g.pki, "gates")); err != nil || len(left) > 0 {
		t.Errorf("%v is left, %v", left, err)
	}
}

// An act whose list cannot be made says of a gate that reads lists that it has
// not heard of it, and the gate goes on; when the list is out, so is who is on it.
func TestGateWithoutList(t *testing.T) {
	g := newGuarded(t)
	alice := g.issue("alice")
	g.run(0, "issue", "server", "localhost", "--out", filepath.Join(g.dir, "out"), "-q")
	dir, err := os.MkdirTemp("", "gate") // the path of a socket must be short
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = os.RemoveAll(dir) }()
	socket := filepath.Join(dir, "control")
	g.flags = []string{
		"--ca", filepath.Join(g.pki, "ca.crt"), "--crl", filepath.Join(g.pki, "crl", "chain.pem"), "--control", socket, "--drain", "0s",
		"--cert", filepath.Join(g.dir, "out", "localhost.crt"), "--key", filepath.Join(g.dir, "out", "localhost.key"),
	}
	pkiOfEnv := g.env
	g.env = slices.DeleteFunc(slices.Clone(g.env), func(s string) bool { return strings.HasPrefix(s, "MUTUAL_PKI=") })
	g.start()
	g.env = pkiOfEnv
	g.run(0, "gate", "add", socket)
	ofAlice := g.live(alice)
	key := filepath.Join(g.pki, "issuing.key")
	if err := os.Rename(key, key+".away"); err != nil {
		t.Fatal(err)
	}
	if out := g.run(4, "revoke", "alice"); !strings.Contains(out, "did not acknowledge: the revocation list that it would read is not out") {
		t.Errorf("revoke says\n%s", out)
	}
	if !g.isIn(alice) {
		t.Error("the gate knows of a list that nobody could make")
	}
	if err := os.Rename(key+".away", key); err != nil {
		t.Fatal(err)
	}
	g.run(0, "crl", "refresh")
	g.wantEnd("alice", ofAlice, 10*time.Second)
	if g.isIn(alice) {
		t.Error("alice is let in")
	}
}

// A CA key with a passphrase is used by a process of its own, which gets it
// through a pipe.
func TestGatePassphrase(t *testing.T) {
	g := newGuarded(t)
	secret := filepath.Join(g.dir, "secret")
	if err := os.WriteFile(secret, []byte("correct horse\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	alice := g.issue("alice")
	g.run(0, "ca", "passphrase", "--new-passphrase-file", secret)
	cmd := exec.Command("mutual", "gate", "--listen", "127.0.0.1:0", "--to", g.api.URL, "--allow-all")
	cmd.Env = g.env
	if out, err := cmd.CombinedOutput(); err == nil || !strings.Contains(string(out), "passphrase") {
		t.Errorf("without it: %v\n%s", err, out)
	}
	g.flags = []string{"--passphrase-file", secret, "--drain", "0s"}
	g.start()
	if !g.isIn(alice) {
		t.Error("alice is not let in")
	}
	g.end(syscall.SIGTERM)
	g.flags = []string{"--drain", "0s"} // the certificate is there now
	g.start()
	if !g.isIn(alice) {
		t.Error("alice is not let in after a restart")
	}
}

// Acts are killed at any time, and so is the gate. Whatever was reported done is
// in force at once; what is on record is so within a second or so; and after a
// restart nobody who is revoked is let in.
func TestGateKilled(t *testing.T) {
	n := *gateKills
	if testing.Short() {
		n = min(n, 4)
	}
	g := newGuarded(t, "--drain", "0s")
	certs := make([]*tls.Certificate, n)
	for i := range certs {
		certs[i] = g.issue(fmt.Sprintf("c%d", i))
	}
	p, err := store.Open(t.Context(), g.pki, store.Options{Now: time.Now})
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = p.Close() }()
	g.start()
	reported, recorded := 0, 0
	for i, cert := range certs {
		ended := g.live(cert)
		cmd := exec.Command("mutual", "revoke", fmt.Sprintf("c%d", i), "-q")
		cmd.Env = g.env
		if err := cmd.Start(); err != nil {
			t.Fatal(err)
		}
		delay := time.Duration(rand.Int64N(int64(60 * time.Millisecond)))
		var both sync.WaitGroup
		both.Go(func() { time.Sleep(delay); _ = cmd.Process.Kill() })
		if i%4 == 3 {
			both.Go(func() { time.Sleep(time.Duration(rand.Int64N(int64(delay) + 1))); g.end(syscall.SIGKILL) })
		}
		done := cmd.Wait() == nil
		if done {
			reported++
			if i%4 != 3 && g.isIn(cert) {
				t.Errorf("c%d is let in after its revocation was reported", i)
			}
		}
		both.Wait()
		if i%4 == 3 {
			g.start()
		}
		known, err := p.Lookup(t.Context(), pki.FingerprintOf(cert.Certificate[0]))
		if err != nil {
			t.Fatal(err)
		}
		if done && known.Revocation == nil {
			t.Errorf("c%d: what was reported is not on record", i)
		}
		if known.Revocation != nil {
			recorded++
			g.wantEnd(fmt.Sprintf("c%d", i), ended, 5*time.Second)
			if g.isIn(cert) {
				t.Errorf("c%d is let in, and revoked", i)
			}
		} else if !g.isIn(cert) {
			t.Errorf("c%d is not let in, and not revoked", i)
		}
	}
	t.Logf("%d acts, %d on record, %d reported", n, recorded, reported)
	g.run(0, "log", "--verify")
}

// A place that is taken is said before anything is made.
func TestGateAddressTaken(t *testing.T) {
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = l.Close() }()
	g := newGuarded(t)
	out := g.run(1, "gate", "--listen", l.Addr().String(), "--to", g.api.URL, "--allow-all")
	if !strings.Contains(out, "address already in use") || !strings.Contains(out, "--listen") {
		t.Errorf("it says\n%s", out)
	}
	if _, err := os.Stat(filepath.Join(g.dir, "state")); err == nil {
		t.Error("something was made")
	}
}
