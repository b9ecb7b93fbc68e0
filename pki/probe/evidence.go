package probe

import (
	"crypto/tls"
	"errors"
	"fmt"
	"time"
)

// ending is how a step of a connection ended.
type ending int

const (
	endNone    ending = iota // it went well
	endAlert                 // a fatal alert of the peer's
	endClosed                // closed or reset by the peer without an alert
	endSilence               // nothing arrived in time
	endLocal                 // our side gave up
)

// evidence is all that one connection has shown.
type evidence struct {
	visit
	dial error // no connection; the rest is then empty

	answer       byte     // type of the first record received, 0 if none
	server       *Server  // nil if its certificate did not arrive
	asked        bool     // a CertificateRequest arrived
	sent         bool     // and a certificate was presented
	renegotiated bool     // it arrived after the handshake, in another one (TLS 1.2)
	authorities  [][]byte // the acceptable CAs, DER Names
	goodProblem  error    // why Go would not send the good certificate
	established  bool     // the handshake ended well on our side
	handshake    ending   // how it ended else

	tickets int    // TLS 1.3 tickets that arrived
	greeted bool   // data arrived before any request (looked for in TLS 1.3)
	verdict ending // how the wait for the server's verdict ended else
	hurried bool   // the time was over before the silence meant anything
	shut    bool   // closed after all that TLS has to say: an application may have judged

	exchanged   bool      // a request was made
	speaksHTTP  bool      // the target or ALPN says that HTTP is spoken
	response    *response // nil if there was none
	foreign     bool      // the answer was something else than HTTP
	exchangeEnd ending    // why there was no answer

	alert         *Alert // of the error that ended the last step
	failure       error
	read, written int64 // octets
	took          time.Duration
}

// offered tells whether the server offers the version. It is not sure where
// the server refused or closed before its first handshake message without the
// alert that is meant for it (RFC 8446, Section 4.2.1: protocol_version):
// servers that do not know a version also say handshake_failure or nothing.
func (e *evidence) offered() (answer Answer, sure bool) {
	switch {
	case e.server != nil:
		return Yes, true
	case e.alert.remote(alertProtocolVersion), e.alert.local(alertProtocolVersion):
		return No, true
	case e.answer == recordHandshake, e.dial != nil:
		return Unknown, true
	case e.handshake == endClosed, e.alert.remote(alertHandshakeFailure), e.alert.remote(alertInsufficientSecurity):
		return No, false
	}
	return Unknown, true
}

// requested tells whether a certificate was requested: no is known only where
// the handshake has passed the place for it.
func (e *evidence) requested() Answer {
	switch {
	case e.asked:
		return Yes
	case e.established:
		return No
	}
	return Unknown
}

// describe says in a few words how a step ended.
func (e *evidence) describe(end ending) string {
	switch end {
	case endAlert:
		return fmt.Sprintf("the server sent the alert %s (%d)", e.alert.Name, e.alert.Number)
	case endClosed:
		return "the server closed the connection without an alert"
	case endSilence:
		return "the server said nothing in time"
	case endLocal:
		var header tls.RecordHeaderError
		if errors.As(e.failure, &header) && string(header.RecordHeader[:]) == "HTTP/" {
			return "it speaks plain HTTP: there is no TLS on this port"
		}
		return "our side gave up: " + escape(e.failure.Error())
	}
	return ""
}

func (e *evidence) describeExchange() string {
	if e.foreign {
		return "what the server sent is no HTTP"
	}
	if errors.Is(e.failure, errHead) && e.exchangeEnd == endSilence {
		return "the answer did not end in time"
	}
	if errors.Is(e.failure, errHead) {
		return escape(e.failure.Error())
	}
	return e.describe(e.exchangeEnd)
}

// tells is the end of a connection in one line.
func (e *evidence) tells() string {
	switch {
	case e.dial != nil:
		return e.dial.Error()
	case !e.established:
		return e.describe(e.handshake)
	case e.response != nil:
		return fmt.Sprintf("%s %d", e.response.protocol, e.response.status)
	case e.exchanged:
		return e.describeExchange()
	case e.verdict != endNone:
		return e.describe(e.verdict)
	}
	return "the handshake was finished"
}
