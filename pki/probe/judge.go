package probe

import (
	"crypto/tls"
	"errors"
	"fmt"
	"strings"
)

// judge says what became of a connection as far as TLS tells; what an HTTP
// answer adds is for judgeNobody and judgeDifference.
func judge(e *evidence) Attempt {
	a := Attempt{
		Verdict:         Inconclusive,
		Layer:           LayerNone,
		Strength:        Weak,
		CertificateSent: e.asked && e.certificate != nil && (e.established || e.handshake != endLocal),
		SessionTicket:   e.ticket,
		Alert:           e.alert,
	}
	switch {
	case e.dial != nil:
		a.Detail = escape(e.dial.Error())
	case !e.established:
		a.judgeBroken(e, e.handshake, LayerHandshake)
	case e.verdict == endAlert || e.verdict == endClosed || e.verdict == endLocal:
		a.judgeBroken(e, e.verdict, LayerPostHandshake)
	default:
		a.judgeFinished(e)
	}
	if a.Verdict == Accepted && e.certificate != nil && !e.asked {
		a.Verdict, a.Layer, a.Strength = Inconclusive, LayerNone, Weak
		a.Detail = "the server did not ask for the certificate"
	}
	if e.response != nil {
		a.HTTP = e.response.view()
	}
	return a
}

// judgeBroken judges a connection that ended at the given layer. Only a server
// that has asked for a certificate can have refused it or its absence.
func (a *Attempt) judgeBroken(e *evidence, end ending, layer Layer) {
	a.Detail = e.describe(end)
	switch {
	case end == endLocal:
		a.Verdict, a.Layer = LocalRefused, layer
	case end == endSilence || !e.asked:
	case end == endClosed:
		a.Verdict, a.Layer = Rejected, layer
	case e.ticket && !e.alert.aboutCertificate():
		a.accept(LayerPostHandshake, Strong, "the server sent a session ticket")
	default:
		a.Verdict, a.Layer, a.Strength = Rejected, layer, Strong
	}
}

// judgeFinished judges a connection that outlived the handshake and the wait
// for the server's verdict.
func (a *Attempt) judgeFinished(e *evidence) {
	switch {
	case e.version == tls.VersionTLS12:
		a.accept(LayerHandshake, Strong, "the handshake was finished")
	case e.ticket:
		a.accept(LayerPostHandshake, Strong, "the server sent a session ticket")
	case e.greeted:
		a.accept(LayerPostHandshake, Weak, "the server sent data")
	case e.hurried:
		a.tell("the time was over before the server's verdict")
		return
	default:
		a.accept(LayerPostHandshake, Weak, "the server kept silent after the handshake")
	}
	if !e.exchanged || e.response != nil || e.foreign && !e.speaksHTTP {
		return
	}
	certain := a.Strength == Strong
	switch {
	case e.exchangeEnd == endAlert && e.asked && (!certain || e.alert.aboutCertificate()):
		a.Verdict, a.Layer, a.Strength = Rejected, LayerPostHandshake, Strong
		a.Detail = e.describe(endAlert)
	case e.speaksHTTP, !certain && e.exchangeEnd != endSilence, e.alert.local(alertNoRenegotiation):
		a.Verdict, a.Layer, a.Strength = Inconclusive, LayerNone, Weak
		a.Detail = "no HTTP answer: " + e.describeExchange()
	}
}

func (e *evidence) describeExchange() string {
	if e.foreign {
		return "what the server sent is no HTTP"
	}
	if e.alert.local(alertNoRenegotiation) {
		return "the server asks for a renegotiation, which this probe does not do"
	}
	if errors.Is(e.failure, errHead) {
		return escape(e.failure.Error())
	}
	return e.describe(e.exchangeEnd)
}

func (a *Attempt) accept(layer Layer, strength Strength, detail string) {
	a.Verdict, a.Layer, a.Strength, a.Detail = Accepted, layer, strength, detail
}

func (a *Attempt) reject(strength Strength, detail string) {
	a.Verdict, a.Layer, a.Strength, a.Detail = Rejected, LayerHTTP, strength, detail
}

func (a *Attempt) tell(detail string) {
	a.Verdict, a.Layer, a.Strength, a.Detail = Inconclusive, LayerNone, Weak, detail
}

// closed reports whether an attempt was rejected by nothing but a closed
// connection. That is how some servers refuse, and how every failure looks.
func (a *Attempt) closed() bool {
	return a.Verdict == Rejected && a.Alert == nil && a.Layer != LayerHTTP
}

// withhold is for a server that is not trusted: nothing was sent to it after
// the handshake, so what it would have accepted is open.
func (a *Attempt) withhold() {
	if a.Verdict == Accepted {
		a.tell("the server is not trusted, so nothing was sent after the handshake")
	}
}

// conclude judges one version from its attempts. Whatever shows that a
// certificate is not required, or ours not accepted, is a violation, also
// where the rest is open.
func (v *Version) conclude() (Outcome, string) {
	switch {
	case v.Requested == No && !v.None.Alert.local(alertNoRenegotiation):
		return Violated, "no client certificate is requested"
	case v.None.Verdict == Accepted:
		return Violated, "a client without a certificate is accepted: " + v.None.Detail
	case v.Ours != nil && v.Ours.closed() && v.None.closed():
		return CouldNotTell, "with our certificate as without: " + v.Ours.Detail
	case v.Ours != nil && v.Ours.Verdict == Rejected:
		return Violated, "our certificate is refused: " + v.Ours.Detail
	case v.None.Verdict != Rejected:
		return CouldNotTell, "without a certificate: " + v.None.Detail
	case v.Ours != nil && v.Ours.Verdict != Accepted:
		return CouldNotTell, "with our certificate: " + v.Ours.Detail
	case v.Ours != nil:
		return OK, "a certificate is required, and ours is accepted: " + v.Ours.Detail
	}
	return OK, "a client without a certificate is refused: " + v.None.Detail
}

// conclude gives the outcome over all versions: each that is offered must
// pass, and one at least must be offered.
func conclude(r *Report) (Outcome, string) {
	if r.Server != nil && r.Server.Trust == Untrusted {
		return Violated, "the server is not trusted: " + r.Server.TrustDetail
	}
	for _, outcome := range []Outcome{Violated, CouldNotTell, OK} {
		if reason := reasons(r.TLS, outcome); reason != "" {
			return outcome, reason
		}
	}
	return CouldNotTell, "no TLS version was offered: " + r.TLS[0].Reason
}

// reasons gives why versions have the outcome, those with the same reason
// together, or "" if none has.
func reasons(versions []Version, outcome Outcome) string {
	var out []string
	for i := 0; i < len(versions); i++ {
		v := versions[i]
		if v.Offered == No || v.Outcome != outcome {
			continue
		}
		names := v.Version
		for ; i+1 < len(versions) && versions[i+1].Offered != No && versions[i+1].Outcome == outcome && versions[i+1].Reason == v.Reason; i++ {
			names += " and " + versions[i+1].Version
		}
		out = append(out, fmt.Sprintf("TLS %s: %s", names, v.Reason))
	}
	return strings.Join(out, "; ")
}
