package gate

import (
	"context"
	"crypto/tls"
	"crypto/x509"
	"errors"
	"flag"
	"fmt"
	"io"
	"net"
	"net/http"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"sync"
	"sync/atomic"
	"syscall"
	"testing"
	"time"

	"mutual/pki"
	"mutual/pki/keys"
	"mutual/pki/store"
)

var handshakes = flag.Int("handshakes", 1000, "how many handshakes TestRevokeWhileShaking makes; a tenth as many certificates are revoked")

// While handshakes go on, certificates are revoked one after the other. None is
// answered after the gate has acknowledged its revocation, whatever was going on
// then, and in the end nothing is left in the index.
func TestRevokeWhileShaking(t *testing.T) {
	t.Parallel()
	total := *handshakes
	if testing.Short() {
		total = min(total, 500)
	}
	f := newFixture(t, options{config: func(c *Config) { c.Limits.PerIdentity = 1 << 20 }})
	key, err := keys.Generate(keys.P256)
	if err != nil {
		t.Fatal(err)
	}
	type holder struct {
		cert tls.Certificate
		out  atomic.Bool // acknowledged
	}
	holders := make([]*holder, total/10)
	for i := range holders {
		holders[i] = &holder{cert: f.issueFor(pki.KindClient, fmt.Sprintf("c%d", i), key)}
	}
	var answered, refused, wrong atomic.Int64
	next := make(chan int)
	var shaking sync.WaitGroup
	for range 32 {
		shaking.Go(func() {
			for i := range next {
				h := holders[i%len(holders)]
				before := h.out.Load()
				status := f.callOnce(h.cert)
				switch {
				case status == http.StatusOK && before:
					wrong.Add(1)
				case status == http.StatusOK:
					answered.Add(1)
				default:
					refused.Add(1)
					if !before && !f.isRevoked(h.cert) {
						wrong.Add(1)
					}
				}
			}
		})
	}
	var revoking sync.WaitGroup
	begin := make(chan struct{})
	revoking.Go(func() {
		<-begin
		for _, h := range holders {
			f.revoke(h.cert, pki.Superseded)
			h.out.Store(true)
			if n := len(f.gate.index.of(pki.FingerprintOf(h.cert.Leaf.Raw))); n > 0 && f.openOf(h.cert) > 0 {
				t.Errorf("%s has %d connections after its revocation was acknowledged", h.cert.Leaf.Subject, n)
			}
		}
	})
	for i := range total {
		if i == total/4 {
			close(begin)
		}
		next <- i
	}
	close(next)
	shaking.Wait()
	revoking.Wait()
	for _, h := range holders {
		if status := f.callOnce(h.cert); status != 0 {
			t.Errorf("%s is answered with %d after everything", h.cert.Leaf.Subject, status)
		}
	}
	if wrong.Load() > 0 {
		t.Errorf("%d answers after an acknowledgement, or refusals without a revocation", wrong.Load())
	}
	if answered.Load() == 0 || refused.Load() == 0 {
		t.Errorf("%d answered and %d refused: nothing was raced", answered.Load(), refused.Load())
	}
	var conns, certs int
	if !eventually(func() bool {
		conns, certs = f.gate.index.size()
		return conns+certs == 0
	}) {
		t.Errorf("%d connections of %d certificates are left in the index", conns, certs)
	}
}

// callOnce makes one handshake and asks for one answer; 0 is a refusal.
func (f *fixture) callOnce(cert tls.Certificate) int {
	conn, err := tls.Dial("tcp", f.address, &tls.Config{RootCAs: f.roots, ServerName: "localhost", Certificates: []tls.Certificate{cert}})
	if err != nil {
		return 0
	}
	defer func() { _ = conn.Close() }()
	_ = conn.SetDeadline(time.Now().Add(20 * time.Second))
	if _, err := io.WriteString(conn, "GET / HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n"); err != nil {
		return 0
	}
	text, _ := io.ReadAll(io.LimitReader(conn, 1<<16)) // a cut connection gives what it gave
	if strings.HasPrefix(string(text), "HTTP/1.1 200 ") && strings.HasSuffix(string(text), "hello\n") {
		return http.StatusOK
	}
	return 0
}

func (f *fixture) isRevoked(cert tls.Certificate) bool {
	known, err := f.pki.Lookup(f.Context(), pki.FingerprintOf(cert.Leaf.Raw))
	return err == nil && known.Revocation != nil
}

