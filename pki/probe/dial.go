package probe

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"net/netip"
	"net/url"
	"strconv"
	"time"

	"golang.org/x/net/proxy"
)

// maxAddresses bounds how many addresses of a name are tried.
const maxAddresses = 8

// place is where connections go: a host, which a proxy looks up, and its
// addresses where none does.
type place struct {
	host, port string
	addresses  []string // to try; one, once a connection was made
}

// resolve looks up the target's addresses, once for the whole probe: the
// attempts are compared, so they must reach the same server.
func (p *prober) resolve(ctx context.Context) error {
	p.place = place{host: p.Target.host, port: p.Target.port}
	if p.ConnectTo != "" {
		var err error
		if p.place.host, p.place.port, err = splitHostPort(p.ConnectTo); err != nil {
			return fmt.Errorf("connecting to %q: %w", p.ConnectTo, err)
		}
	}
	host, port := p.place.host, p.place.port
	if _, err := strconv.ParseUint(port, 10, 16); err != nil {
		return fmt.Errorf("reading the port %q: %w", port, err)
	}
	if p.Proxy != nil {
		p.place.addresses = []string{net.JoinHostPort(host, port)}
		return nil
	}
	if a, err := netip.ParseAddr(host); err == nil {
		if p.Family != 0 && a.Unmap().Is4() != (p.Family == 4) {
			return fmt.Errorf("%s is no address of IPv%d", host, p.Family)
		}
		p.place.addresses = []string{net.JoinHostPort(host, port)}
		return nil
	}
	network := "ip"
	if p.Family != 0 {
		network += strconv.Itoa(p.Family)
	}
	ctx, cancel := context.WithTimeout(ctx, p.Timeout)
	defer cancel()
	start := p.Now()
	addresses, err := net.DefaultResolver.LookupNetIP(ctx, network, host)
	p.report.Timings.DNS = milliseconds(p.Now().Sub(start))
	if err != nil {
		return fmt.Errorf("resolving %s: %w", host, err)
	}
	for _, a := range addresses[:min(len(addresses), maxAddresses)] {
		p.place.addresses = append(p.place.addresses, net.JoinHostPort(a.Unmap().String(), port))
	}
	if len(p.place.addresses) == 0 {
		return fmt.Errorf("resolving %s: no address", host)
	}
	return nil
}

// dial connects to the first address that answers and keeps to it.
func (p *prober) dial(ctx context.Context) (net.Conn, time.Duration, error) {
	share := p.Timeout / time.Duration(len(p.place.addresses))
	var failures []error
	for _, a := range p.place.addresses {
		attempt, cancel := context.WithTimeout(ctx, share)
		start := p.Now()
		conn, err := p.dialAddress(attempt, a)
		took := p.Now().Sub(start)
		cancel()
		if err == nil {
			p.place.addresses = []string{a}
			p.report.Address = a
			return conn, took, nil
		}
		failures = append(failures, err)
		if ctx.Err() != nil {
			break
		}
	}
	return nil, 0, fmt.Errorf("connecting to %s: %w", p.Target, errors.Join(failures...))
}

func (p *prober) dialAddress(ctx context.Context, address string) (net.Conn, error) {
	var d net.Dialer
	switch {
	case p.Proxy == nil:
		return d.DialContext(ctx, "tcp", address)
	case p.Proxy.Scheme == "socks5":
		through, err := proxy.SOCKS5("tcp", proxyAddress(p.Proxy, "1080"), nil, &d)
		if err != nil {
			return nil, err
		}
		dialer, ok := through.(proxy.ContextDialer)
		if !ok {
			return nil, errors.New("this proxy cannot be interrupted")
		}
		return dialer.DialContext(ctx, "tcp", address)
	}
	conn, err := d.DialContext(ctx, "tcp", proxyAddress(p.Proxy, "80"))
	if err != nil {
		return nil, err
	}
	stop := context.AfterFunc(ctx, func() { _ = conn.Close() }) // nothing is lost
	err = askProxy(conn, address)
	if !stop() && err == nil {
		err = ctx.Err()
	}
	if err != nil {
		_ = conn.Close() // the first error is the one to tell
		return nil, fmt.Errorf("asking the proxy %s: %w", p.Proxy.Host, err)
	}
	return conn, nil
}

func proxyAddress(u *url.URL, port string) string {
	if u.Port() != "" {
		port = u.Port()
	}
	return net.JoinHostPort(u.Hostname(), port)
}

// askProxy asks for a tunnel (RFC 9110, Section 9.3.6). The endpoint behind it
// says nothing before us, so nothing of it is read here.
func askProxy(conn net.Conn, address string) error {
	if _, err := io.WriteString(conn, "CONNECT "+address+" HTTP/1.1\r\nHost: "+address+"\r\n\r\n"); err != nil {
		return err
	}
	budget := maxHead
	text, err := readHead(bufio.NewReaderSize(conn, 16), &budget)
	if err != nil {
		return err
	}
	h, err := parseHead(text)
	if err != nil {
		return err
	}
	if h.status/100 != 2 {
		return fmt.Errorf("it answers HTTP %d", h.status)
	}
	return nil
}

func milliseconds(d time.Duration) float64 {
	return float64(d.Microseconds()) / 1000
}
