package commands

import (
	"context"

	"github.com/urfave/cli/v2"

	"mutual/pki"
	"mutual/pki/store"
)

func holdCommand() *cli.Command {
	return leaf(leafSpec{
		Name:      "hold",
		Category:  categoryRevoking,
		Usage:     "take certificates out for a while (certificateHold)",
		ArgsUsage: "WHAT…",
		Long: "WHAT as for revoke. A hold is in the CRL like a revocation, and no certificate is issued for a held name; " +
			"mutual unhold ends it.",
		Example:    "mutual hold alice@example.com\nmutual hold 5f3c… --dry-run",
		Flags:      selectionFlags(),
		Passphrase: true,
		MaxArgs:    anyNumber,
		Complete:   completeWhat,
		Action: func(ctx context.Context, r *run, c *cli.Context) error {
			return r.actOnSelection(ctx, c, "hold", func(p *store.PKI, s store.Selection, dryRun bool) (*store.Outcome, error) {
				return p.Revoke(ctx, s, pki.CertificateHold, dryRun)
			})
		},
	})
}
