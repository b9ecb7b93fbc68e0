package commands_test

import (
	"bufio"
	"crypto/tls"
	"crypto/x509"
	"errors"
	"io"
	"strings"
	"testing"
	"time"
)

// gateCell is a client with a certificate of its own and one connection to a
// gate.
type gateCell struct {
	name        string
	kind        gateKind
	gate        *interopServer
	config      *tls.Config // offers nothing to resume
	certificate *x509.Certificate
	sessions    *sessionCache
	mark        *gateMark
	live        *gateLive
}

// open calls once to get a session, then opens the connection and waits until
// something goes on there.
func (c *gateCell) open(t *testing.T) {
	t.Helper()
	if resumed, err := c.call(true); err != nil || resumed {
		t.Fatalf("%s: the first call: %v, resumed %t", c.name, err, resumed)
	}
	var err error
	if c.live, err = c.kind.open(t, c); err != nil {
		t.Fatalf("%s: %v", c.name, err)
	}
	if c.live.again != nil { // it was answered
		return
	}
	for end := time.Now().Add(clientPatience); c.live.got.Load() == 0 && c.mark.received.Load() == 0; time.Sleep(time.Millisecond) {
		if time.Now().After(end) {
			t.Fatalf("%s: nothing goes on", c.name)
		}
	}
}

// call makes a connection, with what is kept of the one before if resume is set,
// and waits for an octet of the application: in TLS 1.3 the handshake of the
// client is over before the gate has judged it.
func (c *gateCell) call(resume bool) (resumed bool, err error) {
	config := c.config.Clone()
	if resume {
		config.ClientSessionCache = c.sessions
	}
	conn, err := c.dial(config)
	if err != nil {
		return false, err
	}
	defer func() { _ = conn.Close() }() // an octet was read, or nothing comes
	_ = conn.SetDeadline(time.Now().Add(clientPatience))
	request := "GET " + c.path("/one") + " HTTP/1.1\r\nHost: localhost\r\n\r\n"
	switch c.kind.protocol {
	case "h2":
		request = "PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n\x00\x00\x00\x04\x00\x00\x00\x00\x00" // the server answers with its settings
	case "":
		request = c.name + "\n" + string(c.mark.octets(1))
	}
	_, writeErr := io.WriteString(conn, request)
	_, err = bufio.NewReader(conn).ReadByte()
	return conn.ConnectionState().DidResume, errors.Join(err, errIf(err != nil, writeErr))
}

// errIf is an error that counts only under a condition.
func errIf(counts bool, err error) error {
	if counts {
		return err
	}
	return nil
}

// sessionCache counts the sessions that it is given.
type sessionCache struct {
	tls.ClientSessionCache
	count int
}

// Put implements tls.ClientSessionCache.
func (s *sessionCache) Put(key string, state *tls.ClientSessionState) {
	if state != nil {
		s.count++
	}
	s.ClientSessionCache.Put(key, state)
}

// checkOut: nothing is left to a client that was taken out.
func (c *gateCell) checkOut(t *testing.T) {
	t.Helper()
	select {
	case <-c.live.ended:
	case <-time.After(soonEnough):
		t.Errorf("%s: the connection is not cut", c.name)
		return
	}
	if c.live.body && errors.Is(c.live.err, io.EOF) {
		t.Errorf("%s: the answer ends as if it were whole", c.name)
	}
	if n := c.live.late.Load(); n > 0 {
		t.Errorf("%s: the client gets %d octets that were made after", c.name, n)
	}
	if c.live.again != nil {
		if err := c.live.again(); err == nil {
			t.Errorf("%s: one more request on the connection is answered", c.name)
		}
	}
	for _, resume := range []bool{false, true} {
		resumed, err := c.call(resume)
		if err == nil || resumed || !isAlert(err) {
			t.Errorf("%s: with a session that was kept: %t: error %v, want an alert; resumed %t", c.name, resume, err, resumed)
		}
	}
	if c.sessions.count > 0 {
		t.Errorf("%s: the gate gives %d sessions to resume", c.name, c.sessions.count)
	}
	for end := time.Now().Add(soonEnough); c.mark.running.Load() > 0; time.Sleep(time.Millisecond) {
		if time.Now().After(end) {
			t.Errorf("%s: the upstream still works for it", c.name)
			return
		}
	}
	if n := c.mark.late.Load(); n > 0 {
		t.Errorf("%s: the upstream gets %d octets that were sent after", c.name, n)
	}
}

// isAlert reports whether the other side has refused, and not merely gone away.
func isAlert(err error) bool { return strings.Contains(err.Error(), "remote error: tls: ") }

// checkStays: a connection goes on, and a new one is let in.
func (c *gateCell) checkStays(t *testing.T) {
	t.Helper()
	before := c.live.got.Load()
	for end := time.Now().Add(clientPatience); c.live.got.Load() == before; time.Sleep(time.Millisecond) {
		select {
		case <-c.live.ended:
			t.Errorf("%s: its connection is cut: %v", c.name, c.live.err)
			return
		default:
		}
		if time.Now().After(end) {
			t.Errorf("%s: its connection stands still", c.name)
			return
		}
	}
	if _, err := c.call(true); err != nil {
		t.Errorf("%s: it is not let in again: %v", c.name, err)
	}
}

// isCut tells it by the client's side, or by the upstream's where the client does
// not read.
func (c *gateCell) isCut() bool {
	select {
	case <-c.live.ended:
		return true
	default:
		return c.live.again == nil && c.mark.running.Load() == 0
	}
}
