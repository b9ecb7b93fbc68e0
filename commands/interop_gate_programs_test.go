package commands_test

import (
	"crypto/tls"
	"encoding/json"
	"fmt"
	"net"
	"net/http"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"mutual/pki/pkitest/tools"
)

// gatePrograms are clients of testdata/interop that open several connections at
// once and say what they see.
var gatePrograms = []struct {
	name    string
	command func(t *testing.T) []string
	open    []string        // the connections that it opens
	resumes map[string]bool // whether it does at a Go server, by version of TLS
	refused []string        // one of these says that it is refused
}{
	{
		"node", func(t *testing.T) []string { return []string{tools.Need(t, "node"), interopFile("gate_client.js")} },
		[]string{"download", "idle", "h2-streams", "tcp"}, map[string]bool{"1.2": true, "1.3": true}, []string{"ALERT_BAD_CERTIFICATE"},
	},
	{
		"python", func(t *testing.T) []string { return []string{tools.Need(t, "python3"), interopFile("gate_client.py")} },
		[]string{"download", "idle", "tcp"}, map[string]bool{"1.2": true, "1.3": true}, []string{"ALERT_BAD_CERTIFICATE"},
	},
	{ // in TLS 1.2 it keeps only sessions that have an identifier, too
		"java", compileJava,
		[]string{"download", "idle", "tcp"}, map[string]bool{"1.3": true}, []string{"bad_certificate", "Broken pipe"},
	},
}

func interopFile(name string) string { return filepath.Join("..", "testdata", "interop", name) }

func compileJava(t *testing.T) []string {
	java, classes := tools.Need(t, "java", "javac"), t.TempDir()
	mustProgram(t, "", "javac", "-proc:none", "-d", classes, interopFile("GateClient.java"))
	return []string{java, "-XX:TieredStopAtLevel=1", "-XX:+UseSerialGC", "-cp", classes, "GateClient"}
}

// seenByProgram is a line of a program.
type seenByProgram struct {
	Case    string // what it is about
	State   string // open, cut, alive, refused or answered
	Resumed bool
	Late    int // octets that it got and that were made after the revocation
	How     string
}

// TestInteropGatePrograms: other people's clients lose everything when their
// certificate is revoked. So that what they say means something, they say the
// contrary of a server without a gate, which resumes sessions.
func TestInteropGatePrograms(t *testing.T) {
	t.Parallel()
	for _, p := range gatePrograms {
		t.Run(p.name, func(t *testing.T) {
			t.Parallel()
			command := p.command(t)
			w := newGateWorld(t, p.name)
			plain := w.startPlain()
			ofPlain, ofGate := map[string]*interopServer{}, map[string]*interopServer{}
			for version := range gateVersions {
				name := p.name + "-" + version
				w.issueAll([]string{name})
				start := func(web, raw, called string) *interopServer {
					return startProgram(t, command[0], slices.Concat(command[1:], []string{
						web, raw, w.file("root.crt"), filepath.Join(w.out, name+".crt"), filepath.Join(w.out, name+".key"), version, called,
					})...)
				}
				ofPlain[version] = start(plain.web, plain.raw, name+"-plain")
				ofGate[version] = start(w.gates["web"].address, w.gates["tcp"].address, name)
			}
			for version, s := range ofPlain {
				s.isReady()
				s.tell(500 * time.Millisecond) // it is alive
				ofGate[version].isReady()
				w.run("revoke", p.name+"-"+version)
				w.upstream.mark(p.name + "-" + version).after.Store(true)
				ofGate[version].tell(clientPatience)
			}
			for version := range gateVersions {
				name := p.name + "-" + version
				seen := ofPlain[version].sees()
				for _, what := range p.open {
					wantSeen(t, seen, seenByProgram{Case: what, State: "alive"})
				}
				wantSeen(t, seen, seenByProgram{Case: "resume", State: "answered", Resumed: p.resumes[version]})
				wantSeen(t, seen, seenByProgram{Case: "new", State: "answered"})

				seen = ofGate[version].sees()
				for _, what := range p.open {
					wantSeen(t, seen, seenByProgram{Case: what, State: "cut"})
				}
				for _, what := range []string{"resume", "new"} {
					wantSeen(t, seen, seenByProgram{Case: what, State: "refused"})
					if !slices.ContainsFunc(p.refused, func(how string) bool { return strings.Contains(seen[what].How, how) }) {
						t.Errorf("%s: it is told %q, want one of %q", what, seen[what].How, p.refused)
					}
				}
				w.wantLogged("web.jsonl", gateEvent{"refused", "revoked", "CN=" + name}, 2)
				w.wantLogged("web.jsonl", gateEvent{"cut", "revoked", "CN=" + name}, len(p.open)-1)
				w.wantLogged("tcp.jsonl", gateEvent{"cut", "revoked", "CN=" + name}, 1)
			}
		})
	}
}

