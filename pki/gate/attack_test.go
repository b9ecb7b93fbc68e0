package gate

import (
	"bufio"
	"io"
	"net"
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"mutual/pki"
	"mutual/pki/gate/proof"
)

// What a revoked client has running ends at the upstream, too: a WebSocket, and an
// upload of which the upstream reads nothing.
func TestCutReachesTheUpstream(t *testing.T) {
	ended := make(chan string, 2)
	f := newFixture(t, options{api: http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if r.URL.Path == "/stuck" {
			conn, _, err := http.NewResponseController(w).Hijack()
			if err != nil {
				t.Error(err)
				return
			}
			time.Sleep(200 * time.Millisecond) // it reads nothing for a while
			_, _ = io.Copy(io.Discard, conn)
			_ = conn.Close()
			ended <- r.URL.Path
			return
		}
		proof.API().ServeHTTP(w, r)
		ended <- r.URL.Path
	})})
	alice := f.issue(pki.KindClient, "alice")
	socket := f.dialTLS(alice, "http/1.1")
	if _, err := io.WriteString(socket, "GET /socket HTTP/1.1\r\nHost: localhost\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n\r\n"); err != nil {
		t.Fatal(err)
	}
	if answer, err := http.ReadResponse(bufio.NewReader(socket), nil); err != nil || answer.StatusCode != http.StatusSwitchingProtocols {
		t.Fatal(answer, err)
	}
	upload := f.dialTLS(alice, "http/1.1")
	if _, err := io.WriteString(upload, "POST /stuck HTTP/1.1\r\nHost: localhost\r\nContent-Length: 1000000000\r\n\r\n"); err != nil {
		t.Fatal(err)
	}
	go func() { _, _ = io.Copy(upload, endless{}) }()
	<-f.seen
	<-f.seen
	if a := f.revoke(alice, pki.KeyCompromise); a.Cut != 2 {
		t.Errorf("%d connections were cut", a.Cut)
	}
	for range 2 {
		select {
		case <-ended:
		case <-time.After(5 * time.Second):
			t.Fatal("the upstream still has it")
		}
	}
	if f.gate.running() {
		t.Error("the gate has a request running")
	}
}

type endless struct{}

// Read implements io.Reader.
func (endless) Read(b []byte) (int, error) { return len(b), nil }

// An epoch that could not be remembered is named, and remembered by a later look.
func TestMemoryFails(t *testing.T) {
	f := newFixture(t, options{})
	alice := f.issue(pki.KindClient, "alice")
	dirs, err := filepath.Glob(filepath.Join(f.state, "gate-*"))
	if err != nil || len(dirs) != 1 {
		t.Fatal(dirs, err)
	}
	if err := os.Rename(dirs[0], dirs[0]+".away"); err != nil {
		t.Fatal(err)
	}
	if _, err := f.pki.Revoke(t.Context(), f.only(alice), pki.KeyCompromise, false); err != nil {
		t.Fatal(err)
	}
	for range 2 { // also where nothing is new
		answers, err := Tell(t.Context(), filepath.Join(f.dir, "gates"), 1, false, nil, time.Now)
		if err != nil || len(answers) != 1 || !strings.Contains(answers[0].Error, "writing the gate's memory") {
			t.Errorf("%+v, %v", answers, err)
		}
	}
	f.wantOut(&alice)
	if err := os.Rename(dirs[0]+".away", dirs[0]); err != nil {
		t.Fatal(err)
	}
	f.tell()
	if left, err := filepath.Glob(filepath.Join(dirs[0], "epoch-*")); err != nil || len(left) != 1 {
		t.Errorf("remembered are %v, %v", left, err)
	}
}

// Who says nothing keeps nobody out: the oldest makes room.
func TestStrangersMakeRoom(t *testing.T) {
	f := newFixture(t, options{config: func(c *Config) { c.Limits.Connections = 20 }})
	alice := f.issue(pki.KindClient, "alice")
	for range 40 {
		conn, err := net.Dial("tcp", f.address)
		if err != nil {
			t.Fatal(err)
		}
		defer func() { _ = conn.Close() }()
	}
	f.wantIn(alice)
	f.await("one that made room", func(e entry) bool { return e.Code == string(CodeTooMany) && strings.Contains(e.Reason, "the oldest") })
}

// One identity has so many requests running, however few connections it has.
func TestRunningRequests(t *testing.T) {
	release := make(chan struct{})
	f := newFixture(t, options{
		config: func(c *Config) { c.Limits.Requests = 3 },
		api:    http.HandlerFunc(func(http.ResponseWriter, *http.Request) { <-release }),
	})
	alice := f.issue(pki.KindClient, "alice")
	c := f.client(&alice)
	got := make(chan int)
	for range 4 {
		go func() {
			status, _ := f.get(c, "/")
			got <- status
		}()
	}
	if status := <-got; status != http.StatusTooManyRequests {
		t.Errorf("the first that ends gets %d", status)
	}
	close(release)
	for range 3 {
		if status := <-got; status != http.StatusOK {
			t.Errorf("another gets %d", status)
		}
	}
}

// Draining waits for what was upgraded.
func TestDrainOfSockets(t *testing.T) {
	f := newFixture(t, options{config: func(c *Config) { c.Drain = 700 * time.Millisecond }, api: proof.API()})
	alice := f.issue(pki.KindClient, "alice")
	socket := f.dialTLS(alice, "http/1.1")
	if _, err := io.WriteString(socket, "GET /socket HTTP/1.1\r\nHost: localhost\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n\r\n"); err != nil {
		t.Fatal(err)
	}
	in := bufio.NewReader(socket)
	if answer, err := http.ReadResponse(in, nil); err != nil || answer.StatusCode != http.StatusSwitchingProtocols {
		t.Fatal(answer, err)
	}
	began := time.Now()
	go f.stop()
	if _, err := io.Copy(io.Discard, in); err == nil {
		t.Error("it ends in good order")
	}
	if took := time.Since(began); took < 500*time.Millisecond {
		t.Errorf("it was cut after %s", took)
	}
	f.stop()
}

// The socket of a gate whose path would be too long may be removed by somebody:
// the gate is then named, and not taken for dead.
func TestTellWithoutSocket(t *testing.T) {
	f := newFixture(t, options{})
	gates := filepath.Join(t.TempDir(), strings.Repeat("x", 120))
	if err := os.MkdirAll(gates, 0o700); err != nil {
		t.Fatal(err)
	}
	c, err := ListenControl(gates, t.TempDir(), "long")
	if err != nil {
		t.Fatal(err)
	}
	go c.Serve(f.gate)
	if err := os.RemoveAll(filepath.Dir(c.entries[1])); err != nil {
		t.Fatal(err)
	}
	for range 2 {
		if answers, err := Tell(t.Context(), gates, 0, false, nil, time.Now); err != nil || len(answers) != 1 || answers[0].Error == "" {
			t.Errorf("%+v, %v", answers, err)
		}
	}
	c.Close()
	for name, text := range map[string]string{"a.path": "", "b.path": "relative"} {
		if err := os.WriteFile(filepath.Join(gates, name), []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	if answers, err := Tell(t.Context(), gates, 0, false, nil, time.Now); err != nil || len(answers) != 2 || !strings.Contains(answers[0].Error, "does not say where") {
		t.Errorf("%+v, %v", answers, err)
	}
}
