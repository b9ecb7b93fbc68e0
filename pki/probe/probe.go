package probe

import (
	"context"
	"crypto/tls"
	"crypto/x509"
	"fmt"
	"slices"
	"time"
)

// prober holds what the connections of one probe share.
type prober struct {
	Config
	pool      *x509.CertPool
	strangers *strangers
	place     place
	protocols []string // to offer in ALPN
	speaks    bool     // requests are made
	timed     bool     // the report has its timings
	pages     []*page
	spent     time.Duration // on connections
	report    *Report

	connections int
	traceError  error
}

// Run probes an endpoint: some ten connections for a page, one after the other.
// The error is for a Config that cannot be used and for a trace that could not
// be written; what goes wrong at the endpoint or on the way is in the Report.
func Run(ctx context.Context, cfg Config) (*Report, error) {
	if err := cfg.check(); err != nil {
		return nil, err
	}
	p := newProber(cfg)
	if err := p.resolve(ctx); err != nil {
		p.unreachable(err)
		return p.report, nil
	}
	p.probe(ctx)
	return p.report, p.traceError
}

func newProber(cfg Config) *prober {
	if cfg.Timeout == 0 {
		cfg.Timeout = DefaultTimeout
	}
	if cfg.Expect == "" {
		cfg.Expect = ExpectRequired
		if cfg.Good != nil && cfg.Level == Check {
			cfg.Expect = ExpectVerified
		}
	}
	p := &prober{Config: cfg, strangers: newStrangers(cfg.Now()), protocols: []string{protocolHTTP, protocolHTTP2}}
	p.speaks = cfg.application() != AppNone
	if cfg.ALPN != nil {
		p.protocols = cfg.ALPN
	}
	p.report = &Report{
		Target: cfg.Target.String(), Mode: ModeInconclusive, EnforcedAt: LayerNone, Strength: Weak, Expected: cfg.Expect,
		TLS: []Version{}, Children: []Child{}, Cases: []Case{}, Findings: []Finding{},
	}
	if cfg.Roots != nil {
		p.pool = x509.NewCertPool()
		for _, root := range cfg.Roots {
			p.pool.AddCert(root)
		}
	}
	return p
}

func (p *prober) unreachable(err error) {
	p.report.TLS = []Version{}
	p.report.Mode, p.report.Reason = Unreachable, escape(err.Error())
}

func (p *prober) probe(ctx context.Context) {
	for _, v := range []uint16{tls.VersionTLS12, tls.VersionTLS13} {
		version, err := p.probeVersion(ctx, v)
		if err != nil {
			p.unreachable(err)
			return
		}
		p.report.TLS = append(p.report.TLS, version)
	}
	p.confirmNotOffered(ctx)
	for _, g := range p.pages {
		g.judge()
		p.report.Children = append(p.report.Children, g.conclude())
		for _, t := range g.trials() {
			p.report.Cases = append(p.report.Cases, t.Case)
		}
	}
	p.report.Stack = p.stack()
	p.markPostHandshake()
	p.control(ctx)
	p.conclude()
	p.report.Senders = p.senders()
	p.find()
}

// probeVersion makes the cases in one version. The error is that of a server
// that cannot be reached at all.
func (p *prober) probeVersion(ctx context.Context, version uint16) (Version, error) {
	v := Version{Version: versionName(version), Requested: Unknown}
	nobody := p.visit(ctx, CaseNone, version, p.paths()[0], nil)
	if nobody.dial != nil {
		if p.report.Address == "" {
			return v, nobody.dial
		}
		v.Offered, v.Reason = Unknown, nobody.Detail
		p.report.Cases = append(p.report.Cases, nobody.Case)
		return v, nil
	}
	var sure bool
	if v.Offered, sure = nobody.offered(); v.Offered == No && !sure {
		nobody = p.visit(ctx, CaseNone, version, p.paths()[0], nil) // once is no pattern
		v.Offered, sure = nobody.offered()
		v.unconfirmed = v.Offered == No && !sure
	}
	if v.Offered != Yes {
		v.Reason = nobody.Detail
		p.report.Cases = append(p.report.Cases, nobody.Case)
		return v, nil
	}
	v.Requested = nobody.requested()
	v.authorities, v.goodProblem = nobody.authorities, nobody.goodProblem
	v.AcceptableCAs, v.AcceptableCAsOmitted = authorityNames(nobody.authorities)
	if p.report.Server != nil && p.report.Server.Trust == Untrusted {
		if nobody.Verdict == Accepted {
			nobody.tell("the server is not trusted, so nothing was sent after the handshake")
		}
		v.Reason = "the server is not trusted"
		p.report.Cases = append(p.report.Cases, nobody.Case)
		return v, nil
	}
	var before *page
	for i, path := range p.paths() {
		if i > 0 {
			nobody = p.again(ctx, before.none, path)
		}
		before = p.probePage(ctx, nobody, path, before)
		p.pages = append(p.pages, before)
		if nobody.asked && v.Requested != Yes {
			v.Requested, v.authorities, v.goodProblem = Yes, nobody.authorities, nobody.goodProblem
			v.AcceptableCAs, v.AcceptableCAsOmitted = authorityNames(nobody.authorities)
		}
	}
	return v, nil
}

