package gate

import (
	"bytes"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/json"
	"errors"
	"io"
	"net/http"
	"net/url"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"mutual/pki"
)

// stuck is a log that takes nothing until it is released.
type stuck struct {
	mu      sync.Mutex
	release chan struct{}
	text    bytes.Buffer
	fail    error
}

// Write implements io.Writer.
func (s *stuck) Write(b []byte) (int, error) {
	<-s.release
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.fail != nil {
		return 0, s.fail
	}
	return s.text.Write(b)
}

// Close implements io.Closer.
func (s *stuck) Close() error { return nil }

func (s *stuck) set(err error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.fail = err
}

// A log that is slower than the traffic loses lines and says how many; nobody
// waits for it.
func TestLogDrops(t *testing.T) {
	out := &stuck{release: make(chan struct{})}
	l, err := NewLog(func() (io.WriteCloser, error) { return out, nil }, false)
	if err != nil {
		t.Fatal(err)
	}
	text := bytes.Repeat([]byte("x"), 1<<20)
	for range 30 {
		l.write(text, time.Now())
	}
	if n := l.Dropped(); n < 10 || n > 29 || l.fails() != nil {
		t.Errorf("%d lines were dropped, %v", n, l.fails())
	}
	dropped := l.Dropped()
	close(out.release)
	eventually(func() bool {
		l.write([]byte(`{"event":"last"}`), time.Now())
		out.mu.Lock()
		defer out.mu.Unlock()
		return strings.Contains(out.text.String(), "last")
	})
	if err := l.Close(); err != nil {
		t.Fatal(err)
	}
	var said struct{ Lines int64 }
	for line := range strings.Lines(out.text.String()) {
		if strings.Contains(line, `"dropped"`) {
			if err := json.Unmarshal([]byte(line), &said); err != nil {
				t.Error(err)
			}
		}
	}
	if said.Lines != dropped {
		t.Errorf("%d lines were dropped, and the log says %d", dropped, said.Lines)
	}
}

// failing hangs until it is let go, and then fails.
type failing struct{ entered, release chan struct{} }

// Write implements io.Writer.
func (f *failing) Write([]byte) (int, error) {
	f.entered <- struct{}{}
	<-f.release
	return 0, errors.New("it takes too long")
}

// Close implements io.Closer.
func (f *failing) Close() error { return nil }

// What waits for a log that fails again and again is bounded, and what is too much
// is counted.
func TestLogFails(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		out := &failing{make(chan struct{}), make(chan struct{})}
		l, err := NewLog(func() (io.WriteCloser, error) { return out, nil }, false)
		if err != nil {
			t.Fatal(err)
		}
		text := bytes.Repeat([]byte("x"), 1<<10)
		written := int64(0)
		l.write(text, time.Now())
		written++
		for range 4 {
			<-out.entered
			for range 10 << 10 {
				l.write(text, time.Now())
				written++
			}
			out.release <- struct{}{}
			synctest.Wait()
			l.mu.Lock()
			waiting, kept := len(l.pending), int64(bytes.Count(l.pending, []byte("x\n")))
			l.mu.Unlock()
			if waiting > maxPending {
				t.Errorf("%d octets wait", waiting)
			}
			if dropped := l.Dropped(); kept+dropped != written {
				t.Errorf("of %d lines %d wait and %d are dropped", written, kept, dropped)
			}
		}
		if err := l.Close(); err == nil {
			t.Error("nothing is said of what was not written")
		}
	})
}

// A log that takes nothing does not keep a gate from ending, and what it lacks is
// said.
func TestLogTakesNothing(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		out := &stuck{release: make(chan struct{})}
		l, err := NewLog(func() (io.WriteCloser, error) { return out, nil }, false)
		if err != nil {
			t.Fatal(err)
		}
		l.write([]byte(`{"event":"last"}`), time.Now())
		began := time.Now()
		if err := l.Close(); err == nil || time.Since(began) != closePatience {
			t.Errorf("after %s: %v", time.Since(began), err)
		}
		close(out.release)
	})
}

// A gate whose log must be written does not start where it cannot be.
func TestLogCannotBegin(t *testing.T) {
	f := newFixture(t, options{})
	for _, must := range []bool{true, false} {
		c := f.config(options{})
		_ = c.Log.Close()
		out := &stuck{release: make(chan struct{}), fail: errors.New("no room")}
		close(out.release)
		var err error
		if c.Log, err = NewLog(func() (io.WriteCloser, error) { return out, nil }, must); err != nil {
			t.Fatal(err)
		}
		if _, err := New(t.Context(), c); (err != nil) != must {
			t.Errorf("must be written %v: %v", must, err)
		}
		_ = c.Log.Close()    // it fails
		_ = c.Source.Close() // only read
	}
}

