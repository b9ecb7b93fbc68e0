package probe

import (
	"fmt"
	"slices"
)

// trial is a case that was made.
type trial struct {
	*evidence
	Case
}

// answered reports whether TLS let it through and HTTP answered.
func (t *trial) answered() bool {
	return t != nil && t.response != nil && t.Verdict != Rejected && t.Verdict != LocalRefused
}

// page is one path over one TLS version: the trials, and what they say
// together.
type page struct {
	version   uint16
	path      string
	statuses  []int // that mean "let in"; none: by the difference
	none      *trial
	good      *trial // may be nil, as the others
	other     *trial
	strangers []*trial // stranger, impostor
	unproven  *trial   // false-proof
	// unlike is how much the answer to nobody differs from itself when it is
	// asked for again: 0, unless that was measured.
	unlike   float64
	measured bool
}

func (p *page) others() []*trial {
	var out []*trial
	for _, t := range append([]*trial{p.good, p.other}, append(slices.Clone(p.strangers), p.unproven)...) {
		if t != nil {
			out = append(out, t)
		}
	}
	return out
}

// trials are all that were made, in order.
func (p *page) trials() []*trial { return append([]*trial{p.none}, p.others()...) }

// needsRepetition reports whether the judgement depends on bodies that differ:
// then it must be known whether the page is the same every time.
func (p *page) needsRepetition() bool {
	if p.measured || !p.none.answered() || p.none.response.status >= 400 || len(p.statuses) > 0 {
		return false
	}
	return slices.ContainsFunc(p.others(), func(t *trial) bool {
		return t.answered() && t.response.status == p.none.response.status && !p.sameBody(t.response, p.none.response)
	})
}

// repeated takes in what nobody was answered a second time. It reports whether
// that can be compared with the first time.
func (p *page) repeated(again *evidence) bool {
	p.measured = true
	if again.response == nil || again.response.status != p.none.response.status {
		return false
	}
	p.unlike = max(p.unlike, 1-again.response.likeness(p.none.response))
	return true
}

// unsteady reports whether bodies say nothing: almost a third of the page changes by
// itself.
func (p *page) unsteady() bool { return p.unlike > 0.3 }

// sameBody reports whether two answers differ no more than the answer to nobody
// does from itself.
func (p *page) sameBody(a, b *response) bool {
	likeness := a.likeness(b)
	return a.location == b.location && (likeness == 1 || !p.unsteady() && likeness >= 1-2*p.unlike)
}

// judge adds to the verdict of each trial what HTTP has answered.
func (p *page) judge() {
	p.judgeClosed()
	if len(p.statuses) > 0 {
		for _, t := range p.trials() {
			p.judgeStatus(t)
		}
		return
	}
	for _, t := range []*trial{p.good, p.other} {
		if t.answered() && t.Verdict == Accepted {
			p.judgeGood(t)
		}
	}
	for _, t := range append(slices.Clone(p.strangers), p.unproven) {
		if t.answered() && t.Verdict == Accepted {
			p.judgeStranger(t)
		}
	}
	p.judgeNone()
}

// judgeStatus is for a caller who said which statuses mean "let in".
func (p *page) judgeStatus(t *trial) {
	switch said := fmt.Sprintf("HTTP %d", t.status()); {
	case !t.answered():
	case slices.Contains(p.statuses, t.response.status):
		t.accept(LayerHTTP, Strong, said)
	default:
		t.reject(refusedAt(t.response.status), Strong, said+", and another status was expected")
	}
}

func (t *trial) status() int {
	if t.response == nil {
		return 0
	}
	return t.response.status
}

// refusedAt tells the server's own refusal from one that an application makes.
// 495 and 496 are nginx's own.
func refusedAt(status int) Layer {
	if status == 400 || status == 495 || status == 496 {
		return LayerHTTP
	}
	return LayerApp
}

// refuses knows the statuses that say "not you" rather than "not this".
func refuses(status int) bool {
	switch status {
	case 400, 401, 403, 407, 421, 495, 496:
		return true
	}
	return false
}

