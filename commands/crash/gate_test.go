//go:build linux && amd64

package crash

import (
	"context"
	"crypto/tls"
	"crypto/x509"
	"flag"
	"fmt"
	"net/http"
	"net/http/httptest"
	"os/exec"
	"strings"
	"sync"
	"sync/atomic"
	"syscall"
	"testing"
	"time"

	"mutual/pki"
	"mutual/pki/gate/proof"
	"mutual/pki/pemfile"
	"mutual/pki/store"
)

var gateKills = flag.Int("gate-kills", 8, "at how many calls TestKillsBesideGate kills revoke, and at how many the gate; 0: at all")

// guarded is a world with a gate in front of an API.
type guarded struct {
	*world
	api     string
	pki     *store.PKI
	roots   *x509.CertPool
	holders []holder
	address string
	cmd     *exec.Cmd
	ended   chan struct{}
}

// holder is somebody with a certificate of his own.
type holder struct {
	name string
	cert tls.Certificate
}

func newGuarded(t *testing.T) *guarded {
	t.Helper()
	g := &guarded{roots: x509.NewCertPool()}
	g.world = newWorld(t, func(w *world) { w.mutual("init", "-q") })
	api := httptest.NewServer(proof.API())
	t.Cleanup(api.Close)
	g.api = api.URL
	data, err := pemfile.ReadFile(g.path("pki/root.crt"), pemfile.MaxFile)
	g.must(err)
	g.roots.AppendCertsFromPEM(data)
	g.pki, err = g.open("pki")
	g.must(err)
	t.Cleanup(func() { _ = g.pki.Close() }) // only read
	return g
}

// start starts the gate; decide is asked of each call that it makes.
func (g *guarded) start(decide func(n int, call string) fate) {
	g.t.Helper()
	said, err := output()
	g.must(err)
	g.t.Cleanup(func() { _ = said.Close() })
	cmd, ended := g.command("gate", "--to", g.api, "--allow-all", "--listen", "127.0.0.1:0", "--drain", "0s", "--state", g.path("state"), "--log", g.path("gate.jsonl")), make(chan struct{})
	cmd.Stderr = said
	g.cmd, g.ended = cmd, ended
	go func() {
		defer close(ended)
		_, _ = run(cmd, decide) // what it came to is seen below
	}()
	g.t.Cleanup(g.end)
	for end := time.Now().Add(20 * time.Second); ; time.Sleep(2 * time.Millisecond) {
		if _, rest, ok := strings.Cut(g.content(said), "the gate listens at "); ok {
			g.address, _, _ = strings.Cut(rest, ",")
			return
		}
		if time.Now().After(end) {
			g.t.Fatalf("the gate does not listen:\n%s", g.content(said))
		}
	}
}

// end kills the gate.
func (g *guarded) end() {
	select {
	case <-g.ended:
	default:
		_ = syscall.Kill(g.cmd.Process.Pid, syscall.SIGKILL) // it may have ended
		<-g.ended
	}
}

// issue issues to one more name.
func (g *guarded) issue() holder {
	g.t.Helper()
	h := holder{name: fmt.Sprintf("u%d", len(g.holders))}
	g.mutual("issue", "client", h.name, "--out", "certs", "-q")
	var err error
	h.cert, err = tls.LoadX509KeyPair(g.path("certs/"+h.name+".crt"), g.path("certs/"+h.name+".key"))
	g.must(err)
	g.holders = append(g.holders, h)
	return h
}

// isIn reports whether a new connection is answered.
func (g *guarded) isIn(h holder) bool {
	ctx, cancel := context.WithTimeout(g.t.Context(), 10*time.Second)
	defer cancel()
	status, _, err := proof.Client{Address: g.address, Config: &tls.Config{
		RootCAs: g.roots, ServerName: "localhost", Certificates: []tls.Certificate{h.cert},
	}}.Hello(ctx)
	return err == nil && status == http.StatusOK
}

