package gate

import (
	"context"
	"crypto/tls"
	"crypto/x509"
	"errors"
	"fmt"
	"net"
	"sync"
	"sync/atomic"
	"time"

	"mutual/pki/store"
)

// Config says what a gate does.
type Config struct {
	Source      Source
	Rules       *RuleSource
	Certificate *CertificateSource // of the server
	Upstream    Upstream
	Log         *Log
	Now         func() time.Time
	Limits      Limits
	// Lease is how long the gate goes on without being able to read the source.
	Lease time.Duration
	// Drain is how long connections may go on when the gate ends.
	Drain time.Duration
	// RefuseWith is the HTTP status that somebody who is refused is answered
	// with; 0: the TLS handshake fails.
	RefuseWith int
	// Header is what the upstream is told of the client beside Client-Cert.
	Header HeaderStyle
	// Warn is told what a person should know: a file that is broken, a list that
	// is about to end. It may be nil.
	Warn func(string)
}

// Gate is a running gate.
type Gate struct {
	config     Config
	index      *index
	identities *identities
	metrics    metrics
	tls        *tls.Config

	looking  sync.Mutex
	warned   map[string]bool           // of looking
	warnings atomic.Int64              // how many there are
	lastGood atomic.Pointer[time.Time] // when the source was read last
	shut     atomic.Pointer[Refusal]   // not nil: nobody is let in
	epoch    atomic.Pointer[Epoch]
	issuers  atomic.Pointer[x509.CertPool]
	handler  func(*conn, *tls.Conn) // takes a connection that was let in
}

// New makes a gate and reads the source for the first time.
func New(ctx context.Context, c Config) (*Gate, error) {
	if c.RefuseWith != 0 && c.Upstream.raw {
		return nil, errors.New("only HTTP can answer who is refused: the upstream takes octets")
	}
	g := &Gate{config: c, index: newIndex(), warned: map[string]bool{}}
	g.identities = newIdentities(c.Limits)
	g.tls = &tls.Config{
		MinVersion:             tls.VersionTLS12,
		ClientAuth:             tls.RequireAnyClientCert, // who it is decides VerifyConnection
		SessionTicketsDisabled: true,                     // whoever comes back is looked at again
		Renegotiation:          tls.RenegotiateNever,
		Time:                   c.Now,
		NextProtos:             c.Upstream.protocols(),
		GetCertificate: func(*tls.ClientHelloInfo) (*tls.Certificate, error) {
			return g.config.Certificate.current.Load(), nil
		},
	}
	if c.RefuseWith != 0 {
		g.tls.ClientAuth = tls.RequestClientCert // nobody is let in without: see conn.verify
	}
	if looked := g.Look(ctx); looked.Err != nil {
		return nil, looked.Err
	}
	if err := g.started(); err != nil {
		return nil, err
	}
	return g, nil
}

// Looked is what a look at source, rules and files came to.
type Looked struct {
	Epoch Epoch         // that is in force
	Cut   int           // connections
	Took  time.Duration // until they were cut
	Err   error         // the source could not be read
}

// Look reads what has changed and cuts who would not be let in any more. It is
// done when nobody who is out has a connection.
func (g *Gate) Look(ctx context.Context) Looked {
	g.looking.Lock()
	defer g.looking.Unlock()
	began := g.now()
	warnings := map[string]bool{}
	looked, done := g.lookAtSource(ctx) // first: somebody may be waiting for it
	if err := g.config.Certificate.look(began); err != nil {
		warnings[err.Error()] = true
	}
	rulesChanged, err := g.config.Rules.look(began)
	if err != nil {
		warnings[err.Error()] = true
	}
	if rulesChanged {
		looked.Cut += g.cutWhere(g.notAllowed)
	}
	now := g.now() // a clock that was set forward moves no timer
	looked.Cut += g.cutWhere(func(c *conn) *Refusal {
		if who := c.who.Load(); who != nil && who.refusal == nil && now.After(who.until) {
			return ended
		}
		return nil
	})
	looked.Took = g.now().Sub(began)
	if done != nil {
		if err := done(); err != nil && looked.Err == nil {
			looked.Err = err
		}
	}
	for _, text := range g.config.Source.Warnings() {
		warnings[text] = true
	}
	if err := g.config.Log.broken(); err != nil {
		warnings["the access log cannot be written: "+oneLine(err.Error())] = true
	}
	if looked.Err != nil {
		warnings[looked.Err.Error()] = true
	}
	g.warn(warnings)
	return looked
}