// compare puts a trial beside nobody where both have the same status.
func (p *page) compare(t *trial) (decided bool) {
	n, r := p.none, t.response
	if !n.answered() || n.response.status != r.status {
		return false
	}
	switch {
	case r.status >= 400: // whatever the bodies: nginx's differ
		t.asNone(Strong, fmt.Sprintf("HTTP %d, as without a certificate", r.status))
	case !r.complete || !n.response.complete:
		t.tell(fmt.Sprintf("HTTP %d, as without a certificate, and the bodies broke off before they could be compared", r.status))
	case p.sameBody(r, n.response):
		t.asNone(Strong, fmt.Sprintf("HTTP %d and the same answer as without a certificate", r.status))
	case p.unsteady() && p.good == nil:
		t.asNone(Weak, fmt.Sprintf("HTTP %d, as without a certificate; the page changes from one request to the next", r.status))
	case p.unsteady():
		t.tell(fmt.Sprintf("HTTP %d, as without a certificate, and the page changes from one request to the next", r.status))
	default:
		return false
	}
	return true
}

// judgeGood judges the answer to a certificate that should be accepted.
func (p *page) judgeGood(t *trial) {
	if p.compare(t) {
		return
	}
	status, n := t.response.status, p.none
	said := fmt.Sprintf("HTTP %d", status)
	switch {
	case !n.answered() && n.Verdict != Rejected && status >= 400:
		t.tell(said + ", and nothing to compare it with")
	case !n.answered() && t == p.other && (status == 401 || status == 403) && p.good.answered() && p.good.response.status < 400:
		t.reject(LayerApp, Strong, said+", and the first certificate is let in")
	case !n.answered() && (status == 401 || status == 403):
		t.Detail = "accepted at TLS, refused by the application with " + said
	case !n.answered():
		t.accept(LayerHTTP, Strong, said)
	case n.response.status == status:
		t.accept(LayerHTTP, Weak, said+", and another answer than without a certificate")
	case status < 400:
		t.accept(LayerHTTP, Strong, said)
	case n.response.status < 400, t == p.other && (status == 401 || status == 403) && p.good.answered() && p.good.response.status < 400:
		t.reject(refusedAt(status), Strong, fmt.Sprintf("%s, and HTTP %d without a certificate", said, n.response.status))
	case refusedAt(status) == LayerHTTP:
		t.tell(fmt.Sprintf("%s, and HTTP %d without a certificate", said, n.response.status))
	case status == 401 || status == 403:
		t.Detail = "accepted at TLS, refused by the application with " + said
	default:
		t.accept(LayerHTTP, Strong, said)
	}
}

// judgeStranger judges the answer to a certificate that must be refused.
func (p *page) judgeStranger(t *trial) {
	if p.compare(t) {
		return
	}
	status, n := t.response.status, p.none
	said := fmt.Sprintf("HTTP %d", status)
	asGood := p.good.answered() && p.good.response.status == status
	switch {
	case n.answered() && n.response.status == status: // with another body
		p.judgeStrangersPage(t)
	case status >= 500 && n.answered() && n.response.status < 400 && p.good.answered() && p.good.response.status < 400:
		t.reject(LayerApp, Weak, said)
	case status >= 500:
		t.tell(said + " does not say whether it was refused")
	case status >= 400 && refuses(status) && asGood:
		t.tell(said + ", as the good certificate")
	case refuses(status):
		t.reject(refusedAt(status), Strong, said)
	case status >= 300 && status < 400 && n.answered() && n.response.status < 300:
		t.reject(LayerApp, Weak, said+", a redirect")
	case status >= 400 && n.answered() && n.response.status < 400:
		t.reject(LayerApp, Weak, said)
	default:
		t.accept(LayerHTTP, Strong, said)
	}
}

