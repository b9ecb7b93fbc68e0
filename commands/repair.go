package commands

import (
	"context"
	"fmt"

	"github.com/urfave/cli/v2"

	"mutual/commands/ui"
	"mutual/pki/store"
)

func repairCommand() *cli.Command {
	return leaf(leafSpec{
		Name:     "repair",
		Category: categoryKeeping,
		Usage:    "read everything in the PKI, and mend what can be mended",
		Long: "A line for each thing that is wrong: in the database, the journal, the CRLs, the CA keys and every file that is made of them, " +
			"here and where servers read. What follows with certainty from what is whole is mended: files from the database, what is kept " +
			"beside its rows from the rows, a lost CRL by a new one; and what killed commands have left is removed. A database whose rows, " +
			"journal or structure are damaged is not touched: restore a backup.\n\n" +
			"--from takes certificates that a CA of this PKI has signed, and that the inventory lacks, into it: from files .crt, .pem and .der, " +
			"with the name that is in them, no label, and revoked where the newest CRL says so. Exits with 3 while something is wrong.",
		Example: "mutual repair --check\nmutual repair\nmutual repair --from /srv/certificates --from ~/devices",
		Flags: []cli.Flag{
			&cli.BoolFlag{Name: "check", Usage: "only look; change nothing"},
			&cli.StringSliceFlag{Name: "from", Usage: "look for certificates that the inventory lacks in `DIR` and below (repeatable)"},
		},
		Passphrase: true,
		Action:     runRepair,
	})
}

// findingView is one thing that is wrong.
type findingView struct {
	Area    store.Area   `json:"area"`
	Subject string       `json:"subject"`
	Problem string       `json:"problem"`
	Remedy  store.Remedy `json:"remedy"`
	Do      string       `json:"do"`
	check   bool
}

// Text implements view.
func (v *findingView) Text(p *ui.Printer) error {
	word, do := ui.Revoked.Of("wrong"), "; "+v.Do
	if v.Remedy == store.RemedyRepair && !v.check {
		word, do = ui.Warning.Of("mend "), ""
	}
	return p.Line(word, ui.Plain.Of("  "), ui.Name.Of(v.Subject), ui.Plain.Of(": "+v.Problem+do))
}

func runRepair(ctx context.Context, r *run, c *cli.Context) error {
	req := store.RepairRequest{Check: c.Bool("check"), From: c.StringSlice("from")}
	for _, dir := range req.From {
		if dir == "" {
			return usagef("--from is empty")
		}
	}
	opts := r.storeOptions(ctx)
	opts.AllowRolledBack = req.Check
	if req.Check && !r.passphraseGiven() { // a check asks for nothing
		opts.Passphrase = nil
	}
	return r.withOptions(ctx, opts, func(p *store.PKI) error { return r.repair(ctx, p, req) })
}

func (r *run) repair(ctx context.Context, p *store.PKI, req store.RepairRequest) error {
	emit := func(v *findingView) error { return v.Text(r.out) }
	array := r.out.Array()
	if r.json {
		emit = func(v *findingView) error { return array.Add(v) }
	}
	done, err := p.Repair(ctx, req, func(f store.Finding) error {
		return emit(&findingView{f.Area, f.Subject, f.Problem, f.Remedy, repairRemedy(f), req.Check})
	})
	if err != nil {
		return err
	}
	if r.json {
		err = array.Close()
	} else {
		err = r.out.Line(repairedSpan(done))
	}
	for _, ca := range done.Unchecked {
		r.note("the key of the %s is encrypted, and was not checked: there was no passphrase", ca)
	}
	if done.Ignored > 0 {
		r.note("%d files hold no certificate that a CA of this PKI has issued", done.Ignored)
	}
	if err == nil && done.Wrong > done.Mended {
		return bad(nil)
	}
	return err
}

// repairedSpan sums up.
func repairedSpan(done *store.Repaired) ui.Span {
	switch left := done.Wrong - done.Mended; {
	case done.Wrong == 0:
		return ui.Valid.Of("nothing is wrong")
	case left == 0:
		return ui.Valid.Of(fmt.Sprintf("%d of %d mended: nothing is wrong any more", done.Mended, done.Wrong))
	case done.Mended > 0:
		return ui.Revoked.Of(fmt.Sprintf("%d of %d mended", done.Mended, done.Wrong))
	default:
		return ui.Revoked.Of(fmt.Sprintf("%d wrong, nothing was changed", left))
	}
}

// repairRemedy is the command that helps.
func repairRemedy(f store.Finding) string {
	switch {
	case f.Area == store.AreaFound && f.Remedy != store.RemedyRepair:
		return "nothing was taken from it"
	case f.Remedy == store.RemedyRepair:
		return "run: mutual repair"
	case f.Remedy == store.RemedySign:
		return "put the CA's key back, and run: mutual crl refresh (for a root elsewhere: mutual crl refresh --ca root --root-key FILE)"
	case f.Remedy == store.RemedyRestoreKey:
		return "put it back from a backup"
	}
	return "move this PKI away, and run: mutual restore FILE --compare OLD-PKI"
}