// openOf counts the connections of a certificate that were let in and not cut:
// others that are being refused are in the index for as long as that takes.
func (f *fixture) openOf(cert tls.Certificate) int {
	n := 0
	for _, c := range f.gate.index.of(pki.FingerprintOf(cert.Leaf.Raw)) {
		if who := c.who.Load(); who != nil && who.refusal == nil && c.ended.Load() == nil {
			n++
		}
	}
	return n
}

// An act that is killed after its commit tells nobody: the gate finds out by
// itself within a second or so.
func TestGatePolls(t *testing.T) {
	t.Parallel()
	f := newFixture(t, options{})
	alice := f.issue(pki.KindClient, "alice")
	_, in := f.liveConn(alice)
	began := time.Now()
	if _, err := f.pki.Revoke(t.Context(), f.only(alice), pki.KeyCompromise, false); err != nil {
		t.Fatal(err)
	}
	f.wantCut(in, CodeRevoked)
	if took := time.Since(began); took > 4*time.Second {
		t.Errorf("it took %s", took)
	}
	f.wantOut(&alice)
}

// The issuing CA's own revocation takes out everyone.
func TestRevokedCA(t *testing.T) {
	f := newFixture(t, options{})
	alice := f.issue(pki.KindClient, "alice")
	_, in := f.liveConn(alice)
	if _, err := f.pki.Revoke(t.Context(), store.Selection{CA: true, Certificates: []pki.Fingerprint{f.issuing()}}, pki.CACompromise, false); err != nil {
		t.Fatal(err)
	}
	if a := f.tell(); a.Cut != 1 {
		t.Errorf("%d connections were cut", a.Cut)
	}
	f.wantCut(in, CodeRevoked)
	f.wantOut(&alice)
}

func (f *fixture) issuing() pki.Fingerprint {
	f.Helper()
	_, issuing, err := f.pki.Trusted(f.Context())
	if err != nil {
		f.Fatal(err)
	}
	return pki.FingerprintOf(issuing[0].Raw)
}

// A dead gate's socket is removed and not counted; one that accepts and does not
// answer is named; and a path that is too long goes elsewhere.
func TestTell(t *testing.T) {
	t.Parallel()
	f := newFixture(t, options{})
	gates := filepath.Join(f.dir, "gates")
	dead, err := ListenControl(gates, t.TempDir(), "dead")
	if err != nil {
		t.Fatal(err)
	}
	dead.listener.(interface{ SetUnlinkOnClose(bool) }).SetUnlinkOnClose(false)
	_ = dead.listener.Close()
	silent, err := ListenControl(gates, t.TempDir(), "silent")
	if err != nil {
		t.Fatal(err)
	}
	defer silent.Close()
	answers, err := Tell(t.Context(), gates, 0, false, nil, time.Now)
	if err != nil || len(answers) != 2 {
		t.Fatalf("%+v, %v", answers, err)
	}
	slices.SortFunc(answers, func(a, b Acknowledged) int { return strings.Compare(a.Error, b.Error) })
	if answers[0].Error != "" || answers[0].Gate != f.address || answers[0].Process != os.Getpid() {
		t.Errorf("the gate answers %+v", answers[0])
	}
	if !strings.Contains(answers[1].Error, "did not answer") || answers[1].TookMs < 1900 {
		t.Errorf("the silent one is %+v", answers[1])
	}
	if _, err := os.Lstat(dead.entries[0]); err == nil {
		t.Error("the socket of the dead gate is still there")
	}

	long := filepath.Join(t.TempDir(), strings.Repeat("x", 120))
	if err := os.MkdirAll(long, 0o700); err != nil {
		t.Fatal(err)
	}
	c, err := ListenControl(filepath.Join(long, "gates"), t.TempDir(), "long")
	if err != nil {
		t.Fatal(err)
	}
	go c.Serve(f.gate)
	if answers, err := Tell(t.Context(), filepath.Join(long, "gates"), 0, false, nil, time.Now); err != nil || len(answers) != 1 || answers[0].Gate != "long" || answers[0].Error != "" {
		t.Errorf("%+v, %v", answers, err)
	}
	c.Close()
	if left, err := os.ReadDir(filepath.Join(long, "gates")); err != nil || len(left) > 0 {
		t.Errorf("%v is left, %v", left, err)
	}
	if answers, err := Tell(t.Context(), filepath.Join(long, "nosuch"), 0, false, nil, time.Now); err != nil || answers != nil {
		t.Errorf("%+v, %v", answers, err)
	}
}

