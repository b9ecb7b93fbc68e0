package commands

import (
	"context"
	"crypto"
	"crypto/x509"
	"errors"
	"fmt"
	"slices"
	"strings"
	"time"

	"github.com/urfave/cli/v2"

	"mutual/commands/ui"
	"mutual/pki"
	"mutual/pki/keys"
	"mutual/pki/profile"
	"mutual/pki/store"
)

func issueCommand() *cli.Command {
	return group("issue", categoryBootstrapping, "issue a key and a certificate",
		issueLeaf(pki.KindClient, "issue a key and a certificate to a client",
			"mutual issue client alice@example.com\nmutual issue client alice@example.com --ttl 30d --label \"Pixel 8\" --out ./handover\n"+
				"mutual issue client --batch devices.csv --tar devices.tar"),
		issueLeaf(pki.KindServer, "issue a key and a certificate to a server",
			"mutual issue server api.example.com --ip 192.0.2.7\nmutual issue server localhost"),
	)
}

func issueLeaf(kind pki.Kind, usage, example string) *cli.Command {
	return leaf(leafSpec{
		Name:      string(kind),
		Usage:     usage,
		ArgsUsage: "NAME",
		Long: "Writes NAME.key (mode 0600) and NAME.crt, which holds the certificate and then the issuing CA's. " +
			"The certificate is in the inventory before its key appears.\n\n" +
			"--batch issues to each row of a file, a thousand at a time, with a line for each when it is durable. CSV: the first line names the columns, " +
			"several values in a field are separated by spaces. JSON lines: strings, or lists of them. The other flags are the defaults. " +
			"An archive is FILE.partial until it is whole, and has up to its end what was reported.",
		Example: example,
		Flags: slices.Concat(leafFlags(), []cli.Flag{
			keyTypeFlag("make a key of `TYPE`"),
			&cli.StringFlag{Name: "csr", Usage: "sign the request in `FILE` instead of making a key"},
			&cli.BoolFlag{Name: "accept-names", Usage: "with --csr: take the request's subject alternative names, too"},
			&cli.BoolFlag{Name: "bundle", Usage: "write key and chain into NAME.pem (mode 0600), too"},
		}, batchFlags(), exportFlags(formatUsage("write both as", "too, as mutual export does"))),
		Passphrase: true,
		MaxArgs:    1,
		Values:     map[string][]string{"key-type": algorithmNames(), flagFormat: formatNames()},
		Action: func(ctx context.Context, r *run, c *cli.Context) error {
			if err := checkBatch(r, c); err != nil {
				return err
			}
			if c.IsSet(flagBatch) {
				return runBatch(ctx, r, c, kind)
			}
			if c.NArg() == 0 {
				return withHint(usagef("%q needs NAME, or --%s FILE", c.Command.HelpName, flagBatch), "usage: "+synopsis(c.Command.HelpName, c.Command))
			}
			return runIssue(ctx, r, c, kind, c.Args().First(), c.String("csr"))
		},
	})
}

// leafFlags say what stands in a client's or server's certificate and where
// it goes.
func leafFlags() []cli.Flag {
	return []cli.Flag{
		&cli.StringFlag{Name: "ttl", Usage: "let it be valid for `TTL`: 90d, 12h, 45m, 1y6mo (default: the PKI's)"},
		&cli.StringFlag{Name: "not-before", Usage: "let it begin at `TIME`: RFC 3339 or a date"},
		&cli.StringFlag{Name: "not-after", Usage: "let it end at `TIME`"},
		&cli.BoolFlag{Name: "allow-expired", Usage: "allow a time in the past, for tests"},
		&cli.StringSliceFlag{Name: "dns", Usage: "add the DNS `NAME` (repeatable)"},
		&cli.StringSliceFlag{Name: "ip", Usage: "add the IP `ADDRESS` (repeatable)"},
		&cli.StringSliceFlag{Name: "email", Usage: "add the email `ADDRESS` (repeatable)"},
		&cli.StringSliceFlag{Name: "uri", Usage: "add the `URI` (repeatable)"},
		&cli.StringFlag{Name: "org", Usage: "put `NAME` into the subject as organization"},
		&cli.StringFlag{Name: "unit", Usage: "put `NAME` into the subject as organizational unit"},
		&cli.StringFlag{Name: "country", Usage: "put the two-letter `CODE` into the subject"},
		&cli.StringFlag{Name: "state", Usage: "put `NAME` into the subject as state or province"},
		&cli.StringFlag{Name: "locality", Usage: "put `NAME` into the subject as locality"},
		&cli.StringFlag{Name: "label", Usage: "keep `TEXT` beside the certificate, not in it, such as \"Pixel 8\""},
		&cli.StringFlag{Name: "out", Usage: "write into `DIR`, or with - to standard output (default: the working directory)"},
		&cli.BoolFlag{Name: "force", Usage: "replace files that exist; what they held stays valid"},
		&cli.BoolFlag{Name: "no-remember", Usage: "do not remember where the files are: mutual renew --due leaves them alone"},
	}
}

