package main

import (
	"bufio"
	"bytes"
	"context"
	"crypto/tls"
	"crypto/x509"
	"encoding/pem"
	"errors"
	"fmt"
	"io"
	"net"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"sync"
	"time"
)

// clients are who connects, and how.
type clients struct {
	dir      string
	server   string
	duration time.Duration
	parallel int
	conns    int
	revokes  int
	linger   time.Duration
	mutual   string
	pinned   []byte
}

// certificates reads the first n from the directory, in the order of their names.
// Where there are fewer, they are taken again from the first.
func (c *clients) certificates(n int) ([]*tls.Certificate, error) {
	files, err := filepath.Glob(filepath.Join(c.dir, "*.crt"))
	if err != nil || len(files) == 0 {
		return nil, fmt.Errorf("there is no certificate in %s", c.dir)
	}
	slices.Sort(files)
	var out []*tls.Certificate
	for _, file := range files[:min(n, len(files))] {
		pair, err := tls.LoadX509KeyPair(file, strings.TrimSuffix(file, ".crt")+".key")
		if err != nil {
			return nil, err
		}
		out = append(out, &pair)
	}
	for i := 0; len(out) < n; i++ {
		out = append(out, out[i])
	}
	return out, nil
}

// config is what one client says in a handshake: TLS 1.3, X25519, which all of
// the servers know, and no session to resume. That the server has the certificate
// of the server is all that it looks at: a chain would cost as much again.
func (c *clients) config(cert *tls.Certificate, protocol string) (*tls.Config, error) {
	if c.pinned == nil {
		data, err := os.ReadFile(c.server)
		if err != nil {
			return nil, err
		}
		block, _ := pem.Decode(data)
		if block == nil {
			return nil, errors.New("there is no certificate in " + c.server)
		}
		c.pinned = block.Bytes
	}
	config := &tls.Config{
		MinVersion:             tls.VersionTLS13,
		CurvePreferences:       []tls.CurveID{tls.X25519},
		ServerName:             "localhost",
		NextProtos:             []string{protocol},
		SessionTicketsDisabled: true,
		InsecureSkipVerify:     true, // see VerifyPeerCertificate
		VerifyPeerCertificate: func(raw [][]byte, _ [][]*x509.Certificate) error {
			if len(raw) == 0 || !bytes.Equal(raw[0], c.pinned) {
				return errors.New("this is another server")
			}
			return nil
		},
	}
	if cert != nil {
		config.GetClientCertificate = func(*tls.CertificateRequestInfo) (*tls.Certificate, error) { return cert, nil }
	}
	return config, nil
}

// patience bounds whatever is waited for.
const patience = 10 * time.Second

// client is one connection, of HTTP/1.1.
type client struct {
	*tls.Conn
	in *bufio.Reader
}

func connect(address string, config *tls.Config) (*client, error) {
	raw, err := net.DialTimeout("tcp", address, patience)
	if err != nil {
		return nil, err
	}
	c := tls.Client(raw, config)
	ctx, cancel := context.WithTimeout(context.Background(), patience)
	defer cancel()
	if err := c.HandshakeContext(ctx); err != nil {
		_ = raw.Close() // the first error is the one to report
		return nil, err
	}
	return &client{c, bufio.NewReader(c)}, nil
}

const (
	keepAlive = "GET / HTTP/1.1\r\nHost: localhost\r\n\r\n"
	closing   = "GET / HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n"
	streaming = "GET /stream HTTP/1.1\r\nHost: localhost\r\n\r\n"
)

// ask sends a request and reads the answer. It is an error if that is not 200.
func (c *client) ask(request string) error {
	if _, err := io.WriteString(c, request); err != nil {
		return err
	}
	length, err := c.head()
	if err == nil {
		_, err = c.in.Discard(length)
	}
	return err
}

// errRefused is an answer other than 200.
var errRefused = errors.New("the answer is not 200")

// head reads the head of an answer and gives the length of its body.
func (c *client) head() (length int, err error) {
	for n := 0; ; n++ {
		line, err := c.in.ReadSlice('\n')
		if err != nil {
			return 0, err
		}
		line = bytes.TrimRight(line, "\r\n")
		const field = "content-length:"
		switch {
		case n == 0 && !bytes.HasPrefix(line, []byte("HTTP/1.1 200")):
			return 0, fmt.Errorf("%w: %s", errRefused, line)
		case len(line) == 0:
			return length, nil
		case len(line) > len(field) && bytes.EqualFold(line[:len(field)], []byte(field)):
			if length, err = strconv.Atoi(string(bytes.TrimSpace(line[len(field):]))); err != nil {
				return 0, err
			}
		}
	}
}

// once makes a connection and one request.
func once(address string, config *tls.Config) error {
	c, err := connect(address, config)
	if err != nil {
		return err
	}
	defer func() { _ = c.Close() }() // it was answered
	_ = c.SetDeadline(time.Now().Add(patience))
	return c.ask(closing)
}

// wait waits until a server answers who has a certificate, and makes sure that it
// does not answer who has none.
func (c *clients) wait(address string) error {
	certs, err := c.certificates(1)
	if err != nil {
		return err
	}
	good, err := c.config(certs[0], "http/1.1")
	if err != nil {
		return err
	}
	none, _ := c.config(nil, "http/1.1") // it was read
	for until := time.Now().Add(patience); ; time.Sleep(20 * time.Millisecond) {
		if err = once(address, good); err == nil {
			break
		}
		if time.Now().After(until) {
			return err
		}
	}
	if once(address, none) == nil {
		return fmt.Errorf("%s answers whoever has no certificate", address)
	}
	return nil
}

