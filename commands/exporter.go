package commands

import (
	"context"
	"crypto/x509"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strings"

	"github.com/urfave/cli/v2"

	"mutual/pki"
	"mutual/pki/bundle"
	"mutual/pki/store"
)

const (
	flagFormat      = "format"
	flagLegacy      = "legacy"
	flagPasswordOut = "password-out"
)

// exportFlags say in which format an identity is handed over, and with which
// password.
func exportFlags(formatUsage string) []cli.Flag {
	return append([]cli.Flag{
		&cli.StringFlag{Name: flagFormat, Usage: formatUsage},
		&cli.BoolFlag{Name: flagLegacy, Usage: "p12 in triple DES with a password that is made here, for Apple's keychain, old Android, Windows before 2019 and Java before 8u301"},
		&cli.StringFlag{Name: flagPasswordOut, Usage: "make a password and write it to `FILE` (mode 0600)"},
	}, passwordFlags()...)
}

func formatNames() []string {
	var names []string
	for _, f := range bundle.Formats() {
		names = append(names, string(f))
	}
	return names
}

// exporter writes an identity in a format.
type exporter struct {
	options      bundle.Options
	makePassword bool
	passwordFile string // where a password that is made goes; "" for standard error
	path         string // "-" for standard output
	beside       bool   // issue writes key and certificate there first, and makes the directory
	force        bool
}

// newExporter reads the flags but the place.
func (r *run) newExporter(c *cli.Context, format bundle.Format) (*exporter, error) {
	e := &exporter{
		options:      bundle.Options{Format: format, Legacy: c.Bool(flagLegacy), Created: r.now()},
		passwordFile: c.String(flagPasswordOut),
		force:        c.Bool("force"),
	}
	e.makePassword = e.options.Legacy || e.passwordFile != ""
	flagged := c.IsSet(flagPasswordFile) || c.IsSet(flagPasswordFD) || c.IsSet(flagPasswordOut)
	switch {
	case e.options.Legacy && format != bundle.PKCS12:
		return nil, usagef("--%s is for the format p12", flagLegacy)
	case flagged && !format.HasPassword():
		return nil, usagef("the format %s has no password", format)
	case c.IsSet(flagPasswordOut) && e.passwordFile == "":
		return nil, usagef("--%s is empty, and should name a file", flagPasswordOut)
	case e.options.Legacy && r.password.given():
		return nil, withHint(usagef("--%s makes the password: its old encryption protects none that can be guessed", flagLegacy),
			"leave out the password; --"+flagPasswordOut+" FILE keeps the one that is made")
	case e.makePassword && r.password.given():
		return nil, usagef("--%s makes a password, and there is one already", flagPasswordOut)
	}
	return e, nil
}

// check finds out whether the files can be written.
func (e *exporter) check() error {
	if e.passwordFile != "" && filepath.Clean(e.passwordFile) == filepath.Clean(e.path) {
		return usagef("--%s and --out name the same file", flagPasswordOut)
	}
	if e.passwordFile != "" {
		if err := bundle.CheckFiles(e.force, e.passwordFile); err != nil {
			return err
		}
	}
	if e.path == "-" {
		return nil
	}
	if _, err := os.Stat(filepath.Dir(e.path)); e.beside && errors.Is(err, fs.ErrNotExist) {
		return nil
	}
	return bundle.CheckFiles(e.force, e.path)
}

// takePassword gets the password, or makes it.
func (e *exporter) takePassword(ctx context.Context, r *run) error {
	if !e.options.Format.HasPassword() {
		return nil
	}
	if e.makePassword {
		e.options.Password = bundle.NewPassword()
		return nil
	}
	password, err := r.obtainPassphrase(ctx, &r.password, func(ctx context.Context) ([]byte, error) {
		return r.askTwice(ctx, r.password.name, "New password for the file: ")
	})
	if err != nil {
		return err
	}
	e.options.Password = password
	return bundle.CheckPassword(e.options.Format, password)
}

// write writes the identity, and the password if it was made here.
func (e *exporter) write(r *run, id bundle.Identity) error {
	data, err := bundle.Encode(id, e.options)
	if err != nil {
		return err
	}
	var files []bundle.File
	if e.passwordFile != "" { // first: a file without its password is worth nothing
		files = append(files, bundle.File{Path: e.passwordFile, Data: append(e.options.Password, '\n')})
	}
	if e.path != "-" {
		files = append(files, bundle.File{Path: e.path, Data: data, Public: !e.options.Format.HasKey()})
	}
	if err := bundle.WriteFiles(e.force, files...); err != nil {
		return err
	}
	if e.path == "-" {
		if err := r.write(data); err != nil {
			return err
		}
	}
	if e.makePassword && e.passwordFile == "" {
		if err := r.prompt(fmt.Sprintf("Password (shown only now): %s\n", e.options.Password)); err != nil {
			return fmt.Errorf("showing the password: %w", err)
		}
	}
	e.remark(r)
	return nil
}

// remark says what the reader of the file should know.
func (e *exporter) remark(r *run) {
	switch {
	case e.options.Legacy:
		r.note("triple DES is what Apple's keychain, old Android, Windows before 2019 and Java before 8u301 want; newer ones read AES: leave out --%s", flagLegacy)
	case e.options.Format == bundle.JKS:
		r.note("a JKS protects its key weakly; Java since 8u301 reads --%s %s", flagFormat, bundle.PKCS12)
	case e.options.Format.HasKey() && !e.options.Format.HasPassword():
		r.note("the key in it is not encrypted")
	}
}

// anchors are the CA certificates of the PKI in use, as ca.crt holds them.
func anchors(ctx context.Context, p *store.PKI) ([]*x509.Certificate, error) {
	issuing, err := p.CACertificates(ctx, pki.KindIssuing)
	if err != nil {
		return nil, err
	}
	roots, err := p.CACertificates(ctx, pki.KindRoot)
	return slices.Concat(issuing, roots), err
}

// formatUsage is the help of --format.
func formatUsage(before, after string) string {
	return before + " `FORMAT`: " + strings.Join(formatNames(), ", ") + " (" + after + ")"
}
