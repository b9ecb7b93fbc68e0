package commands

import (
	"context"
	"crypto/tls"
	"fmt"
	"time"

	"github.com/urfave/cli/v2"

	"mutual/commands/ui"
	"mutual/pki"
	"mutual/pki/keys"
	"mutual/pki/pemfile"
	"mutual/pki/probe"
	"mutual/pki/profile"
	"mutual/pki/store"
)

// probeLifetime is how long the certificate of --as is valid.
const probeLifetime = "5m"

func probeCommand() *cli.Command {
	return leaf(leafSpec{
		Name:      "probe",
		Category:  categoryEnforcing,
		Usage:     "find out whether an endpoint really requires client certificates",
		ArgsUsage: "HOST:PORT|URL",
		Long: "Connects without a certificate and, if one is given, with it, for TLS 1.2 and 1.3 apart, and reads before it judges: in TLS 1.3 a server " +
			"says no only after the client's handshake is over. Where the endpoint speaks HTTP, one request is made (GET of the URL's path).\n\n" +
			"Exits with 0 when a certificate is required and ours, if given, is accepted, with 3 when not, and with 4 when it cannot be told.",
		Example: "mutual probe api.example.com:8443\nmutual probe https://api.example.com/v1/ --as alice@example.com --ca ca.crt",
		Flags: []cli.Flag{
			&cli.StringFlag{Name: "cert", Usage: "try the certificate chain in `FILE`"},
			&cli.StringFlag{Name: "key", Usage: "its private key in `FILE`"},
			&cli.StringFlag{Name: "as", Usage: "try a certificate of five minutes that the PKI issues for the identity `NAME`, on record"},
			&cli.StringFlag{Name: "ca", Usage: "trust the server only under the CA certificates in `FILE`"},
			&cli.DurationFlag{Name: "timeout", Usage: "give each connection `TIME`", Value: 5 * time.Second},
		},
		Passphrase: true,
		MinArgs:    1,
		Action:     runProbe,
	})
}

func runProbe(ctx context.Context, r *run, c *cli.Context) error {
	cfg, err := probeConfig(r, c)
	if err != nil {
		return err
	}
	if name := c.String("as"); name != "" {
		if cfg.Certificate, err = r.mintProbe(ctx, name); err != nil {
			return err
		}
	}
	report, err := probe.Run(ctx, cfg)
	if err != nil {
		return err
	}
	if ctx.Err() != nil {
		return ctx.Err()
	}
	if err := r.emit(&probeView{report}); err != nil {
		return err
	}
	switch report.Outcome {
	case probe.OK:
		return nil
	case probe.Violated:
		return bad(nil)
	}
	return unsure(nil, "")
}

func probeConfig(r *run, c *cli.Context) (probe.Config, error) {
	cfg := probe.Config{Timeout: c.Duration("timeout"), Now: r.env.Now}
	var err error
	if cfg.Target, err = probe.ParseTarget(c.Args().First()); err != nil {
		return cfg, usage(err)
	}
	cert, key := c.String("cert"), c.String("key")
	switch {
	case cfg.Timeout <= 0:
		return cfg, usagef("--timeout %v is not longer than nothing", cfg.Timeout)
	case (cert == "") != (key == ""):
		return cfg, usagef("--cert and --key belong together")
	case cert != "" && c.String("as") != "":
		return cfg, usagef("--as and --cert exclude each other")
	}
	if ca := c.String("ca"); ca != "" {
		if cfg.Roots, err = r.readCertificates(ca); err != nil {
			return cfg, err
		}
	}
	if cert != "" {
		cfg.Certificate, err = r.readPair(cert, key)
	}
	return cfg, err
}

// readPair reads a certificate chain and the key that belongs to its leaf.
func (r *run) readPair(certFile, keyFile string) (*tls.Certificate, error) {
	certs, err := r.readCertificates(certFile)
	if err != nil {
		return nil, err
	}
	data, err := pemfile.ReadFile(keyFile, pemfile.MaxFile)
	if err != nil {
		return nil, err
	}
	signer, err := pemfile.Key(data, nil)
	if err != nil {
		return nil, fmt.Errorf("reading the key %s: %w", keyFile, err)
	}
	if !keys.Equal(signer.Public(), certs[0].PublicKey) {
		return nil, fmt.Errorf("the key %s does not belong to the certificate %s", keyFile, certFile)
	}
	out := &tls.Certificate{PrivateKey: signer, Leaf: certs[0]}
	for _, c := range certs {
		out.Certificate = append(out.Certificate, c.Raw)
	}
	return out, nil
}

