package commands

import (
	"context"
	"crypto/x509"
	"fmt"
	"path/filepath"

	"github.com/urfave/cli/v2"

	"mutual/commands/ui"
	"mutual/pki"
	"mutual/pki/bundle"
	"mutual/pki/pemfile"
	"mutual/pki/profile"
	"mutual/pki/store"
)

func caRequestCommand() *cli.Command {
	return leaf(leafSpec{
		Name:  "request",
		Usage: "write a request of the issuing CA for a root elsewhere",
		Long: "Carry the request to where the root's key is, answer it there with mutual sign FILE.csr --as ca, and take the answer with " +
			"mutual ca install. With --rekey the request is for a new key, which waits in the PKI.",
		Example: "mutual ca request --out issuing.csr\nmutual ca request --rekey",
		Flags: []cli.Flag{
			&cli.BoolFlag{Name: "rekey", Usage: "make a new key, beside the one in use"},
			keyTypeFlag("with --rekey: make a key of `TYPE` (default: as before)"),
			&cli.StringFlag{Name: "out", Usage: "write the request to `FILE`, or with - to standard output", Value: "issuing.csr"},
			&cli.BoolFlag{Name: "force", Usage: "replace a file that exists"},
		},
		Passphrase: true,
		Values:     map[string][]string{"key-type": algorithmNames()},
		Action:     runCARequest,
	})
}

type caRequestView struct {
	Request    string `json:"request"`
	CommonName string `json:"commonName"`
	Key        string `json:"key"`
	KeyFile    string `json:"keyFile,omitempty"`
}

// Text implements view.
func (v *caRequestView) Text(p *ui.Printer) error {
	_ = p.Line(ui.Valid.Of("requested"), ui.Plain.Of("  "), ui.Name.Of(v.CommonName), ui.Plain.Of("  "+v.Request))
	if v.KeyFile != "" {
		_ = p.Line(ui.Plain.Of("key  " + v.KeyFile))
	}
	return p.Flush()
}

func runCARequest(ctx context.Context, r *run, c *cli.Context) error {
	req := store.CARequest{Out: c.String("out"), Force: c.Bool("force")}
	switch {
	case c.IsSet("key-type") && !c.Bool("rekey"):
		return usagef("--key-type is for --rekey: the same key has the type that it has")
	case req.Out == "-" && r.json:
		return usagef("--json and --out - both want standard output")
	case req.Out == "-":
		req.Out = ""
	case req.Out == "":
		return usagef("--out is empty, and should name a file")
	}
	if c.Bool("rekey") {
		t, err := keyType(c, "")
		if err != nil {
			return err
		}
		warnEd25519(r, t)
		req.Rekey = &store.Rekey{KeyType: t}
	}
	return r.withPKI(ctx, func(p *store.PKI) error {
		made, err := p.RequestCA(ctx, req)
		if err != nil {
			return err
		}
		if req.Out == "" {
			return r.write(made.PEM)
		}
		return r.emit(&caRequestView{req.Out, made.CommonName, made.Key, made.KeyFile})
	})
}

func caInstallCommand() *cli.Command {
	return leaf(leafSpec{
		Name:      "install",
		Usage:     "take a CA's certificate or CRL that was made elsewhere",
		ArgsUsage: "[FILE]",
		Long: "The certificate must be for a key that is here, signed by a root of this PKI, and after its profile; every live certificate is " +
			"verified under it. The CRL must be the root's, newer than what is known, and lack nothing that is revoked.",
		Example: "mutual ca install issuing-1f2e3d4c.crt\nmutual ca install --crl root.crl",
		Flags: []cli.Flag{
			&cli.StringFlag{Name: "crl", Usage: "take the root's CRL from `FILE`, too"},
		},
		Passphrase: true,
		MaxArgs:    1,
		Action:     runCAInstall,
	})
}

