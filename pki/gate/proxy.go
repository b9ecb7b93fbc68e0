package gate

import (
	"encoding/json"
	"errors"
	"io"
	"log"
	"net"
	"net/http"
	"net/http/httputil"
	"strings"
	"sync"
	"sync/atomic"
	"time"
)

// proxy answers the requests of connections that were let in.
type proxy struct {
	gate    *Gate
	reverse *httputil.ReverseProxy
}

func newProxy(g *Gate) *proxy {
	p := &proxy{gate: g}
	p.reverse = &httputil.ReverseProxy{
		Rewrite:      p.rewrite,
		Transport:    g.config.Upstream.transport(),
		BufferPool:   &buffers{},
		ErrorLog:     log.New(io.Discard, "", 0), // what goes wrong is in the log of the gate
		ErrorHandler: p.upstreamFailed,
	}
	return p
}

// buffers are those that bodies are copied with.
type buffers struct{ pool sync.Pool }

// Get implements httputil.BufferPool.
func (b *buffers) Get() []byte {
	if buf, ok := b.pool.Get().(*[]byte); ok {
		return *buf
	}
	return make([]byte, 32<<10)
}

// Put implements httputil.BufferPool.
func (b *buffers) Put(buf []byte) { b.pool.Put(&buf) }

// request is a request that runs.
type request struct {
	method, path string
	conn         *conn
	began        time.Time
	rule         string
	upstream     error // it could not be asked
	status       int
	written      int64
	received     atomic.Int64
}

// connKey is where the *conn of a request hangs in its context.
type connKey struct{}

// ServeHTTP implements http.Handler. A request is answered only while its
// connection would be let in.
func (p *proxy) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	g := p.gate
	c := r.Context().Value(connKey{}).(*conn)
	q := &request{method: r.Method, path: r.URL.EscapedPath(), conn: c, began: g.now()}
	why := p.refuses(c, r, q)
	if why == nil {
		why = c.usage.begin(g.config.Limits, q.began)
		defer c.usage.end()
	}
	if why == nil {
		why = g.logFails()
	}
	if why != nil {
		p.refuse(w, r, q, why)
		return
	}
	c.begin(q)
	defer c.end(q)
	if !strings.EqualFold(r.Header.Get("Upgrade"), "websocket") {
		r.Header.Del("Upgrade") // to h2c, it would be a way for requests that nobody judges
	}
	out := &response{ResponseWriter: w, request: q}
	if r.Body != http.NoBody {
		r.Body = &body{r.Body, q}
	}
	defer g.answered(r, q)
	p.reverse.ServeHTTP(out, r)
}

// refuses says why a request is not answered.
func (p *proxy) refuses(c *conn, r *http.Request, q *request) *Refusal {
	g := p.gate
	who := c.who.Load()
	switch cut, shut := c.ended.Load(), g.closedFor(); {
	case cut != nil:
		return cut
	case who.refusal != nil:
		return who.refusal
	case shut != nil:
		return shut
	case q.began.After(who.until):
		return ended
	case r.Method == http.MethodConnect:
		return &Refusal{CodeBadRequest, "CONNECT is not for a gate"}
	case r.URL.Opaque != "" || !strings.HasPrefix(q.path, "/") && q.path != "*":
		return &Refusal{CodeBadRequest, "the target of the request is no path"}
	}
	d := g.config.Rules.current.Load().Decide(who.Identity, q.method, q.path)
	if !d.Allowed {
		return &Refusal{CodeNotAllowed, "no rule allows it"}
	}
	q.rule = d.Rule
	return nil
}

// statusOf is the HTTP status of a refusal.
func (p *proxy) statusOf(why *Refusal, r *http.Request, who *holder) int {
	switch {
	case who.refusal != nil:
		return p.gate.config.RefuseWith
	case why.Code == CodeBadRequest && r.Method == http.MethodConnect:
		return http.StatusMethodNotAllowed
	case why.Code == CodeBadRequest:
		return http.StatusBadRequest
	case why.Code == CodeTooMany:
		return http.StatusTooManyRequests
	case why.Code == CodeSourceLost, why.Code == CodeRolledBack, why.Code == CodeLogLost:
		return http.StatusServiceUnavailable
	}
	return http.StatusForbidden
}

