package gate

import (
	"context"
	"crypto/tls"
	"fmt"
	"io"
	"net"
	"sync/atomic"
	"time"

	"github.com/pires/go-proxyproto"
	"github.com/pires/go-proxyproto/tlvparse"
)

// carry copies octets between a client and an upstream until both have ended.
func (s *rawServer) carry(c *conn, secure *tls.Conn) {
	defer func() { _ = secure.NetConn().Close() }() // nobody is left to tell
	g := s.gate
	who := c.who.Load()
	busy := c.usage.begin(g.config.Limits, g.now())
	defer c.usage.end()
	if why := s.refuses(who, busy); why != nil {
		g.refused(c, why)
		return
	}
	up, err := g.config.Upstream.dial(c.ctx)
	if err == nil && g.config.Upstream.proxied {
		err = writeProxyHeader(up, c, who)
	}
	if err != nil {
		g.upstreamLost(c, err)
		if up != nil {
			_ = up.Close() // the first error is the one to report
		}
		return
	}
	defer func() { _ = up.Close() }()                           // both directions have ended
	defer context.AfterFunc(c.ctx, func() { _ = up.Close() })() // a cut ends both
	var ended atomic.Int32
	done := make(chan struct{})
	go func() {
		defer close(done)
		_, _ = io.Copy(up, checked{secure, c}) // how it ended makes no difference
		closeWrite(up)
		s.last(&ended, c)
	}()
	_, _ = io.Copy(secure, up) // as above
	_ = secure.CloseWrite()    // the client may still send
	s.last(&ended, c)
	<-done
}

// refuses says why a connection does not go to the upstream. There are no
// requests to judge: what a rule says of methods and paths is true of none.
func (s *rawServer) refuses(who *holder, busy *Refusal) *Refusal {
	g := s.gate
	if d := g.config.Rules.current.Load().Decide(who.Identity, "", ""); !d.Allowed {
		return &Refusal{CodeNotAllowed, "no rule allows it"}
	}
	if busy != nil {
		return busy
	}
	return g.logFails()
}

// last ends the direction that goes on when the other has ended, when nothing
// has moved for a while.
func (s *rawServer) last(ended *atomic.Int32, c *conn) {
	if ended.Add(1) > 1 {
		return
	}
	done := make(chan struct{})
	c.whenClosed(func() { close(done) })
	go func() {
		tick := time.NewTicker(rawPatience)
		defer tick.Stop()
		for moved := int64(-1); moved != c.in.Load()+c.out.Load(); {
			moved = c.in.Load() + c.out.Load()
			select {
			case <-tick.C:
			case <-done:
				return
			}
		}
		_ = c.Close() // which ends the upstream's, too
	}()
}

func closeWrite(c net.Conn) {
	if half, ok := c.(interface{ CloseWrite() error }); ok {
		_ = half.CloseWrite() // it may be closed already
	}
}

// checked reads no more for the upstream when the connection was cut.
type checked struct {
	io.Reader
	conn *conn
}

// Read implements io.Reader.
func (r checked) Read(b []byte) (int, error) {
	n, err := r.Reader.Read(b)
	if r.conn.ended.Load() != nil {
		return 0, net.ErrClosed
	}
	return n, err
}

// writeProxyHeader tells the upstream who connects: addresses, and of TLS the
// version and the common name of the client's certificate, as HAProxy does.
func writeProxyHeader(up net.Conn, c *conn, who *holder) error {
	h := proxyproto.HeaderProxyFromAddrs(2, c.RemoteAddr(), c.LocalAddr())
	state := c.state.Load()
	client := tlvparse.PP2SSL{
		Client: tlvparse.PP2_BITFIELD_CLIENT_SSL | tlvparse.PP2_BITFIELD_CLIENT_CERT_CONN | tlvparse.PP2_BITFIELD_CLIENT_CERT_SESS,
		TLV:    []proxyproto.TLV{{Type: proxyproto.PP2_SUBTYPE_SSL_VERSION, Value: []byte(tls.VersionName(state.Version))}},
	}
	if cn := who.Certificate.Subject.CommonName; cn != "" {
		client.TLV = append(client.TLV, proxyproto.TLV{Type: proxyproto.PP2_SUBTYPE_SSL_CN, Value: []byte(cn)})
	}
	tlv, err := client.Marshal()
	if err != nil {
		return fmt.Errorf("writing the PROXY protocol: %w", err)
	}
	tlvs := []proxyproto.TLV{tlv}
	if state.ServerName != "" {
		tlvs = append(tlvs, proxyproto.TLV{Type: proxyproto.PP2_TYPE_AUTHORITY, Value: []byte(state.ServerName)})
	}
	if err := h.SetTLVs(tlvs); err != nil {
		return fmt.Errorf("writing the PROXY protocol: %w", err)
	}
	_, err = h.WriteTo(up)
	return err
}
