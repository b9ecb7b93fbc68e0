package commands

import (
	"context"
	"crypto/x509"
	"errors"
	"fmt"
	"io/fs"
	"slices"
	"time"

	"github.com/urfave/cli/v2"

	"mutual/commands/ui"
	"mutual/pki"
	"mutual/pki/chain"
	"mutual/pki/gate"
	"mutual/pki/pemfile"
	"mutual/pki/store"
)

func verifyCommand() *cli.Command {
	return leaf(leafSpec{
		Name:      "verify",
		Category:  categoryLooking,
		Usage:     "check a certificate: chain, times, purpose, revocation",
		ArgsUsage: "FILE",
		Long: "Without --ca the only anchor is the root of the PKI, and its inventory says what is revoked. With --ca only the certificates of that " +
			"file count (the self-signed ones as anchors and the others on the way there, or all as anchors where none is self-signed), and only --crl says what is revoked. " +
			"The system's roots are never asked.\n\n" +
			"Exits with 0 for good, 3 for bad, and 4 when it cannot be told, as without a CRL.",
		Example: "mutual verify alice@example.com.crt\nmutual verify api.crt --purpose server --ca ca.crt --crl chain.pem --at 2027-01-01",
		Flags: []cli.Flag{
			&cli.StringFlag{Name: "purpose", Usage: "check it for `PURPOSE`: client or server", Value: "client"},
			&cli.StringFlag{Name: "ca", Usage: "trust the CA certificates in `FILE` instead of the PKI's root"},
			&cli.StringFlag{Name: "untrusted", Usage: "take intermediate certificates from `FILE`"},
			&cli.StringSliceFlag{Name: "crl", Usage: "with --ca: take revocation lists from `FILE` (repeatable)"},
			&cli.StringFlag{Name: "at", Usage: "check it at `TIME` (default: now)"},
		},
		MinArgs: 1,
		Values:  map[string][]string{"purpose": {"client", "server"}},
		Action:  runVerify,
	})
}

// verdictView is what checking a certificate gave.
type verdictView struct {
	File    string        `json:"file"`
	Subject string        `json:"subject"`
	Serial  pki.Serial    `json:"serial"`
	Purpose string        `json:"purpose"`
	At      time.Time     `json:"at"`
	Outcome chain.Outcome `json:"outcome"`
	Reason  string        `json:"reason,omitempty"`
	Checks  []chain.Check `json:"checks"`
	Chain   []string      `json:"chain"`
}

// Text implements view.
func (v *verdictView) Text(p *ui.Printer) error {
	_ = p.Line(outcomeStyle(v.Outcome).Of(outcomeWord(v.Outcome)), ui.Plain.Of("  "), ui.Name.Of(v.Subject), ui.Plain.Of("  serial "+v.Serial.String()))
	for _, c := range v.Checks {
		_ = p.Line(ui.Plain.Of(fmt.Sprintf("  %-10s  ", c.Name)), outcomeStyle(c.Outcome).Of(fmt.Sprintf("%-14s", outcomeWord(c.Outcome))), ui.Plain.Of("  "+c.Detail))
	}
	return p.Flush()
}

func outcomeStyle(o chain.Outcome) ui.Style {
	return map[chain.Outcome]ui.Style{chain.Good: ui.Valid, chain.Bad: ui.Revoked}[o]
}

func outcomeWord(o chain.Outcome) string {
	if o == chain.CouldNotTell {
		return "could not tell"
	}
	return o.String()
}

func runVerify(ctx context.Context, r *run, c *cli.Context) error {
	o, err := verifyOptions(r, c)
	if err != nil {
		return err
	}
	certs, err := r.readCertificates(c.Args().First())
	if errors.Is(err, fs.ErrNotExist) {
		return withHint(err, "verify takes a file; one of ours is written with: mutual show NAME --pem >FILE")
	}
	if err != nil {
		return err
	}
	o.Intermediates = append(o.Intermediates, certs[1:]...)
	if c.String("untrusted") != "" {
		more, err := r.readCertificates(c.String("untrusted"))
		if err != nil {
			return err
		}
		o.Intermediates = append(o.Intermediates, more...)
	}
	var result chain.Result
	if c.String("ca") != "" {
		err = r.relyOnFiles(c, &o)
		result = chain.Verify(certs[0], o)
	} else {
		err = r.reading(ctx, func(p *store.PKI) error {
			err := relyOnPKI(ctx, p, &o, c.IsSet("at"))
			result = chain.Verify(certs[0], o)
			return err
		})
	}
	if err != nil {
		return err
	}
	if err := r.emit(newVerdictView(c.Args().First(), certs[0], o, result)); err != nil {
		return err
	}
	switch result.Outcome {
	case chain.Good:
		return nil
	case chain.Bad:
		return withHint(bad(nil), purposeHint(certs[0], o))
	}
	return unsure(nil, "")
}