// served is a server under load: its address, and its process with those below.
type served struct {
	address, pid string
	doers        []func() error
	rates        []float64       // a second, of each turn
	took         []time.Duration // each time
	spent        time.Duration   // of the processor
}

// load has servers take turns at answering all connections, so that what else the
// machine does meets all of them, and prints for each the median of its rates a
// second, the 99th percentile of how long it took in milliseconds, and what it
// spent of the processor each time in microseconds. prepare gives what one
// connection does again and again.
func (c *clients) load(words []string, prepare func(address string, config *tls.Config) (func() error, error)) error {
	certs, err := c.certificates(c.parallel)
	if err != nil {
		return err
	}
	var servers []*served
	for _, word := range words {
		s := &served{}
		s.address, s.pid, _ = strings.Cut(word, ",")
		for _, cert := range certs {
			config, err := c.config(cert, "http/1.1")
			if err != nil {
				return err
			}
			do, err := prepare(s.address, config)
			if err != nil {
				return err
			}
			s.doers = append(s.doers, do)
		}
		servers = append(servers, s)
	}
	turn := min(c.duration/2, 500*time.Millisecond)
	for range c.duration / turn {
		for _, s := range servers {
			if err := s.turn(turn); err != nil {
				return fmt.Errorf("%s: %w", s.address, err)
			}
		}
		slices.Reverse(servers)
	}
	for _, word := range words {
		s := servers[slices.IndexFunc(servers, func(s *served) bool { return s.address+","+s.pid == word })]
		slices.Sort(s.rates)
		fmt.Printf("%.0f %s %.1f\n", s.rates[len(s.rates)/2], milliseconds(percentile(s.took, 0.99)), float64(s.spent.Microseconds())/float64(len(s.took)))
	}
	return nil
}

func (s *served) turn(length time.Duration) error {
	var group sync.WaitGroup
	var mu sync.Mutex
	var failed error
	before, err := spent(s.pid)
	if err != nil {
		return err
	}
	n := len(s.took)
	began := time.Now()
	until := began.Add(length)
	for _, do := range s.doers {
		group.Go(func() {
			var took []time.Duration
			var err error
			for now := time.Now(); now.Before(until) && err == nil; {
				err = do()
				next := time.Now()
				took = append(took, next.Sub(now))
				now = next
			}
			mu.Lock()
			defer mu.Unlock()
			s.took = append(s.took, took...)
			failed = errors.Join(failed, err)
		})
	}
	group.Wait()
	s.rates = append(s.rates, float64(len(s.took)-n)/time.Since(began).Seconds())
	after, err := spent(s.pid)
	s.spent += after - before
	return errors.Join(failed, err)
}

// handshakes makes a connection each time, with one request.
func handshakes(address string, config *tls.Config) (func() error, error) {
	return func() error { return once(address, config) }, nil
}

// requests makes one request each time, all over one connection.
func requests(address string, config *tls.Config) (func() error, error) {
	c, err := connect(address, config)
	if err != nil {
		return nil, err
	}
	return func() error { return c.ask(keepAlive) }, nil
}

// idle opens connections, makes one request over each, and prints how much
// larger that has made a process with its children, for each connection.
func (c *clients) idle(address, pid string) error {
	certs, err := c.certificates(64)
	if err != nil {
		return err
	}
	before, err := resident(pid)
	if err != nil {
		return err
	}
	var conns []*client
	for i := range c.conns {
		config, err := c.config(certs[i%len(certs)], "http/1.1")
		if err != nil {
			return err
		}
		conn, err := connect(address, config)
		if err != nil {
			return err
		}
		conns = append(conns, conn)
		if err := conn.ask(keepAlive); err != nil {
			return err
		}
	}
	time.Sleep(200 * time.Millisecond) // what is about to be freed
	after, err := resident(pid)
	if err != nil {
		return err
	}
	for _, conn := range conns {
		_ = conn.Close() // it was measured
	}
	fmt.Println((after - before) / c.conns)
	return nil
}

// resident is the memory of a process and of those below it, in octets.
func resident(pid string) (int, error) {
	sum := 0
	err := below(pid, func(pid string) error {
		status, err := os.ReadFile(filepath.Join("/proc", pid, "status"))
		if err != nil {
			return err
		}
		_, rest, _ := strings.Cut(string(status), "VmRSS:")
		kilobytes := 0
		_, err = fmt.Sscan(rest, &kilobytes)
		sum += kilobytes << 10
		return err
	})
	return sum, err
}

// spent is how long a process and those below it have had a processor.
func spent(pid string) (time.Duration, error) {
	var sum time.Duration
	err := below(pid, func(pid string) error {
		stat, err := os.ReadFile(filepath.Join("/proc", pid, "stat"))
		if err != nil {
			return err
		}
		_, rest, _ := strings.Cut(string(stat), ") ") // what is before may have spaces
		fields := strings.Fields(rest)
		const tick = 10 * time.Millisecond
		for _, field := range fields[11:13] { // utime and stime
			n, err := strconv.Atoi(field)
			if err != nil {
				return err
			}
			sum += time.Duration(n) * tick
		}
		return nil
	})
	return sum, err
}

// below does something with a process and with those below it.
func below(pid string, do func(pid string) error) error {
	if err := do(pid); err != nil {
		return err
	}
	lists, err := filepath.Glob(filepath.Join("/proc", pid, "task", "*", "children"))
	if err != nil {
		return err
	}
	for _, list := range lists {
		children, err := os.ReadFile(list)
		if err != nil {
			return err
		}
		for _, child := range strings.Fields(string(children)) {
			if err := below(child, do); err != nil {
				return err
			}
		}
	}
	return nil
}
