package commands

import (
	"context"

	"github.com/urfave/cli/v2"

	"mutual/commands/ui"
	"mutual/pki"
	"mutual/pki/bundle"
	"mutual/pki/store"
)

func exportCommand() *cli.Command {
	return leaf(leafSpec{
		Name:      "export",
		Category:  categoryBootstrapping,
		Usage:     "write a key and its certificate in the format of another program",
		ArgsUsage: "WHAT",
		Long: "The certificate is the newest valid one of the identity that belongs to the key, which the PKI does not keep. " +
			"p12 and jks bear the name as friendly name and alias, and have a password in ASCII, never empty; " +
			"pem is key and chain, k8s a Secret of the type kubernetes.io/tls: neither is encrypted. " +
			"der is the certificate and p7b the chain in PEM; they hold no key and need none. " +
			"The chain ends with the issuing CA's certificate; only the ca.crt of a Secret has the root's.\n\n" +
			"Files with a key get the mode 0600.",
		Example: "mutual export alice@example.com --key alice@example.com.key\n" +
			"mutual export alice@example.com --key alice@example.com.key --legacy --password-out password.txt\n" +
			"mutual export api.example.com --key api.example.com.key --format k8s --out - | kubectl apply -f -",
		Flags: append([]cli.Flag{
			&cli.StringFlag{Name: "key", Usage: "take the private key from `FILE`"},
			&cli.StringFlag{Name: "out", Usage: "write to `FILE`, or with - to standard output (default: NAME with the format's ending)"},
			&cli.BoolFlag{Name: "force", Usage: "replace files that exist"},
		}, exportFlags(formatUsage("write it as", "default: p12"))...),
		MinArgs:  1,
		Values:   map[string][]string{flagFormat: formatNames()},
		Complete: completeWhat,
		Action:   runExport,
	})
}

// exportView is what was exported.
type exportView struct {
	Name         string          `json:"name"`
	Serial       pki.Serial      `json:"serial"`
	SHA256       pki.Fingerprint `json:"sha256"`
	Format       bundle.Format   `json:"format"`
	File         string          `json:"file"`
	PasswordFile string          `json:"passwordFile,omitempty"`
	SecretName   string          `json:"secretName,omitempty"`
}

// Text implements view.
func (v *exportView) Text(p *ui.Printer) error {
	return p.Fields(
		ui.Name.Field("name", v.Name),
		ui.Serial.Field("serial", v.Serial.String()),
		ui.Plain.Field(string(v.Format), v.File),
		fieldUnlessEmpty("password", v.PasswordFile),
		fieldUnlessEmpty("secret", v.SecretName),
	)
}

func runExport(ctx context.Context, r *run, c *cli.Context) error {
	e, err := r.exporterOf(c)
	if err != nil {
		return err
	}
	keyFile := c.String("key")
	return r.reading(ctx, func(p *store.PKI) error {
		cert, id, err := r.exportable(ctx, p, c.Args().First(), keyFile)
		if err != nil {
			return err
		}
		if e.options.Anchors, err = anchors(ctx, p); err != nil {
			return err
		}
		if e.path == "" {
			e.path = cert.Name.FileBase() + e.options.Format.Extension()
		}
		if err := e.check(); err != nil {
			return err
		}
		if sameFile(keyFile, e.path) || sameFile(keyFile, e.passwordFile) {
			return failf("the key may have no other copy: name another file with --out", "%s is the file of the key", keyFile)
		}
		if err := e.takePassword(ctx, r); err != nil {
			return err
		}
		if err := e.write(r, id); err != nil || e.path == "-" {
			return err
		}
		v := &exportView{Name: id.Name, Serial: cert.Serial, SHA256: cert.Fingerprint, Format: e.options.Format, File: e.path, PasswordFile: e.passwordFile}
		if v.Format == bundle.Kubernetes {
			v.SecretName = bundle.SecretName(id)
		}
		return r.emit(v)
	})
}

// exporterOf reads the flags of the command.
func (r *run) exporterOf(c *cli.Context) (*exporter, error) {
	format := bundle.PKCS12
	if c.IsSet(flagFormat) {
		var err error
		if format, err = bundle.ParseFormat(c.String(flagFormat)); err != nil {
			return nil, usagef("--%s: %w", flagFormat, err)
		}
	}
	e, err := r.newExporter(c, format)
	if err != nil {
		return nil, err
	}
	e.path = c.String("out")
	switch {
	case format.HasKey() && c.String("key") == "":
		return nil, withHint(usagef("the format %s holds the private key: name its file with --key", format), "the PKI does not keep the keys that it hands over")
	case c.IsSet("out") && e.path == "":
		return nil, usagef("--out is empty, and should name a file")
	case e.path == "-" && r.json:
		return nil, usagef("--json and --out - both want standard output")
	case e.path == "-" && r.env.Stdout.Terminal:
		return nil, failf("redirect it to a file or a program, or name a file with --out", "refusing to write %s to a terminal", format)
	}
	return e, nil
}
