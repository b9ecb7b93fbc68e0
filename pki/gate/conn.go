package gate

import (
	"container/list"
	"context"
	"crypto/tls"
	"crypto/x509"
	"errors"
	"io"
	"net"
	"strings"
	"sync"
	"sync/atomic"
	"time"

	"mutual/pki"
)

// conn is one connection of a client, below TLS.
type conn struct {
	net.Conn
	gate  *Gate
	began time.Time
	ctx   context.Context // ends with the connection
	stop  context.CancelFunc

	in, out atomic.Int64 // octets of TLS

	presented []*x509.Certificate // written before the connection is claimed
	claimed   pki.Fingerprint     // of the index, as is
	stranger  *list.Element       // until it was let in

	offered atomic.Pointer[tls.ClientHelloInfo]
	state   atomic.Pointer[tls.ConnectionState] // after the handshake
	who     atomic.Pointer[holder]              // whose it is, from the handshake on
	ended   atomic.Pointer[Refusal]             // why it was cut
	logged  atomic.Bool                         // the log has said that it is open
	fixed   atomic.Pointer[[]byte]              // what every line of the log says of it, from then on

	usage *usage // of its identity, when it has been let in

	mu       sync.Mutex
	gone     bool
	atClose  []func()
	requests map[*request]struct{} // that it has running
}

// holder is who a connection was let in as. Refusal is not nil where the gate
// says so in HTTP (Config.RefuseWith).
type holder struct {
	Identity
	record  []byte // as the log has it
	headers identityHeaders
	refusal *Refusal
	until   time.Time
}

// Read implements net.Conn.
func (c *conn) Read(b []byte) (int, error) {
	n, err := c.Conn.Read(b)
	c.in.Add(int64(n))
	return n, err
}

// Write implements net.Conn.
func (c *conn) Write(b []byte) (int, error) {
	n, err := c.Conn.Write(b)
	c.out.Add(int64(n))
	return n, err
}

// Close implements net.Conn.
func (c *conn) Close() error {
	err := c.Conn.Close()
	c.mu.Lock()
	again, last := c.gone, c.atClose
	c.gone, c.atClose = true, nil
	c.mu.Unlock()
	if again {
		return err
	}
	c.stop() // only now: an upstream that ends must not look to the client like an orderly end
	for _, do := range last {
		do()
	}
	c.gate.index.leave(c)
	c.gate.wasClosed(c)
	return err
}

// whenClosed has something done when the connection is closed, or now if it is.
func (c *conn) whenClosed(do func()) {
	c.mu.Lock()
	gone := c.gone
	if !gone {
		c.atClose = append(c.atClose, do)
	}
	c.mu.Unlock()
	if gone {
		do()
	}
}

// cut ends a connection at once: what was sent and not yet received is lost, too,
// and nothing more goes to the upstream. It reports whether it was this call that
// did it.
func (c *conn) cut(why *Refusal) bool {
	if !c.ended.CompareAndSwap(nil, why) {
		return false
	}
	c.gate.wasCut(c, why)
	if tcp, ok := c.Conn.(*net.TCPConn); ok {
		_ = tcp.SetLinger(0) // it may be closed already
	}
	_ = c.Close() // not tls.Conn's, which waits for a peer that does not read
	return true
}

// A client that is refused may have sent its request already. To close with that
// unread would reset the connection, and the client might never see the alert.
const (
	lingerTime   = 500 * time.Millisecond
	lingerOctets = 256 << 10
)

// linger closes a connection on which an alert was sent, when the client has
// seen that nothing more comes.
func (c *conn) linger() {
	if half, ok := c.Conn.(interface{ CloseWrite() error }); ok && half.CloseWrite() == nil {
		_ = c.SetReadDeadline(after(lingerTime))          // it may be closed already
		_, _ = io.CopyN(io.Discard, c.Conn, lingerOctets) // nobody looks at it
	}
	_ = c.Close() // whatever was sent has been
}

