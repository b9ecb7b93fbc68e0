package commands

import (
	"context"
	"crypto"
	"crypto/x509"
	"path/filepath"

	"github.com/urfave/cli/v2"

	"mutual/pki"
	"mutual/pki/bundle"
	"mutual/pki/store"
)

// issueExporter reads the flags with which issue writes another format beside
// key and certificate. It is nil without --format.
func (r *run) issueExporter(c *cli.Context, name pki.Name) (*exporter, error) {
	if !c.IsSet(flagFormat) {
		for _, flag := range []string{flagLegacy, flagPasswordOut, flagPasswordFile, flagPasswordFD} {
			if c.IsSet(flag) {
				return nil, usagef("--%s needs --%s", flag, flagFormat)
			}
		}
		return nil, nil
	}
	format, err := bundle.ParseFormat(c.String(flagFormat))
	if err != nil {
		return nil, usagef("--%s: %w", flagFormat, err)
	}
	switch {
	case c.String("out") == "-":
		return nil, usagef("--%s writes a file, and --out - writes none", flagFormat)
	case c.Bool("bundle") && format == bundle.PEM:
		return nil, usagef("--bundle and --%s %s are the same", flagFormat, format)
	case c.String("csr") != "" && format.HasKey():
		return nil, usagef("the format %s holds the private key, and with a request there is none here", format)
	}
	e, err := r.newExporter(c, format)
	if err != nil {
		return nil, err
	}
	e.beside = true
	e.path = filepath.Join(c.String("out"), name.FileBase()+format.Extension())
	return e, nil
}

// prepareBeside checks the places and takes the password, before a certificate
// is issued.
func (e *exporter) prepareBeside(ctx context.Context, r *run, p *store.PKI) (err error) {
	if e == nil {
		return nil
	}
	if e.options.Anchors, err = anchors(ctx, p); err != nil {
		return err
	}
	if err := e.check(); err != nil {
		return err
	}
	return e.takePassword(ctx, r)
}

// writeBeside writes what was issued in the other format, too, and returns the
// file.
func (e *exporter) writeBeside(r *run, name pki.Name, chain []*x509.Certificate, signer crypto.Signer, keyFile string) (string, error) {
	if e == nil {
		return "", nil
	}
	if err := e.write(r, bundle.Identity{Name: name.String(), Key: signer, Chain: chain}); err != nil {
		return "", failf("try again with: mutual export "+name.String()+" --key "+keyFile,
			"the certificate is issued and written, but not as %s: %w", e.options.Format, err)
	}
	return e.path, nil
}