// warn says what was not said before.
func (g *Gate) warn(warnings map[string]bool) {
	for text := range warnings {
		if !g.warned[text] && g.config.Warn != nil {
			g.config.Warn(text)
		}
	}
	g.warned = warnings
	g.warnings.Store(int64(len(warnings)))
}

// lookAtSource gives what is left to do when everyone who is out has been cut.
func (g *Gate) lookAtSource(ctx context.Context) (Looked, func() error) {
	change, err := g.config.Source.Look(ctx)
	if err != nil {
		return g.lost(err), nil
	}
	now := g.now()
	g.lastGood.Store(&now)
	g.shut.Store(nil)
	g.epoch.Store(&change.Epoch)
	looked := Looked{Epoch: change.Epoch}
	all := change.All
	if change.Revoked != nil {
		for taken, err := range change.Revoked {
			if err != nil {
				all = true // whoever was not named is found by judging everyone
				break
			}
			for _, c := range g.index.of(taken.Fingerprint) {
				looked.Cut += count(c.cut(revoked(taken)))
			}
		}
	}
	if all {
		pool := x509.NewCertPool()
		for _, ca := range g.config.Source.Issuers() {
			pool.AddCert(ca)
		}
		g.issuers.Store(pool)
		looked.Cut += g.judgeEveryone(ctx)
	}
	return looked, change.Done
}

func revoked(t store.Taken) *Refusal {
	return &Refusal{CodeRevoked, fmt.Sprintf("revoked on %s (%s)", t.At.Format(time.RFC3339), t.Reason)}
}

// lost is what becomes of a source that cannot be read: at once when it has gone
// backwards, and else when the lease is over, nobody is let in and everyone is
// cut.
func (g *Gate) lost(err error) Looked {
	looked := Looked{Err: err}
	if last := g.epoch.Load(); last != nil {
		looked.Epoch = *last
	}
	why := g.overdue()
	if errors.Is(err, ErrRolledBack) {
		why = &Refusal{CodeRolledBack, oneLine(err.Error())}
	}
	if why != nil {
		g.shut.Store(why)
		looked.Cut = g.cutWhere(func(*conn) *Refusal { return why })
	}
	return looked
}

// overdue says, when the source was not read for longer than the lease, why
// nobody is let in.
func (g *Gate) overdue() *Refusal {
	if last := g.lastGood.Load(); last == nil || g.now().Sub(*last) > g.config.Lease {
		return &Refusal{CodeSourceLost, fmt.Sprintf("what says who is revoked was not read for longer than %s", g.config.Lease)}
	}
	return nil
}

// closedFor says why nobody at all is let in, or nil.
func (g *Gate) closedFor() *Refusal {
	if why := g.shut.Load(); why != nil {
		return why
	}
	return g.overdue()
}

// judge says who presents a chain and whether they are let in now.
func (g *Gate) judge(ctx context.Context, presented []*x509.Certificate) Judgement {
	if why := g.closedFor(); why != nil {
		return Judgement{Identity: Identify(presented[0]), Refusal: why}
	}
	j := g.config.Source.Judge(ctx, presented, g.now().UTC())
	if j.Refusal == nil {
		if !g.config.Rules.current.Load().Admits(j.Identity) {
			j.Refusal = &Refusal{CodeNotAllowed, "no rule lets it in"}
		}
	}
	return j
}

// judgeEveryone judges each certificate that has connections anew.
func (g *Gate) judgeEveryone(ctx context.Context) int {
	n := 0
	for f, presented := range g.index.holders() {
		if j := g.judge(ctx, presented); j.Refusal != nil {
			for _, c := range g.index.of(f) {
				n += count(c.cut(j.Refusal))
			}
		}
	}
	return n
}

