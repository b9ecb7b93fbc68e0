package gate

import (
	"context"
	"crypto/tls"
	"io"
	"log"
	"net"
	"net/http"
	"slices"
	"sync"
	"time"
)

// server takes the connections that were let in.
type server interface {
	run()                      // until close
	drain(ctx context.Context) // waits until nothing runs, or the context ends
	close()
}

func (g *Gate) newServer() server {
	if g.config.Upstream.raw {
		return g.newRawServer()
	}
	return g.newHTTPServer()
}

// httpServer answers HTTP/1.1 and HTTP/2.
type httpServer struct {
	gate   *Gate
	server *http.Server
	queue  *queue
}

func (g *Gate) newHTTPServer() *httpServer {
	limits := g.config.Limits
	h := &httpServer{gate: g, queue: &queue{conns: make(chan net.Conn), done: make(chan struct{})}}
	h.server = &http.Server{
		Handler:                      newProxy(g),
		ReadHeaderTimeout:            limits.Header,
		IdleTimeout:                  limits.Idle,
		MaxHeaderBytes:               limits.HeaderBytes,
		DisableGeneralOptionsHandler: true,                       // who may ask is for the rules to say
		ErrorLog:                     log.New(io.Discard, "", 0), // what goes wrong is in the log of the gate
		Protocols:                    new(http.Protocols),
		ConnContext: func(ctx context.Context, c net.Conn) context.Context {
			// What a request does ends with the connection: net/http does not see its
			// end while a body is being read, or after an upgrade.
			of := c.(*tls.Conn).NetConn().(*conn)
			ctx = context.WithValue(of.ctx, http.ServerContextKey, ctx.Value(http.ServerContextKey))
			return context.WithValue(ctx, connKey{}, of)
		},
	}
	h.server.Protocols.SetHTTP1(true)
	h.server.Protocols.SetHTTP2(true)
	g.handler = func(c *conn, secure *tls.Conn) { h.queue.put(c, secure) }
	return h
}

func (h *httpServer) run() { _ = h.server.Serve(h.queue) } // ends with the queue

// drain also waits for what was upgraded, of which http.Server does not know.
func (h *httpServer) drain(ctx context.Context) {
	_ = h.server.Shutdown(ctx) // what is left is cut
	tick := time.NewTicker(20 * time.Millisecond)
	defer tick.Stop()
	for h.gate.running() {
		select {
		case <-tick.C:
		case <-ctx.Done():
			return
		}
	}
}

// running reports whether a connection has a request that is not answered.
func (g *Gate) running() bool {
	return slices.ContainsFunc(g.index.everyone(), func(c *conn) bool {
		c.mu.Lock()
		defer c.mu.Unlock()
		return len(c.requests) > 0
	})
}

func (h *httpServer) close() { _ = h.server.Close() } // everything has been cut

// queue is a listener of connections that have made their handshake.
type queue struct {
	conns chan net.Conn
	done  chan struct{}
	once  sync.Once
}

// Accept implements net.Listener.
func (q *queue) Accept() (net.Conn, error) {
	select {
	case c := <-q.conns:
		return c, nil
	case <-q.done:
		return nil, net.ErrClosed
	}
}

func (q *queue) put(c *conn, secure *tls.Conn) {
	select {
	case q.conns <- secure:
	case <-q.done:
		_ = c.Close() // the gate ends
	}
}

// Close implements net.Listener.
func (q *queue) Close() error {
	q.once.Do(func() { close(q.done) })
	return nil
}

// Addr implements net.Listener.
func (q *queue) Addr() net.Addr { return &net.UnixAddr{Name: "gate"} }

// rawServer copies octets.
type rawServer struct {
	gate  *Gate
	group sync.WaitGroup
	done  chan struct{}
}

func (g *Gate) newRawServer() *rawServer {
	s := &rawServer{gate: g, done: make(chan struct{})}
	g.handler = func(c *conn, secure *tls.Conn) { s.group.Go(func() { s.carry(c, secure) }) }
	return s
}

func (s *rawServer) run() { <-s.done }

func (s *rawServer) drain(ctx context.Context) {
	idle := make(chan struct{})
	go func() { s.group.Wait(); close(idle) }()
	select {
	case <-idle:
	case <-ctx.Done():
	}
}

func (s *rawServer) close() {
	close(s.done)
	s.group.Wait()
}

// rawPatience is how long the other direction may go on when one has ended and
// nothing moves.
const rawPatience = 2 * time.Minute