func runCAInstall(ctx context.Context, r *run, c *cli.Context) error {
	if c.NArg() == 0 && c.String("crl") == "" {
		return usagef("neither a certificate nor --crl FILE is given")
	}
	return r.withPKI(ctx, func(p *store.PKI) error {
		var cert *x509.Certificate
		if c.NArg() == 1 {
			certs, err := r.readCertificates(c.Args().First())
			if err != nil {
				return err
			}
			cert = certs[0]
		}
		list, err := readOneList(c.String("crl"))
		if err != nil {
			return err
		}
		done, err := p.InstallCA(ctx, cert, list)
		if err != nil {
			return err
		}
		return r.emit(r.newCAActView("installed", done))
	})
}

// readOneList reads a file with one CRL; no name is no list.
func readOneList(file string) ([]byte, error) {
	if file == "" {
		return nil, nil
	}
	data, err := pemfile.ReadFile(file, maxCRL)
	if err != nil {
		return nil, err
	}
	lists, err := pemfile.CRLs(data)
	if err != nil {
		return nil, fmt.Errorf("reading the CRL %s: %w", sourceOf(file), err)
	}
	if len(lists) != 1 {
		return nil, fmt.Errorf("the file %s holds %d CRLs, and the root's alone is wanted", file, len(lists))
	}
	return lists[0], nil
}

// signCA answers a request of an issuing CA, where the root's key is.
func (r *run) signCA(ctx context.Context, c *cli.Context) error {
	for _, flag := range []string{"name", "accept-names", "label", "dns", "ip", "email", "uri", "org", "unit", "country", "state", "locality", "allow-expired"} {
		if c.IsSet(flag) {
			return usagef("--%s is not for --as ca: name and contents are the profile's", flag)
		}
	}
	how := store.CASigning{RootKey: c.String("root-key")}
	var err error
	if how.Window, err = window(c); err != nil {
		return err
	}
	if how.Window.TTL.IsZero() && how.Window.NotAfter.IsZero() {
		if how.Window.TTL, err = pki.ParseLifetime(caTTL(pki.KindIssuing)); err != nil {
			return err
		}
	}
	return r.withPKI(ctx, func(p *store.PKI) error { return r.signCAWith(ctx, c, p, how) })
}

func (r *run) signCAWith(ctx context.Context, c *cli.Context, p *store.PKI, how store.CASigning) error {
	file, out := c.Args().First(), c.String("out")
	data, err := r.readInput(file)
	if err != nil {
		return err
	}
	csr, err := pemfile.Request(data)
	if err != nil {
		return fmt.Errorf("reading the request %s: %w", sourceOf(file), err)
	}
	if err := profile.CheckCARequest(csr); err != nil {
		return fmt.Errorf("the request %s is refused: %w", sourceOf(file), err)
	}
	base, err := store.CAFileBase(csr.PublicKey)
	if err != nil {
		return err
	}
	if out == "-" && r.json {
		return usagef("--json and --out - both want standard output")
	}
	target := bundle.Target{Dir: filepath.Clean(out), Base: base, Force: c.Bool("force")}
	var pending *bundle.Pending
	if out != "-" {
		if err := bundle.Check(target); err != nil {
			return err
		}
		if pending, err = bundle.Stage(target, nil); err != nil {
			return err
		}
	}
	done, err := p.SignCA(ctx, csr, how)
	if err != nil {
		if pending != nil {
			_ = pending.Discard() // the first error is the one to report
		}
		return usageIfRequest(err)
	}
	v := r.newCAActView("signed", done)
	if pending == nil {
		return r.write(pemfile.EncodeCertificates(done.Certificate))
	}
	files, err := pending.Commit(pemfile.EncodeCertificates(done.Certificate))
	if err != nil {
		return failf("write it again with: mutual show "+v.Certificate.Serial.String()+" --pem", "the certificate %s is issued, but not written: %w", v.Certificate.Serial, err)
	}
	v.File = files.Certificate
	return r.emit(v)
}