// mintProbe issues a short-lived certificate for an identity that the
// inventory knows. Its key never leaves the memory.
func (r *run) mintProbe(ctx context.Context, text string) (*tls.Certificate, error) {
	name, err := pki.ParseAnyName(text)
	if err != nil {
		return nil, usage(err)
	}
	ttl, err := pki.ParseLifetime(probeLifetime)
	if err != nil {
		return nil, err
	}
	signer, err := keys.Generate(keys.P256)
	if err != nil {
		return nil, fmt.Errorf("making the key: %w", err)
	}
	var out *tls.Certificate
	err = r.writing(ctx, func(p *store.PKI) error {
		req := store.IssueRequest{Kind: pki.KindProbe, Name: name, PublicKey: signer.Public(), Window: profile.Window{TTL: ttl}}
		if err := checkIssue(ctx, p, req, place{stdout: true}); err != nil {
			return err
		}
		issued, err := p.Issue(ctx, req)
		if err != nil {
			return usageIfRequest(err)
		}
		r.note("the probe's certificate has the serial %s and ends at %s", issued.Serial, when(issued.Certificate.NotAfter))
		out = &tls.Certificate{PrivateKey: signer, Leaf: issued.Certificate}
		for _, c := range issued.Chain {
			out.Certificate = append(out.Certificate, c.Raw)
		}
		return nil
	})
	return out, err
}

// probeView is a probe's report; its JSON is the report's.
type probeView struct{ *probe.Report }

// Text implements view.
func (v *probeView) Text(p *ui.Printer) error {
	word := map[probe.Outcome]ui.Span{probe.OK: ui.Valid.Of("LOCKED"), probe.Violated: ui.Revoked.Of("OPEN")}[v.Outcome]
	if word.Text == "" {
		word = ui.Unknown.Of("COULD NOT TELL")
	}
	if v.Outcome == probe.Violated && v.locked() {
		word.Text = "REFUSED"
	}
	_ = p.Line(word, ui.Plain.Of("  "), ui.Name.Of(v.Target), ui.Plain.Of("  "+v.Reason))
	if len(v.TLS) > 0 {
		_ = p.Printf("\n")
		_ = p.Table(v.attempts())
		_ = p.Printf("\n")
	}
	if err := p.Fields(v.fields()...); err != nil || v.Outcome != probe.OK {
		return err
	}
	return p.Line(ui.Muted.Of("not tested: whether the certificate of a stranger is refused"))
}

// locked reports whether nobody is let in: what is wrong is something else.
func (v *probeView) locked() bool {
	for _, t := range v.TLS {
		if t.Offered == probe.Yes && t.None.Verdict != probe.Rejected {
			return false
		}
	}
	return len(v.TLS) > 0
}

func (v *probeView) attempts() *ui.Table {
	table := ui.NewTable(ui.Column{Title: "TLS"}, ui.Column{Title: "WITH"}, ui.Column{Title: "VERDICT"}, ui.Column{Title: "WHERE"},
		ui.Column{Title: "EVIDENCE"}, ui.Column{Title: "WHAT WAS SEEN", Flexible: true})
	for _, t := range v.TLS {
		if t.Offered == probe.No {
			table.Row(ui.Plain.Of(t.Version), ui.Plain.Of("-"), ui.Muted.Of("not offered"))
			continue
		}
		attemptRow(table, t.Version, "no certificate", &t.None, probe.Rejected)
		if t.Ours != nil {
			attemptRow(table, t.Version, "ours", t.Ours, probe.Accepted)
		}
	}
	return table
}

// attemptRow adds an attempt, green when it went as it should.
func attemptRow(t *ui.Table, version, with string, a *probe.Attempt, wanted probe.Verdict) {
	style := ui.Revoked
	switch a.Verdict {
	case wanted:
		style = ui.Valid
	case probe.Inconclusive, probe.LocalRefused:
		style = ui.Unknown
	}
	t.Row(ui.Plain.Of(version), ui.Plain.Of(with), style.Of(string(a.Verdict)), ui.Plain.Of(string(a.Layer)), ui.Muted.Of(string(a.Strength)), ui.Plain.Of(a.Detail))
}

func (v *probeView) fields() []ui.Field {
	fields := []ui.Field{fieldUnlessEmpty("address", v.Address)}
	for _, t := range v.TLS {
		if t.Offered != probe.Yes {
			continue
		}
		asked := map[probe.Answer]string{
			probe.Yes: "a certificate is asked for", probe.No: "no certificate is asked for", probe.Unknown: "whether a certificate is asked for was not seen",
		}[t.Requested]
		names := append([]string{asked}, t.AcceptableCAs...)
		if t.AcceptableCAsOmitted > 0 {
			names = append(names, fmt.Sprintf("… and %d more", t.AcceptableCAsOmitted))
		}
		fields = append(fields, ui.Plain.Field("TLS "+t.Version, names...))
	}
	if s := v.Server; s != nil {
		for _, c := range s.Chain {
			fields = append(fields, ui.Plain.Field("server", fmt.Sprintf("%s, issued by %s, until %s, serial %s", c.Subject, c.Issuer, when(c.NotAfter), c.Serial)))
		}
		trust := map[probe.Trust]ui.Field{
			probe.Trusted:   ui.Valid.Field("its chain", "trusted"),
			probe.Untrusted: ui.Revoked.Field("its chain", "NOT trusted: "+s.TrustDetail),
		}[s.Trust]
		if s.Trust == probe.NotChecked {
			trust = ui.Muted.Field("its chain", "not checked: give --ca FILE")
		}
		fields = append(fields, trust)
	}
	return append(fields, ui.Muted.Field("times", fmt.Sprintf("DNS %.1f ms, TCP %.1f ms, TLS %.1f ms", v.Timings.DNS, v.Timings.TCP, v.Timings.TLS)))
}
