package probe

import "crypto/tls"

// judge says what became of a connection as far as TLS tells; what an HTTP
// answer adds is for the page.
func judge(e *evidence) Case {
	c := Case{
		Case:            e.id,
		TLS:             versionName(e.version),
		Path:            e.path,
		Verdict:         Inconclusive,
		Layer:           LayerNone,
		Strength:        Weak,
		CertificateSent: e.sent && (e.established || e.handshake != endLocal),
		SessionTickets:  e.tickets,
		Alert:           e.alert,
		OctetsRead:      e.read,
		OctetsWritten:   e.written,
		Milliseconds:    milliseconds(e.took),
	}
	switch {
	case e.dial != nil:
		c.Detail = escape(e.dial.Error())
	case e.shut:
		c.tell("the server closed the connection after the handshake")
	case !e.established:
		c.judgeBroken(e, e.handshake, LayerHandshake)
	case e.verdict == endAlert || e.verdict == endClosed || e.verdict == endLocal:
		c.judgeBroken(e, e.verdict, LayerPostHandshake)
	default:
		c.judgeFinished(e)
	}
	if c.Verdict == Accepted && e.present != nil && !e.asked {
		c.tell("the server did not ask for the certificate")
	}
	if e.response != nil {
		c.HTTP = e.response.view()
	}
	return c
}

// judgeBroken judges a connection that ended at the given layer. Only a server
// that has asked for a certificate can have refused it or its absence.
func (c *Case) judgeBroken(e *evidence, end ending, layer Layer) {
	c.Detail = e.describe(end)
	switch {
	case end == endLocal:
		c.Verdict, c.Layer = LocalRefused, layer
	case end == endSilence || !e.asked:
	case e.tickets > 0 && end == endAlert && !e.alert.aboutCertificate():
		c.accept(LayerPostHandshake, Strong, "the server sent a session ticket")
	case end == endClosed:
		c.Verdict, c.Layer = Rejected, LayerClose
	default:
		c.Verdict, c.Layer, c.Strength = Rejected, layer, Strong
	}
}

// judgeFinished judges a connection that outlived the handshake and the wait
// for the server's verdict.
func (c *Case) judgeFinished(e *evidence) {
	switch {
	case e.version == tls.VersionTLS12:
		c.accept(LayerHandshake, Strong, "the handshake was finished")
	case e.tickets > 0:
		c.accept(LayerPostHandshake, Strong, "the server sent a session ticket")
	case e.greeted:
		c.accept(LayerPostHandshake, Weak, "the server sent data")
	case e.hurried:
		c.tell("the time was over before the server's verdict")
		return
	default:
		c.accept(LayerPostHandshake, Weak, "the server kept silent after the handshake")
	}
	if !e.exchanged || e.response != nil || e.foreign && !e.speaksHTTP {
		if e.renegotiated {
			c.accept(LayerRenegotiation, Strong, "the renegotiation was finished")
		}
		return
	}
	certain := c.Strength == Strong && !e.renegotiated
	layer := LayerPostHandshake
	if e.version == tls.VersionTLS12 {
		layer = LayerRenegotiation
	}
	switch {
	case e.exchangeEnd == endAlert && e.asked && (!certain || e.alert.aboutCertificate()):
		c.Verdict, c.Layer, c.Strength = Rejected, layer, Strong
		c.Detail = e.describe(endAlert)
	case e.renegotiated && e.exchangeEnd == endClosed:
		c.Verdict, c.Layer, c.Strength = Rejected, LayerClose, Weak
		c.Detail = e.describe(endClosed)
	case e.speaksHTTP, !certain && e.exchangeEnd != endSilence, e.renegotiated:
		c.tell("no HTTP answer: " + e.describeExchange())
	}
}

func (c *Case) accept(layer Layer, strength Strength, detail string) {
	c.Verdict, c.Layer, c.Strength, c.Detail = Accepted, layer, strength, detail
}

func (c *Case) reject(layer Layer, strength Strength, detail string) {
	c.Verdict, c.Layer, c.Strength, c.Detail = Rejected, layer, strength, detail
}

func (c *Case) asNone(strength Strength, detail string) {
	c.Verdict, c.Layer, c.Strength, c.Detail = SameAsNone, LayerNone, strength, detail
}

func (c *Case) tell(detail string) {
	c.Verdict, c.Layer, c.Strength, c.Detail = Inconclusive, LayerNone, Weak, detail
}