// refuse answers with one JSON object that names the reason. Who is out loses
// the connection, too.
func (p *proxy) refuse(w http.ResponseWriter, r *http.Request, q *request, why *Refusal) {
	who := q.conn.who.Load()
	q.status = p.statusOf(why, r, who)
	answer, err := json.Marshal(map[string]any{"error": map[string]any{"code": why.Code, "reason": why.Reason}})
	if err == nil {
		h := w.Header()
		h.Set("Content-Type", "application/json")
		h.Set("Cache-Control", "no-store")
		if why.Code != CodeNotAllowed && why.Code != CodeTooMany || who.refusal != nil {
			h.Set("Connection", "close") // HTTP/2: GOAWAY
		}
		w.WriteHeader(q.status)
		n, _ := w.Write(append(answer, '\n')) // a client that went away
		q.written = int64(n)
	}
	p.gate.refusedRequest(r, q, why)
}

// overrides are fields by which some upstreams take a request for one of another
// method or path than was judged.
var overrides = []string{
	"x-http-method", "x-method-override", "x-original-", "x-rewrite-", "x-envoy-original-",
	"x-forwarded-uri", "x-forwarded-prefix", "x-forwarded-path", "x-forwarded-method",
}

// rewrite makes the request for the upstream. It is called when the hop-by-hop
// fields are gone, so that a client cannot have what is set here removed.
func (p *proxy) rewrite(r *httputil.ProxyRequest) {
	to := p.gate.config.Upstream.url
	r.Out.URL.Scheme, r.Out.URL.Host = to.Scheme, to.Host
	r.Out.Host = r.In.Host
	r.Out.Trailer = nil // a client could name itself there
	r.Out.Header.Del("Trailer")
	r.SetXForwarded()
	r.Out.URL.RawQuery = r.In.URL.RawQuery // as it was sent: rules do not judge it
	if !p.gate.config.Rules.current.Load().all {
		strip(r.Out.Header, overrides)
	}
	c := r.In.Context().Value(connKey{}).(*conn)
	c.who.Load().headers.set(r.Out.Header)
}

// upstreamFailed answers for an upstream that could not be asked.
func (p *proxy) upstreamFailed(w http.ResponseWriter, _ *http.Request, err error) {
	w.(*response).request.upstream = err
	status := http.StatusBadGateway
	if timeout, ok := errors.AsType[net.Error](err); ok && timeout.Timeout() {
		status = http.StatusGatewayTimeout
	}
	w.WriteHeader(status)
}

// begin notes a request that runs.
func (c *conn) begin(q *request) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.requests == nil {
		c.requests = map[*request]struct{}{}
	}
	c.requests[q] = struct{}{}
}

func (c *conn) end(q *request) {
	c.mu.Lock()
	defer c.mu.Unlock()
	delete(c.requests, q)
}

// response notes what is answered.
type response struct {
	http.ResponseWriter
	request *request
}

// WriteHeader implements http.ResponseWriter.
func (w *response) WriteHeader(status int) {
	if status >= 200 || status == http.StatusSwitchingProtocols {
		w.request.status = status
	}
	w.ResponseWriter.WriteHeader(status)
}

// Write implements http.ResponseWriter.
func (w *response) Write(b []byte) (int, error) {
	n, err := w.ResponseWriter.Write(b)
	w.request.written += int64(n)
	return n, err
}

// Unwrap lets http.ResponseController reach what is inside.
func (w *response) Unwrap() http.ResponseWriter { return w.ResponseWriter }

// body counts what a request brings, and brings no more when the connection was
// cut.
type body struct {
	io.ReadCloser
	request *request
}

// Read implements io.Reader.
func (b *body) Read(p []byte) (int, error) {
	n, err := b.ReadCloser.Read(p)
	b.request.received.Add(int64(n)) // the transport may read it after it was answered
	if b.request.conn.ended.Load() != nil {
		return 0, net.ErrClosed
	}
	return n, err
}
