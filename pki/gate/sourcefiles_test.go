package gate

import (
	"crypto/tls"
	"net"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"mutual/pki"
)

func dialUnix(path string) (net.Conn, error) { return net.Dial("unix", path) }

// published are copies of the CAs and lists of a fixture's PKI.
type published struct{ ca, crl string }

func (f *fixture) publish() published {
	f.Helper()
	p := published{filepath.Join(f.TempDir(), "ca.crt"), filepath.Join(f.TempDir(), "chain.pem")}
	f.copyTo(p)
	return p
}

func (f *fixture) copyTo(p published) {
	f.Helper()
	for from, to := range map[string]string{"ca.crt": p.ca, "crl/chain.pem": p.crl} {
		data, err := os.ReadFile(filepath.Join(f.dir, from))
		if err != nil {
			f.Fatal(err)
		}
		f.replace(to, data)
	}
}

func (f *fixture) replace(path string, data []byte) {
	f.Helper()
	if err := os.WriteFile(path+".new", data, 0o600); err != nil {
		f.Fatal(err)
	}
	if err := os.Rename(path+".new", path); err != nil {
		f.Fatal(err)
	}
}

// warns waits until the gate has warned.
func (f *fixture) warns(text string) {
	f.Helper()
	if !eventually(func() bool { return strings.Contains(f.warned.String(), text) }) {
		f.Fatalf("it never warns of %q: %q", text, f.warned)
	}
}

// Files of CAs and lists are followed by their content: a new list cuts; a broken
// or older one, and one that somebody else has signed, leave the last good one in
// force and are told.
func TestFileSource(t *testing.T) {
	t.Parallel()
	var p published
	f := newFixture(t, options{files: func(f *fixture) *FileConfig {
		p = f.publish()
		return &FileConfig{CA: p.ca, CRLs: []string{p.crl}, Now: time.Now}
	}})
	alice, bob := f.issue(pki.KindClient, "alice"), f.issue(pki.KindClient, "bob")
	f.wantIn(alice)
	f.wantOut(selfMade(t, "alice"))
	old, err := os.ReadFile(p.crl)
	if err != nil {
		t.Fatal(err)
	}
	_, in := f.liveConn(alice)
	conn, ofBob := f.liveConn(bob)
	if _, err := f.pki.Revoke(t.Context(), f.only(alice), pki.KeyCompromise, false); err != nil {
		t.Fatal(err)
	}
	f.copyTo(p)
	f.wantCut(in, CodeRevoked)
	f.wantOut(&alice)
	f.ask(conn, ofBob, http.StatusOK)

	f.replace(p.crl, old)
	f.warns("older than the one in force")
	f.wantOut(&alice)
	f.replace(p.crl, []byte("rubbish"))
	f.warns("the last good one is in force")
	f.wantOut(&alice)
	f.ask(conn, ofBob, http.StatusOK)
	f.replace(p.ca, []byte("-----BEGIN CERTIFICATE-----\nAAAA\n-----END CERTIFICATE-----\n"))
	f.warns("reading the CAs in " + p.ca)
	f.ask(conn, ofBob, http.StatusOK)

	other := newFixture(t, options{}) // other CAs
	theirs := other.publish()
	data, err := os.ReadFile(theirs.crl)
	if err != nil {
		t.Fatal(err)
	}
	f.replace(p.crl, data)
	f.warns("is not to be believed")
	if data, err = os.ReadFile(theirs.ca); err != nil {
		t.Fatal(err)
	}
	f.replace(p.ca, data)
	f.wantCut(ofBob, CodeUnknownCA) // whom nobody trusts any more
}

// clockAhead is a clock that can be set forward.
type clockAhead struct{ ahead atomic.Int64 }

func (c *clockAhead) now() time.Time { return time.Now().Add(time.Duration(c.ahead.Load())) }

// A list that is about to end is warned of; when it has ended nobody is let in,
// unless the operator wanted otherwise.
func TestExpiredList(t *testing.T) {
	t.Parallel()
	for _, serve := range []bool{false, true} {
		clock := &clockAhead{}
		f := newFixture(t, options{
			config: func(c *Config) { c.Now, c.Lease = clock.now, 365*24*time.Hour }, // it is set forward
			files: func(f *fixture) *FileConfig {
				p := f.publish()
				return &FileConfig{CA: p.ca, CRLs: []string{p.crl}, ServeExpired: serve, Now: clock.now}
			},
		})
		alice := f.issue(pki.KindClient, "alice", lasting(365*24*time.Hour))
		server := f.issue(pki.KindServer, "localhost", lasting(365*24*time.Hour))
		f.gate.config.Certificate.current.Store(&server)
		at := func(c *tls.Config) { c.Time = clock.now }
		clock.ahead.Store(int64(21 * 24 * time.Hour))
		f.warns("ends at")
		if status, body := f.get(f.client(&alice, at), "/"); status != http.StatusOK {
			t.Errorf("before the end: %d %s", status, body)
		}
		clock.ahead.Store(int64(40 * 24 * time.Hour))
		f.warns("has expired")
		status, body := f.get(f.client(&alice, at), "/")
		if served := status == http.StatusOK; served != serve {
			t.Errorf("after the end, serving %v: %d %s", serve, status, body)
		}
		if !serve {
			f.await("why", func(e entry) bool { return e.Code == string(CodeCouldNotTell) && strings.Contains(e.Reason, "expired") })
		}
	}
}

