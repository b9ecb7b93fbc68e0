package probe

import (
	"context"
	"errors"
	"fmt"
	"net"
	"net/netip"
	"strconv"
	"time"
)

// maxAddresses bounds how many addresses of a name are tried.
const maxAddresses = 8

// resolve looks up the target's addresses, once for the whole probe: the
// attempts are compared, so they must reach the same server.
func (p *prober) resolve(ctx context.Context) error {
	n, err := strconv.ParseUint(p.Target.port, 10, 16)
	if err != nil {
		return fmt.Errorf("reading the port %q: %w", p.Target.port, err)
	}
	port := uint16(n)
	if a, err := netip.ParseAddr(p.Target.host); err == nil {
		p.addresses = []netip.AddrPort{netip.AddrPortFrom(a, port)}
		return nil
	}
	ctx, cancel := context.WithTimeout(ctx, p.Timeout)
	defer cancel()
	start := p.Now()
	addresses, err := net.DefaultResolver.LookupNetIP(ctx, "ip", p.Target.host)
	p.report.Timings.DNS = milliseconds(p.Now().Sub(start))
	if err != nil {
		return fmt.Errorf("resolving %s: %w", p.Target.host, err)
	}
	for _, a := range addresses[:min(len(addresses), maxAddresses)] {
		p.addresses = append(p.addresses, netip.AddrPortFrom(a.Unmap(), port))
	}
	if len(p.addresses) == 0 {
		return fmt.Errorf("resolving %s: no address", p.Target.host)
	}
	return nil
}

// dial connects to the first address that answers and keeps to it.
func (p *prober) dial(ctx context.Context) (net.Conn, time.Duration, error) {
	share := p.Timeout / time.Duration(len(p.addresses))
	var failures []error
	for _, a := range p.addresses {
		attempt, cancel := context.WithTimeout(ctx, share)
		start := p.Now()
		var d net.Dialer
		conn, err := d.DialContext(attempt, "tcp", a.String())
		took := p.Now().Sub(start)
		cancel()
		if err == nil {
			p.addresses = []netip.AddrPort{a}
			p.report.Address = a.String()
			return conn, took, nil
		}
		failures = append(failures, err)
		if ctx.Err() != nil {
			break
		}
	}
	return nil, 0, fmt.Errorf("connecting to %s: %w", p.Target, errors.Join(failures...))
}

func milliseconds(d time.Duration) float64 {
	return float64(d.Microseconds()) / 1000
}
