package probe

import (
	"bufio"
	"context"
	"crypto/tls"
	"errors"
	"io"
	"net"
	"os"
	"time"
)

// The protocols offered in ALPN: the request is HTTP/1.1, written by hand.
const protocolHTTP = "http/1.1"

var errUntrusted = errors.New("the server is not trusted, so the client certificate was not presented")

// connect makes one connection and returns all that it has shown. With a
// certificate it presents exactly that one if the server asks, without one it
// presents none.
func (p *prober) connect(ctx context.Context, version uint16, certificate *tls.Certificate) *evidence {
	e := p.connectOnce(ctx, version, certificate)
	if e.alert.remote(alertNoApplicationProtocol) && !p.noALPN {
		p.noALPN = true
		e = p.connectOnce(ctx, version, certificate)
	}
	return e
}

// connectOnce is bounded by the timeout as a whole: the connection is closed
// under whatever still waits for it then.
func (p *prober) connectOnce(ctx context.Context, version uint16, certificate *tls.Certificate) *evidence {
	ctx, cancel := context.WithTimeout(ctx, p.Timeout)
	defer cancel()
	e := &evidence{version: version, certificate: certificate}
	raw, tcp, err := p.dial(ctx)
	if err != nil {
		e.dial = err
		return e
	}
	stop := context.AfterFunc(ctx, func() { _ = raw.Close() }) // nothing is lost
	defer stop()
	s := &session{evidence: e, wire: &recorder{Conn: raw}}
	s.conn = tls.Client(s.wire, p.clientConfig(s))
	defer func() { _ = s.conn.Close() }() // all that matters has been read
	s.reader = bufio.NewReader(s.conn)

	start := p.Now()
	err = s.conn.HandshakeContext(ctx)
	e.answer = s.wire.first
	if err != nil {
		e.handshake = s.end(ctx, err)
		return e
	}
	e.established = true
	p.setTimings(tcp, p.Now().Sub(start))
	speak := p.Target.app != appNone && e.server.Trust != Untrusted
	silence := p.Timeout / silenceAlone
	if speak {
		silence = p.Timeout / silenceBeforeRequest
	}
	if version == tls.VersionTLS13 && !s.awaitVerdict(ctx, silence) {
		return e
	}
	if speak {
		s.exchange(ctx, p.Target)
	}
	return e
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
	wire   *recorder
	conn   *tls.Conn
	reader *bufio.Reader
}

// clientConfig offers one version and, for TLS 1.2, every cipher suite that
// there is: a server that knows only bad ones still offers the version.
func (p *prober) clientConfig(s *session) *tls.Config {
	c := &tls.Config{
		MinVersion:         s.version,
		MaxVersion:         s.version,
		ServerName:         p.Target.serverName(),
		Time:               p.Now,
		ClientSessionCache: (*ticketWatch)(s),
		InsecureSkipVerify: true, // VerifyConnection looks at the chain
		VerifyConnection: func(state tls.ConnectionState) error {
			s.server = p.examine(state.PeerCertificates)
			if s.server.Trust == Untrusted && s.certificate != nil {
				return errUntrusted
			}
			return nil
		},
		// Certificates would be matched with the acceptable CAs; this is not.
		GetClientCertificate: func(info *tls.CertificateRequestInfo) (*tls.Certificate, error) {
			s.asked, s.authorities = true, info.AcceptableCAs
			if s.certificate == nil {
				return new(tls.Certificate), nil
			}
			return s.certificate, nil
		},
	}
	for _, suite := range append(tls.CipherSuites(), tls.InsecureCipherSuites()...) {
		c.CipherSuites = append(c.CipherSuites, suite.ID)
	}
	if p.Target.app != appNone && !p.noALPN {
		c.NextProtos = []string{protocolHTTP}
	}
	return c
}

// ticketWatch is a session cache that holds nothing and sees when a ticket
// arrives. In TLS 1.3 a server that asked for a certificate sends one after
// it has read the client's last flight (RFC 8446, Section 4.6.1), so the wait
// for its verdict is over. A ticket of TLS 1.2 says nothing.
type ticketWatch session

var _ tls.ClientSessionCache = (*ticketWatch)(nil)

func (*ticketWatch) Get(string) (*tls.ClientSessionState, bool) { return nil, false }

func (t *ticketWatch) Put(_ string, state *tls.ClientSessionState) {
	if t.version != tls.VersionTLS13 || state == nil || t.ticket {
		return
	}
	t.ticket = true
	_ = t.wire.SetReadDeadline(time.Unix(1, 0)) // long past: wakes the read that calls us
}

// awaitVerdict reads until the server has said something after the handshake,
// or the silence has lasted too long, and reports whether to go on. A read
// that ends by its deadline leaves a tls.Conn usable.
func (s *session) awaitVerdict(ctx context.Context, silence time.Duration) bool {
	quiet, cancel := context.WithTimeout(ctx, silence)
	defer cancel()
	if deadline, ok := quiet.Deadline(); ok {
		_ = s.wire.SetReadDeadline(deadline) // if it fails, so does the read
	}
	_, err := s.reader.Peek(1)
	_ = s.wire.SetReadDeadline(time.Time{}) // the same
	if err == nil {
		s.greeted = true
		return true
	}
	s.verdict = s.end(ctx, err)
	s.hurried = ctx.Err() != nil
	return s.verdict == endSilence && !s.hurried
}

// exchange makes the HTTP request, unless the server has spoken first. If the
// write fails the read is still made: an alert may be waiting.
func (s *session) exchange(ctx context.Context, target Target) {
	s.speaksHTTP = target.app == appHTTP || s.conn.ConnectionState().NegotiatedProtocol == protocolHTTP
	s.exchanged = true
	if !s.greeted {
		_, _ = io.WriteString(s.conn, request(target)) // the read tells
	}
	var err error
	s.response, err = readResponse(s.reader)
	if err == nil || s.response != nil {
		return
	}
	if errors.Is(err, errNotHTTP) {
		s.foreign = true
		return
	}
	s.speaksHTTP = s.speaksHTTP || errors.Is(err, errHead)
	s.exchangeEnd = s.end(ctx, err)
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
