package commands

import (
	"context"
	"errors"
	"fmt"
	"path/filepath"
	"slices"
	"strings"

	"github.com/urfave/cli/v2"

	"mutual/commands/ui"
	"mutual/pki"
	"mutual/pki/store"
)

func revokeCommand() *cli.Command {
	return leaf(leafSpec{
		Name:      "revoke",
		Category:  categoryRevoking,
		Usage:     "take certificates out, and publish the CRLs",
		ArgsUsage: "WHAT…",
		Long: "WHAT is a name, a serial, a fingerprint or a certificate file. A name means the identity: all its unexpired certificates, " +
			"and no new one is issued for it until: mutual allow NAME. A serial, fingerprint, file or --label takes only those certificates.\n\n" +
			"Again is no error: it says so and changes nothing.",
		Example:    "mutual revoke alice@example.com --reason keyCompromise\nmutual revoke --label \"Pixel 8\"\nmutual revoke --name 'dev-*' --dry-run",
		Flags:      append(selectionFlags(), &cli.StringFlag{Name: "reason", Usage: "say why: `REASON` of RFC 5280", Value: "unspecified"}),
		Passphrase: true,
		MaxArgs:    anyNumber,
		Values:     map[string][]string{"reason": reasonNames()},
		Complete:   completeWhat,
		Action:     runRevoke,
	})
}

// selectionFlags are what revoke, hold and unhold have in common.
func selectionFlags() []cli.Flag {
	return []cli.Flag{
		&cli.StringFlag{Name: "name", Usage: "take every identity whose name matches `GLOB` (* and ?)"},
		&cli.StringFlag{Name: "label", Usage: "take only certificates with the label `TEXT`"},
		&cli.BoolFlag{Name: "ca", Usage: "allow the certificate of the issuing CA, which takes out all that it has issued"},
		&cli.StringFlag{Name: "root-key", Usage: "with --ca: read the root's key from `FILE`"},
		&cli.BoolFlag{Name: "dry-run", Usage: "say what would change, and change nothing"},
	}
}

func reasonNames() []string {
	var names []string
	for _, reason := range append(pki.EndEntityReasons(), pki.CACompromise) {
		names = append(names, reason.String())
	}
	return names
}

func completeWhat(ctx context.Context, r *run, c *cli.Context) []string {
	return completeIdentities(ctx, r, r.wish.last)
}

func runRevoke(ctx context.Context, r *run, c *cli.Context) error {
	reason, err := pki.ParseReason(c.String("reason"))
	if err != nil {
		return withHint(usage(err), "the reasons are: "+strings.Join(reasonNames(), ", "))
	}
	switch reason {
	case pki.RemoveFromCRL:
		return withHint(usagef("removeFromCRL is not a reason to revoke for"), "a hold is ended with: mutual unhold")
	case pki.CertificateHold:
		return withHint(usagef("certificateHold is not a reason to revoke for"), "hold it with: mutual hold")
	}
	if reason.ForCAOnly() && !c.Bool("ca") {
		return usagef("the reason %s is for a CA's certificate: it needs --ca", reason)
	}
	return r.actOnSelection(ctx, c, "revoke", func(p *store.PKI, s store.Selection, dryRun bool) (*store.Outcome, error) {
		return p.Revoke(ctx, s, reason, dryRun)
	})
}

// actOnSelection reads what is selected, acts, and prints what changed. An act
// that is in force although its CRL is not out exits with 4.
func (r *run) actOnSelection(ctx context.Context, c *cli.Context, act string,
	do func(*store.PKI, store.Selection, bool) (*store.Outcome, error),
) error {
	if c.NArg() == 0 && c.String("name") == "" && c.String("label") == "" {
		return withHint(usagef("%q needs WHAT, --name GLOB or --label TEXT", c.Command.HelpName), "list what there is with: mutual list")
	}
	dryRun := c.Bool("dry-run")
	return r.acting(dryRun)(ctx, func(p *store.PKI) error {
		s, err := r.selection(ctx, c, p)
		if err != nil {
			return err
		}
		o, err := do(p, s, dryRun)
		if o == nil {
			return err
		}
		if emitErr := r.emit(r.newOutcomeView(act, o, dryRun)); emitErr != nil {
			return emitErr
		}
		r.noteReload(o)
		return unsureIfOverdue(err)
	})
}

// noteReload says what is left to do for a list that an act has made.
func (r *run) noteReload(o *store.Outcome) {
	if slices.ContainsFunc(o.CRLs, func(l store.Published) bool { return l.Made }) {
		_ = r.out.Flush() // what was done first; the printer keeps a failure
		r.note("servers take the new list when they are reloaded")
	}
}

// acting is how an act opens the PKI: a dry run writes nothing on the side
// either.
func (r *run) acting(dryRun bool) func(context.Context, func(*store.PKI) error) error {
	if dryRun {
		return r.reading
	}
	return r.writing
}

