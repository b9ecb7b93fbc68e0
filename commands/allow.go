package commands

import (
	"cmp"
	"context"

	"github.com/urfave/cli/v2"

	"mutual/pki"
	"mutual/pki/store"
)

func allowCommand() *cli.Command {
	return leaf(leafSpec{
		Name:       "allow",
		Category:   categoryRevoking,
		Usage:      "let certificates be issued again for a revoked name",
		ArgsUsage:  "NAME…",
		Long:       "What is revoked stays so; the name may have new certificates.",
		Example:    "mutual allow alice@example.com",
		Flags:      []cli.Flag{&cli.BoolFlag{Name: "dry-run", Usage: "say what would change, and change nothing"}},
		Passphrase: true,
		MinArgs:    1,
		MaxArgs:    anyNumber,
		Complete:   completeWhat,
		Action:     runAllow,
	})
}

func runAllow(ctx context.Context, r *run, c *cli.Context) error {
	var names []pki.Name
	for _, arg := range c.Args().Slice() {
		name, err := pki.ParseAnyName(arg)
		if err != nil {
			return usage(err)
		}
		names = append(names, name)
	}
	dryRun := c.Bool("dry-run")
	return r.acting(dryRun)(ctx, func(p *store.PKI) error {
		o, err := p.Allow(ctx, names, dryRun)
		if err != nil {
			return err
		}
		r.recorded(dryRun)
		answers, gateErr := r.askGates(ctx, p, dryRun)
		v := r.newOutcomeView(ctx, "allow", o, dryRun)
		v.Gates = answers
		return cmp.Or(r.emit(v), unsureOfAll(answers, gateErr))
	})
}
