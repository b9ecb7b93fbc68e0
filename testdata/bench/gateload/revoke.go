package main

import (
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"os"
	"os/exec"
	"regexp"
	"runtime"
	"sync"
	"sync/atomic"
	"time"

	"golang.org/x/sys/unix"

	"mutual/pki/store"
)

// commits notes when each change of a PKI was committed.
type commits struct {
	pki  *store.PKI
	mu   sync.Mutex
	seen map[int64]commit
	last int64
	err  error
	stop atomic.Bool
	done chan struct{}
}

// commit is when a change was seen first, and when the last look began that did
// not see it: it was committed between the two.
type commit struct{ since, seen time.Time }

func watch(dir string) (*commits, error) {
	p, err := store.Open(context.Background(), dir, store.Options{Now: time.Now})
	if err != nil {
		return nil, err
	}
	w := &commits{pki: p, seen: map[int64]commit{}, done: make(chan struct{})}
	e, err := p.Epoch(context.Background())
	if err != nil {
		return nil, err
	}
	w.last = e.Number
	go w.run()
	return w, nil
}

// run looks every fifth of a millisecond. A timer of Go may take a whole one.
func (w *commits) run() {
	defer close(w.done)
	runtime.LockOSThread()
	pause := unix.NsecToTimespec(int64(200 * time.Microsecond))
	since := time.Now()
	for !w.stop.Load() {
		began := time.Now()
		e, err := w.pki.Epoch(context.Background())
		w.mu.Lock()
		w.err = errors.Join(w.err, err)
		if e.Number > w.last {
			w.last = e.Number
			w.seen[e.Number] = commit{since, time.Now()}
		}
		w.mu.Unlock()
		since = began
		_ = unix.Nanosleep(&pause, nil) // a signal makes it shorter
	}
}

func (w *commits) close() {
	w.stop.Store(true)
	<-w.done
	_ = w.pki.Close() // only read
}

// newest gives the newest change.
func (w *commits) newest() (int64, commit, error) {
	w.mu.Lock()
	defer w.mu.Unlock()
	return w.last, w.seen[w.last], w.err
}

// revoke revokes one certificate by its serial, and gives when that was committed
// and when the command was over.
func (c *clients) revoke(w *commits, pki string, cert *tls.Certificate) (at commit, over time.Time, err error) {
	before, _, err := w.newest()
	if err != nil {
		return commit{}, time.Time{}, err
	}
	out, err := exec.Command(c.mutual, "revoke", "--quiet", "--pki", pki, cert.Leaf.SerialNumber.Text(16)).CombinedOutput()
	over = time.Now()
	if err != nil {
		return commit{}, time.Time{}, fmt.Errorf("mutual revoke: %w: %s", err, out)
	}
	for until := over.Add(patience); ; time.Sleep(time.Millisecond) {
		after, at, err := w.newest()
		switch {
		case err != nil:
			return commit{}, time.Time{}, err
		case after == before+1:
			return at, over, nil
		case after > before || time.Now().After(until):
			return commit{}, time.Time{}, fmt.Errorf("one revocation has taken the epoch from %d to %d", before, after)
		}
	}
}

// stream is a download that goes on.
type stream struct {
	cert  *tls.Certificate
	ended chan time.Time // has the time when it ended
}

func (s *stream) open() bool { return len(s.ended) == 0 }

// stream begins one, with HTTP/1.1 or HTTP/2.
func (c *clients) stream(address string, cert *tls.Certificate, http2 bool) (*stream, error) {
	s := &stream{cert: cert, ended: make(chan time.Time, 1)}
	begin := c.streamHTTP1
	if http2 {
		begin = c.streamHTTP2
	}
	body, err := begin(address, cert)
	if err != nil {
		return nil, err
	}
	first := make([]byte, 1)
	if _, err := io.ReadFull(body, first); err != nil {
		return nil, err
	}
	go func() {
		_, _ = io.Copy(io.Discard, body) // how it ended makes no difference
		s.ended <- time.Now()
	}()
	return s, nil
}

func (c *clients) streamHTTP1(address string, cert *tls.Certificate) (io.Reader, error) {
	config, err := c.config(cert, "http/1.1")
	if err != nil {
		return nil, err
	}
	conn, err := connect(address, config)
	if err != nil {
		return nil, err
	}
	if _, err := io.WriteString(conn, streaming); err != nil {
		return nil, err
	}
	_, err = conn.head()
	return conn.in, err
}

func (c *clients) streamHTTP2(address string, cert *tls.Certificate) (io.Reader, error) {
	config, err := c.config(cert, "h2")
	if err != nil {
		return nil, err
	}
	t := &http.Transport{TLSClientConfig: config, Protocols: new(http.Protocols), TLSHandshakeTimeout: patience}
	t.Protocols.SetHTTP2(true)
	answer, err := t.RoundTrip(newRequest("https://" + address + "/stream"))
	if err != nil {
		return nil, err
	}
	if answer.StatusCode != http.StatusOK || answer.ProtoMajor != 2 {
		return nil, fmt.Errorf("%w: %s %s", errRefused, answer.Proto, answer.Status)
	}
	return answer.Body, nil
}

func newRequest(url string) *http.Request {
	r, err := http.NewRequest(http.MethodGet, url, nil)
	if err != nil {
		panic(err) // we have written it
	}
	return r
}