// unsureIfOverdue ends a command whose act is in force, but not in the CRL,
// with 4.
func unsureIfOverdue(err error) error {
	late, ok := errors.AsType[*store.OverdueError](err)
	switch {
	case !ok:
		return err
	case as[*store.ClockError](late), errors.Is(late, store.ErrRolledBack), errors.Is(late, store.ErrLost):
		return unsure(late, findRule(late).hint)
	case as[*store.PublishError](late):
		return unsure(late, "mend the directory, and then: mutual crl publish (another directory: mutual config publish DIR)")
	}
	return unsure(late, "when the key or passphrase is at hand: mutual crl refresh")
}

func (r *run) selection(ctx context.Context, c *cli.Context, p *store.PKI) (store.Selection, error) {
	s := store.Selection{Glob: c.String("name"), Label: c.String("label"), CA: c.Bool("ca"), RootKey: c.String("root-key")}
	for _, what := range c.Args().Slice() {
		reading, err := r.resolve(ctx, p, what)
		if err != nil {
			return s, err
		}
		if reading.Identity != nil {
			s.Names = append(s.Names, reading.Identity.Name)
			continue
		}
		for _, cert := range reading.Certificates {
			s.Certificates = append(s.Certificates, cert.Fingerprint)
		}
	}
	return s, nil
}

// outcomeView is what an act of revoking changed.
type outcomeView struct {
	Act          string        `json:"act"`
	DryRun       bool          `json:"dryRun"`
	Certificates []changedView `json:"certificates"`
	Blocked      []pki.Name    `json:"blocked"`
	Allowed      []pki.Name    `json:"allowed"`
	Epoch        int64         `json:"epoch,omitempty"`
	CRLs         []crlView     `json:"crls"`
	CRLChain     string        `json:"crlChain"`
	changed      int
}

type changedView struct {
	certificateView
	Changed bool `json:"changed"`
}

func (r *run) newOutcomeView(act string, o *store.Outcome, dryRun bool) *outcomeView {
	v := &outcomeView{
		Act: act, DryRun: dryRun, Certificates: []changedView{}, Blocked: append([]pki.Name{}, o.Blocked...),
		Allowed: append([]pki.Name{}, o.Allowed...), Epoch: o.Epoch, CRLs: newCRLViews(o.CRLs, r.now()),
	}
	for _, c := range o.Certificates {
		v.Certificates = append(v.Certificates, changedView{newCertificateView(c.Certificate, r.now()), c.Changed})
		if c.Changed {
			v.changed++
		}
	}
	for _, l := range o.CRLs {
		v.CRLChain = filepath.Join(filepath.Dir(l.Files[0]), "chain.pem")
	}
	return v
}

// past says what was done, and in a dry run what would be.
func (v *outcomeView) past(c changedView) string {
	done := map[string]string{"revoke": "revoked", "hold": "held", "unhold": "released", "allow": "allowed"}[v.Act]
	switch {
	case c.Changed:
		return v.would(done)
	case c.State == store.Revoked && v.Act != "revoke":
		return "is revoked (" + c.Reason.String() + ") and stays so"
	case v.Act == "unhold":
		return "was not held"
	}
	return "was " + done + " already"
}

// would marks what a dry run only looks at.
func (v *outcomeView) would(done string) string {
	if v.DryRun {
		return "would be " + done
	}
	return done
}

// Text implements view.
func (v *outcomeView) Text(p *ui.Printer) error {
	for _, c := range v.Certificates {
		line := fmt.Sprintf("serial %s, until %s", c.Serial, when(c.NotAfter))
		if c.Label != "" {
			line += ", " + c.Label
		}
		if c.RevocationDate != nil {
			line += fmt.Sprintf(" (%s, %s)", c.Reason, when(*c.RevocationDate))
		}
		style := ui.Muted
		if c.Changed {
			style = stateStyle(c.State, c.DaysLeft)
		}
		_ = p.Line(style.Of(v.past(c)), ui.Plain.Of("  "), ui.Name.Of(c.Name), ui.Plain.Of("  "+line))
	}
	for _, n := range v.Blocked {
		_ = p.Line(ui.Revoked.Of(v.would("blocked")), ui.Plain.Of("  "), ui.Name.Of(n.String()), ui.Plain.Of("  no certificate is issued for it any more"))
	}
	for _, n := range v.Allowed {
		_ = p.Line(ui.Valid.Of(v.would("allowed")), ui.Plain.Of("  "), ui.Name.Of(n.String()), ui.Plain.Of("  certificates can be issued for it again"))
	}
	if v.changed+len(v.Blocked)+len(v.Allowed) == 0 {
		return p.Line(ui.Muted.Of("nothing changed"))
	}
	for _, l := range v.CRLs {
		if l.Made {
			_ = p.Line(ui.Heading.Of("CRL"), ui.Plain.Of("  "+l.line()))
		}
	}
	return nil
}
