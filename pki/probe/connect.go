package probe

import (
	"bufio"
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"io"
	"net"
	"os"
	"slices"
	"time"
)

// The protocols of ALPN that a request can be made in.
const (
	protocolHTTP  = "http/1.1"
	protocolHTTP2 = "h2"
)

// The parts of the timeout after which the silence of a TLS 1.3 server that
// sends no tickets is taken for an answer. Where an HTTP request follows it is
// short: if the verdict is only late, the next read still meets it.
const (
	silenceBeforeRequest = 10
	silenceAlone         = 2
)

// patience is how many times the timeout all connections for a page may take
// together, before the rest is left out.
const patience = 4

var errSlow = errors.New("given up: the server has taken too long for the others")

var errUntrusted = errors.New("the server is not trusted, so no client certificate was presented")

// visit is one connection to be made.
type visit struct {
	id      CaseID
	version uint16
	path    string
	// present gives the certificate when the server asks; nil: none.
	present func(*tls.CertificateRequestInfo) (*tls.Certificate, error)
}

func (v visit) String() string {
	return fmt.Sprintf("%s-tls%s", v.id, versionName(v.version))
}

// connect makes one connection and returns all that it has shown. If the
// server refuses the protocols offered none is; if it wants HTTP/1.1 that is.
func (p *prober) connect(ctx context.Context, v visit) *evidence {
	for {
		e := p.connectOnce(ctx, v)
		switch {
		case p.ALPN != nil:
			return e
		case e.alert.remote(alertNoApplicationProtocol) && len(p.protocols) > 0:
			p.protocols = nil
		case errors.Is(e.failure, errHTTP1) && len(p.protocols) > 1:
			p.protocols = []string{protocolHTTP}
		default:
			return e
		}
	}
}

// connectOnce is bounded by the timeout as a whole: the connection is closed
// under whatever still waits for it then.
func (p *prober) connectOnce(ctx context.Context, v visit) *evidence {
	e := &evidence{visit: v}
	if p.spent > patience*time.Duration(len(p.paths()))*p.Timeout {
		e.dial = errSlow
		return e
	}
	if p.Pace != nil {
		if err := p.Pace(ctx); err != nil {
			e.dial = err
			return e
		}
	}
	trace := p.openTrace(v.String())
	trace.note("%s %s", p.Target, v)
	start := p.Now()
	p.converse(ctx, e, trace)
	e.took = p.Now().Sub(start)
	p.spent += e.took
	trace.note("%s", e.tells())
	if err := trace.close(); err != nil {
		p.traceFailed(err)
	}
	return e
}

func (p *prober) converse(ctx context.Context, e *evidence, trace *tracer) {
	ctx, cancel := context.WithTimeout(ctx, p.Timeout)
	defer cancel()
	raw, tcp, err := p.dial(ctx)
	if err != nil {
		e.dial = err
		return
	}
	stop := context.AfterFunc(ctx, func() { _ = raw.Close() }) // nothing is lost
	defer stop()
	s := &session{evidence: e, wire: &recorder{Conn: raw, trace: trace}}
	s.conn = tls.Client(s.wire, p.clientConfig(s))
	defer func() {
		_ = s.conn.Close() // all that matters has been read
		e.read, e.written = s.wire.read, s.wire.written
	}()
	s.reader = bufio.NewReader(s.conn)

	start := p.Now()
	err = s.conn.HandshakeContext(ctx)
	e.answer = s.wire.first
	if err != nil {
		e.handshake = s.end(ctx, err)
		return
	}
	e.established = true
	p.setTimings(tcp, p.Now().Sub(start))
	speak := p.speaks && e.server.Trust != Untrusted
	silence := p.Timeout / silenceAlone
	if speak {
		silence = p.Timeout / silenceBeforeRequest
	}
	if e.version == tls.VersionTLS13 && !s.awaitVerdict(ctx, silence) {
		e.shut = e.verdict == endClosed && e.tickets > 0
		return
	}
	if !speak && e.asked && !e.greeted && (e.version == tls.VersionTLS12 || e.tickets > 0) {
		s.awaitClose(ctx, p.Timeout/silenceBeforeRequest)
	}
	if speak {
		s.exchange(ctx, p.request(e.path), p.application())
	}
}

func (p *prober) setTimings(tcp, handshake time.Duration) {
	if !p.timed {
		p.timed = true
		p.report.Timings.TCP, p.report.Timings.TLS = milliseconds(tcp), milliseconds(handshake)
	}
}

// session is a connection in the making: what is written into its evidence.
type session struct {
	*evidence
	wire    *recorder
	conn    *tls.Conn
	reader  *bufio.Reader
	waiting bool // for a verdict, which a ticket ends
}

