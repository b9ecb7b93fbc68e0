package probe

import "fmt"

// judgeNobody adds the HTTP answer to the attempt without a certificate where
// there is nothing to compare it with.
func judgeNobody(a *Attempt, e *evidence) {
	if a.Verdict != Accepted || e.response == nil {
		return
	}
	status := e.response.status
	said := fmt.Sprintf("HTTP %d", status)
	switch {
	case status < 400:
		a.accept(LayerHTTP, Weak, said)
	case !e.asked: // then the status has another cause
	case status == 401 || status == 403 || refusesCertificate(status):
		a.reject(Weak, said)
	default:
		a.tell(said + " does not say whether a certificate would change it")
	}
}

// refusesCertificate knows the statuses of servers that judge certificates in
// HTTP; 495 and 496 are nginx's own.
func refusesCertificate(status int) bool { return status == 400 || status == 495 || status == 496 }

// judgeDifference judges both attempts by their HTTP answers, where there are
// any. It asks for the control to be repeated where the two differ by
// something that may change from one request to the next.
func judgeDifference(none, ours *Attempt, nobody, us *evidence) (repeat bool) {
	answered := us.response != nil && us.asked && ours.Verdict == Accepted
	switch {
	case !answered:
		judgeNobody(none, nobody)
	case none.Verdict == Rejected: // before HTTP: so ours was let through there
		ours.acceptAnswer(us.response.status)
	case nobody.response != nil && none.Verdict == Accepted:
		return compareAnswers(none, ours, nobody, us)
	case us.response.status >= 400:
		ours.tell(fmt.Sprintf("HTTP %d, and nothing to compare it with", us.response.status))
	default:
		ours.acceptAnswer(us.response.status)
		if nobody.exchanged && nobody.exchangeEnd == endClosed && nobody.asked {
			none.reject(Weak, "the server closed the connection on the request, and answers ours")
		}
	}
	return false
}

// compareAnswers compares status before body: nginx's bodies differ where the
// meaning does not.
func compareAnswers(none, ours *Attempt, nobody, us *evidence) (repeat bool) {
	n, o := nobody.response, us.response
	switch {
	case n.status >= 400 && n.status == o.status:
		judgeNobody(none, nobody)
		ours.reject(Strong, fmt.Sprintf("HTTP %d, as without a certificate", o.status))
	case n.status >= 400 && refusesCertificate(o.status):
		judgeNobody(none, nobody)
		ours.tell(fmt.Sprintf("HTTP %d, and HTTP %d without a certificate", o.status, n.status))
	case n.status >= 400:
		none.reject(Strong, fmt.Sprintf("HTTP %d", n.status))
		ours.acceptAnswer(o.status)
	case o.status >= 400:
		judgeNobody(none, nobody)
		ours.reject(Strong, fmt.Sprintf("HTTP %d, and HTTP %d without a certificate", o.status, n.status))
	case n.status == o.status:
		return compareBodies(none, ours, n, o)
	case n.status >= 300:
		none.reject(Weak, fmt.Sprintf("HTTP %d, a redirect", n.status))
		ours.acceptAnswer(o.status)
		return true
	default:
		judgeNobody(none, nobody)
		ours.acceptAnswer(o.status)
	}
	return false
}

// compareBodies is for two answers with the same 2xx or 3xx status.
func compareBodies(none, ours *Attempt, n, o *response) (repeat bool) {
	switch {
	case !n.complete || !o.complete:
		detail := fmt.Sprintf("HTTP %d for both, and the bodies broke off before they could be compared", n.status)
		none.tell(detail)
		ours.tell(detail)
	case n.sameAs(o):
		detail := fmt.Sprintf("HTTP %d and the same answer with and without a certificate", n.status)
		none.accept(LayerHTTP, Strong, detail)
		ours.accept(LayerHTTP, Strong, detail)
	default:
		none.reject(Weak, fmt.Sprintf("HTTP %d, and another answer than with ours", n.status))
		ours.accept(LayerHTTP, Weak, fmt.Sprintf("HTTP %d, and another answer than without a certificate", o.status))
		return true
	}
	return false
}

// judgeControl takes a weak judgement back if the answer without a
// certificate is not even the same as itself.
func judgeControl(none, ours *Attempt, nobody, us, again *evidence) {
	n, r := nobody.response, again.response
	same := r != nil && r.status == n.status
	if same && us.response.status == n.status { // the bodies decided
		same = r.complete && r.sameAs(n)
	}
	if !same {
		detail := "the answer without a certificate changes from one request to the next"
		none.tell(detail)
		ours.tell(detail)
	}
}

// acceptAnswer is for an answer that shows that the certificate got past TLS
// and made a difference.
func (a *Attempt) acceptAnswer(status int) {
	if status == 401 || status == 403 {
		a.Detail = fmt.Sprintf("accepted at TLS, refused by the application with HTTP %d", status)
		return
	}
	a.accept(LayerHTTP, Strong, fmt.Sprintf("HTTP %d", status))
}
