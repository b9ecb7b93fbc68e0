package commands

import (
	"context"
	"fmt"

	"github.com/urfave/cli/v2"

	"mutual/commands/ui"
	"mutual/pki"
	"mutual/pki/store"
)

func caRetireCommand() *cli.Command {
	return leaf(leafSpec{
		Name:      "retire",
		Usage:     "take a CA out of use that another has followed",
		ArgsUsage: "KEY|root|issuing",
		Long: "Drops it from ca.crt and crl/chain.pem; root and issuing mean the one older CA of that role. Refused while live certificates depend on " +
			"it: what an issuing CA has issued; of a root, what was issued before its successor signed the issuing CA, for its holders present a " +
			"chain that leads to it. The key stays where it is: delete it when you are sure.",
		Example: "mutual ca retire issuing\nmutual ca retire 1f2e3d4c --force",
		Flags: []cli.Flag{
			&cli.BoolFlag{Name: "force", Usage: "although live certificates depend on it"},
		},
		Passphrase: true,
		MinArgs:    1,
		Complete:   completeRoles,
		Action: func(ctx context.Context, r *run, c *cli.Context) error {
			return r.withPKI(ctx, func(p *store.PKI) error {
				done, err := p.RetireCA(ctx, c.Args().First(), c.Bool("force"))
				if err != nil {
					return err
				}
				if done.Live > 0 {
					r.warn("%d live %s depended on it", done.Live, plural(done.Live, "certificate"))
				}
				return r.emit(&caRetiredView{done.Role, done.Key, done.Subject, done.Live})
			})
		},
	})
}

type caRetiredView struct {
	Role    pki.Kind `json:"role"`
	Key     string   `json:"key"`
	Subject string   `json:"subject"`
	Live    int      `json:"live"`
}

// Text implements view.
func (v *caRetiredView) Text(p *ui.Printer) error {
	return p.Line(ui.Valid.Of("retired"), ui.Plain.Of(fmt.Sprintf("  %s CA %s  ", v.Role, v.Key)), ui.Name.Of(v.Subject))
}