// With LogMustWrite nothing is let through while the log cannot be written, and
// it is again when it can.
func TestLogMustWrite(t *testing.T) {
	t.Parallel()
	out := &stuck{release: make(chan struct{})}
	close(out.release)
	f := newFixture(t, options{config: func(c *Config) {
		_ = c.Log.Close()
		var err error
		if c.Log, err = NewLog(func() (io.WriteCloser, error) { return out, nil }, true); err != nil {
			t.Fatal(err)
		}
	}})
	alice := f.issue(pki.KindClient, "alice")
	f.wantIn(alice)
	out.set(errors.New("no room"))
	c := f.client(&alice)
	status, body := 0, ""
	eventually(func() bool {
		status, body = f.get(c, "/")
		return status == http.StatusServiceUnavailable
	})
	if !strings.Contains(body, `"code":"logLost"`) {
		t.Errorf("%d %s", status, body)
	}
	if why := f.gate.Ready(); why == nil || why.Code != CodeLogLost {
		t.Errorf("it is ready: %v", why)
	}
	out.set(nil)
	if !eventually(func() bool {
		status, _ = f.get(c, "/")
		return status == http.StatusOK
	}) {
		t.Errorf("it does not recover: %d", status)
	}
}

// A log whose file was moved away goes on in a new one.
func TestLogReopen(t *testing.T) {
	path := filepath.Join(t.TempDir(), "gate.jsonl")
	l, err := NewLog(func() (io.WriteCloser, error) { return os.OpenFile(path, os.O_CREATE|os.O_APPEND|os.O_WRONLY, 0o600) }, false)
	if err != nil {
		t.Fatal(err)
	}
	has := func(file, want string) {
		t.Helper()
		var text []byte
		if !eventually(func() bool {
			text, _ = os.ReadFile(file)
			return string(text) == want
		}) {
			t.Errorf("%s has %q, want %q", filepath.Base(file), text, want)
		}
	}
	l.write([]byte("1"), time.Now())
	has(path, "1\n")
	if err := os.Rename(path, path+".1"); err != nil {
		t.Fatal(err)
	}
	if err := l.Reopen(); err != nil {
		t.Fatal(err)
	}
	l.write([]byte("2"), time.Now())
	if err := l.Close(); err != nil {
		t.Fatal(err)
	}
	has(path, "2\n")
	has(path+".1", "1\n")
}

// FuzzRecord: whatever a certificate holds, its record is one line of JSON of
// bounded length.
func FuzzRecord(f *testing.F) {
	f.Add("alice", "a@example.com", "a.example.com", "spiffe://x/y")
	f.Add("a\n\"}{\x00\xff", "\u2028", "<script>", "%")
	f.Add(strings.Repeat("x", 10_000), "", "", "")
	f.Fuzz(func(t *testing.T, cn, email, dns, uri string) {
		cert := &x509.Certificate{Subject: pkix.Name{CommonName: cn}, Issuer: pkix.Name{CommonName: cn}, EmailAddresses: []string{email}, DNSNames: []string{dns},
			URIs: []*url.URL{{Scheme: "x", Opaque: uri}}, NotAfter: time.Unix(0, 0)}
		id := Identity{Certificate: cert}
		record := certificateRecord(id)
		var into map[string]any
		if err := json.Unmarshal(record, &into); err != nil || bytes.ContainsAny(record, "\n\r") || len(record) > 32<<10 {
			t.Errorf("%q: %v", record, err)
		}
		var l line
		l.text("a", cn)
		l.texts("b", []string{email, dns})
		l.number("c", -1)
		l.milliseconds("d", 1500*time.Microsecond)
		if err := json.Unmarshal(l.end(), &into); err != nil {
			t.Errorf("%q: %v", l, err)
		}
		for _, style := range HeaderStyles() {
			for name, value := range newIdentityHeaders(style, Identity{Certificate: withSerial(cert)}) {
				if strings.ContainsFunc(value[0], func(r rune) bool { return r < ' ' || r > '~' }) {
					t.Errorf("%s is %q", name, value)
				}
			}
		}
	})
}
