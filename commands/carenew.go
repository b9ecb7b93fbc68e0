package commands

import (
	"context"

	"github.com/urfave/cli/v2"

	"mutual/pki"
	"mutual/pki/store"
)

// caTTL is how long a CA's certificate is valid unless said otherwise, as at
// init.
func caTTL(role pki.Kind) string {
	if role == pki.KindRoot {
		return "10y"
	}
	return "5y"
}

func caRenewCommand() *cli.Command {
	return leaf(leafSpec{
		Name:      "renew",
		Usage:     "give a CA a new certificate, or with --rekey a new key",
		ArgsUsage: "root|issuing",
		Long: "With the same key, name and key stay, and every certificate that was issued keeps verifying: each live one is verified before " +
			"anything changes, and their number is printed.\n\n" +
			"With --rekey the CA gets a successor beside it: the new one issues, the old one goes on making its CRL. A new root is also signed by " +
			"the old root's key, and signs the issuing CAs. ca.crt and crl/chain.pem hold old and new until: mutual ca retire. " +
			"Servers must read both files again, before certificates of the new CA reach them.",
		Example: "mutual ca renew issuing\nmutual ca renew root --root-key /media/usb/root.key --ttl 10y\nmutual ca renew issuing --rekey --key-type p384",
		Flags: []cli.Flag{
			&cli.StringFlag{Name: "ttl", Usage: "let it be valid for `TTL` (default: 10y for the root, 5y for the issuing CA)"},
			&cli.BoolFlag{Name: "rekey", Usage: "make a new key, beside the one in use"},
			keyTypeFlag("with --rekey: make a key of `TYPE` (default: as before)"),
			&cli.StringFlag{Name: "root-key", Usage: "read the root's key from `FILE`"},
			&cli.StringFlag{Name: "root-key-out", Usage: "with root --rekey: write the new root's key to `FILE` and not into the PKI"},
		},
		Passphrase: true,
		MinArgs:    1,
		Values:     map[string][]string{"key-type": algorithmNames()},
		Complete:   completeRoles,
		Action:     runCARenew,
	})
}

func completeRoles(_ context.Context, _ *run, c *cli.Context) []string {
	if c.NArg() > 0 {
		return nil
	}
	return []string{string(pki.KindIssuing), string(pki.KindRoot)}
}

func runCARenew(ctx context.Context, r *run, c *cli.Context) error {
	req, err := caRenewal(r, c)
	if err != nil {
		return err
	}
	return r.withPKI(ctx, func(p *store.PKI) error {
		done, err := p.RenewCA(ctx, req)
		if err != nil {
			return usageIfRequest(err)
		}
		if err := r.emit(r.newCAActView("renewed", done)); err != nil {
			return err
		}
		if done.Rekeyed {
			r.note("the CA before stays in use; when nothing depends on it: mutual ca retire %s", done.Role)
		}
		return nil
	})
}

func caRenewal(r *run, c *cli.Context) (store.CARenewal, error) {
	req := store.CARenewal{RootKey: c.String("root-key")}
	var err error
	if req.Role, err = parseRole(c.Args().First()); err != nil {
		return req, err
	}
	out, rekey := c.String("root-key-out"), c.Bool("rekey")
	switch {
	case out != "" && (!rekey || req.Role != pki.KindRoot):
		return req, usagef("--root-key-out is for: ca renew root --rekey")
	case c.IsSet("key-type") && !rekey:
		return req, usagef("--key-type is for --rekey: the same key has the type that it has")
	}
	if req.TTL, err = caLifetime(c, req.Role); err != nil {
		return req, err
	}
	if !rekey {
		return req, nil
	}
	req.Rekey = &store.Rekey{RootKeyOut: out}
	req.Rekey.KeyType, err = keyType(c, "")
	warnEd25519(r, req.Rekey.KeyType)
	return req, err
}

func caLifetime(c *cli.Context, role pki.Kind) (pki.Lifetime, error) {
	text := c.String("ttl")
	if !c.IsSet("ttl") {
		text = caTTL(role)
	}
	ttl, err := pki.ParseLifetime(text)
	if err != nil {
		return ttl, usagef("--ttl: %w", err)
	}
	return ttl, nil
}