// probePage makes the other cases for a page, of which nobody's has been made.
func (p *prober) probePage(ctx context.Context, nobody *trial, path string, before *page) *page {
	g := &page{version: nobody.version, path: path, statuses: p.Statuses, none: nobody}
	if nobody.exchanged && nobody.exchangeEnd == endSilence && p.application() == AppAuto && !nobody.speaksHTTP {
		p.speaks = false // it does not answer HTTP: what costs the whole timeout is not done again
	}
	if !nobody.asked {
		return g
	}
	if before == nil {
		before = &page{}
	}
	try := func(id CaseID, earlier *trial, present presenter) *trial {
		if !p.makes(id) || present == nil {
			return nil
		}
		if earlier.settled() {
			return earlier.forPath(path)
		}
		return p.visit(ctx, id, g.version, path, present)
	}
	earlierStrangers := map[CaseID]*trial{}
	for _, t := range before.strangers {
		earlierStrangers[t.id] = t
	}
	g.good = try(CaseGood, before.good, fixed(p.Good))
	g.other = try(CaseOther, before.other, fixed(p.Other))
	for _, stranger := range []struct {
		id      CaseID
		present presenter
	}{{CaseStranger, p.stranger(guise{})}, {CaseImpostor, p.impostor(nobody)}} {
		if t := try(stranger.id, earlierStrangers[stranger.id], stranger.present); t != nil {
			g.strangers = append(g.strangers, t)
		}
	}
	g.unproven = try(CaseFalseProof, before.unproven, p.falseProof())
	p.repeatNobody(ctx, g)
	return g
}

// repeatNobody asks as nobody again, at once and a second later, where the
// judgement depends on whether the page is always the same: it may show the time.
func (p *prober) repeatNobody(ctx context.Context, g *page) {
	for _, pause := range []time.Duration{0, 1100 * time.Millisecond} {
		if pause > 0 && g.unlike > 0 || pause == 0 && !g.needsRepetition() {
			return
		}
		select {
		case <-ctx.Done():
			return
		case <-time.After(pause):
		}
		again := p.connect(ctx, visit{id: CaseNone, version: g.version, path: g.path})
		if !g.repeated(again) {
			g.unlike = 1
			return
		}
	}
}

// presenter gives the certificate that a case presents when the server asks.
type presenter = func(*tls.CertificateRequestInfo) (*tls.Certificate, error)

func fixed(c *tls.Certificate) presenter {
	if c == nil {
		return nil
	}
	return func(*tls.CertificateRequestInfo) (*tls.Certificate, error) { return c, nil }
}

// stranger presents a self-made certificate.
func (p *prober) stranger(g guise) presenter {
	return func(info *tls.CertificateRequestInfo) (*tls.Certificate, error) {
		return p.strangers.certificate(g, info)
	}
}

// impostor presents a self-made certificate that is the good one but for its key
// and signature or, without a good one, names as its issuer the first CA that the
// server asks for.
func (p *prober) impostor(nobody *trial) presenter {
	if p.Good != nil {
		return p.stranger(guise{copied: p.Good.Leaf})
	}
	for _, name := range nobody.authorities {
		if rdns, ok := parseName(name); ok && len(rdns) > 0 {
			return p.stranger(guise{issuer: name})
		}
	}
	return nil
}

// falseProof presents the good certificate, or else a stranger's, and proves
// possession of its key with a false signature.
func (p *prober) falseProof() presenter {
	return func(info *tls.CertificateRequestInfo) (*tls.Certificate, error) {
		if p.Good != nil {
			return withoutKey(p.Good)
		}
		c, err := p.strangers.certificate(guise{}, info)
		if err != nil {
			return nil, err
		}
		return withoutKey(c)
	}
}

// visit makes a case.
func (p *prober) visit(ctx context.Context, id CaseID, version uint16, path string, present presenter) *trial {
	e := p.connect(ctx, visit{id: id, version: version, path: path, present: present})
	return &trial{evidence: e, Case: judge(e)}
}

// again makes a case for another path, unless its outcome is settled.
func (p *prober) again(ctx context.Context, t *trial, path string) *trial {
	if t.settled() {
		return t.forPath(path)
	}
	return p.visit(ctx, t.id, t.version, path, t.present)
}

