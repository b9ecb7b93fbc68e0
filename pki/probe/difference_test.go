package probe

import (
	"crypto/sha256"
	"crypto/tls"
	"strings"
	"testing"
)

// answered is a TLS 1.2 connection with an HTTP answer; no answer if the
// status is 0, and then the connection was closed on the request.
func answered(certificate *tls.Certificate, status int, body string) *evidence {
	e := &evidence{
		version: tls.VersionTLS12, certificate: certificate, asked: true, established: true,
		exchanged: true, speaksHTTP: true,
	}
	if status == 0 {
		e.exchangeEnd = endClosed
		return e
	}
	complete := !strings.HasSuffix(body, "…")
	e.response = &response{head: head{status: status}, body: sha256.Sum256([]byte(body)), octets: int64(len(body)), complete: complete}
	return e
}

// TestDifference holds the rules of the decisions, each with what is said.
func TestDifference(t *testing.T) {
	for _, row := range []struct {
		name         string
		nobody, ours int
		bodies       string // of nobody, of ours, of nobody again
		want, said   string
	}{
		{"refused as nobody, bodies differ", 400, 400, "a b", "none rejected http 400, ours rejected http 400: violated", "our certificate is refused: HTTP 400, as without a certificate"},
		{"nobody 400, ours 404", 400, 404, "a b", "none rejected http 400, ours accepted http 404: ok", "ours is accepted: HTTP 404"},
		{"nobody 401, ours 403", 401, 403, "a b", "none rejected http 401, ours accepted tlsHandshake 403: ok", "accepted at TLS, refused by the application with HTTP 403"},
		{"nobody 403, ours 200", 403, 200, "a b", "none rejected http 403, ours accepted http 200: ok", "ours is accepted: HTTP 200"},
		{"nobody 404, ours 200", 404, 200, "a b", "none rejected http 404, ours accepted http 200: ok", "ours is accepted: HTTP 200"},
		{"nobody 404, ours 404", 404, 404, "a b", "none inconclusive none 404, ours rejected http 404: violated", "our certificate is refused: HTTP 404, as without"},
		{"nobody 401, ours 400", 401, 400, "a b", "none rejected http 401, ours inconclusive none 400: couldNotTell", "with our certificate: HTTP 400, and HTTP 401 without a certificate"},
		{"nobody 200, ours 403", 200, 403, "a b", "none accepted http 200, ours rejected http 403: violated", "a client without a certificate is accepted"},
		{"nobody 200, ours 302", 200, 302, "a b", "none accepted http 200, ours accepted http 302: violated", "a client without a certificate is accepted"},
		{"the same page", 200, 200, "a a", "none accepted http 200, ours accepted http 200: violated", "the same answer with and without"},
		{"another page", 200, 200, "a b a", "none rejected http 200, ours accepted http 200: ok", "another answer than without a certificate"},
		{"a page that always changes", 200, 200, "a b c", "none inconclusive none 200, ours inconclusive none 200: couldNotTell", "changes from one request to the next"},
		{"a page that breaks off", 200, 200, "a… b", "none inconclusive none 200, ours inconclusive none 200: couldNotTell", "broke off"},
		{"redirected to a login", 302, 200, "a b c", "none rejected http 302, ours accepted http 200: ok", "ours is accepted: HTTP 200"},
		{"closed on the request", 0, 200, "- b", "none rejected http, ours accepted http 200: ok", "ours is accepted: HTTP 200"},
		{"both closed on the request", 0, 0, "- -", "none inconclusive none, ours inconclusive none: couldNotTell", "closed the connection without an alert"},
		{"nothing to compare with", 0, 404, "- b", "none inconclusive none, ours inconclusive none 404: couldNotTell", "without a certificate: no HTTP answer"},
	} {
		bodies := strings.Fields(row.bodies)
		nobody, us := answered(nil, row.nobody, bodies[0]), answered(&tls.Certificate{}, row.ours, bodies[1])
		v := Version{Requested: Yes, None: judge(nobody)}
		ours := judge(us)
		v.Ours = &ours
		if judgeDifference(&v.None, v.Ours, nobody, us) {
			if len(bodies) < 3 {
				t.Errorf("%s: wants the control again", row.name)
				continue
			}
			judgeControl(&v.None, v.Ours, nobody, us, answered(nil, row.nobody, bodies[2]))
		} else if len(bodies) == 3 {
			t.Errorf("%s: does not want the control again", row.name)
		}
		outcome, reason := v.conclude()
		got := "none " + attemptSummary(&v.None) + ", ours " + attemptSummary(v.Ours) + ": " + outcome.String()
		if got != row.want || !strings.Contains(reason, row.said) {
			t.Errorf("%s:\ngot  %s\nwant %s\nreason: %s", row.name, got, row.want, reason)
		}
	}
}