// wantSeen compares what a program says of a case, and has it say how.
func wantSeen(t *testing.T, all map[string]seenByProgram, want seenByProgram) {
	t.Helper()
	got := all[want.Case]
	how := got.How
	got.How = ""
	if got != want || how == "" && want.State != "alive" {
		t.Errorf("it says %+v (%s), want %+v", got, how, want)
	}
}

// wantLogged waits until the log of a gate has an event so many times: it is
// written down a moment later.
func (p *interopPKI) wantLogged(log string, want gateEvent, times int) {
	p.t.Helper()
	n := 0
	for end := time.Now().Add(clientPatience); n < times && time.Now().Before(end); time.Sleep(5 * time.Millisecond) {
		n = 0
		for _, e := range p.logged(log) {
			if e == want {
				n++
			}
		}
	}
	if n != times {
		p.t.Errorf("%s has %d times %+v, want %d", log, n, want, times)
	}
}

// isReady waits until a program of testdata/interop has everything open.
func (s *interopServer) isReady() {
	s.t.Helper()
	s.wait("is ready", func() bool { return strings.Contains(s.log.String(), `"ready"`) })
}

// tell tells it that its certificate was revoked, and how long connections may
// take to end: what they get in that time counts.
func (s *interopServer) tell(patience time.Duration) {
	s.t.Helper()
	if _, err := fmt.Fprintln(s.in, patience.Milliseconds()); err != nil {
		s.t.Fatal(err)
	}
}

// sees gives what it says of each case until it ends.
func (s *interopServer) sees() map[string]seenByProgram {
	s.t.Helper()
	s.wait("ends", s.hasEnded)
	all := map[string]seenByProgram{}
	for line := range strings.Lines(s.log.String()) {
		var l seenByProgram
		if err := json.Unmarshal([]byte(line), &l); err != nil {
			s.t.Fatalf("it says %q", line)
		}
		all[l.Case] = l
	}
	wantSeen(s.t, all, seenByProgram{Case: "first", State: "answered"})
	return all
}

// plainServers are servers of TLS without a gate. They resume sessions.
type plainServers struct{ web, raw string }

// startPlain starts them. What /one answers there is whether the session was
// resumed, so that clients that do not say so themselves can be seen, too.
func (w *gateWorld) startPlain() plainServers {
	t := w.t
	t.Helper()
	cert, err := tls.LoadX509KeyPair(filepath.Join(w.out, "localhost.crt"), filepath.Join(w.out, "localhost.key"))
	if err != nil {
		t.Fatal(err)
	}
	config := &tls.Config{Certificates: []tls.Certificate{cert}, MinVersion: tls.VersionTLS12, ClientAuth: tls.RequireAnyClientCert}
	var addresses []string
	var listeners []net.Listener
	for _, protocols := range [][]string{{"h2", "http/1.1"}, nil} {
		c := config.Clone()
		c.NextProtos = protocols
		l, err := tls.Listen("tcp", "127.0.0.1:0", c)
		if err != nil {
			t.Fatal(err)
		}
		listeners, addresses = append(listeners, l), append(addresses, l.Addr().String())
	}
	server := &http.Server{ReadHeaderTimeout: time.Minute, Handler: http.HandlerFunc(func(rw http.ResponseWriter, r *http.Request) {
		if r.URL.Path == "/one" && r.TLS.DidResume {
			rw.Header().Set("Resumed", "yes")
		}
		w.upstream.handler.ServeHTTP(rw, r)
	})}
	go func() { _ = server.Serve(listeners[0]) }() // until Close
	go func() {
		for {
			conn, err := listeners[1].Accept()
			if err != nil {
				return
			}
			go w.upstream.echo(conn)
		}
	}()
	t.Cleanup(func() {
		_ = server.Close()
		_ = listeners[1].Close()
	})
	return plainServers{web: addresses[0], raw: addresses[1]}
}
