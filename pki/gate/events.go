package gate

import (
	"crypto/tls"
	"crypto/x509"
	"fmt"
	"net/http"
	"slices"
	"sync"

	"mutual/pki"
)

// The events of the log.
const (
	eventStart   = "start"   // the gate begins
	eventOpen    = "open"    // a connection was let in
	eventRequest = "request" // a request was answered by the upstream
	eventRefused = "refused" // a handshake or a request was refused
	eventCut     = "cut"     // a connection was cut
	eventClose   = "close"   // a connection that was open is closed
)

// event begins a line about a connection.
func (g *Gate) event(c *conn, event string) *line {
	l := lines.Get().(*line)
	*l = (*l)[:0]
	l.time("time", g.now())
	l.text("event", event)
	if fixed := c.fixed.Load(); fixed != nil {
		*l = append(*l, *fixed...)
	} else {
		l.connection(c)
	}
	if epoch := g.epoch.Load(); epoch != nil && epoch.Number > 0 {
		l.number("epoch", epoch.Number)
	}
	return l
}

// lines are those that have been written.
var lines = sync.Pool{New: func() any { l := make(line, 0, 2048); return &l }}

// connection says what is known of a connection.
func (l *line) connection(c *conn) {
	l.text("peer", c.RemoteAddr().String())
	if state := c.state.Load(); state != nil {
		l.text("sni", state.ServerName)
		l.text("alpn", state.NegotiatedProtocol)
		l.text("tls", tls.VersionName(state.Version))
	} else if offered := c.offered.Load(); offered != nil {
		l.text("sni", offered.ServerName)
		if len(offered.SupportedVersions) > 0 {
			l.text("tlsOffered", tls.VersionName(offered.SupportedVersions[0]))
		}
	}
	if who := c.who.Load(); who != nil && len(who.record) > 0 {
		l.raw("certificate", who.record)
		l.text("identity", who.Name)
		l.text("label", who.Label)
		if c.state.Load() == nil {
			l.raw("keyProven", []byte("false")) // anyone who has seen the certificate gets as far
		}
	}
}

// certificateRecord is a certificate as the log has it.
func certificateRecord(id Identity) []byte {
	var l line
	cert := id.Certificate
	l.text("serial", clip(id.Serial.String()))
	l.text("sha256", id.Fingerprint.String())
	l.text("subject", clip(pki.DistinguishedName(cert.Subject)))
	l.texts("sans", sans(cert))
	l.text("issuer", clip(pki.DistinguishedName(cert.Issuer)))
	l.time("notAfter", cert.NotAfter)
	return l.end()
}

// sans gives the names of a certificate, each with its kind in front as in rules.
func sans(cert *x509.Certificate) []string {
	var out []string
	for kind, names := range map[string][]string{"dns": cert.DNSNames, "email": cert.EmailAddresses, "uri": uris(cert)} {
		for _, name := range names {
			out = append(out, kind+":"+clip(name))
		}
	}
	for _, ip := range cert.IPAddresses {
		out = append(out, "ip:"+ip.String())
	}
	slices.Sort(out)
	return out[:min(len(out), maxNames)]
}

// maxNames bounds how many names of a certificate a line has.
const maxNames = 16

// clip bounds a text that a peer has made.
func clip(s string) string {
	const most = 512
	if len(s) > most {
		return s[:most] + "…"
	}
	return s
}

// write writes a line, which is gone then.
func (g *Gate) write(l *line) {
	*l = l.end()
	g.config.Log.write(*l, g.now())
	lines.Put(l)
}

// started is told when the gate begins. What must be logged can be then.
func (g *Gate) started() error {
	var l line
	l.time("time", g.now())
	l.text("event", eventStart)
	if epoch := g.epoch.Load(); epoch != nil && epoch.Number > 0 {
		l.number("epoch", epoch.Number)
	}
	if err := g.config.Log.begin(l.end(), g.now()); err != nil {
		return fmt.Errorf("writing the access log: %w", err)
	}
	return nil
}

// opened is told of each connection that was let in.
func (g *Gate) opened(c *conn) {
	if why := c.who.Load().refusal; why != nil { // it is answered, and no more
		g.metrics.handshake(why.Code)
		return
	}
	g.metrics.handshake("")
	fixed := line{','} // of a line that has begun
	fixed.connection(c)
	fixed = fixed[1:] // which writes the comma itself
	c.fixed.Store((*[]byte)(&fixed))
	c.logged.Store(true)
	l := g.event(c, eventOpen)
	l.text("decision", "allowed")
	l.milliseconds("handshakeMs", g.now().Sub(c.began))
	g.write(l)
}

// wasClosed is told of each connection that is closed.
func (g *Gate) wasClosed(c *conn) {
	if !c.logged.Load() {
		return
	}
	l := g.event(c, eventClose)
	l.number("bytesIn", c.in.Load())
	l.number("bytesOut", c.out.Load())
	l.milliseconds("durationMs", g.now().Sub(c.began))
	g.write(l)
}

// wasCut is told of each connection that was cut.
func (g *Gate) wasCut(c *conn, why *Refusal) {
	g.metrics.cut(why.Code)
	l := g.event(c, eventCut)
	l.refusal(why)
	l.milliseconds("durationMs", g.now().Sub(c.began))
	g.write(l)
}

// refused is told of each handshake that was refused.
func (g *Gate) refused(c *conn, why *Refusal) {
	g.metrics.handshake(why.Code)
	l := g.event(c, eventRefused)
	l.refusal(why)
	l.milliseconds("durationMs", g.now().Sub(c.began))
	g.write(l)
}

func (l *line) refusal(why *Refusal) {
	l.text("decision", "refused")
	l.text("code", string(why.Code))
	l.text("reason", oneLine(why.Reason))
}

// request adds what a request is.
func (l *line) request(r *http.Request, q *request) {
	l.text("method", clip(q.method))
	l.text("host", clip(r.Host))
	l.text("path", clip(q.path))
	if r.URL.RawQuery != "" {
		l.text("query", "redacted")
	}
	l.text("protocol", r.Proto)
	l.number("status", int64(q.status))
	l.number("bytesIn", q.received.Load())
	l.number("bytesOut", q.written)
}

// answered is told of each request that went to the upstream.
func (g *Gate) answered(r *http.Request, q *request) {
	took := g.now().Sub(q.began)
	g.metrics.request(q.status, took)
	l := g.event(q.conn, eventRequest)
	l.text("decision", "allowed")
	l.text("rule", q.rule)
	l.request(r, q)
	if q.upstream != nil {
		l.text("upstreamError", oneLine(q.upstream.Error()))
	}
	l.milliseconds("durationMs", took)
	g.write(l)
}

// refusedRequest is told of each request that was refused.
func (g *Gate) refusedRequest(r *http.Request, q *request, why *Refusal) {
	g.metrics.refusedRequest(why.Code)
	l := g.event(q.conn, eventRefused)
	l.refusal(why)
	l.request(r, q)
	l.milliseconds("durationMs", g.now().Sub(q.began))
	g.write(l)
}

// upstreamLost is told of a connection for which there is no upstream.
func (g *Gate) upstreamLost(c *conn, err error) {
	l := g.event(c, eventRequest)
	l.text("decision", "allowed")
	l.text("upstreamError", oneLine(err.Error()))
	g.write(l)
}

// logFails says why nothing is let through: what must be logged cannot be.
func (g *Gate) logFails() *Refusal {
	if err := g.config.Log.fails(); err != nil {
		return &Refusal{CodeLogLost, "the access log cannot be written: " + oneLine(err.Error())}
	}
	return nil
}
