package commands

import (
	"context"

	"github.com/urfave/cli/v2"

	"mutual/pki/store"
)

func unholdCommand() *cli.Command {
	return leaf(leafSpec{
		Name:       "unhold",
		Category:   categoryRevoking,
		Usage:      "end a hold: the certificates are valid again",
		ArgsUsage:  "WHAT…",
		Long:       "WHAT as for revoke. What is revoked for another reason stays so: a revocation cannot be undone.",
		Example:    "mutual unhold alice@example.com",
		Flags:      selectionFlags(),
		Passphrase: true,
		MaxArgs:    anyNumber,
		Complete:   completeWhat,
		Action: func(ctx context.Context, r *run, c *cli.Context) error {
			return r.actOnSelection(ctx, c, "unhold", func(p *store.PKI, s store.Selection, dryRun bool) (*store.Outcome, error) {
				return p.Unhold(ctx, s, dryRun)
			})
		},
	})
}
