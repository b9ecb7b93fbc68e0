package commands_test

import (
	"bytes"
	"crypto/tls"
	"fmt"
	"testing"
	"time"
)

// gateVersions are the versions of TLS by the name that they have in flags.
var gateVersions = map[string]uint16{"1.2": tls.VersionTLS12, "1.3": tls.VersionTLS13}

// gateAct takes clients out.
type gateAct struct {
	name string
	code string // that the log has for it
	ttl  string // of the clients' certificates; empty: the default
	// world is where; do takes cells out there. The gates have seen it when do
	// returns, or with soon after a while.
	world func(t *testing.T, act string) *gateWorld
	do    func(w *gateWorld, cells []*gateCell)
	each  bool // do is called for each cell apart
	soon  bool
}

var gateActs = []gateAct{
	{name: "serial", code: "revoked", world: newGateWorld, do: revokeSerials, each: true},
	{name: "name", code: "revoked", world: newGateWorld, do: revokeNames, each: true},
	{name: "list", code: "revoked", world: newListWorld, do: revokeNames, each: true},
	{name: "expiry", code: "expired", ttl: "10s", world: newGateWorld, do: waitForExpiry, soon: true},
	{name: "retire", code: "unknownCA", world: newGateWorld, do: retireCA},
	{name: "file", code: "unknownCA", world: newListWorld, do: replaceCAFile, soon: true},
	{name: "rules", code: "notAllowed", world: newRulesWorld, do: rewriteRules, soon: true},
}

// soonEnough is how long a gate may take for what it is not told of. It looks
// every second.
const soonEnough = 2 * time.Second

// TestInteropGate: when a client is taken out, in whatever way, it loses what it
// has open, whatever that is, in every version of TLS; it gets no octet that was
// made after, and sends none; neither a new handshake nor a session that it has
// kept is answered. Everybody else stays.
func TestInteropGate(t *testing.T) {
	t.Parallel()
	if testing.Short() {
		t.Skip("not with -short: it is a matrix of processes")
	}
	for _, act := range gateActs {
		t.Run(act.name, func(t *testing.T) {
			t.Parallel()
			w := act.world(t, act.name)
			cells := w.cells(act)
			for _, c := range cells {
				c.open(t)
			}
			staying := w.staying()
			if act.each {
				for _, c := range cells {
					act.do(w, []*gateCell{c})
					c.mark.after.Store(true)
					c.checkOut(t)
				}
			} else {
				act.do(w, cells)
				if act.soon {
					waitForCuts(cells)
				}
				for _, c := range cells {
					c.mark.after.Store(true)
				}
				for _, c := range cells {
					c.checkOut(t)
				}
			}
			for _, c := range staying {
				c.checkStays(t)
			}
			w.checkLog(cells, act.code)
		})
	}
}

// waitForCuts waits until everyone is cut, but no longer than that may take.
func waitForCuts(cells []*gateCell) {
	deadline := time.Now().Add(soonEnough)
	for _, c := range cells {
		for !c.isCut() && time.Now().Before(deadline) {
			time.Sleep(time.Millisecond)
		}
	}
}

func revokeSerials(w *gateWorld, cells []*gateCell) {
	for _, c := range cells {
		w.run("revoke", fmt.Sprintf("%032x", c.certificate.SerialNumber))
	}
}

func revokeNames(w *gateWorld, cells []*gateCell) {
	for _, c := range cells {
		w.run("revoke", c.name, "--reason", "keyCompromise")
	}
}

func waitForExpiry(_ *gateWorld, cells []*gateCell) {
	for _, c := range cells {
		time.Sleep(time.Until(c.certificate.NotAfter))
	}
}

func retireCA(w *gateWorld, _ []*gateCell) { w.run("ca", "retire", "issuing", "--force") }

func replaceCAFile(w *gateWorld, _ []*gateCell) { w.replace(w.ca, w.read(w.others.trust())) }

func rewriteRules(w *gateWorld, _ []*gateCell) {
	text := w.read(w.rules)
	w.replace(w.rules, bytes.Replace(text, []byte("- allow: ["+w.act+"-*]\n"), nil, 1))
}