// TestNobodyAlone: without a certificate of ours there is no difference.
func TestNobodyAlone(t *testing.T) {
	for status, want := range map[int]string{
		200: "accepted http 200", 302: "accepted http 302", 400: "rejected http 400", 401: "rejected http 401",
		403: "rejected http 403", 496: "rejected http 496", 404: "inconclusive none 404", 503: "inconclusive none 503",
	} {
		e := answered(nil, status, "a")
		a := judge(e)
		judgeNobody(&a, e)
		if got := attemptSummary(&a); got != want || a.Strength != Weak {
			t.Errorf("got %s, %s, want %s", got, a.Strength, want)
		}
	}
}

// TestRefusedByAnApplicationBehindTLS: who got past a TLS layer that refuses
// nobody was accepted there, whatever the application says.
func TestRefusedByAnApplicationBehindTLS(t *testing.T) {
	for status, want := range map[int]string{200: "accepted http 200", 400: "accepted http 400", 403: "accepted tlsHandshake 403"} {
		nobody := &evidence{version: tls.VersionTLS12, asked: true, handshake: endAlert, alert: newAlert(40, fromRemote)}
		us := answered(&tls.Certificate{}, status, "a")
		none, ours := judge(nobody), judge(us)
		judgeDifference(&none, &ours, nobody, us)
		if got := attemptSummary(&ours); got != want || none.Verdict != Rejected {
			t.Errorf("got %s, nobody %s, want %s", got, none.Verdict, want)
		}
	}
}

// TestRenegotiation: a server that asks for a certificate only after the
// request has not been judged; crypto/tls answers with no_renegotiation.
func TestRenegotiation(t *testing.T) {
	e := answered(nil, 0, "")
	e.asked, e.exchangeEnd, e.alert = false, endLocal, newAlert(alertNoRenegotiation, fromLocal)
	v := Version{Requested: e.requested(), None: judge(e)}
	outcome, reason := v.conclude()
	if want := "without a certificate: no HTTP answer: the server asks for a renegotiation, which this probe does not do"; outcome != CouldNotTell || reason != want {
		t.Errorf("got %s, %s", outcome, reason)
	}
}

// TestTicketThenAlert: after a ticket only an alert about certificates takes
// the acceptance back.
func TestTicketThenAlert(t *testing.T) {
	for number, want := range map[int]string{
		49: "rejected tlsPostHandshake a49", 116: "rejected tlsPostHandshake a116", 80: "accepted tlsPostHandshake a80",
	} {
		e := &evidence{
			version: tls.VersionTLS13, asked: true, established: true, ticket: true,
			verdict: endAlert, alert: newAlert(number, fromRemote),
		}
		a := judge(e)
		if got := attemptSummary(&a); got != want {
			t.Errorf("got %s, want %s", got, want)
		}
		e.verdict, e.exchanged, e.exchangeEnd = endSilence, true, endAlert
		a = judge(e)
		if got := attemptSummary(&a); got != want {
			t.Errorf("on the request: got %s, want %s", got, want)
		}
	}
}

// TestSilence: it counts only if it lasted.
func TestSilence(t *testing.T) {
	for hurried, want := range map[bool]string{false: "accepted tlsPostHandshake", true: "inconclusive none"} {
		a := judge(&evidence{version: tls.VersionTLS13, asked: true, established: true, verdict: endSilence, hurried: hurried})
		if got := attemptSummary(&a); got != want || a.Strength != Weak {
			t.Errorf("got %s, %s, want %s", got, a.Strength, want)
		}
	}
}
