package commands_test

import (
	"bufio"
	"bytes"
	"encoding/json"
	"errors"
	"io"
	"net"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"mutual/pki/pkitest/tools"
)

// TestInteropGateOpenSSL: s_client gets nothing more of a download; neither the
// ticket that it keeps nor, without tickets, the session identifier lets it in.
func TestInteropGateOpenSSL(t *testing.T) {
	t.Parallel()
	openssl := tools.Need(t, "openssl")
	w := newGateWorld(t, "openssl")
	plain := w.startPlain()
	for _, tt := range []struct {
		name, version string
		flags         []string
		resumes       bool // a Go server, as far as it can
	}{
		{"ticket-1.2", "1.2", nil, true},
		{"identifier-1.2", "1.2", []string{"-no_ticket"}, false},
		{"ticket-1.3", "1.3", nil, true},
	} {
		w.issueAll([]string{tt.name})
		t.Run(tt.name, func(t *testing.T) {
			w := &gateWorld{interopPKI: w.with(t), upstream: w.upstream, gates: w.gates}
			session := filepath.Join(t.TempDir(), "session")
			args := func(address string, more ...string) []string {
				all := slices.DeleteFunc(sClientArgs(w.interopPKI, address, tt.version, tt.name), func(flag string) bool { return flag == "-quiet" })
				return slices.Concat(all, []string{"-ign_eof"}, tt.flags, more)
			}
			call := func(address string, more ...string) string {
				return w.exchange(openssl, args(address, more...), "GET /one?cell="+tt.name+" HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n")
			}
			keep := func(address string) []string { // what resumes, if a session was given
				t.Helper()
				if said := call(address, "-sess_out", session); !strings.Contains(said, "HTTP/1.1 200 OK") {
					t.Fatalf("the first call:\n%s", said)
				}
				if _, err := os.Stat(session); errors.Is(err, os.ErrNotExist) {
					return nil
				}
				return []string{"-sess_in", session}
			}
			again := call(plain.web, keep(plain.web)...)
			if !strings.Contains(again, "HTTP/1.1 200 OK") || strings.Contains(again, "Reused, TLS") != tt.resumes {
				t.Errorf("without a gate the session is not resumed:\n%s", again)
			}
			_ = os.Remove(session) // there may be none

			resume := keep(w.gates["web"].address)
			live := startProgram(t, openssl, args(w.gates["web"].address, "-quiet")...)
			if _, err := io.WriteString(live.in, "GET /down?cell="+tt.name+" HTTP/1.1\r\nHost: localhost\r\n\r\n"); err != nil {
				t.Fatal(err)
			}
			live.wait("downloads", func() bool { return strings.Contains(live.log.String(), "bbbb") })
			w.run("revoke", tt.name)
			w.upstream.mark(tt.name).after.Store(true)
			select {
			case <-live.exited:
			case <-time.After(soonEnough):
				t.Error("the download goes on")
			}
			if strings.Contains(live.log.String(), "AAAA") {
				t.Error("it gets what was made after")
			}
			for what, flags := range map[string][]string{"a new handshake": nil, "the session": resume} {
				said := call(w.gates["web"].address, flags...)
				if strings.Contains(said, "HTTP/1.1") || strings.Contains(said, "Reused, TLS") || !strings.Contains(said, "alert bad certificate") {
					t.Errorf("%s is not refused:\n%s", what, said)
				}
			}
			w.wantLogged("web.jsonl", gateEvent{"cut", "revoked", "CN=" + tt.name}, 1)
			w.wantLogged("web.jsonl", gateEvent{"refused", "revoked", "CN=" + tt.name}, 2)
		})
	}
}

// exchange runs a client with a standard input that stays open, and gives what it
// says until it ends.
func (p *interopPKI) exchange(name string, args []string, input string) string {
	p.t.Helper()
	s := startProgram(p.t, name, args...)
	_, _ = io.WriteString(s.in, input) // who is refused reads nothing
	select {
	case <-s.exited:
	case <-time.After(clientPatience):
		p.t.Errorf("%s does not end", name)
	}
	return s.log.String()
}

