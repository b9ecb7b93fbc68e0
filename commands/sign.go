package commands

import (
	"context"

	"github.com/urfave/cli/v2"

	"mutual/pki"
	"mutual/pki/store"
)

func signCommand() *cli.Command {
	return leaf(leafSpec{
		Name:      "sign",
		Category:  categoryBootstrapping,
		Usage:     "issue a certificate for a key that stays where it is",
		ArgsUsage: "FILE.csr",
		Long: "Takes the key of a certification request and nothing else; the name is --name, else the request's common name, " +
			"checked like any name. Writes NAME.crt.\n\n" +
			"--as ca answers the request of an issuing CA (mutual ca request), where the root's key is; it writes issuing-KEY.crt.",
		Example: "mutual sign alice.csr --as client\nopenssl req -new -key k.pem -subj /CN=alice | mutual sign - --as client --out ./handover",
		Flags: append(leafFlags(),
			&cli.StringFlag{Name: "as", Usage: "issue it as `KIND`: client, server, or ca"},
			&cli.StringFlag{Name: "root-key", Usage: "with --as ca: read the root's key from `FILE`"},
			&cli.StringFlag{Name: "name", Usage: "issue it to `NAME` (default: the request's common name)"},
			&cli.BoolFlag{Name: "accept-names", Usage: "take the request's subject alternative names, too"},
		),
		Passphrase: true,
		MinArgs:    1,
		Values:     map[string][]string{"as": {string(pki.KindClient), string(pki.KindServer), asCA}},
		Action:     runSign,
	})
}

// asCA is what an issuing CA's request is signed as.
const asCA = "ca"

func runSign(ctx context.Context, r *run, c *cli.Context) error {
	if c.String("as") == asCA {
		return r.signCA(ctx, c)
	}
	if c.IsSet("root-key") {
		return usagef("--root-key is for --as ca: the issuing CA signs everything else")
	}
	kind, err := pki.ParseKind(c.String("as"))
	if err != nil || kind != pki.KindClient && kind != pki.KindServer {
		return usagef("--as %q is none of client, server, ca", c.String("as"))
	}
	file, given := c.Args().First(), c.String("name")
	if given != "" {
		if _, err := parseNewName(given, kind); err != nil {
			return err
		}
	}
	if _, err := issueRequest(c, kind, pki.Name{}); err != nil {
		return err
	}
	return r.writing(ctx, func(p *store.PKI) error {
		csr, err := r.readCSR(file)
		if err != nil {
			return err
		}
		if given == "" {
			if given = csr.Subject.CommonName; given == "" {
				return failf("name it with --name NAME", "the request %s has no common name", file)
			}
			r.note("the name is the request's common name: %s", given)
		}
		name, err := parseNewName(given, kind)
		if err != nil {
			return failf("name it with --name NAME", "the request's common name cannot be a name here: %w", err)
		}
		if err := p.CheckIssue(ctx, kind, name); err != nil {
			return err
		}
		req, err := issueRequest(c, kind, name)
		if err != nil {
			return err
		}
		if err := takeKeyAndNames(csr, c.Bool("accept-names"), &req); err != nil {
			return err
		}
		return r.issueAndWrite(ctx, c, p, req, nil, nil)
	})
}