// settled reports whether a case ended before its path was known to the server.
func (t *trial) settled() bool {
	return t != nil && !t.exchanged && t.dial == nil && (t.Verdict == Rejected || t.Verdict == LocalRefused)
}

func (t *trial) forPath(path string) *trial {
	e := *t.evidence
	e.path = path
	return &trial{evidence: &e, Case: judge(&e)}
}

// confirmNotOffered looks again at a version that is offered where another
// was judged not offered from connections closed without a word: a server
// that has shut us out in the meantime says nothing of what it offers.
func (p *prober) confirmNotOffered(ctx context.Context) {
	var offered uint16
	for _, v := range p.report.TLS {
		if v.Offered == Yes {
			offered = versionNumber(v.Version)
		}
	}
	for i := range p.report.TLS {
		v := &p.report.TLS[i]
		if !v.unconfirmed || offered == 0 {
			continue
		}
		if again := p.visit(ctx, CaseNone, offered, p.paths()[0], nil); again.server == nil {
			v.Offered = Unknown
			v.Reason = "the server closes the connection, and now also where it did not before"
		}
	}
}

// control repeats, for each version, the cases that say whether the server has
// changed its mind: the good certificate's where it was accepted, else nobody's. A
// server that has shut us out in the middle makes the cases after that look
// refused. Where nobody's refusal may have been a hiccup it is repeated, too.
func (p *prober) control(ctx context.Context) {
	if p.Level == Observe {
		return
	}
	seen := map[uint16]bool{}
	for i, g := range p.pages {
		if seen[g.version] || len(g.others()) == 0 || p.report.Children[i].Mode == ModeInconclusive {
			continue
		}
		seen[g.version] = true
		if g.good == nil || g.standing(g.good) != Accepted {
			p.repeat(ctx, i, g.none)
			continue
		}
		p.repeat(ctx, i, g.good)
		if g.none.maybeHiccup() {
			p.repeat(ctx, i, g.none)
		}
	}
}

// repeat makes a case of a page again, and once more where that ends otherwise:
// once is no pattern.
func (p *prober) repeat(ctx context.Context, page int, t *trial) {
	again := p.visit(ctx, t.id, t.version, t.path, t.present)
	if again.differs(t) && !t.maybeHiccup() {
		again = p.visit(ctx, t.id, t.version, t.path, t.present)
	}
	again.Control = true
	if !again.differs(t) {
		again.Verdict, again.Layer, again.Strength, again.Detail = t.Verdict, t.Layer, t.Strength, t.Detail
	}
	p.report.Cases = append(p.report.Cases, again.Case)
	if again.differs(t) {
		p.changed(page, fmt.Sprintf("the case %s ended otherwise when it was repeated: %s", t.id, again.Detail))
	}
}

// maybeHiccup reports whether a refusal looks as many a failure does.
func (t *trial) maybeHiccup() bool {
	return t.Verdict == Rejected && (t.Layer == LayerClose || t.status() >= 500 || t.status() == 408 || t.status() == 429)
}

// changed makes all pages of a version inconclusive.
func (p *prober) changed(i int, reason string) {
	for j, g := range p.pages {
		if g.version == p.pages[i].version {
			c := &p.report.Children[j]
			c.Mode, c.EnforcedAt, c.Strength, c.Reason = ModeInconclusive, LayerNone, Weak, reason
		}
	}
}

// differs reports whether a repetition ended otherwise: what TLS or the status
// said, or by which alert.
func (t *trial) differs(first *trial) bool {
	a, b := judge(t.evidence), judge(first.evidence)
	alert := func(c Case) int {
		if c.Alert == nil {
			return -1
		}
		return c.Alert.Number
	}
	return a.Verdict != b.Verdict || alert(a) != alert(b) || t.status() != first.status()
}

// markPostHandshake makes a page inconclusive where TLS 1.2 asks for a
// certificate after the request, and TLS 1.3 answers with 403 without asking: it
// would ask after the handshake (RFC 8446, Section 4.6.2), if we could answer.
func (p *prober) markPostHandshake() {
	for i, g := range p.pages {
		if g.version != tls.VersionTLS13 || g.none.asked || g.none.status() != 403 {
			continue
		}
		renegotiates := slices.ContainsFunc(p.pages, func(twin *page) bool {
			return twin.version == tls.VersionTLS12 && twin.path == g.path && twin.none.renegotiated
		})
		if renegotiates || p.report.Stack == "apache" && p.report.TLS[0].Offered != Yes {
			c := &p.report.Children[i]
			c.Mode, c.EnforcedAt, c.Strength = ModeInconclusive, LayerNone, Weak
			c.Reason = "HTTP 403: it seems to ask for a certificate after the handshake, which this probe cannot answer"
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
