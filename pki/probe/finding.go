package probe

import (
	"bytes"
	"crypto/x509"
	"fmt"
	"slices"
	"strings"
)

// Severity is how grave a finding is.
type Severity string

// The severities, the gravest first.
const (
	Critical Severity = "critical"
	High     Severity = "high"
	Medium   Severity = "medium"
	Low      Severity = "low"
	Info     Severity = "info"
)

// Severities lists them, the gravest first.
func Severities() []Severity { return []Severity{Critical, High, Medium, Low, Info} }

// AtLeast reports whether s is as grave as bar, or graver.
func (s Severity) AtLeast(bar Severity) bool {
	return slices.Index(Severities(), s) <= slices.Index(Severities(), bar)
}

// Finding is something to know or to do. An ID keeps its meaning.
type Finding struct {
	ID         string   `json:"id"` // MTLS-001
	Severity   Severity `json:"severity"`
	Where      string   `json:"where"` // "TLS 1.2, /admin/", or "all"
	Title      string   `json:"title"`
	Meaning    string   `json:"meaning"`
	Fix        string   `json:"fix"`
	References []string `json:"references"`
}

const (
	rfcRequest   = "RFC 8446, Section 4.3.2 (CertificateRequest)"
	rfcVerify    = "RFC 8446, Section 4.4.3 (CertificateVerify)"
	rfcPath      = "RFC 5280, Section 6 (path validation)"
	rfcAuthority = "RFC 8446, Section 4.2.4 (certificate_authorities)"
	rfcIdentity  = "RFC 9525 (service identity)"
	rfcReneg     = "RFC 9113, Section 9.2.1; RFC 8446, Section 4.6.2"
)

// find writes the findings.
func (p *prober) find() {
	r := p.report
	for _, c := range r.Children {
		p.findMode(c)
	}
	for _, g := range p.pages {
		p.findPage(g)
	}
	p.findAlerts()
	p.findDifferences()
	p.findAuthorities()
	if s := r.Server; s != nil && s.Trust == Untrusted {
		p.add(Finding{ID: "MTLS-012", Severity: Critical, Where: "all", Title: "the server is not trusted",
			Meaning: "its chain does not lead to the CA given, for this name and time: " + s.TrustDetail + ". No client certificate was shown to it.",
			Fix:     "give the server a certificate for this name under that CA, or the right CA with --ca", References: []string{rfcIdentity}})
	}
	r.Findings = together(r.Findings)
}

func (p *prober) add(f Finding) { p.report.Findings = append(p.report.Findings, f) }

// grave is the severity of what was not expected; what was expected is only
// told.
func (p *prober) grave(m Mode, s Severity) Severity {
	if p.Expect.accepts(m) {
		return Info
	}
	return s
}

func (p *prober) findMode(c Child) {
	where := fmt.Sprintf("TLS %s, %s", c.TLS, escape(c.Path))
	switch c.Mode {
	case NotRequested:
		p.add(Finding{ID: "MTLS-001", Severity: p.grave(c.Mode, Critical), Where: where, Title: "no client certificate is requested",
			Meaning: "whoever reaches this endpoint is let in by TLS", Fix: p.fix(), References: []string{rfcRequest}})
	case OptionalUnverified:
		p.findUnverified(c, where)
	case OptionalVerified:
		p.add(Finding{ID: "MTLS-003", Severity: p.grave(c.Mode, High), Where: where, Title: "a client without a certificate is let in",
			Meaning: "a certificate is verified if one is sent, and who sends none is let in: only an application that looks at it is protected", Fix: p.fix(), References: []string{rfcRequest}})
	case RequiredUnverified:
		p.add(Finding{ID: "MTLS-004", Severity: Critical, Where: where, Title: "a self-made certificate is let in",
			Meaning: "a certificate is required, and it is not verified who has signed it", Fix: p.fix(), References: []string{rfcPath}})
	case RejectsGood:
		p.add(Finding{ID: "MTLS-005", Severity: High, Where: where, Title: "your certificate is refused, as everyone",
			Meaning: c.Reason + ". It may be expired, revoked, of another CA or for another use; or the server lacks an intermediate CA or a current CRL.",
			Fix:     "mutual verify FILE, with the CA and CRL that the server has; its log says which check failed", References: []string{rfcPath}})
	case Pinned:
		p.add(Finding{ID: "MTLS-006", Severity: Info, Where: where, Title: "the certificate is pinned",
			Meaning: "another certificate of yours is refused: it must be exchanged on the server, too, before it expires", Fix: "have the server trust the CA rather than one certificate, unless this is meant", References: []string{}})
	}
}

