package commands_test

import (
	"bytes"
	"crypto/tls"
	"crypto/x509"
	"encoding/json"
	"os"
	"path/filepath"
	"strings"
	"testing"
)

// gateWorld is a PKI with an upstream and a gate of each kind in front of it.
type gateWorld struct {
	*interopPKI
	act      string
	upstream *gateUpstream
	gates    map[string]*interopServer
	others   *interopPKI // another PKI that the gates trust; nil: none
	ca       string      // the file that says so
	rules    string      // the file of rules; empty: none
}

// newGateWorld has gates that follow the PKI.
func newGateWorld(t *testing.T, act string) *gateWorld {
	t.Helper()
	w := prepareGateWorld(t, act)
	w.start("--pki", w.dir, "--state", filepath.Join(w.out, "state"), "--allow-all")
	return w
}

func prepareGateWorld(t *testing.T, act string) *gateWorld {
	t.Helper()
	w := &gateWorld{interopPKI: newInteropPKI(t), act: act, upstream: newGateUpstream(t), gates: map[string]*interopServer{}}
	w.issue("server", "localhost")
	return w
}

// newRulesWorld has gates with a file of rules.
func newRulesWorld(t *testing.T, act string) *gateWorld {
	t.Helper()
	w := prepareGateWorld(t, act)
	w.rules = filepath.Join(w.out, "rules.yaml")
	w.replace(w.rules, []byte("rules:\n- allow: [staying-*]\n- allow: ["+act+"-*]\n"))
	w.start("--pki", w.dir, "--state", filepath.Join(w.out, "state"), "--rules", w.rules)
	return w
}

// newListWorld has gates that know of the PKI, and of another one, only what both
// publish. The owner of the PKI has added them.
func newListWorld(t *testing.T, act string) *gateWorld {
	t.Helper()
	w := prepareGateWorld(t, act)
	w.others = newInteropPKI(t)
	w.ca = filepath.Join(w.out, "trusted.pem")
	w.replace(w.ca, append(w.read(w.trust()), w.read(w.others.trust())...))
	w.start("--ca", w.ca, "--crl", w.crls(), "--crl", w.others.crls(), "--allow-all")
	return w
}

func (w *gateWorld) read(path string) []byte {
	w.t.Helper()
	data, err := os.ReadFile(path)
	if err != nil {
		w.t.Fatal(err)
	}
	return data
}

// replace gives a file another content at one instant.
func (w *gateWorld) replace(path string, content []byte) {
	w.t.Helper()
	err := os.WriteFile(path+".new", content, 0o600)
	if err == nil {
		err = os.Rename(path+".new", path)
	}
	if err != nil {
		w.t.Fatal(err)
	}
}

// start starts a gate of each kind.
func (w *gateWorld) start(flags ...string) {
	w.t.Helper()
	web, raw := w.upstream.web.Addr().String(), w.upstream.raw.Addr().String()
	for kind, to := range map[string][]string{
		"web": {"--to", "http://" + web}, "h2c": {"--to", "h2c://" + web}, "tcp": {"--tcp", "--to", raw},
	} {
		more, socket := append(to, flags...), ""
		if w.ca != "" {
			dir, err := os.MkdirTemp("", "gate") // the path of a socket must be short
			if err != nil {
				w.t.Fatal(err)
			}
			w.t.Cleanup(func() { _ = os.RemoveAll(dir) })
			socket = filepath.Join(dir, "control")
			more = append(more, "--control", socket)
		}
		w.gates[kind] = w.startGate(kind+".jsonl", more...)
		if socket != "" {
			w.run("gate", "add", socket)
		}
	}
}

// startGate starts a gate of the PKI's certificate for localhost, with a log.
func (p *interopPKI) startGate(log string, flags ...string) *interopServer {
	p.t.Helper()
	s := startProgram(p.t, "mutual", append([]string{
		"gate", "--listen", "127.0.0.1:0", "--drain", "0s", "--log", filepath.Join(p.out, log),
		"--cert", filepath.Join(p.out, "localhost.crt"), "--key", filepath.Join(p.out, "localhost.key"),
	}, flags...)...)
	s.wait("listens", func() bool {
		_, rest, ok := strings.Cut(s.log.String(), "the gate listens at ")
		s.address, _, _ = strings.Cut(rest, ",")
		return ok
	})
	return s
}