// purposeHint says what to ask for where the certificate is meant for the other
// purpose.
func purposeHint(cert *x509.Certificate, o chain.Options) string {
	if o.Purpose == chain.Client && slices.Contains(cert.ExtKeyUsage, x509.ExtKeyUsageServerAuth) {
		return "a server's certificate is checked with: --purpose server"
	}
	return ""
}

func verifyOptions(r *run, c *cli.Context) (chain.Options, error) {
	o := chain.Options{At: r.now()}
	switch c.String("purpose") {
	case "client":
		o.Purpose = chain.Client
	case "server":
		o.Purpose = chain.Server
	default:
		return o, usagef("--purpose %q is neither client nor server", c.String("purpose"))
	}
	if len(c.StringSlice("crl")) > 0 && c.String("ca") == "" {
		return o, usagef("--crl needs --ca: without it the inventory of the PKI says what is revoked")
	}
	if c.IsSet("at") {
		at, err := parseTime(c.String("at"))
		if err != nil {
			return o, usagef("--at: %w", err)
		}
		o.At = at
	}
	return o, nil
}

func (r *run) readCertificates(path string) ([]*x509.Certificate, error) {
	data, err := r.readInput(path)
	if err != nil {
		return nil, err
	}
	certs, err := pemfile.Certificates(data)
	if err != nil {
		return nil, fmt.Errorf("reading the certificate %s: %w", sourceOf(path), err)
	}
	return certs, nil
}

// relyOnFiles trusts what --ca holds, and takes revocation from --crl only.
func (r *run) relyOnFiles(c *cli.Context, o *chain.Options) error {
	cas, err := r.readCertificates(c.String("ca"))
	if err != nil {
		return err
	}
	anchors, others, err := chain.Trusted(cas)
	if err != nil {
		return fmt.Errorf("%s %w", c.String("ca"), err)
	}
	o.Anchors, o.Intermediates = anchors, append(o.Intermediates, others...) // beside those that came with the leaf
	if len(c.StringSlice("crl")) == 0 {
		return nil // nothing says what is revoked: it cannot be told
	}
	crls := chain.CRLs{Candidates: cas}
	for _, file := range c.StringSlice("crl") {
		data, err := pemfile.ReadFile(file, maxCRL)
		if err != nil {
			return err
		}
		ders, err := pemfile.CRLs(data)
		if err != nil {
			return fmt.Errorf("reading the CRL %s: %w", sourceOf(file), err)
		}
		for _, der := range ders {
			if err := crls.Add(der); err != nil {
				return fmt.Errorf("reading the CRL %s: %w", sourceOf(file), err)
			}
		}
	}
	o.Revocation = chain.FromCRLs(crls)
	return nil
}

// relyOnPKI trusts the roots of the PKI that are in use and asks its inventory.
func relyOnPKI(ctx context.Context, p *store.PKI, o *chain.Options, past bool) error {
	roots, issuing, err := p.Trusted(ctx)
	if err != nil {
		return err
	}
	o.Anchors, o.Intermediates = roots, append(o.Intermediates, issuing...) // as above
	o.Revocation = inventoryStatus(ctx, p, past)
	return nil
}

// inventoryStatus answers from the inventory. When a time in the past was asked for,
// what was revoked after it was good then.
func inventoryStatus(ctx context.Context, p *store.PKI, past bool) chain.RevocationFunc {
	return func(path []*x509.Certificate, at time.Time) chain.RevocationStatus {
		status := gate.InventoryStatus(p.Lookup(ctx, pki.FingerprintOf(path[0].Raw)))
		if past && status.Revoked && at.Before(status.At) {
			return chain.RevocationStatus{Outcome: chain.Good, Detail: "revoked only later, at " + when(status.At)}
		}
		return status
	}
}

func newVerdictView(file string, cert *x509.Certificate, o chain.Options, result chain.Result) *verdictView {
	v := &verdictView{
		File: file, Subject: pki.DistinguishedName(cert.Subject), Serial: pki.NewSerial(cert.SerialNumber), Purpose: o.Purpose.String(), At: o.At,
		Outcome: result.Outcome, Reason: result.Reason, Checks: result.Checks, Chain: []string{},
	}
	for _, c := range result.Chain {
		v.Chain = append(v.Chain, pki.DistinguishedName(c.Subject))
	}
	return v
}