func (p *prober) findUnverified(c Child, where string) {
	severity := p.grave(c.Mode, Critical)
	if g := p.page(c); g != nil && g.sameForAll() {
		severity = p.grave(c.Mode, High)
		p.add(Finding{ID: "MTLS-007", Severity: severity, Where: where, Title: "the same answer for nobody and a stranger",
			Meaning: "it is either what everyone gets, or a page that asks to log in: without a certificate that is let in they look the same",
			Fix:     "give a known-good certificate: --cert FILE --key FILE, or --as NAME", References: []string{}})
		return
	}
	if p.Level == Observe {
		severity = p.grave(c.Mode, High)
	}
	p.add(Finding{ID: "MTLS-002", Severity: severity, Where: where, Title: "who has no certificate, or a self-made one, is let in",
		Meaning: "a certificate is requested, and it makes no difference: " + c.Reason, Fix: p.fix(), References: []string{rfcRequest, rfcPath}})
}

// page finds the page of a child.
func (p *prober) page(c Child) *page {
	for _, g := range p.pages {
		if g.path == c.Path && versionName(g.version) == c.TLS {
			return g
		}
	}
	return nil
}

// sameForAll reports whether nobody and each stranger get the same page, and no
// good certificate shows another.
func (p *page) sameForAll() bool {
	return p.good == nil && len(p.strangers) > 0 && p.none.answered() && p.allAsNone()
}

func (p *prober) findPage(g *page) {
	where := fmt.Sprintf("TLS %s, %s", versionName(g.version), escape(g.path))
	if g.unproven != nil && g.unproven.Verdict == Accepted {
		p.add(Finding{ID: "MTLS-008", Severity: Critical, Where: where, Title: "a certificate without its key is let in",
			Meaning: "the proof of possession was false and was accepted: whoever has seen a certificate can use it", Fix: "replace the TLS library of this server", References: []string{rfcVerify}})
	}
	if g.good != nil && g.standing(g.none) == Accepted && g.standing(g.good) == Rejected {
		p.add(Finding{ID: "MTLS-005", Severity: High, Where: where, Title: "your certificate is refused, and a client without one is let in",
			Meaning: g.good.Detail, Fix: "mutual verify FILE, with the CA and CRL that the server has; its log says which check failed", References: []string{rfcPath}})
	}
	if g.none.renegotiated {
		p.add(Finding{ID: "MTLS-009", Severity: Low, Where: where, Title: "the certificate is asked for in a renegotiation",
			Meaning: "TLS 1.3 and HTTP/2 have no renegotiation: clients that use them are refused there, or the server speaks neither",
			Fix:     "require the certificate for a host name of its own, in the first handshake", References: []string{rfcReneg}})
	}
	if g.standing(g.none) == Rejected && g.none.Layer == LayerHTTP {
		p.add(Finding{ID: "MTLS-010", Severity: Info, Where: where, Title: "the certificate is required in HTTP, not in TLS",
			Meaning: "the handshake ends well for everyone, and the request is refused: a check that looks at TLS alone sees no difference", Fix: "nothing, if every location is covered: try others with --path", References: []string{}})
	}
	if g.good != nil && g.good.Verdict == Accepted && g.none.answered() && g.good.answered() && g.none.status() == g.good.status() {
		p.add(Finding{ID: "MTLS-011", Severity: Info, Where: where, Title: "a client without a certificate gets another page than yours",
			Meaning: "an application may be judging by itself: look at the page that is given without a certificate", Fix: "say which status lets in with --expect-status", References: []string{}})
	}
}

// findAlerts holds the alerts of nobody and of strangers against the one that
// was expected.
func (p *prober) findAlerts() {
	if len(p.Alerts) == 0 {
		return
	}
	for _, g := range p.pages {
		for _, t := range append([]*trial{g.none}, g.strangers...) {
			if g.standing(t) != Rejected || slices.ContainsFunc(p.Alerts, t.alert.remote) {
				continue
			}
			if p.report.Outcome != Violated {
				p.report.Outcome, p.report.Reason = Violated, fmt.Sprintf("the case %s is not refused with an alert that was expected: %s", t.id, t.Detail)
			}
			p.add(Finding{ID: "MTLS-013", Severity: Critical, Where: fmt.Sprintf("TLS %s, %s", versionName(g.version), escape(g.path)),
				Title:   fmt.Sprintf("the case %s is not refused with an alert that was expected", t.id),
				Meaning: t.Detail, Fix: "expect another alert, or none: stacks differ in them", References: []string{"RFC 8446, Section 6"}})
		}
	}
}

func (p *prober) findDifferences() {
	r := p.report
	if r.Mode != Conditional {
		return
	}
	for _, path := range p.paths() {
		modes := map[Mode]bool{}
		for _, c := range r.Children {
			if c.Path == path {
				modes[c.Mode] = true
			}
		}
		if len(modes) > 1 {
			p.add(Finding{ID: "MTLS-014", Severity: High, Where: escape(path), Title: "the TLS versions differ",
				Meaning: "a client chooses the version, and so how it is judged", Fix: "configure all versions alike, or switch one off", References: []string{}})
		}
	}
}