// cells are a client for each kind of connection and version of TLS.
func (w *gateWorld) cells(act gateAct) []*gateCell {
	w.t.Helper()
	var names []string
	var cells []*gateCell
	for version, number := range gateVersions {
		for _, kind := range gateKinds {
			c := w.cell(strings.Join([]string{w.act, kind.name, version}, "-"), kind, number)
			cells, names = append(cells, c), append(names, c.name)
		}
	}
	if act.ttl != "" {
		w.issueAll(names, "--ttl", act.ttl)
	} else {
		w.issueAll(names)
	}
	for _, c := range cells {
		w.certify(c)
	}
	return cells
}

func (p *interopPKI) issueAll(names []string, flags ...string) {
	p.t.Helper()
	rows := filepath.Join(p.t.TempDir(), "rows.csv")
	if err := os.WriteFile(rows, []byte("name\n"+strings.Join(names, "\n")+"\n"), 0o600); err != nil {
		p.t.Fatal(err)
	}
	p.run(append([]string{"issue", "client", "--batch", rows, "--out", p.out}, flags...)...)
}

func (w *gateWorld) cell(name string, kind gateKind, version uint16) *gateCell {
	return &gateCell{
		name: name, kind: kind, gate: w.gates[kind.gate], mark: w.upstream.mark(name),
		config:   &tls.Config{ServerName: "localhost", MinVersion: version, MaxVersion: version, RootCAs: w.roots()},
		sessions: &sessionCache{ClientSessionCache: tls.NewLRUClientSessionCache(8)},
	}
}

func (p *interopPKI) roots() *x509.CertPool {
	pool := x509.NewCertPool()
	for _, cert := range readCertificates(p.t, p.file("root.crt")) {
		pool.AddCert(cert)
	}
	return pool
}

// certify gives a client its certificate.
func (p *interopPKI) certify(c *gateCell) {
	p.t.Helper()
	cert, err := tls.LoadX509KeyPair(filepath.Join(p.out, c.name+".crt"), filepath.Join(p.out, c.name+".key"))
	if err != nil {
		p.t.Fatal(err)
	}
	c.certificate = cert.Leaf
	c.config.GetClientCertificate = func(*tls.CertificateRequestInfo) (*tls.Certificate, error) { return &cert, nil } // whatever CAs are asked for
}

// staying are clients, one at each gate, that nothing happens to: of the other PKI
// where there is one, and else of the CA that is the newest in the end.
func (w *gateWorld) staying() []*gateCell {
	w.t.Helper()
	from := w.interopPKI
	if w.others != nil {
		from = w.others
	}
	if w.act == "retire" {
		w.run("ca", "renew", "issuing", "--rekey")
	}
	var cells []*gateCell
	var names []string
	for _, i := range []int{1, len(gateKinds) - 2, len(gateKinds) - 1} {
		c := w.cell("staying-"+gateKinds[i].name, gateKinds[i], tls.VersionTLS13)
		cells, names = append(cells, c), append(names, c.name)
	}
	from.issueAll(names)
	for _, c := range cells {
		from.certify(c)
		c.open(w.t)
	}
	return cells
}

// gateEvent is what of a line of the log is looked at.
type gateEvent struct{ event, code, subject string }

// logged reads the log of a gate.
func (p *interopPKI) logged(log string) (all []gateEvent) {
	p.t.Helper()
	data, err := os.ReadFile(filepath.Join(p.out, log))
	if err != nil {
		p.t.Fatal(err)
	}
	for line := range bytes.Lines(data) {
		var e struct {
			Event, Code string
			Certificate struct{ Subject string }
		}
		if err := json.Unmarshal(line, &e); err != nil {
			p.t.Errorf("the log has the line %q: %v", line, err)
		}
		all = append(all, gateEvent{e.Event, e.Code, e.Certificate.Subject})
	}
	return all
}

// checkLog: the log of the gates says of each client why it was cut and refused,
// and of none that it was let in after.
func (w *gateWorld) checkLog(cells []*gateCell, code string) {
	w.t.Helper()
	seen := map[gateEvent]int{}
	for kind, gate := range w.gates {
		gate.stop() // all is written
		for _, e := range w.logged(kind + ".jsonl") {
			seen[e]++
		}
	}
	for _, c := range cells {
		subject := "CN=" + c.name
		for event, want := range map[string]int{"cut": 1, "refused": 2} {
			if n := seen[gateEvent{event, code, subject}]; n != want {
				w.t.Errorf("%s: the log says %d times %s for being %s, want %d", c.name, n, event, code, want)
			}
		}
		if n := seen[gateEvent{"open", "", subject}]; n != 2 { // to get a session, and to stay
			w.t.Errorf("%s: it was let in %d times", c.name, n)
		}
	}
}
