package gate

import (
	"context"
	"crypto/tls"
	"crypto/x509"
	"fmt"
	"net"
	"net/http"
	"net/url"
	"strings"
	"time"
)

// Upstream is where a gate sends what it lets in.
type Upstream struct {
	url     *url.URL // of HTTP; its host is what the upstream is called
	network string   // tcp or unix
	address string
	http2   bool // without TLS
	raw     bool // octets, and no HTTP
	proxied bool // raw, with the PROXY protocol
	roots   *x509.CertPool
}

// ParseUpstream reads http://HOST:PORT, https://…, h2c://… (HTTP/2 without TLS),
// unix:PATH or h2c+unix:PATH.
func ParseUpstream(text string) (Upstream, error) {
	for prefix, http2 := range map[string]bool{"unix:": false, "h2c+unix:": true} {
		if path, ok := strings.CutPrefix(text, prefix); ok {
			if path == "" {
				return Upstream{}, fmt.Errorf("%q does not name a socket", text)
			}
			return Upstream{url: &url.URL{Scheme: "http", Host: "localhost"}, network: "unix", address: path, http2: http2}, nil
		}
	}
	u, err := url.Parse(text)
	if err != nil || u.Host == "" || u.Hostname() == "" || u.User != nil || u.RawQuery != "" || u.Fragment != "" || u.Path != "" && u.Path != "/" {
		return Upstream{}, fmt.Errorf("%q is no upstream: it is written http://HOST:PORT, https://HOST:PORT, h2c://HOST:PORT or unix:PATH", text)
	}
	port := map[string]string{"http": "80", "https": "443", "h2c": "80"}[u.Scheme]
	if port == "" {
		return Upstream{}, fmt.Errorf("%q is no upstream: %q is none of http, https, h2c and unix", text, u.Scheme)
	}
	if u.Port() != "" {
		port = u.Port()
	}
	up := Upstream{network: "tcp", address: net.JoinHostPort(u.Hostname(), port), http2: u.Scheme == "h2c"}
	up.url = &url.URL{Scheme: u.Scheme, Host: u.Host}
	if up.http2 {
		up.url.Scheme = "http"
	}
	return up, nil
}

// ParseRawUpstream reads HOST:PORT, tcp://HOST:PORT or unix:PATH for a gate that
// speaks no HTTP. With proxied, each connection begins with a header of the PROXY
// protocol, version 2.
func ParseRawUpstream(text string, proxied bool) (Upstream, error) {
	if path, ok := strings.CutPrefix(text, "unix:"); ok && path != "" {
		return Upstream{network: "unix", address: path, raw: true, proxied: proxied}, nil
	}
	host, port, err := net.SplitHostPort(strings.TrimPrefix(text, "tcp://"))
	if err != nil || host == "" || port == "" {
		return Upstream{}, fmt.Errorf("%q is no upstream: it is written HOST:PORT or unix:PATH", text)
	}
	return Upstream{network: "tcp", address: net.JoinHostPort(host, port), raw: true, proxied: proxied}, nil
}

// WithRoots gives an upstream of https that is trusted only under the CAs.
func (u Upstream) WithRoots(cas []*x509.Certificate) Upstream {
	u.roots = x509.NewCertPool()
	for _, ca := range cas {
		u.roots.AddCert(ca)
	}
	return u
}

// Local reports whether nothing that is sent to the upstream leaves this machine.
func (u Upstream) Local() bool {
	if u.network == "unix" {
		return true
	}
	host, _, _ := net.SplitHostPort(u.address)
	ip := net.ParseIP(host)
	return host == "localhost" || ip != nil && ip.IsLoopback()
}

// String gives where it is.
func (u Upstream) String() string {
	if u.network == "unix" {
		return "unix:" + u.address
	}
	if u.raw {
		return u.address
	}
	if u.http2 {
		return "h2c://" + u.url.Host
	}
	return u.url.String()
}

// protocols are what the gate speaks to its clients.
func (u Upstream) protocols() []string {
	if u.raw {
		return nil
	}
	return []string{"h2", "http/1.1"}
}

// dialPatience bounds how long the upstream may take to accept a connection.
const dialPatience = 10 * time.Second

func (u Upstream) dial(ctx context.Context) (net.Conn, error) {
	d := net.Dialer{Timeout: dialPatience}
	return d.DialContext(ctx, u.network, u.address)
}

// transport speaks HTTP with the upstream.
func (u Upstream) transport() *http.Transport {
	t := &http.Transport{
		DialContext:           func(ctx context.Context, _, _ string) (net.Conn, error) { return u.dial(ctx) },
		MaxIdleConnsPerHost:   256,
		IdleConnTimeout:       time.Minute,
		DisableCompression:    true, // what the client did not ask for it must not get
		ExpectContinueTimeout: time.Second,
		Protocols:             new(http.Protocols),
	}
	switch {
	case u.http2:
		t.Protocols.SetUnencryptedHTTP2(true)
	case u.url.Scheme == "https":
		t.TLSClientConfig = &tls.Config{RootCAs: u.roots, MinVersion: tls.VersionTLS12}
		t.Protocols.SetHTTP1(true)
		t.Protocols.SetHTTP2(true)
	default:
		t.Protocols.SetHTTP1(true)
	}
	return t
}