// A list can come from a URL. One that cannot be got leaves the last one in force
// and is told.
func TestListAtURL(t *testing.T) {
	t.Parallel()
	var p published
	var broken atomic.Bool
	web := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if broken.Load() {
			http.Error(w, "no", http.StatusInternalServerError)
			return
		}
		http.ServeFile(w, r, p.crl)
	}))
	defer web.Close()
	clock := &clockAhead{}
	f := newFixture(t, options{
		config: func(c *Config) { c.Now, c.Lease = clock.now, 365*24*time.Hour }, // it is set forward
		files: func(f *fixture) *FileConfig {
			p = f.publish()
			return &FileConfig{CA: p.ca, CRLs: []string{web.URL + "/chain.pem"}, Now: clock.now}
		},
	})
	alice, bob := f.issue(pki.KindClient, "alice"), f.issue(pki.KindClient, "bob")
	_, in := f.liveConn(alice)
	if _, err := f.pki.Revoke(t.Context(), f.only(alice), pki.KeyCompromise, false); err != nil {
		t.Fatal(err)
	}
	f.copyTo(p)
	clock.ahead.Store(int64(2 * time.Minute)) // it is got every minute
	f.wantCut(in, CodeRevoked)
	broken.Store(true)
	clock.ahead.Store(int64(4 * time.Minute))
	f.warns("getting the revocation list: 500")
	f.wantOut(&alice)
	f.wantIn(bob)
}

// The first look must be good: a gate does not start without knowing.
func TestFileSourceFirst(t *testing.T) {
	f := newFixture(t, options{})
	p := f.publish()
	other := newFixture(t, options{}).publish()
	for name, c := range map[string]FileConfig{
		"no such file":          {CA: p.ca + ".nosuch", CRLs: []string{p.crl}, Now: time.Now},
		"is not to be believed": {CA: p.ca, CRLs: []string{other.crl}, Now: time.Now},
		"connection refused":    {CA: p.ca, CRLs: []string{"http://127.0.0.1:1/"}, Now: time.Now},
	} {
		s, err := NewFileSource(c)
		if err != nil {
			t.Fatal(err)
		}
		if _, err := s.Look(t.Context()); err == nil || !strings.Contains(err.Error(), name) {
			t.Errorf("%v, want %q", err, name)
		}
		_ = s.Close()
	}
	if _, err := NewFileSource(FileConfig{CA: p.ca}); err == nil {
		t.Error("a source without a list is made")
	}
}

// A gate of another user reads published lists: an act tells it when they are
// out, and waits until it has read them.
func TestAddedGate(t *testing.T) {
	t.Parallel()
	var p published
	f := newFixture(t, options{files: func(f *fixture) *FileConfig {
		p = f.publish()
		return &FileConfig{CA: p.ca, CRLs: []string{p.crl}, Now: time.Now}
	}})
	socket := filepath.Join(t.TempDir(), "c.sock")
	c, err := ListenControlAt(socket, "added")
	if err != nil {
		t.Fatal(err)
	}
	go c.Serve(f.gate)
	if _, err := ListenControlAt(socket, "second"); err == nil || !strings.Contains(err.Error(), "somebody listens at") {
		t.Errorf("a second gate takes the socket: %v", err)
	}
	gates := filepath.Join(f.dir, "gates")
	if err := Add(t.Context(), gates, socket, time.Now); err != nil {
		t.Fatal(err)
	}
	alice := f.issue(pki.KindClient, "alice")
	_, in := f.liveConn(alice)
	if _, err := f.pki.Revoke(t.Context(), f.only(alice), pki.KeyCompromise, false); err != nil {
		t.Fatal(err)
	}
	lists, err := f.pki.CRLs(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	numbers := map[string]string{}
	for _, l := range lists {
		numbers[l.KeyID] = l.Number.String()
	}
	tell := func() Acknowledged {
		t.Helper()
		answers, err := Tell(t.Context(), gates, 1, true, numbers, time.Now)
		if err != nil || len(answers) != 1 || answers[0].Gate != "added" {
			t.Fatalf("%+v, %v", answers, err)
		}
		return answers[0]
	}
	if a := tell(); !strings.Contains(a.Error, "has not read list") {
		t.Errorf("before the list is published: %+v", a)
	}
	f.copyTo(p)
	if a := tell(); a.Error != "" {
		t.Errorf("after it: %+v", a)
	}
	f.wantCut(in, CodeRevoked)
	c.Close()
	if answers, err := Tell(t.Context(), gates, 1, true, numbers, time.Now); err != nil || len(answers) > 0 {
		t.Errorf("of a gate that has ended: %+v, %v", answers, err)
	}
	if left, err := filepath.Glob(filepath.Join(gates, "*.added")); err != nil || len(left) != 1 {
		t.Errorf("it is no longer registered: %v, %v", left, err)
	}
	if err := Add(t.Context(), gates, socket+".typo", time.Now); err == nil || !strings.Contains(err.Error(), "no gate answers") {
		t.Errorf("a socket that nobody listens at is added: %v", err)
	}
}