// TestInteropGateCurl: one curl makes a call, gets an endless answer, which is
// cut, and calls again with the session that it has kept.
func TestInteropGateCurl(t *testing.T) {
	t.Parallel()
	curl := tools.Need(t, "curl")
	w := newGateWorld(t, "curl")
	plain := w.startPlain()
	for version := range gateVersions {
		for _, protocol := range []string{"http1.1", "http2"} {
			name := protocol + "-" + version
			w.issueAll([]string{name})
			t.Run(name, func(t *testing.T) {
				w := &gateWorld{interopPKI: w.with(t), upstream: w.upstream, gates: w.gates}
				dir := ""
				start := func(address string, paths ...string) *interopServer {
					dir = t.TempDir()
					_, port, _ := net.SplitHostPort(address)
					args := []string{
						"--" + protocol, "--silent", "--no-buffer", "--max-time", "20", "--noproxy", "*", "--write-out", "%{json}\n",
						"--tlsv" + version, "--tls-max", version, "--cacert", w.file("root.crt"),
						"--cert", filepath.Join(w.out, name+".crt"), "--key", filepath.Join(w.out, name+".key"),
						"--dump-header", filepath.Join(dir, "header"), "--header", "Connection: close",
					}
					for i, path := range paths {
						args = append(args, "--output", filepath.Join(dir, string(rune('1'+i))), "https://localhost:"+port+path+"?cell="+name)
					}
					return startProgram(t, curl, args...)
				}
				read := func(file string) string {
					data, _ := os.ReadFile(filepath.Join(dir, file)) // it may not be there yet
					return string(data)
				}

				// In HTTP/2 the first connection is used again, and in TLS 1.2 curl takes no
				// ticket, which is all that a Go server gives.
				if protocol == "http1.1" {
					<-start(plain.web, "/one", "/one").exited
					if got := strings.Contains(read("header"), "Resumed: yes"); got != (version == "1.3") {
						t.Errorf("without a gate the session is resumed: %t\n%s", got, read("header"))
					}
				}

				s := start(w.gates["web"].address, "/one", "/down", "/one")
				s.wait("downloads", func() bool { return strings.Contains(read("2"), "bbbb") })
				w.run("revoke", name)
				w.upstream.mark(name).after.Store(true)
				select {
				case <-s.exited:
				case <-time.After(clientPatience):
					t.Fatal("the download goes on")
				}
				if strings.Contains(read("2"), "A") || read("3") != "" {
					t.Errorf("it gets what was made after: %q", read("3"))
				}
				for i, want := range []struct {
					status int
					codes  []int
					how    string
				}{
					{200, []int{0}, ""},
					{200, []int{18, 56, 92}, ""},                // partial, not received, a stream of HTTP/2
					{0, []int{35, 56}, "alert bad certificate"}, // in the handshake, or in TLS 1.3 after
				} {
					got := s.transfer(i)
					if got.Status != want.status || !slices.Contains(want.codes, got.Code) || !strings.Contains(got.Message, want.how) {
						t.Errorf("transfer %d: %+v, want %+v", i+1, got, want)
					}
				}
				w.wantLogged("web.jsonl", gateEvent{"cut", "revoked", "CN=" + name}, 1)
				w.wantLogged("web.jsonl", gateEvent{"refused", "revoked", "CN=" + name}, 1)
			})
		}
	}
}

// curlTransfer is what curl says of a transfer.
type curlTransfer struct {
	Status  int    `json:"http_code"`
	Code    int    `json:"exitcode"`
	Message string `json:"errormsg"`
}

func (s *interopServer) transfer(i int) (t curlTransfer) {
	s.t.Helper()
	lines := bufio.NewScanner(bytes.NewReader([]byte(s.log.String())))
	for n := 0; lines.Scan(); n++ {
		if n == i {
			if err := json.Unmarshal(lines.Bytes(), &t); err != nil {
				s.t.Errorf("curl says %q", lines.Text())
			}
			return t
		}
	}
	s.t.Errorf("curl says nothing of transfer %d:\n%s", i+1, s.log.String())
	return t
}
