package commands

import (
	"context"
	"errors"
	"fmt"
	"path/filepath"
	"strings"
	"time"

	"github.com/urfave/cli/v2"

	"mutual/commands/ui"
	"mutual/pki"
	"mutual/pki/bundle"
	"mutual/pki/keys"
	"mutual/pki/pemfile"
)

func importCommand() *cli.Command {
	return leaf(leafSpec{
		Name:      "import",
		Category:  categoryBootstrapping,
		Usage:     "take key and certificates out of a PKCS#12, JKS or PEM file",
		ArgsUsage: "FILE",
		Long: "Writes BASE.key (mode 0600, not encrypted) and BASE.crt: the key's certificate first, then its chain. " +
			"BASE is the name of the file without its ending. The PKI is not touched.\n\n" +
			"Read are the files of OpenSSL (also -legacy), NSS, GnuTLS, Java and Windows with one private key. " +
			"What a file may ask for is bounded: 1 MiB, and 10 million iterations of key derivation.",
		Example: "mutual import alice.p12\nmutual import keystore.jks --password-file password.txt --name alice --out ./tls",
		Flags: append([]cli.Flag{
			&cli.StringFlag{Name: "out", Usage: "write into `DIR` (default: the working directory)"},
			&cli.StringFlag{Name: "name", Usage: "call the files `BASE`.key and BASE.crt"},
			&cli.BoolFlag{Name: "force", Usage: "replace files that exist"},
		}, passwordFlags()...),
		MinArgs: 1,
		Action:  runImport,
	})
}

// importView is what was imported.
type importView struct {
	Name         string          `json:"name"`
	Subject      string          `json:"subject"`
	Issuer       string          `json:"issuer"`
	Serial       pki.Serial      `json:"serial"`
	NotBefore    time.Time       `json:"notBefore"`
	NotAfter     time.Time       `json:"notAfter"`
	SHA256       pki.Fingerprint `json:"sha256"`
	KeyType      string          `json:"keyType"`
	Certificates int             `json:"certificates"`
	Key          string          `json:"keyFile"`
	Certificate  string          `json:"certificateFile"`
}

// Text implements view.
func (v *importView) Text(p *ui.Printer) error {
	return p.Fields(
		fieldUnlessEmpty("name", v.Name),
		ui.Name.Field("subject", v.Subject),
		ui.Plain.Field("issuer", v.Issuer),
		ui.Serial.Field("serial", v.Serial.String()),
		ui.Plain.Field("valid until", when(v.NotAfter)),
		ui.Plain.Field("key type", v.KeyType),
		ui.Plain.Field("key", v.Key),
		ui.Plain.Field("certificate", v.Certificate),
	)
}

func runImport(ctx context.Context, r *run, c *cli.Context) error {
	file := c.Args().First()
	target, err := r.importTarget(c, file)
	if err != nil {
		return err
	}
	if err := bundle.Check(target); err != nil {
		return err
	}
	id, err := r.readIdentity(ctx, file)
	if err != nil {
		return err
	}
	der, err := keys.MarshalPKCS8(id.Key)
	if err != nil {
		return err
	}
	pending, err := bundle.Stage(target, pemfile.EncodeKey(der))
	if err != nil {
		return err
	}
	files, err := pending.Commit(pemfile.EncodeCertificates(id.Chain...))
	if err != nil {
		return err // says where the key is
	}
	leaf := id.Chain[0]
	if r.now().After(leaf.NotAfter) {
		r.warn("the certificate expired at %s", when(leaf.NotAfter))
	}
	return r.emit(&importView{
		Name: id.Name, Subject: pki.DistinguishedName(leaf.Subject), Issuer: pki.DistinguishedName(leaf.Issuer), Serial: pki.NewSerial(leaf.SerialNumber),
		NotBefore: leaf.NotBefore, NotAfter: leaf.NotAfter, SHA256: pki.FingerprintOf(leaf.Raw), KeyType: keys.Describe(leaf.PublicKey),
		Certificates: len(id.Chain), Key: files.Key, Certificate: files.Certificate,
	})
}

// importTarget says where the files go.
func (r *run) importTarget(c *cli.Context, file string) (bundle.Target, error) {
	target := bundle.Target{Dir: c.String("out"), Force: c.Bool("force"), WithKey: true}
	base := c.String("name")
	switch {
	case file == "-" && base == "":
		return target, usagef("what comes from standard input has no name: give it one with --name")
	case file == "-" && r.password.fd == 0:
		return target, usagef("the file and its password cannot both come from standard input")
	case base == "":
		base = strings.TrimSuffix(filepath.Base(file), filepath.Ext(file))
	}
	name, err := pki.ParseAnyName(base)
	if err != nil {
		return target, withHint(usagef("naming the files: %w", err), "choose a name with --name BASE")
	}
	target.Base = name.FileBase()
	return target, nil
}

// readIdentity reads what the file holds. Its password may be empty: it was
// not chosen here.
func (r *run) readIdentity(ctx context.Context, file string) (bundle.Identity, error) {
	read := pemfile.ReadFile
	if file == "-" {
		read = func(_ string, limit int64) ([]byte, error) { return r.readStdin(limit) }
	}
	data, err := read(file, bundle.MaxFile)
	if err != nil {
		return bundle.Identity{}, err
	}
	r.password.mayBeEmpty = true
	var passwordErr error
	id, err := bundle.Decode(data, func() (password []byte, _ error) {
		password, passwordErr = r.obtainPassphrase(ctx, &r.password, func(ctx context.Context) ([]byte, error) {
			return r.ask(ctx, r.password.name, "Password of the file: ")
		})
		return password, passwordErr
	})
	switch {
	case passwordErr != nil:
		return id, passwordErr
	case errors.Is(err, bundle.ErrPassword):
		return id, failf("nothing was written: try again with the right password", "the file %s: %w", file, err)
	case err != nil:
		return id, fmt.Errorf("the file %s: %w", file, err)
	}
	return id, nil
}