// isRevoked reports what is on record.
func (g *guarded) isRevoked(h holder) bool {
	g.t.Helper()
	c, err := g.pki.Lookup(g.t.Context(), pki.FingerprintOf(h.cert.Certificate[0]))
	g.must(err)
	return c.Revocation != nil
}

// check holds the gate against what is on record, within a time.
func (g *guarded) check(when string, h holder, within time.Duration) {
	g.t.Helper()
	revoked := g.isRevoked(h)
	for end := time.Now().Add(within); ; time.Sleep(20 * time.Millisecond) {
		switch in := g.isIn(h); {
		case in != revoked:
			return
		case time.Now().After(end):
			g.t.Errorf("%s: %s is revoked: %v, and is let in: %v", when, h.name, revoked, in)
			return
		}
	}
}

// points are the calls to kill at.
func (g *guarded) points(total int) []int {
	if *gateKills == 0 {
		return sample(total, total)
	}
	return sample(total, *gateKills)
}

// TestKillsBesideGate kills revoke before each call that changes or flushes a file, with
// a gate in front of an API, and the gate before each of its own while somebody is
// revoked. What was reported is in force at once, what is on record within two
// seconds, also after a restart, and what is not on record changes nothing.
func TestKillsBesideGate(t *testing.T) {
	if testing.Short() {
		t.Skip("not with -short: it kills a program many times")
	}
	t.Parallel()
	g := newGuarded(t)
	nothing := func(int, string) fate { return fate{} }
	g.start(nothing)

	total := 0
	first := g.issue()
	if a := g.traced([]string{"revoke", first.name}, func(n int, _ string) fate { total = n; return fate{} }); a.code != 0 && a.code != 4 { // both are traced, and slow
		t.Fatalf("nobody killed it: exit code %d\n%s%s", a.code, a.stdout, a.stderr)
	}
	g.check("nobody killed it", first, 2*time.Second)
	recorded := 0
	for _, at := range g.points(total) {
		h := g.issue()
		a := g.traced([]string{"revoke", h.name}, func(n int, _ string) fate { return fate{kill: n == at} })
		when := fmt.Sprintf("revoke was killed at call %d, %s", at, a.call)
		if a.code == 0 {
			g.check("revoke has reported it", h, 0)
		}
		if g.isRevoked(h) {
			recorded++
		}
		g.check(when, h, 2*time.Second)
	}
	t.Logf("revoke: killed at %d of %d calls, %d times it was on record", len(g.points(total)), total, recorded)
	g.end()

	var armed atomic.Bool
	var mu sync.Mutex
	after, at := 0, 0 // calls since it was armed, and before which of them it is killed
	counted := func(int, string) fate {
		if !armed.Load() {
			return fate{}
		}
		mu.Lock()
		defer mu.Unlock()
		after++
		return fate{kill: after == at}
	}
	g.start(counted)
	armed.Store(true)
	g.revokeBeside(g.issue())
	g.end()
	total = after
	for _, at = range g.points(total) {
		armed.Store(false)
		after = 0
		g.start(counted)
		h := g.issue()
		if !g.isIn(h) {
			t.Errorf("%s is not let in", h.name)
		}
		armed.Store(true)
		g.revokeBeside(h)
		g.end()
		g.start(nothing)
		for _, h := range g.holders {
			g.check(fmt.Sprintf("the gate was killed at call %d, and started again", at), h, 0)
		}
		g.end()
	}
	t.Logf("the gate: killed at %d of %d calls", len(g.points(total)), total)
}

// revokeBeside revokes somebody while the gate may be killed.
func (g *guarded) revokeBeside(h holder) {
	g.t.Helper()
	cmd := g.command("revoke", h.name)
	out, err := cmd.CombinedOutput()
	if code := cmd.ProcessState.ExitCode(); code != 0 && code != 4 {
		g.t.Errorf("revoke ends with %v\n%s", err, out)
	}
	if !g.isRevoked(h) {
		g.t.Errorf("it is not on record:\n%s", out)
	}
	time.Sleep(50 * time.Millisecond) // for what the gate does when it has answered
}
