package probe

import (
	"crypto/tls"
	"fmt"
	"strings"
	"testing"
)

// answered is a TLS 1.2 connection with an HTTP answer. Status 0: it was closed
// on the request; -1: TLS refused it.
func answered(id CaseID, status int, body string) *trial {
	e := &evidence{visit: visit{id: id, version: tls.VersionTLS12, path: "/"}, asked: true, established: true, exchanged: true, speaksHTTP: true}
	if id != CaseNone {
		e.present = fixed(&tls.Certificate{})
	}
	switch status {
	case 0:
		e.exchangeEnd = endClosed
	case -1:
		e.established, e.exchanged, e.speaksHTTP = false, false, false
		e.handshake, e.alert = endAlert, newAlert(48, fromRemote)
	default:
		e.response = &response{head: head{status: status}, body: []byte(body), complete: !strings.HasSuffix(body, "…")}
	}
	return &trial{evidence: e, Case: judge(e)}
}

// TestPage holds the rules of the decisions. Each row has the statuses and
// bodies of nobody, the good certificate (status 1: none), a stranger, an
// impostor, and what nobody gets when it asks again.
func TestPage(t *testing.T) {
	for _, row := range []struct {
		name                             string
		nobody, good, stranger, impostor int
		bodies                           string
		want                             string // mode, layer, verdicts of nobody, good, stranger, impostor
	}{
		{"refused as nobody, bodies differ", 400, 400, 400, 400, "a b c d a", "REJECTS_GOOD http rejected sameAsNone sameAsNone sameAsNone"},
		{"nobody 400, good 404", 400, 404, 400, 400, "a b a a a", "REQUIRED_VERIFIED http rejected accepted sameAsNone sameAsNone"},
		{"nobody 401, good 403", 401, 403, 401, 401, "a b a a a", "REQUIRED_VERIFIED app rejected accepted sameAsNone sameAsNone"},
		{"nobody 401, good 403, stranger 403", 401, 403, 403, 403, "a b b b a", "INCONCLUSIVE none rejected accepted inconclusive inconclusive"},
		{"nobody 403, good 200", 403, 200, 403, 403, "a b a a a", "REQUIRED_VERIFIED app rejected accepted sameAsNone sameAsNone"},
		{"nobody 404, good 200", 404, 200, 404, 404, "a b a a a", "REQUIRED_VERIFIED app rejected accepted sameAsNone sameAsNone"},
		{"nobody 401, good 400", 401, 400, 401, 401, "a b a a a", "INCONCLUSIVE none rejected inconclusive sameAsNone sameAsNone"},
		{"nobody 200, good 403", 200, 403, 200, 200, "a b a a a", "OPTIONAL_UNVERIFIED none accepted rejected sameAsNone sameAsNone"},
		{"everybody 404, a stranger refused", 404, 404, 400, 400, "a a b b a", "OPTIONAL_VERIFIED http accepted sameAsNone rejected rejected"},
		{"everybody 404", 404, 404, 404, 404, "a a a a a", "REJECTS_GOOD app rejected sameAsNone sameAsNone sameAsNone"},
		{"everybody 404, nothing given", 404, 1, 404, 404, "a a a a a", "INCONCLUSIVE none inconclusive - sameAsNone sameAsNone"},
		{"the same page", 200, 200, 200, 200, "a a a a a", "OPTIONAL_UNVERIFIED none accepted sameAsNone sameAsNone sameAsNone"},
		{"the most permissive decides", 200, 200, 200, 400, "a a a b a", "OPTIONAL_UNVERIFIED none accepted sameAsNone sameAsNone rejected"},
		{"another page", 200, 200, 200, 200, "a b a a a", "REQUIRED_VERIFIED app rejected accepted sameAsNone sameAsNone"},
		{"another page, nothing given", 200, 1, 200, 200, "a - a a a", "OPTIONAL_UNVERIFIED none accepted - sameAsNone sameAsNone"},
		{"a page that shows who comes", 200, 200, 200, 200, "who.nobody who.is.alice who.is.mallory who.is.mallory who.nobody", "OPTIONAL_UNVERIFIED none accepted accepted accepted accepted"},
		{"a page for bad certificates", 200, 200, 200, 200, "log.in.now the.secret log.in.again log.in.again log.in.now", "REQUIRED_VERIFIED app rejected accepted sameAsNone sameAsNone"},
		{"the hour changes", 200, 200, 200, 200, "it.is.a.nice.day.10 it.is.a.nice.day.11 it.is.a.nice.day.12 it.is.a.nice.day.13 it.is.a.nice.day.14", "OPTIONAL_UNVERIFIED none accepted sameAsNone sameAsNone sameAsNone"},
		{"a page that always changes", 200, 200, 200, 200, "a b c d e", "INCONCLUSIVE none inconclusive inconclusive inconclusive inconclusive"},
		{"a page that breaks off", 200, 200, -1, -1, "a… b - - a…", "OPTIONAL_VERIFIED tlsHandshake accepted inconclusive rejected rejected"},
		{"redirected to a login", 302, 200, 302, 302, "a b a a a", "REQUIRED_VERIFIED app rejected accepted sameAsNone sameAsNone"},
		{"closed on the request", 0, 200, 0, 0, "- b - - -", "REQUIRED_VERIFIED connectionClose rejected accepted rejected rejected"},
		{"a stranger is refused by TLS", 200, 200, -1, -1, "a b - - a", "OPTIONAL_VERIFIED tlsHandshake accepted accepted rejected rejected"},
		{"required, a stranger is let in", -1, 200, 200, -1, "- b b - -", "REQUIRED_UNVERIFIED tlsHandshake rejected accepted accepted rejected"},
		{"required, the application refuses a stranger", -1, 200, 403, 403, "- b c c -", "REQUIRED_VERIFIED tlsHandshake rejected accepted rejected rejected"},
		{"required, the application fails", -1, 200, 503, 503, "- b c c -", "INCONCLUSIVE none rejected accepted inconclusive inconclusive"},
		{"required, nothing given", -1, 1, -1, -1, "- - - - -", "REQUIRED_UNCONFIRMED tlsHandshake rejected - rejected rejected"},
		{"nobody 401, nothing given", 401, 1, 403, 403, "a - b b a", "REQUIRED_UNCONFIRMED app rejected - rejected rejected"},
	} {
		t.Run(row.name, func(t *testing.T) {
			bodies := strings.Fields(row.bodies)
			for i := range bodies {
				bodies[i] = strings.ReplaceAll(bodies[i], ".", " ")
			}
			g := &page{version: tls.VersionTLS12, path: "/", none: answered(CaseNone, row.nobody, bodies[0])}
			if row.good != 1 {
				g.good = answered(CaseGood, row.good, bodies[1])
			}
			g.strangers = []*trial{answered(CaseStranger, row.stranger, bodies[2]), answered(CaseImpostor, row.impostor, bodies[3])}
			if g.needsRepetition() && !g.repeated(answered(CaseNone, row.nobody, bodies[4]).evidence) {
				t.Fatal("it cannot be repeated")
			}
			g.judge()
			child := g.conclude()
			got := fmt.Sprintf("%s %s %s", child.Mode, layerOf(child), g.none.Verdict)
			for _, x := range append([]*trial{g.good}, g.strangers...) {
				if x == nil {
					got += " -"
				} else {
					got += " " + string(x.Verdict)
				}
			}
			if got != row.want {
				t.Errorf("got  %s\nwant %s\n%s", got, row.want, child.Reason)
			}
		})
	}
}