// verify is called in the handshake, before the client proves that it has the key
// of what it presents: whoever has seen a certificate gets as far. Nothing that
// counts for the identity is done here; see settle.
func (c *conn) verify(state tls.ConnectionState) error {
	g := c.gate
	if len(state.PeerCertificates) == 0 {
		return c.refuse(&Refusal{CodeNoCertificate, "the client presented no certificate"})
	}
	c.presented = state.PeerCertificates
	f := pki.FingerprintOf(c.presented[0].Raw)
	if !g.index.claim(c, f) {
		return c.refuse(c.ended.Load())
	}
	j := g.judge(c.ctx, c.presented)
	c.who.Store(&holder{Identity: j.Identity, record: certificateRecord(j.Identity),
		headers: newIdentityHeaders(g.config.Header, j.Identity), until: j.Until})
	if j.Refusal != nil {
		return c.refuse(j.Refusal)
	}
	if why := g.notAllowed(c); why != nil { // the rules have changed since
		return c.refuse(why)
	}
	return nil
}

// settle counts a connection for its identity, which has proved that it has the
// key, and ends it with the certificate.
func (c *conn) settle() error {
	g, who := c.gate, c.who.Load()
	if who.refusal != nil {
		return nil
	}
	of, release, ok := g.identities.enter(who.Identity, g.now())
	if !ok {
		return c.refuse(&Refusal{CodeTooMany, "the identity has as many connections as one may have"})
	}
	c.usage = of
	c.whenClosed(release)
	end := time.AfterFunc(who.until.Sub(g.now()), func() { c.cut(ended) })
	c.whenClosed(func() { end.Stop() })
	if !g.index.prove(c) {
		return net.ErrClosed
	}
	return nil
}

// ended is why a connection does not outlive its certificate.
var ended = &Refusal{CodeExpired, "its certificate, or one above it, has ended"}

// refuse ends the handshake, or with RefuseWith lets it end and keeps in mind
// what to answer.
func (c *conn) refuse(why *Refusal) error {
	if why == nil { // closed, and not by us
		return net.ErrClosed
	}
	who := &holder{refusal: why}
	if before := c.who.Load(); before != nil {
		who.Identity, who.record = before.Identity, before.record
	}
	c.who.Store(who)
	if c.gate.config.RefuseWith != 0 {
		return nil
	}
	return why
}

// refusalOfHandshake says why a handshake did not end well.
func (c *conn) refusalOfHandshake(err error) *Refusal {
	if why := c.ended.Load(); why != nil {
		return why
	}
	if who := c.who.Load(); who != nil && who.refusal != nil {
		return who.refusal
	}
	var timeout net.Error
	switch {
	case strings.Contains(err.Error(), noCertificate):
		return &Refusal{CodeNoCertificate, "the client presented no certificate"}
	case errors.As(err, &timeout) && timeout.Timeout():
		return &Refusal{CodeHandshake, "the handshake took too long"}
	case c.offered.Load() == nil && c.in.Load() == 0:
		return &Refusal{CodeHandshake, "the client said nothing"}
	}
	return &Refusal{CodeHandshake, oneLine(err.Error())}
}

// noCertificate is what crypto/tls says of it; there is no error to match.
const noCertificate = "client didn't provide a certificate"

// oneLine makes what a peer may have had a hand in fit for a line.
func oneLine(s string) string {
	s = strings.Map(func(r rune) rune {
		if r < ' ' || r == 0x7f {
			return ' '
		}
		return r
	}, s)
	const most = 300
	if len(s) > most {
		s = strings.ToValidUTF8(s[:most], "") + "…"
	}
	return s
}

// after gives a time from now on the clock of the machine, which deadlines of
// connections are of, whatever Config.Now says.
func after(d time.Duration) time.Time {
	ctx, cancel := context.WithTimeout(context.Background(), d)
	defer cancel()
	at, _ := ctx.Deadline()
	return at
}