func (p *prober) findAuthorities() {
	r := p.report
	for _, v := range r.TLS {
		if v.Requested == Yes && len(v.authorities) == 0 {
			p.add(Finding{ID: "MTLS-015", Severity: Info, Where: "TLS " + v.Version, Title: "the server names no acceptable CA",
				Meaning: "clients with several certificates cannot tell which to send, and some servers that name none trust every public CA",
				Fix:     "have the server name the CA of its clients", References: []string{rfcAuthority}})
		}
	}
	if r.Senders != nil && !(r.Senders.Go && r.Senders.Java && r.Senders.Browsers) {
		p.add(Finding{ID: "MTLS-016", Severity: Medium, Where: "all", Title: "some clients would not send your certificate",
			Meaning: r.Senders.Reason, Fix: "name the CA of the clients in the server's configuration, and give clients the whole chain", References: []string{rfcAuthority}})
	}
}

// together joins findings that differ only by where they are, and sorts them.
func together(findings []Finding) []Finding {
	out := []Finding{}
	for _, f := range findings {
		at := slices.IndexFunc(out, func(g Finding) bool { return g.ID == f.ID && g.Meaning == f.Meaning && g.Severity == f.Severity })
		switch {
		case at < 0:
			out = append(out, f)
		case !slices.Contains(strings.Split(out[at].Where, "; "), f.Where):
			out[at].Where += "; " + f.Where
		}
	}
	sorted := []Finding{}
	for _, severity := range Severities() {
		for _, f := range out {
			if f.Severity == severity {
				sorted = append(sorted, f)
			}
		}
	}
	return sorted
}

// stack says what the server seems to be, by what it says of itself.
func (p *prober) stack() string {
	for _, g := range p.pages {
		for _, t := range g.trials() {
			if t.response == nil {
				continue
			}
			name, _, _ := strings.Cut(strings.ToLower(t.response.server), "/")
			for _, known := range stacks() {
				if strings.HasPrefix(name, known.name) || known.mark != "" && bytes.Contains(t.response.body, []byte(known.mark)) {
					return known.name
				}
			}
		}
	}
	return ""
}

// knownStack is a server, a text in its pages and how it requires certificates.
type knownStack struct{ name, mark, fix string }

func stacks() []knownStack {
	return []knownStack{
		{"nginx", "<center>nginx", "ssl_client_certificate ca.crt; ssl_crl crl/chain.pem; ssl_verify_client on; and no error_page for 495 and 496"},
		{"apache", "", "SSLCACertificateFile ca.crt; SSLCARevocationFile crl/chain.pem; SSLCARevocationCheck chain; SSLVerifyClient require"},
		{"caddy", "", "tls { client_auth { mode require_and_verify; trust_pool file ca.crt } }"},
		{"envoy", "", "require_client_certificate: true, with trusted_ca and crl in the validation_context"},
		{"jetty", "", "needClientAuth true, with a trust store of the client CA"},
		{"gunicorn", "", "--cert-reqs 2 --ca-certs ca.crt"},
		{"gnutls", "GnuTLS", "--require-client-cert --verify-client-cert --x509cafile ca.crt"},
	}
}

func (p *prober) fix() string {
	for _, s := range stacks() {
		if s.name == p.report.Stack {
			return s.name + ": " + s.fix
		}
	}
	return "nginx: ssl_verify_client on · Apache: SSLVerifyClient require · HAProxy: verify required ca-file … · Go: tls.RequireAndVerifyClientCert · " +
		"Node: requestCert and rejectUnauthorized · Python: ssl.CERT_REQUIRED · Java: setNeedClientAuth(true) · or mutual gate in front"
}

// senders says who would send the good certificate to this server; nil without
// one, or where the server asks for none.
func (p *prober) senders() *Senders {
	if p.Good == nil {
		return nil
	}
	for _, v := range p.report.TLS {
		if v.Requested != Yes {
			continue
		}
		named := len(v.authorities) == 0 || p.goodIsNamed(v.authorities)
		s := &Senders{Go: v.goodProblem == nil, Java: named, Browsers: named}
		switch {
		case len(v.authorities) == 0:
			s.Reason = "the server names no CA, so clients choose by themselves"
		case named:
			s.Reason = "the server names a CA of your certificate's chain"
		default:
			s.Reason = "the server names its CAs, and no issuer in the file of your certificate is among them: clients that choose by them send nothing"
		}
		if v.goodProblem != nil && named {
			s.Reason = "Go would not send it: " + escape(v.goodProblem.Error())
		}
		return s
	}
	return nil
}

// goodIsNamed reports whether a certificate of the chain was issued by a CA that
// is named: so Java's key managers choose, and browsers by the chain that they
// can build.
func (p *prober) goodIsNamed(authorities [][]byte) bool {
	return slices.ContainsFunc(p.Good.Certificate, func(der []byte) bool {
		c, err := x509.ParseCertificate(der)
		return err == nil && slices.ContainsFunc(authorities, func(name []byte) bool { return bytes.Equal(name, c.RawIssuer) })
	})
}