// What is written to a gate's socket is no command: rubbish is not answered, and
// harms nothing.
func TestControlRubbish(t *testing.T) {
	f := newFixture(t, options{})
	for _, text := range []string{"", "\n", "{", "[]\n", `{"epoch":"x"}` + "\n", strings.Repeat("x", 1<<20)} {
		conn, err := dialUnix(f.control.entries[0])
		if err != nil {
			t.Fatal(err)
		}
		_ = conn.SetDeadline(time.Now().Add(5 * time.Second))
		_, _ = io.WriteString(conn, text) // it may have hung up
		closeWrite(conn)
		if answer, _ := io.ReadAll(conn); len(answer) > 0 {
			t.Errorf("%.20q is answered with %q", text, answer)
		}
		_ = conn.Close()
	}
	f.tell()
}

// How many ask a gate at once is bounded: one more is answered when another goes.
func TestControlBound(t *testing.T) {
	f := newFixture(t, options{})
	var idle []net.Conn
	for range mostAsking {
		conn, err := dialUnix(f.control.entries[0])
		if err != nil {
			t.Fatal(err)
		}
		defer func() { _ = conn.Close() }()
		idle = append(idle, conn)
	}
	if !eventually(func() bool { return len(f.control.busy) == mostAsking }) {
		t.Fatalf("only %d are listened to", len(f.control.busy))
	}
	answered := make(chan []Acknowledged, 1)
	go func() {
		answers, _ := Tell(t.Context(), filepath.Join(f.dir, "gates"), 0, false, nil, time.Now)
		answered <- answers
	}()
	select {
	case answers := <-answered:
		t.Errorf("one more is answered: %+v", answers)
		return
	case <-time.After(50 * time.Millisecond):
	}
	if n := len(f.control.busy); n > mostAsking {
		t.Errorf("%d are listened to", n)
	}
	_ = idle[0].Close()
	if answers := <-answered; len(answers) != 1 || answers[0].Error != "" {
		t.Errorf("when one has gone: %+v", answers)
	}
}

// A hold of the issuing CA takes out everyone, and its end lets everyone back in
// at once.
func TestHeldCA(t *testing.T) {
	f := newFixture(t, options{})
	alice := f.issue(pki.KindClient, "alice")
	_, in := f.liveConn(alice)
	issuing := store.Selection{CA: true, Certificates: []pki.Fingerprint{f.issuing()}}
	if _, err := f.pki.Revoke(t.Context(), issuing, pki.CertificateHold, false); err != nil {
		t.Fatal(err)
	}
	f.tell()
	f.wantCut(in, CodeRevoked)
	f.wantOut(&alice)
	if _, err := f.pki.Unhold(t.Context(), issuing, false); err != nil {
		t.Fatal(err)
	}
	f.tell()
	f.wantIn(alice)
}

// hooked is a context that has something done when it is looked at for the n-th
// time, which is before a statement.
type hooked struct {
	context.Context
	left int
	do   func()
}

// Err implements context.Context.
func (h *hooked) Err() error {
	if h.left--; h.left == 0 {
		h.do()
	}
	return h.Context.Err()
}

// A CA that is revoked while the gate reads what else has changed takes everyone
// out, whichever statement it comes before.
func TestCARevokedWhileLooking(t *testing.T) {
	for at := 1; ; at++ {
		f := newFixture(t, options{})
		alice, bob := f.issue(pki.KindClient, "alice"), f.issue(pki.KindClient, "bob")
		_, in := f.liveConn(alice)
		f.gate.looking.Lock() // nobody else looks
		if _, err := f.pki.Revoke(t.Context(), f.only(bob), pki.Unspecified, false); err != nil {
			t.Fatal(err)
		}
		ctx := &hooked{Context: t.Context(), left: at, do: func() {
			issuing := store.Selection{CA: true, Certificates: []pki.Fingerprint{f.issuing()}}
			if _, err := f.pki.Revoke(t.Context(), issuing, pki.CACompromise, false); err != nil {
				t.Error(err)
			}
		}}
		f.gate.lookAtSource(ctx)
		f.gate.looking.Unlock()
		if ctx.left > 0 {
			f.stop()
			if at < 4 {
				t.Errorf("a look has %d statements", at-1)
			}
			return
		}
		f.tell()
		f.wantCut(in, CodeRevoked)
		f.wantOut(&alice)
		f.stop()
	}
}

