package commands

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"iter"
	"path/filepath"
	"slices"
	"strings"

	"github.com/urfave/cli/v2"

	"mutual/commands/ui"
	"mutual/pki"
	"mutual/pki/gate"
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
		r.recorded(dryRun)
		answers, gateErr := r.askGates(ctx, p, dryRun)
		v := r.newOutcomeView(ctx, act, o, dryRun)
		v.Gates = answers
		if emitErr := r.emit(v); emitErr != nil {
			return emitErr
		}
		r.noteReload(o)
		return cmp.Or(unsureIfOverdue(err), unsureOfAll(answers, gateErr))
	})
}

// askGates waits until the gates have cut who an act takes out. An act that
// changed nothing asks, too: the one before it may have been killed before it did.
func (r *run) askGates(ctx context.Context, p *store.PKI, dryRun bool) ([]gate.Acknowledged, error) {
	if dryRun {
		return nil, nil
	}
	now, err := p.Epoch(ctx)
	if err != nil {
		return nil, err
	}
	if now.Number > 0 {
		r.gates.changed(now.Number)
	}
	return r.gates.wait(ctx, p)
}

// recorded keeps in mind that an act is in force.
func (r *run) recorded(dryRun bool) {
	if !dryRun {
		r.done = "the act is recorded"
	}
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

// outcomeView is what an act of revoking changed. What it is about is read as it
// is printed.
type outcomeView struct {
	outcomeHead
	certificates iter.Seq2[changedView, error]
	blocked      iter.Seq2[pki.Name, error]
	allowed      iter.Seq2[pki.Name, error]
	outcomeTail
	changes bool
}

type outcomeHead struct {
	Act    string `json:"act"`
	DryRun bool   `json:"dryRun"`
}

// Between them stand the arrays certificates, blocked and allowed.
type outcomeTail struct {
	Epoch    int64     `json:"epoch,omitempty"`
	CRLs     []crlView `json:"crls"`
	CRLChain string    `json:"crlChain"`

	Gates []gate.Acknowledged `json:"gates,omitempty"`
}

type changedView struct {
	certificateView
	Changed bool `json:"changed"`
}

func (r *run) newOutcomeView(ctx context.Context, act string, o *store.Outcome, dryRun bool) *outcomeView {
	v := &outcomeView{
		outcomeHead: outcomeHead{act, dryRun},
		blocked:     none[pki.Name], allowed: none[pki.Name],
		outcomeTail: outcomeTail{Epoch: o.Epoch, CRLs: newCRLViews(o.CRLs, r.now())},
		changes:     o.Changed+o.Blocked()+o.Allowed() > 0,
	}
	v.certificates = func(yield func(changedView, error) bool) {
		for c, err := range o.Certificates(ctx) {
			if !yield(changedView{newCertificateView(c.Certificate, r.now()), c.Changed}, err) {
				return
			}
		}
	}
	switch {
	case o.Blocked() > 0:
		v.blocked = o.Names(ctx)
	case o.Allowed() > 0:
		v.allowed = o.Names(ctx)
	}
	for _, l := range o.CRLs {
		v.CRLChain = filepath.Join(filepath.Dir(l.Files[0]), "chain.pem")
	}
	return v
}

// none is an empty sequence.
func none[T any](func(T, error) bool) {}

// JSON implements longView.
func (v *outcomeView) JSON(p *ui.Printer) error {
	o := p.Object()
	if err := o.Members(v.outcomeHead); err != nil {
		return err
	}
	if err := addArray(o, "certificates", v.certificates); err != nil {
		return err
	}
	if err := addArray(o, "blocked", v.blocked); err != nil {
		return err
	}
	if err := addArray(o, "allowed", v.allowed); err != nil {
		return err
	}
	if err := o.Members(v.outcomeTail); err != nil {
		return err
	}
	return o.Close()
}

// addArray adds what is read to an object as an array.
func addArray[T any](o *ui.Object, name string, values iter.Seq2[T, error]) error {
	array, err := o.Array(name)
	if err != nil {
		return err
	}
	for v, err := range values {
		if err != nil {
			return err
		}
		if err := array.Add(v); err != nil {
			return err
		}
	}
	return array.Close()
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
	for c, err := range v.certificates {
		if err != nil {
			return err
		}
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
		if err := p.Line(style.Of(v.past(c)), ui.Plain.Of("  "), ui.Name.Of(c.Name), ui.Plain.Of("  "+line)); err != nil {
			return err
		}
	}
	if err := nameLines(p, v.blocked, ui.Revoked.Of(v.would("blocked")), "  no certificate is issued for it any more"); err != nil {
		return err
	}
	if err := nameLines(p, v.allowed, ui.Valid.Of(v.would("allowed")), "  certificates can be issued for it again"); err != nil {
		return err
	}
	if !v.changes {
		_ = p.Line(ui.Muted.Of("nothing changed"))
		return gateLines(p, v.Gates)
	}
	for _, l := range v.CRLs {
		if l.Made {
			_ = p.Line(ui.Heading.Of("CRL"), ui.Plain.Of("  "+l.line()))
		}
	}
	return gateLines(p, v.Gates)
}

// nameLines prints a line for each name.
func nameLines(p *ui.Printer, names iter.Seq2[pki.Name, error], what ui.Span, text string) error {
	for n, err := range names {
		if err != nil {
			return err
		}
		if err := p.Line(what, ui.Plain.Of("  "), ui.Name.Of(n.String()), ui.Plain.Of(text)); err != nil {
			return err
		}
	}
	return nil
}
