package commands

import (
	"context"
	"crypto/x509"

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
	if !c.IsSet("as") {
		return usagef("sign needs --as client, --as server or --as ca")
	}
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
	req, err := issueRequest(c, kind, pki.Name{})
	if err != nil {
		return err
	}
	return r.writing(ctx, func(p *store.PKI) error {
		csr, err := r.readCSR(file)
		if err != nil {
			return err
		}
		if req.Name, err = r.requestName(csr, file, given, kind); err != nil {
			return err
		}
		if err := takeKeyAndNames(csr, c.Bool("accept-names"), &req); err != nil {
			return err
		}
		o, err := r.place(c, req.Name, false)
		if err != nil {
			return err
		}
		if req.Place, err = o.remembered(c); err != nil {
			return err
		}
		if err := checkIssue(ctx, p, req, o); err != nil {
			return err
		}
		return r.issueAndWrite(ctx, p, req, nil, o)
	})
}

// requestName is the name that was given, else the request's common name.
func (r *run) requestName(csr *x509.CertificateRequest, file, given string, kind pki.Kind) (pki.Name, error) {
	if given != "" {
		return parseNewName(given, kind)
	}
	commonName := csr.Subject.CommonName
	if commonName == "" {
		return pki.Name{}, failf("name it with --name NAME", "the request %s has no common name", file)
	}
	name, err := parseNewName(commonName, kind)
	if err != nil {
		return pki.Name{}, failf("name it with --name NAME", "the request's common name cannot be a name here: %w", err)
	}
	r.note("the name is the request's common name: %s", commonName)
	return name, nil
}