// A judgement does not wait for a database that hangs when its connection is gone,
// and a source that was closed is not opened again.
func TestSourceLetsGo(t *testing.T) {
	f := newFixture(t, options{})
	alice := f.issue(pki.KindClient, "alice")
	s := f.gate.config.Source.(*PKISource)
	for range cap(s.slots) {
		s.slots <- struct{}{}
	}
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	if j := s.Judge(ctx, []*x509.Certificate{alice.Leaf}, time.Now()); j.Refusal == nil || j.Refusal.Code != CodeCouldNotTell {
		t.Errorf("%+v", j.Refusal)
	}
	for range cap(s.slots) {
		<-s.slots
	}
	f.stop()
	if _, err := s.Look(t.Context()); err == nil || s.state.Load() != nil {
		t.Error("it is opened again")
	}
}

// Only HTTP can say why somebody is refused.
func TestRawRefuseWith(t *testing.T) {
	f := newFixture(t, options{})
	c := f.config(options{})
	defer func() { _ = c.Log.Close() }()
	c.RefuseWith = 403
	var err error
	if c.Upstream, err = ParseRawUpstream("127.0.0.1:1", false); err != nil {
		t.Fatal(err)
	}
	if _, err := New(t.Context(), c); err == nil || !strings.Contains(err.Error(), "only HTTP") {
		t.Errorf("%v", err)
	}
}

// A socket that a gate was killed beside, before it had its name, keeps no other
// from starting; one that somebody listens at does.
func TestStaleControl(t *testing.T) {
	path := filepath.Join(t.TempDir(), "c.sock")
	stale, err := net.ListenUnix("unix", &net.UnixAddr{Name: path + newSuffix, Net: "unix"})
	if err != nil {
		t.Fatal(err)
	}
	stale.SetUnlinkOnClose(false)
	_ = stale.Close()
	first, err := ListenControlAt(path, "x")
	if err != nil {
		t.Fatal(err)
	}
	defer first.Close()
	if _, err := ListenControlAt(path, "y"); !errors.Is(err, syscall.EADDRINUSE) {
		t.Errorf("%v", err)
	}
}

// Identities that are gone are forgotten, but not before they may send as many
// requests as at first.
func TestForgottenIdentities(t *testing.T) {
	x := newIdentities(Limits{PerIdentity: 1, Requests: 10, Rate: 1})
	now := time.Now()
	visit := func(name string, at time.Time) *usage {
		of, leave, ok := x.enter(Identity{Name: name}, at)
		if !ok {
			t.Fatal("it is refused")
		}
		leave()
		return of
	}
	for range 2 {
		if why := visit("busy", now).begin(x.limits, now); why != nil {
			t.Fatal(why)
		}
	}
	for i := range 3 * leastSweep {
		visit(strconv.Itoa(i), now)
	}
	if n := len(x.of); n > leastSweep+1 {
		t.Errorf("%d are remembered", n)
	}
	if why := visit("busy", now).begin(x.limits, now); why == nil {
		t.Error("to come back is to be forgiven")
	}
}

// stuckSource is a source whose look hangs from some time on.
type stuckSource struct {
	Source
	hangs atomic.Bool
	end   chan struct{}
}

// Look implements Source.
func (s *stuckSource) Look(ctx context.Context) (Change, error) {
	if s.hangs.Load() {
		<-s.end
	}
	return s.Source.Look(ctx)
}

// The lease does not hang on a look that hangs.
func TestLeaseOfStuckSource(t *testing.T) {
	t.Parallel()
	stuck := &stuckSource{end: make(chan struct{})}
	f := newFixture(t, options{config: func(c *Config) {
		stuck.Source, c.Source, c.Lease = c.Source, stuck, 1500*time.Millisecond
	}})
	alice := f.issue(pki.KindClient, "alice")
	_, in := f.liveConn(alice)
	stuck.hangs.Store(true)
	f.wantCut(in, CodeSourceLost)
	f.wantOut(&alice)
	close(stuck.end)
}