// issueView is what was issued.
type issueView struct {
	Name        string          `json:"name"`
	Kind        pki.Kind        `json:"kind"`
	Serial      pki.Serial      `json:"serial"`
	Subject     string          `json:"subject"`
	SAN         []string        `json:"subjectAltName"`
	NotBefore   time.Time       `json:"notBefore"`
	NotAfter    time.Time       `json:"notAfter"`
	SHA256      pki.Fingerprint `json:"sha256"`
	Label       string          `json:"label"`
	Key         string          `json:"keyFile,omitempty"`
	Certificate string          `json:"certificateFile,omitempty"`
	Bundle      string          `json:"bundleFile,omitempty"`
	Export      string          `json:"exportFile,omitempty"`
	Clipped     string          `json:"clippedBy,omitempty"`
	from        string          // where that is not simply now
}

// Text implements view.
func (v *issueView) Text(p *ui.Printer) error {
	return p.Fields(
		ui.Name.Field(string(v.Kind), v.Name),
		ui.Serial.Field("serial", v.Serial.String()),
		ui.Plain.Field("names", v.SAN...),
		fieldUnlessEmpty("valid from", v.from),
		ui.Plain.Field("valid until", when(v.NotAfter)),
		fieldUnlessEmpty("label", v.Label),
		fieldUnlessEmpty("key", v.Key),
		fieldUnlessEmpty("certificate", v.Certificate),
		fieldUnlessEmpty("bundle", v.Bundle),
		fieldUnlessEmpty("export", v.Export),
	)
}

func fieldUnlessEmpty(name, value string) ui.Field {
	if value == "" {
		return ui.Field{}
	}
	return ui.Plain.Field(name, value)
}

// runIssue issues to a name: with a new key, or for the key of a request.
func runIssue(ctx context.Context, r *run, c *cli.Context, kind pki.Kind, text, csrFile string) error {
	name, err := parseNewName(text, kind)
	if err != nil {
		return err
	}
	req, err := issueRequest(c, kind, name)
	if err != nil {
		return err
	}
	switch {
	case csrFile == "" && c.Bool("accept-names"):
		return usagef("--accept-names needs --csr")
	case csrFile != "" && (c.String("key-type") != "" || c.Bool("bundle")):
		return usagef("with a request there is no key here: --key-type and --bundle exclude it")
	}
	o, err := r.place(c, name, csrFile == "")
	if err != nil {
		return err
	}
	if o.exporter, err = r.issueExporter(c, name); err != nil {
		return err
	}
	if req.Place, err = o.remembered(c); err != nil {
		return err
	}
	return r.writing(ctx, func(p *store.PKI) error {
		if csrFile != "" {
			csr, err := r.readCSR(csrFile)
			if err != nil {
				return err
			}
			if err := takeKeyAndNames(csr, c.Bool("accept-names"), &req); err != nil {
				return err
			}
		}
		if err := checkIssue(ctx, p, req, o); err != nil {
			return err
		}
		var signer crypto.Signer
		if csrFile == "" {
			if signer, err = r.newKey(ctx, c, p); err != nil {
				return err
			}
			req.PublicKey = signer.Public()
		}
		return r.issueAndWrite(ctx, p, req, signer, o)
	})
}

// checkIssue refuses what will be refused before a key is made or touched.
func checkIssue(ctx context.Context, p *store.PKI, req store.IssueRequest, o place) error {
	err := p.CheckIssue(ctx, req)
	if errors.Is(err, store.ErrBlocked) {
		return withHint(err, blockedHint(ctx, p, req.Name))
	}
	if err != nil {
		return usageIfRequest(err)
	}
	return o.check()
}

// blockedHint is the command that lets a name have certificates again.
func blockedHint(ctx context.Context, p *store.PKI, name pki.Name) string {
	known, err := p.Resolve(ctx, "name:"+name.String())
	if err == nil && known.Identity.BlockReason == pki.CertificateHold {
		return "end the hold with: mutual unhold " + quote(name.String())
	}
	return "let it have certificates again with: mutual allow " + quote(name.String())
}

// quote writes a word as a shell reads it back.
func quote(s string) string {
	if strings.Trim(s, "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789@%+=:,./_-") == "" {
		return s
	}
	return "'" + strings.ReplaceAll(s, "'", `'\''`) + "'"
}

func parseNewName(text string, kind pki.Kind) (pki.Name, error) {
	name, err := pki.ParseName(text, kind)
	if err != nil {
		return pki.Name{}, usage(err)
	}
	if _, _, err := profile.Identify(kind, name); err != nil {
		return pki.Name{}, usage(err)
	}
	return name, nil
}

func (r *run) newKey(ctx context.Context, c *cli.Context, p *store.PKI) (crypto.Signer, error) {
	settings, err := p.Settings(ctx)
	if err != nil {
		return nil, err
	}
	algorithm, err := keyType(c, settings.KeyType)
	if err != nil {
		return nil, err
	}
	warnEd25519(r, algorithm)
	signer, err := keys.Generate(algorithm)
	if err != nil {
		return nil, fmt.Errorf("making the key: %w", err)
	}
	return signer, nil
}

// sanStrings lists a certificate's subject alternative names with their type.
func sanStrings(cert *x509.Certificate) []string {
	out := []string{}
	for _, v := range cert.DNSNames {
		out = append(out, "dns:"+v)
	}
	for _, v := range cert.IPAddresses {
		out = append(out, "ip:"+v.String())
	}
	for _, v := range cert.EmailAddresses {
		out = append(out, "email:"+v)
	}
	for _, v := range cert.URIs {
		out = append(out, "uri:"+v.String())
	}
	return out
}