// streams begins one for each certificate, every second one with HTTP/2.
func (c *clients) streams(address string, n int) ([]*stream, error) {
	certs, err := c.certificates(n)
	if err != nil {
		return nil, err
	}
	var out []*stream
	for i, cert := range certs {
		s, err := c.stream(address, cert, i%2 == 1)
		if err != nil {
			return nil, err
		}
		out = append(out, s)
	}
	return out, nil
}

// cuts has streams through a gate, revokes the certificates of some, one after the
// other, and prints how long their streams went on in milliseconds: p50, p95, p99
// and the longest from when a change was seen first, the same from the last look
// that did not see it, how many had ended when the command was over, and how long
// the command took at the median. The other streams must go on.
func (c *clients) cuts(pki, address string) error {
	streams, err := c.streams(address, c.conns)
	if err != nil {
		return err
	}
	w, err := watch(pki)
	if err != nil {
		return err
	}
	defer w.close()
	var seen, most, whole []time.Duration
	inTime := 0
	for _, s := range streams[:c.revokes] {
		if !s.open() {
			return errors.New("a stream has ended before its certificate was revoked")
		}
		began := time.Now()
		at, over, err := c.revoke(w, pki, s.cert)
		if err != nil {
			return err
		}
		select {
		case ended := <-s.ended:
			seen, most, whole = append(seen, ended.Sub(at.seen)), append(most, ended.Sub(at.since)), append(whole, over.Sub(began))
			if !ended.After(over) {
				inTime++
			}
		case <-time.After(patience):
			return errors.New("a stream goes on although its certificate is revoked")
		}
	}
	for _, s := range streams[c.revokes:] {
		if !s.open() {
			return errors.New("a stream has ended although its certificate is good")
		}
	}
	for _, of := range [][]time.Duration{seen, most} {
		for _, part := range []float64{0.5, 0.95, 0.99, 1} {
			fmt.Print(milliseconds(percentile(of, part)), " ")
		}
	}
	fmt.Println(inTime, milliseconds(percentile(whole, 0.5)))
	return nil
}

// refusals is the same of a proxy that is told of the list by a command, or where
// that is a socket by HAProxy's runtime API. It prints in milliseconds, at the
// median, how long it lets in who is revoked, from the commit and from when it was
// told, and how many of the streams are open a while later.
func (c *clients) refusals(pki, address, list string, tell []string) error {
	streams, err := c.streams(address, c.revokes)
	if err != nil {
		return err
	}
	w, err := watch(pki)
	if err != nil {
		return err
	}
	defer w.close()
	var sinceCommit, sinceTold []time.Duration
	for _, s := range streams {
		at, _, err := c.revoke(w, pki, s.cert)
		if err != nil {
			return err
		}
		told := time.Now()
		if err := reload(list, tell); err != nil {
			return err
		}
		refused, err := c.refusedAt(address, s.cert)
		if err != nil {
			return err
		}
		sinceCommit, sinceTold = append(sinceCommit, refused.Sub(at.seen)), append(sinceTold, refused.Sub(told))
	}
	time.Sleep(c.linger)
	open := 0
	for _, s := range streams {
		if s.open() {
			open++
		}
	}
	fmt.Println(milliseconds(percentile(sinceCommit, 0.5)), milliseconds(percentile(sinceTold, 0.5)), open)
	return nil
}

func reload(list string, tell []string) error {
	if st, err := os.Stat(tell[0]); len(tell) > 1 || err != nil || st.Mode().Type() != os.ModeSocket {
		out, err := exec.Command(tell[0], tell[1:]...).CombinedOutput()
		if err != nil {
			return fmt.Errorf("%s: %w: %s", tell[0], err, out)
		}
		return nil
	}
	text, err := os.ReadFile(list)
	if err != nil {
		return err
	}
	for _, order := range []string{fmt.Sprintf("set ssl crl-file %s <<\n%s\n", list, text), "commit ssl crl-file " + list + "\n"} {
		if err := askHAProxy(tell[0], order); err != nil {
			return err
		}
	}
	return nil
}

// accepted is what HAProxy says when it has done what it was told.
var accepted = regexp.MustCompile(`ransaction (created|updated)|Success!`)

func askHAProxy(socket, order string) error {
	conn, err := net.DialTimeout("unix", socket, patience)
	if err != nil {
		return err
	}
	defer func() { _ = conn.Close() }() // it has answered
	_ = conn.SetDeadline(time.Now().Add(patience))
	if _, err := io.WriteString(conn, order); err != nil {
		return err
	}
	said, err := io.ReadAll(conn)
	if err == nil && !accepted.Match(said) {
		err = fmt.Errorf("HAProxy says: %s", said)
	}
	return err
}

// refusedAt makes connections one after the other, and gives when the first one
// was refused after which none is let in. A process that was replaced may take
// some more.
func (c *clients) refusedAt(address string, cert *tls.Certificate) (time.Time, error) {
	config, err := c.config(cert, "http/1.1")
	if err != nil {
		return time.Time{}, err
	}
	const enough = 10
	var first time.Time
	refused := 0
	for until := time.Now().Add(patience); refused < enough; {
		switch err := once(address, config); {
		case err == nil:
			refused = 0
		case refused == 0:
			first = time.Now()
			fallthrough
		default:
			refused++
		}
		if time.Now().After(until) {
			return time.Time{}, errors.New("who is revoked is let in still")
		}
	}
	return first, nil
}