// layerOf is the layer that a report would name.
func layerOf(c Child) Layer {
	if _, at, _ := merge([]Child{c}); c.Mode != "" {
		return at
	}
	return ""
}

// TestStatuses: a caller who says which statuses let in is believed.
func TestStatuses(t *testing.T) {
	g := &page{version: tls.VersionTLS12, path: "/", statuses: []int{204}, none: answered(CaseNone, 200, "a"), good: answered(CaseGood, 204, ""),
		strangers: []*trial{answered(CaseStranger, 500, "a")}}
	g.judge()
	if c := g.conclude(); c.Mode != RequiredVerified || c.EnforcedAt != LayerApp {
		t.Errorf("got %+v", c)
	}
}

// TestExpectations holds every mode against every expectation.
func TestExpectations(t *testing.T) {
	all := []Mode{NotRequested, OptionalUnverified, OptionalVerified, RequiredUnverified, RequiredVerified, RequiredUnconfirmed, Pinned, RejectsGood, ModeInconclusive, Unreachable}
	for x, want := range map[Expectation]string{
		ExpectVerified: "violated violated violated violated ok couldNotTell ok violated couldNotTell couldNotTell",
		ExpectRequired: "violated violated violated violated ok ok ok ok couldNotTell couldNotTell",
		ExpectOptional: "violated ok ok violated violated violated violated violated couldNotTell couldNotTell",
		ExpectNone:     "ok violated violated violated violated violated violated violated couldNotTell couldNotTell",
	} {
		var got []string
		for _, m := range all {
			got = append(got, x.outcome(m).String())
		}
		if strings.Join(got, " ") != want {
			t.Errorf("%s: got %s", x, strings.Join(got, " "))
		}
	}
}
