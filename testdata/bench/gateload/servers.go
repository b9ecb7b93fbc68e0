package main

import (
	"bufio"
	"bytes"
	"crypto/tls"
	"crypto/x509"
	"errors"
	"io"
	"log"
	"net"
	"net/http"
	"net/http/httputil"
	"net/url"
	"os"
	"sync"
	"time"
)

// upstream answers every request with the same 100 octets, and /stream with a
// download that goes on. It reads no more of HTTP/1.1 than that takes: a real
// server would take the cores from what is measured.
func upstream(listen string) error {
	return serve(listen, func(c net.Conn) {
		in := bufio.NewReader(c)
		for {
			stream, err := readRequest(in)
			if err != nil {
				return
			}
			if stream {
				flow(c)
				return
			}
			if _, err := c.Write(answer); err != nil {
				return
			}
		}
	})
}

var answer = append([]byte("HTTP/1.1 200 OK\r\nContent-Type: text/plain\r\nContent-Length: 100\r\n\r\n"), bytes.Repeat([]byte{'.'}, 100)...)

// readRequest reads a request without a body.
func readRequest(in *bufio.Reader) (stream bool, err error) {
	first := true
	for {
		line, err := in.ReadSlice('\n')
		if err != nil {
			return false, err
		}
		if first {
			stream, first = bytes.HasPrefix(line, []byte("GET /stream ")), false
		}
		if len(line) <= 2 {
			return stream, nil
		}
	}
}

// flow sends a line a second.
func flow(c net.Conn) {
	const line = "5\r\nline\n\r\n"
	if _, err := io.WriteString(c, "HTTP/1.1 200 OK\r\nContent-Type: text/plain\r\nTransfer-Encoding: chunked\r\n\r\n"+line); err != nil {
		return
	}
	for range time.Tick(time.Second) {
		if _, err := io.WriteString(c, line); err != nil {
			return
		}
	}
}

// serve gives each connection to a goroutine, and closes it after.
func serve(listen string, do func(net.Conn)) error {
	l, err := net.Listen("tcp", listen)
	if err != nil {
		return err
	}
	for {
		c, err := l.Accept()
		if err != nil {
			return err
		}
		go func() {
			defer func() { _ = c.Close() }() // nobody is left to tell
			do(c)
		}()
	}
}

// mutualTLS is the least that a server needs to ask for certificates. As with the
// gate there are no sessions to resume.
func mutualTLS(cert, ca string) (*tls.Config, error) {
	pair, err := tls.LoadX509KeyPair(cert+".crt", cert+".key")
	if err != nil {
		return nil, err
	}
	cas, err := os.ReadFile(ca)
	if err != nil {
		return nil, err
	}
	pool := x509.NewCertPool()
	if !pool.AppendCertsFromPEM(cas) {
		return nil, errors.New("there is no CA in " + ca)
	}
	return &tls.Config{Certificates: []tls.Certificate{pair}, ClientAuth: tls.RequireAndVerifyClientCert, ClientCAs: pool, SessionTicketsDisabled: true}, nil
}

// proxy is the bare reverse proxy. It has what makes one fast, enough idle
// connections to the upstream and a pool of buffers, and no log.
func proxy(listen, to, cert, ca string) error {
	config, err := mutualTLS(cert, ca)
	if err != nil {
		return err
	}
	config.NextProtos = []string{"h2", "http/1.1"}
	target := &url.URL{Scheme: "http", Host: to}
	server := &http.Server{
		Addr:              listen,
		TLSConfig:         config,
		ReadHeaderTimeout: 10 * time.Second,
		ErrorLog:          log.New(io.Discard, "", 0),
		Handler: &httputil.ReverseProxy{
			Rewrite:    func(r *httputil.ProxyRequest) { r.SetURL(target); r.SetXForwarded() },
			Transport:  &http.Transport{MaxIdleConnsPerHost: 256, DisableCompression: true},
			BufferPool: &buffers{},
			ErrorLog:   log.New(io.Discard, "", 0),
		},
	}
	return server.ListenAndServeTLS("", "")
}

type buffers struct{ pool sync.Pool }

// Get implements httputil.BufferPool.
func (b *buffers) Get() []byte {
	if buf, ok := b.pool.Get().(*[]byte); ok {
		return *buf
	}
	return make([]byte, 32<<10)
}

// Put implements httputil.BufferPool.
func (b *buffers) Put(buf []byte) { b.pool.Put(&buf) }

// pipe is the bare copy between TLS and TCP.
func pipe(listen, to, cert, ca string) error {
	config, err := mutualTLS(cert, ca)
	if err != nil {
		return err
	}
	return serve(listen, func(raw net.Conn) {
		c := tls.Server(raw, config)
		if c.Handshake() != nil {
			return
		}
		up, err := net.Dial("tcp", to)
		if err != nil {
			return
		}
		go func() {
			_, _ = io.Copy(up, c) // how it ended makes no difference
			_ = up.Close()
		}()
		_, _ = io.Copy(c, up) // as above
		_ = up.Close()
	})
}
