package probe

import (
	"fmt"
	"io"
	"net"
	"sync"
	"time"
)

// The record types that a recorder looks for (RFC 8446, Section 5.1).
const (
	recordAlert     = 21
	recordHandshake = 22
)

// maxTrace bounds the octets of a connection that are traced.
const maxTrace = 1 << 20

// recorder is a connection that remembers the first octet received, and the
// last alert that was sent in the clear: crypto/tls does not tell it.
type recorder struct {
	net.Conn
	first byte   // type of the first record received, 0 if none
	sent  *Alert // last plaintext alert sent

	read, written int64 // octets
	trace         *tracer
}

func (r *recorder) Read(p []byte) (int, error) {
	n, err := r.Conn.Read(p)
	if n > 0 && r.first == 0 {
		r.first = p[0]
	}
	r.read += int64(n)
	r.trace.octets("I", p[:n])
	return n, err
}

func (r *recorder) Write(p []byte) (int, error) {
	// type, version (2), length (2) = 2, level, description
	if n := len(p) - 7; n >= 0 && p[n] == recordAlert && p[n+3] == 0 && p[n+4] == 2 {
		r.sent = newAlert(int(p[n+6]), fromLocal)
	}
	n, err := r.Conn.Write(p)
	r.written += int64(n)
	r.trace.octets("O", p[:n])
	return n, err
}

// tracer writes what went over a connection as text2pcap reads it: a line with
// the direction and the time, then the octets. What begins with # is a note. The
// zero tracer, and nil, writes nothing.
type tracer struct {
	mu   sync.Mutex
	to   io.WriteCloser
	now  func() time.Time
	left int
	err  error
}

// openTrace begins the record of a connection.
func (p *prober) openTrace(what string) *tracer {
	if p.Trace == nil {
		return nil
	}
	p.connections++
	to, err := p.Trace(p.connections, what)
	if err != nil {
		p.traceFailed(err)
		return nil
	}
	return &tracer{to: to, now: p.Now, left: maxTrace}
}

func (p *prober) traceFailed(err error) {
	if p.traceError == nil {
		p.traceError = fmt.Errorf("tracing: %w", err)
	}
}

func (t *tracer) octets(direction string, octets []byte) {
	if t == nil || len(octets) == 0 {
		return
	}
	t.mu.Lock()
	defer t.mu.Unlock()
	if t.left <= 0 || t.err != nil {
		return
	}
	t.left -= len(octets)
	_, t.err = fmt.Fprintf(t.to, "%s %s\n", direction, t.now().UTC().Format("2006-01-02T15:04:05.000000Z"))
	for at := 0; at < len(octets) && t.err == nil; at += 16 {
		_, t.err = fmt.Fprintf(t.to, "%06x % x\n", at, octets[at:min(at+16, len(octets))])
	}
}

func (t *tracer) note(format string, args ...any) {
	if t == nil {
		return
	}
	t.mu.Lock()
	defer t.mu.Unlock()
	if t.err == nil {
		_, t.err = fmt.Fprintf(t.to, "# %s\n", escape(fmt.Sprintf(format, args...)))
	}
}

func (t *tracer) close() error {
	if t == nil {
		return nil
	}
	t.mu.Lock()
	defer t.mu.Unlock()
	if err := t.to.Close(); t.err == nil {
		t.err = err
	}
	return t.err
}