// judgeStrangersPage is for a stranger who gets nobody's status and another
// body. A server that shows whom it sees has taken the certificate for good; one
// that has a page for bad certificates has not.
func (p *page) judgeStrangersPage(t *trial) {
	r := t.response
	if p.good.answered() && p.good.response.status == r.status && r.likeness(p.good.response) < r.likeness(p.none.response) {
		t.asNone(Weak, fmt.Sprintf("HTTP %d, and an answer that is nearer to the one without a certificate than to the good one's", r.status))
		return
	}
	t.accept(LayerHTTP, Weak, fmt.Sprintf("HTTP %d, and another answer than without a certificate", r.status))
}

// judgeNone judges nobody by the others. What got nobody's answer is let in if
// nobody is.
func (p *page) judgeNone() {
	n := p.none
	if !n.answered() || n.Verdict != Accepted {
		return
	}
	status := n.response.status
	said := fmt.Sprintf("HTTP %d", status)
	switch {
	case p.good.answered() && p.good.Verdict == Accepted:
		p.judgeBesideGood(said)
	case p.good != nil && p.good.Verdict == Inconclusive && p.good.answered() && p.good.response.status == status && status < 400 && !p.strangerRefused():
		n.tell(p.good.Detail)
	case status < 400:
		strength := Weak
		if status < 300 && p.strangerRefused() || p.good != nil && p.good.Verdict == SameAsNone {
			strength = Strong
		}
		n.accept(LayerHTTP, strength, said)
	case !n.asked:
	case p.strangerRefused() && !refuses(status) && p.good != nil && p.good.Verdict == SameAsNone:
		n.accept(LayerHTTP, Weak, said+", and a stranger is refused in another way")
	case refuses(status):
		n.reject(refusedAt(status), Weak, said)
	case p.good != nil && p.good.Verdict == SameAsNone:
		n.reject(LayerApp, Weak, said+", as with the good certificate: try a --path that is there")
	default:
		n.tell(said + " does not say whether a certificate would change it: try a --path that is there")
	}
}

// judgeClosed is for connections that were closed after the handshake or on the
// request: where others stay open, or are answered, that was a refusal.
func (p *page) judgeClosed() {
	open, answered := false, false
	for _, t := range p.trials() {
		open = open || t.Verdict == Accepted && !t.exchanged
		answered = answered || t.answered() && t.response.status < 400
	}
	for _, t := range p.trials() {
		onRequest := t.exchanged && t.exchangeEnd == endClosed && t.asked && t.Verdict != Rejected
		switch {
		case onRequest && answered:
			t.reject(LayerClose, Weak, "the server closed the connection on the request, and answers another")
		case t.shut && (open || answered):
			t.reject(LayerClose, Weak, "the server closed the connection after the handshake, and no other")
		}
	}
}

// strangerRefused reports whether a stranger was refused otherwise than by
// getting nobody's answer.
func (p *page) strangerRefused() bool {
	return slices.ContainsFunc(p.strangers, func(t *trial) bool { return t.Verdict == Rejected })
}

// judgeBesideGood is for nobody beside a good certificate that gets another
// answer.
func (p *page) judgeBesideGood(said string) {
	n, g := p.none, p.good.response
	status := n.response.status
	switch {
	case status >= 500:
		n.reject(LayerApp, Weak, said)
	case status >= 400:
		n.reject(refusedAt(status), Strong, said)
	case status >= 300 && g.status < 300:
		n.reject(LayerApp, Weak, said+", a redirect")
	case g.status != status:
		n.accept(LayerHTTP, Weak, said)
	case p.strangerRefused(), slices.ContainsFunc(p.strangers, func(t *trial) bool { return t.Verdict == Accepted }):
		n.accept(LayerHTTP, Weak, said+", and another page than with the good certificate")
	case n.response.likeness(g) >= 0.5:
		n.tell(said + ", and a page that is much like the one with the good certificate: say with --expect-status which status lets in, or try another --path")
	default:
		n.reject(LayerApp, Weak, said+", and another answer than with the good certificate")
	}
}

func (p *page) allAsNone() bool {
	return !slices.ContainsFunc(p.strangers, func(t *trial) bool { return t.Verdict != SameAsNone })
}