// clientConfig offers one version and, for TLS 1.2, every cipher suite that
// there is: a server that knows only bad ones still offers the version.
func (p *prober) clientConfig(s *session) *tls.Config {
	c := &tls.Config{
		MinVersion:         s.version,
		MaxVersion:         s.version,
		ServerName:         p.serverName(),
		Time:               p.Now,
		KeyLogWriter:       p.KeyLog,
		ClientSessionCache: (*ticketWatch)(s),
		InsecureSkipVerify: true, // VerifyConnection looks at the chain
		VerifyConnection: func(state tls.ConnectionState) error {
			s.server = p.examine(state.PeerCertificates)
			if s.server.Trust == Untrusted && s.present != nil {
				return errUntrusted
			}
			return nil
		},
		// Certificates would be matched with the acceptable CAs; this is not.
		GetClientCertificate: func(info *tls.CertificateRequestInfo) (*tls.Certificate, error) {
			return p.answerRequest(s, info)
		},
		// Servers that judge by the path ask after the request.
		Renegotiation: tls.RenegotiateOnceAsClient,
	}
	for _, suite := range append(tls.CipherSuites(), tls.InsecureCipherSuites()...) {
		c.CipherSuites = append(c.CipherSuites, suite.ID)
	}
	if p.speaks {
		c.NextProtos = p.protocols
	}
	return c
}

// answerRequest is called for each CertificateRequest.
func (p *prober) answerRequest(s *session, info *tls.CertificateRequestInfo) (*tls.Certificate, error) {
	s.asked = true
	s.renegotiated = s.established
	s.authorities = slices.Clone(info.AcceptableCAs)
	if p.Good != nil && s.id == CaseNone {
		s.goodProblem = info.SupportsCertificate(p.Good)
	}
	if s.present == nil {
		return new(tls.Certificate), nil
	}
	certificate, err := s.present(info)
	if err != nil {
		return nil, err
	}
	s.sent = true
	return certificate, nil
}

// ticketWatch is a session cache that holds nothing and sees when a ticket
// arrives. In TLS 1.3 a server that asked for a certificate sends one after
// it has read the client's last flight (RFC 8446, Section 4.6.1), so the wait
// for its verdict is over. A ticket of TLS 1.2 says nothing.
type ticketWatch session

var _ tls.ClientSessionCache = (*ticketWatch)(nil)

func (*ticketWatch) Get(string) (*tls.ClientSessionState, bool) { return nil, false }

func (t *ticketWatch) Put(_ string, state *tls.ClientSessionState) {
	if t.version != tls.VersionTLS13 || state == nil {
		return
	}
	if t.tickets++; t.waiting {
		_ = t.wire.SetReadDeadline(time.Unix(1, 0)) // long past: wakes the read that calls us
	}
}

// awaitVerdict reads until the server has said something after the handshake,
// or the silence has lasted too long, and reports whether to go on. A read
// that ends by its deadline leaves a tls.Conn usable.
func (s *session) awaitVerdict(ctx context.Context, silence time.Duration) bool {
	s.waiting = true
	err := s.listen(ctx, silence)
	s.waiting = false
	if err == nil {
		return true
	}
	s.verdict = s.end(ctx, err)
	s.hurried = ctx.Err() != nil
	return s.verdict == endSilence && !s.hurried
}

// awaitClose looks whether the server, to which nothing will be sent, closes the
// connection after the handshake: some applications judge then.
func (s *session) awaitClose(ctx context.Context, silence time.Duration) {
	err := s.listen(ctx, silence)
	if err == nil {
		return
	}
	switch end := s.end(ctx, err); end {
	case endClosed:
		s.shut = true
	case endAlert:
		s.verdict = end
	}
}

// listen waits for data, at most until the silence has lasted too long.
func (s *session) listen(ctx context.Context, silence time.Duration) error {
	quiet, cancel := context.WithTimeout(ctx, silence)
	defer cancel()
	if deadline, ok := quiet.Deadline(); ok {
		_ = s.wire.SetReadDeadline(deadline) // if it fails, so does the read
	}
	_, err := s.reader.Peek(1)
	_ = s.wire.SetReadDeadline(time.Time{}) // the same
	s.greeted = err == nil
	return err
}

// exchange makes the HTTP request, unless the server has spoken first and not
// in HTTP/2. If the write fails the read is still made: an alert may be waiting.
func (s *session) exchange(ctx context.Context, r request, app Application) {
	protocol := s.conn.ConnectionState().NegotiatedProtocol
	s.speaksHTTP = app == AppHTTP || protocol == protocolHTTP || protocol == protocolHTTP2
	s.exchanged = true
	var err error
	if protocol == protocolHTTP2 {
		s.response, err = exchangeHTTP2(s.conn, s.reader, r)
	} else {
		if !s.greeted {
			_, _ = io.WriteString(s.conn, r.http1()) // the read tells
		}
		s.response, err = readResponse(s.reader)
	}
	if err == nil || s.response != nil {
		return
	}
	if errors.Is(err, errNotHTTP) {
		s.foreign = true
		return
	}
	s.speaksHTTP = s.speaksHTTP || errors.Is(err, errHead)
	if s.exchangeEnd = s.end(ctx, err); errors.Is(err, errReset) {
		s.exchangeEnd = endClosed
	}
}

// end sorts the error that ended a step, and keeps it with its alert.
func (s *session) end(ctx context.Context, err error) ending {
	s.failure = err
	s.alert = alertOf(err)
	var op *net.OpError
	switch {
	case s.alert != nil && s.alert.From == fromRemote:
		return endAlert
	case ctx.Err() != nil, errors.Is(err, os.ErrDeadlineExceeded):
		return endSilence
	case s.alert != nil:
		return endLocal
	case errors.Is(err, io.EOF), errors.Is(err, io.ErrUnexpectedEOF):
		return endClosed
	case errors.As(err, &op) && (op.Op == "read" || op.Op == "write"):
		return endClosed
	}
	s.alert = s.wire.sent
	return endLocal
}