// notAllowed says why the rules do not let a connection go on: they do not let
// its holder in, or one of the requests that it has running.
func (g *Gate) notAllowed(c *conn) *Refusal {
	who := c.who.Load()
	if who == nil || who.refusal != nil {
		return nil
	}
	rules := g.config.Rules.current.Load()
	if !rules.Admits(who.Identity) {
		return &Refusal{CodeNotAllowed, "no rule lets it in any more"}
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	for r := range c.requests {
		if d := rules.Decide(who.Identity, r.method, r.path); !d.Allowed {
			return &Refusal{CodeNotAllowed, "no rule allows any more what it does"}
		}
	}
	return nil
}

// cutWhere cuts the connections for which there is a reason.
func (g *Gate) cutWhere(why func(*conn) *Refusal) int {
	n := 0
	for _, c := range g.index.everyone() {
		if r := why(c); r != nil {
			n += count(c.cut(r))
		}
	}
	return n
}

func count(is bool) int {
	if is {
		return 1
	}
	return 0
}

func (g *Gate) now() time.Time { return g.config.Now() }

// lookEvery is how often source, rules and files are looked at without being
// told to.
const lookEvery = time.Second

// Serve lets connections in until the context ends. Then it takes no more, lets
// what runs go on for the time of Config.Drain, and cuts the rest.
func (g *Gate) Serve(ctx context.Context, listeners ...net.Listener) {
	var group sync.WaitGroup
	follow, stop := context.WithCancel(context.WithoutCancel(ctx)) // revocations count while it drains
	defer group.Wait()
	defer stop()
	group.Go(func() { g.follow(follow) })
	group.Go(func() { g.keepLease(follow) })

	server := g.newServer()
	group.Go(func() { server.run() })
	for _, l := range listeners {
		group.Go(func() { g.accept(l) })
	}
	<-ctx.Done()
	g.index.shut()
	for _, l := range listeners {
		_ = l.Close() // nobody is let in any more
	}
	drain, cancel := context.WithTimeout(context.WithoutCancel(ctx), g.config.Drain)
	defer cancel()
	server.drain(drain)
	g.cutWhere(func(*conn) *Refusal { return &Refusal{CodeShutdown, "the gate ends"} })
	server.close()
}

func (g *Gate) follow(ctx context.Context) {
	tick := time.NewTicker(lookEvery)
	defer tick.Stop()
	for {
		select {
		case <-tick.C:
			g.Look(ctx)
		case <-ctx.Done():
			return
		}
	}
}

// keepLease cuts everyone when the lease is over, also while a look hangs.
func (g *Gate) keepLease(ctx context.Context) {
	tick := time.NewTicker(lookEvery)
	defer tick.Stop()
	for {
		select {
		case <-tick.C:
		case <-ctx.Done():
			return
		}
		if why := g.overdue(); why != nil {
			g.cutWhere(func(*conn) *Refusal { return why })
		}
	}
}

// accept takes connections until the listener is closed.
func (g *Gate) accept(listener net.Listener) {
	pause := time.Duration(0)
	for {
		raw, err := listener.Accept()
		switch {
		case errors.Is(err, net.ErrClosed):
			return
		case err != nil: // such as too many open files: it passes
			pause = min(max(2*pause, 5*time.Millisecond), time.Second)
			time.Sleep(pause)
			continue
		}
		pause = 0
		if c := g.admit(raw); c != nil {
			go g.welcome(c)
		}
	}
}

// admit takes a connection in, in the order in which they come, or gives nil.
func (g *Gate) admit(raw net.Conn) *conn {
	c := &conn{Conn: raw, gate: g, began: g.now()}
	c.ctx, c.stop = context.WithCancel(context.Background())
	entered, oldest := g.index.enter(c, g.config.Limits.Connections)
	if oldest != nil {
		oldest.cut(&Refusal{CodeTooMany, "there are as many handshakes as there may be, and this one was the oldest"})
	}
	if entered {
		return c
	}
	c.stop()
	_ = raw.Close() // no more can be done
	why := &Refusal{CodeTooMany, "there are as many connections as there may be"}
	if g.index.isShut() {
		why = &Refusal{CodeShutdown, "the gate ends"}
	}
	g.refused(c, why)
	return nil
}

// welcome makes the handshake and hands over who is let in.
func (g *Gate) welcome(c *conn) {
	config := g.tls.Clone()
	config.ClientCAs = g.issuers.Load() // only the names that are asked for
	config.VerifyConnection = c.verify
	config.GetConfigForClient = func(offered *tls.ClientHelloInfo) (*tls.Config, error) {
		c.offered.Store(offered)
		return nil, nil
	}
	secure := tls.Server(c, config)
	_ = c.SetDeadline(after(g.config.Limits.Handshake))
	err := secure.Handshake()
	if err == nil {
		state := secure.ConnectionState()
		c.state.Store(&state)
		if err = c.settle(); err != nil {
			_ = secure.CloseWrite() // an orderly end: it is too late for another alert
		}
	}
	if err == nil {
		err = c.SetDeadline(time.Time{})
	}
	if err != nil {
		g.refused(c, c.refusalOfHandshake(err))
		c.linger()
		return
	}
	g.opened(c)
	g.handler(c, secure)
}
