package probe

import (
	"context"
	"crypto"
	"crypto/tls"
	"crypto/x509"
	"errors"
	"fmt"
	"net/netip"
	"time"
)

// DefaultTimeout bounds a connection from its first packet to its last, if
// Config.Timeout is zero.
const DefaultTimeout = 5 * time.Second

// The parts of the timeout after which the silence of a TLS 1.3 server that
// sends no tickets is taken for an answer. Where an HTTP request follows it is
// short: if the verdict is only late, the next read still meets it.
const (
	silenceBeforeRequest = 10
	silenceAlone         = 2
)

// Config is what a probe is given.
type Config struct {
	Target      Target
	Certificate *tls.Certificate    // ours, leaf first, with its crypto.Signer; nil: only nobody is tried
	Roots       []*x509.Certificate // the only trust anchors for the server; nil: its chain is not checked
	Timeout     time.Duration       // for each connection, and for the name's lookup; zero: DefaultTimeout
	Now         func() time.Time    // the clock, required
}

func (c *Config) check() error {
	switch {
	case c.Target.IsZero():
		return errors.New("probing: no target")
	case c.Now == nil:
		return errors.New("probing: no clock")
	case c.Timeout < 0:
		return fmt.Errorf("probing %s: the timeout %v is negative", c.Target, c.Timeout)
	case c.Roots != nil && len(c.Roots) == 0:
		return fmt.Errorf("probing %s: the list of trust anchors is empty", c.Target)
	}
	if c.Certificate == nil {
		return nil
	}
	if _, ok := c.Certificate.PrivateKey.(crypto.Signer); !ok || len(c.Certificate.Certificate) == 0 {
		return fmt.Errorf("probing %s: the client certificate lacks its chain or its private key", c.Target)
	}
	return nil
}

// prober holds what the connections of one probe share.
type prober struct {
	Config
	pool      *x509.CertPool
	addresses []netip.AddrPort // to try; one, once a connection was made
	noALPN    bool             // the server refuses to go on with our protocols
	timed     bool             // the report has its timings
	report    *Report
}

// Run probes an endpoint: at most some ten connections, one after the other.
// The error is for a Config that cannot be used; what goes wrong at the
// endpoint or on the way is in the Report.
func Run(ctx context.Context, cfg Config) (*Report, error) {
	if err := cfg.check(); err != nil {
		return nil, err
	}
	if cfg.Timeout == 0 {
		cfg.Timeout = DefaultTimeout
	}
	p := &prober{Config: cfg, report: &Report{
		SchemaVersion: SchemaVersion,
		Target:        cfg.Target.String(),
		TLS:           []Version{},
	}}
	if cfg.Roots != nil {
		p.pool = x509.NewCertPool()
		for _, root := range cfg.Roots {
			p.pool.AddCert(root)
		}
	}
	if err := p.resolve(ctx); err != nil {
		p.report.Reason = escape(err.Error())
		return p.report, nil
	}
	p.probe(ctx)
	return p.report, nil
}

func (p *prober) probe(ctx context.Context) {
	for _, v := range []uint16{tls.VersionTLS12, tls.VersionTLS13} {
		version, err := p.probeVersion(ctx, v)
		if err != nil {
			p.report.TLS = []Version{}
			p.report.Reason = escape(err.Error())
			return
		}
		p.report.TLS = append(p.report.TLS, version)
	}
	p.confirmNotOffered(ctx)
	p.report.Outcome, p.report.Reason = conclude(p.report)
}

// probeVersion makes the attempts in one version. The error is that of a
// server that cannot be reached at all.
func (p *prober) probeVersion(ctx context.Context, version uint16) (Version, error) {
	v := Version{Version: versionName(version), Requested: Unknown}
	nobody := p.connect(ctx, version, nil)
	if nobody.dial != nil {
		if p.report.Address == "" {
			return v, nobody.dial
		}
		v.Offered, v.None = Unknown, judge(nobody)
		v.Outcome, v.Reason = CouldNotTell, v.None.Detail
		return v, nil
	}
	var sure bool
	if v.Offered, sure = nobody.offered(); v.Offered == No && !sure {
		nobody = p.connect(ctx, version, nil) // once is no pattern
		v.Offered, sure = nobody.offered()
		v.unconfirmed = v.Offered == No && !sure
	}
	v.None = judge(nobody)
	if v.Offered != Yes {
		v.Outcome, v.Reason = CouldNotTell, v.None.Detail
		return v, nil
	}
	v.Requested = nobody.requested()
	v.AcceptableCAs, v.AcceptableCAsOmitted = authorityNames(nobody.authorities)
	p.tryOurs(ctx, version, &v, nobody)
	return v, nil
}

// tryOurs makes the attempt with our certificate, if there is one and the
// server is not known to be the wrong one, and judges the version.
func (p *prober) tryOurs(ctx context.Context, version uint16, v *Version, nobody *evidence) {
	if p.report.Server != nil && p.report.Server.Trust == Untrusted {
		v.None.withhold()
		v.Outcome, v.Reason = Violated, "the server is not trusted"
		return
	}
	if p.Certificate == nil {
		judgeNobody(&v.None, nobody)
		v.Outcome, v.Reason = v.conclude()
		return
	}
	ours := p.connect(ctx, version, p.Certificate)
	attempt := judge(ours)
	v.Ours = &attempt
	if repeat := judgeDifference(&v.None, v.Ours, nobody, ours); repeat {
		judgeControl(&v.None, v.Ours, nobody, ours, p.connect(ctx, version, nil))
	}
	v.Outcome, v.Reason = v.conclude()
}

// confirmNotOffered looks again at a version that is offered where another
// was judged not offered from connections closed without a word: a server
// that has shut us out in the meantime says nothing of what it offers.
func (p *prober) confirmNotOffered(ctx context.Context) {
	var offered uint16
	for i := range p.report.TLS {
		if p.report.TLS[i].Offered == Yes {
			offered = versionNumber(p.report.TLS[i].Version)
		}
	}
	for i := range p.report.TLS {
		v := &p.report.TLS[i]
		if !v.unconfirmed || offered == 0 {
			continue
		}
		if again := p.connect(ctx, offered, nil); again.server == nil {
			v.Offered = Unknown
			v.Reason = "the server closes the connection, and now also where it did not before"
		}
	}
}

func versionName(v uint16) string {
	if v == tls.VersionTLS12 {
		return "1.2"
	}
	return "1.3"
}

func versionNumber(name string) uint16 {
	if name == "1.2" {
		return tls.VersionTLS12
	}
	return tls.VersionTLS13
}
