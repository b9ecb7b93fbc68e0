package commands

import (
	"context"
	"errors"
	"fmt"
	"strings"

	"github.com/urfave/cli/v2"

	"mutual/commands/ui"
	"mutual/pki"
	"mutual/pki/gate"
	"mutual/pki/pemfile"
	"mutual/pki/store"
)

func gateCheckCommand() *cli.Command {
	return leaf(leafSpec{
		Name:      "check",
		Usage:     "say what rules make of a request, without traffic",
		ArgsUsage: "METHOD PATH",
		Long: "--as is an identity of the PKI, of which the newest certificate in force counts, or a certificate file. " +
			"Only the rules are asked: whether the certificate is revoked says mutual verify.\n\n" +
			"Exits with 0 when the rules allow it, and with 3 when they do not.",
		Example: "mutual gate check --rules rules.yaml --as alice GET /v1/orders\nmutual gate check --rules rules.yaml --as ./alice.crt POST /v1/orders",
		Flags: []cli.Flag{
			&cli.StringFlag{Name: "rules", Usage: "read the rules from the YAML `FILE`"},
			&cli.StringSliceFlag{Name: "allow", Usage: "as with mutual gate: let in who matches `PATTERN` (repeatable)"},
			&cli.StringFlag{Name: "as", Usage: "ask for the identity `NAME`, or the certificate in the file NAME"},
		},
		MinArgs: 2,
		MaxArgs: 2,
		Action:  runGateCheck,
	})
}

// gateDecisionView is what rules say of a request.
type gateDecisionView struct {
	Identity string `json:"identity"`
	Subject  string `json:"subject"`
	Method   string `json:"method"`
	Path     string `json:"path"`
	Allowed  bool   `json:"allowed"`
	Rule     string `json:"rule,omitempty"`
	Reason   string `json:"reason,omitempty"`
}

// Text implements view.
func (v *gateDecisionView) Text(p *ui.Printer) error {
	if v.Allowed {
		return p.Line(ui.Valid.Of("allowed"), ui.Plain.Of("  by the rule "), ui.Name.Of(v.Rule))
	}
	return p.Line(ui.Revoked.Of("refused"), ui.Plain.Of("  "+v.Reason))
}

func runGateCheck(ctx context.Context, r *run, c *cli.Context) error {
	method, path := c.Args().Get(0), c.Args().Get(1)
	switch {
	case (c.String("rules") == "") == (len(c.StringSlice("allow")) == 0):
		return usagef("%q needs either --rules FILE or --allow PATTERN", c.Command.HelpName)
	case c.String("as") == "":
		return usagef("%q needs --as NAME", c.Command.HelpName)
	case !strings.HasPrefix(path, "/"):
		return usagef("the path %q does not begin with a slash", path)
	}
	path, _, _ = strings.Cut(path, "?")
	rules, err := r.readRules(c)
	if err != nil {
		return err
	}
	id, err := r.gateIdentity(ctx, c.String("as"))
	if err != nil {
		return err
	}
	d := rules.Decide(id, method, path)
	v := &gateDecisionView{Identity: id.Name, Subject: pki.DistinguishedName(id.Certificate.Subject), Method: method, Path: path, Allowed: d.Allowed, Rule: d.Rule}
	switch {
	case d.Allowed:
	case !rules.Admits(id):
		v.Reason = "no rule lets it in at all"
	default:
		v.Reason = "it may come in, and no rule allows this request"
	}
	if err := r.emit(v); err != nil {
		return err
	}
	if !d.Allowed {
		return bad(nil)
	}
	return nil
}

func (r *run) readRules(c *cli.Context) (*gate.Rules, error) {
	if patterns := c.StringSlice("allow"); len(patterns) > 0 {
		rules, err := gate.Allow(patterns)
		return rules, usage(err)
	}
	data, err := pemfile.ReadFile(c.String("rules"), gate.MaxRules)
	if err != nil {
		return nil, err
	}
	rules, err := gate.ParseRules(data)
	if err != nil {
		return nil, fmt.Errorf("%s: %w", c.String("rules"), err)
	}
	return rules, nil
}

// gateIdentity is who a gate would take the holder of a certificate for.
func (r *run) gateIdentity(ctx context.Context, what string) (id gate.Identity, err error) {
	if isFile(what) {
		certs, err := r.readCertificates(what)
		if err != nil {
			return id, err
		}
		id = gate.Identify(certs[0])
		err = r.reading(ctx, func(p *store.PKI) error {
			known, err := p.Lookup(ctx, id.Fingerprint)
			if errors.Is(err, store.ErrNotFound) {
				return nil // a gate in front of other CAs knows no names
			}
			id.Name, id.Label = known.Name.String(), known.Label
			return err
		})
		if errors.Is(err, store.ErrNoPKI) {
			err = nil
		}
		return id, err
	}
	err = r.reading(ctx, func(p *store.PKI) error {
		name, err := pki.ParseAnyName(what)
		if err != nil {
			return usage(err)
		}
		known, err := p.Resolve(ctx, "name:"+name.String())
		if err != nil {
			return err
		}
		newest, ok := r.newest(known.Certificates) // whether it is in force is another question
		if !ok {
			return failf("list what there is with: mutual list --all", "%q has no certificate", what)
		}
		cert, err := storedCertificate(ctx, p, newest)
		if err != nil {
			return err
		}
		id = gate.Identify(cert)
		id.Name, id.Label = newest.Name.String(), newest.Label
		return nil
	})
	return id, err
}
