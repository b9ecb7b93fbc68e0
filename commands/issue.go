package commands

import (
	"context"
	"crypto"
	"crypto/x509"
	"fmt"
	"slices"
	"time"

	"github.com/urfave/cli/v2"

	"mutual/commands/ui"
	"mutual/pki"
	"mutual/pki/bundle"
	"mutual/pki/keys"
	"mutual/pki/pemfile"
	"mutual/pki/profile"
	"mutual/pki/store"
)

func issueCommand() *cli.Command {
	return group("issue", categoryBootstrapping, "issue a key and a certificate",
		issueLeaf(pki.KindClient, "issue a key and a certificate to a client",
			"mutual issue client alice@example.com\nmutual issue client alice@example.com --ttl 30d --label \"Pixel 8\" --out ./handover"),
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
			"The certificate is in the inventory before its key appears.",
		Example: example,
		Flags: slices.Concat(leafFlags(), []cli.Flag{
			keyTypeFlag("make a key of `TYPE`"),
			&cli.StringFlag{Name: "csr", Usage: "sign the request in `FILE` instead of making a key"},
			&cli.BoolFlag{Name: "accept-names", Usage: "with --csr: take the request's subject alternative names, too"},
			&cli.BoolFlag{Name: "bundle", Usage: "write key and chain into NAME.pem (mode 0600), too"},
		}, exportFlags(formatUsage("write both as", "too, as mutual export does"))),
		Passphrase: true,
		MinArgs:    1,
		Values:     map[string][]string{"key-type": algorithmNames(), flagFormat: formatNames()},
		Action: func(ctx context.Context, r *run, c *cli.Context) error {
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
}

// Text implements view.
func (v *issueView) Text(p *ui.Printer) error {
	return p.Fields(
		ui.Name.Field(string(v.Kind), v.Name),
		ui.Serial.Field("serial", v.Serial.String()),
		ui.Plain.Field("names", v.SAN...),
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
	if csrFile == "" && c.Bool("accept-names") {
		return usagef("--accept-names needs --csr")
	}
	if csrFile != "" && (c.String("key-type") != "" || c.Bool("bundle")) {
		return usagef("with a request there is no key here: --key-type and --bundle exclude it")
	}
	exporter, err := r.issueExporter(c, name)
	if err != nil {
		return err
	}
	return r.writing(ctx, func(p *store.PKI) error {
		if err := p.CheckIssue(ctx, kind, name); err != nil {
			return err
		}
		var signer crypto.Signer
		if csrFile != "" {
			err = r.takeRequest(csrFile, c.Bool("accept-names"), &req)
		} else {
			signer, err = r.newKey(ctx, c, p)
		}
		if err != nil {
			return err
		}
		if signer != nil {
			req.PublicKey = signer.Public()
		}
		return r.issueAndWrite(ctx, c, p, req, signer, exporter)
	})
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

// takeRequest reads a certification request: its key, and its names where they
// were accepted.
func (r *run) takeRequest(file string, acceptNames bool, req *store.IssueRequest) error {
	csr, err := r.readCSR(file)
	if err != nil {
		return err
	}
	return takeKeyAndNames(csr, acceptNames, req)
}

func takeKeyAndNames(csr *x509.CertificateRequest, acceptNames bool, req *store.IssueRequest) error {
	req.PublicKey = csr.PublicKey
	if !acceptNames {
		return nil
	}
	names, err := profile.NamesOf(csr)
	if err != nil {
		return fmt.Errorf("the names in the request: %w", err)
	}
	return req.SAN.Merge(&names)
}

func (r *run) readCSR(file string) (*x509.CertificateRequest, error) {
	data, err := r.readInput(file)
	if err != nil {
		return nil, err
	}
	csr, err := pemfile.Request(data)
	if err != nil {
		return nil, fmt.Errorf("reading the request %s: %w", file, err)
	}
	if err := profile.CheckCSR(csr); err != nil {
		return nil, fmt.Errorf("the request %s is refused: %w", file, err)
	}
	return csr, nil
}

// readInput reads a file, or standard input for "-", bounded.
func (r *run) readInput(file string) ([]byte, error) {
	if file == "-" {
		return pemfile.Read(r.env.Stdin, pemfile.MaxFile)
	}
	return pemfile.ReadFile(file, pemfile.MaxFile)
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

// issueAndWrite is the order in which nothing can be lost: the key is durable
// under a temporary name, the certificate is committed to the inventory, and
// then both get their names.
func (r *run) issueAndWrite(ctx context.Context, c *cli.Context, p *store.PKI, req store.IssueRequest, signer crypto.Signer, e *exporter) error {
	var keyPEM []byte
	if signer != nil {
		der, err := keys.MarshalPKCS8(signer)
		if err != nil {
			return fmt.Errorf("encoding the key: %w", err)
		}
		keyPEM = pemfile.EncodeKey(der)
	}
	if c.String("out") == "-" {
		return r.issueToStdout(ctx, p, req, keyPEM)
	}
	target := bundle.Target{Dir: c.String("out"), Base: req.Name.FileBase(), Force: c.Bool("force"), WithKey: signer != nil, Combined: c.Bool("bundle")}
	if target.Dir == "" {
		target.Dir = "."
	}
	err := bundle.Check(target)
	if err != nil {
		return err
	}
	if req.Place, err = rememberedPlace(c, target); err != nil {
		return err
	}
	if err := e.prepareBeside(ctx, r, p); err != nil {
		return err
	}
	pending, err := bundle.Stage(target, keyPEM)
	if err != nil {
		return err
	}
	issued, err := p.Issue(ctx, req)
	if err != nil {
		_ = pending.Discard() // the first error is the one to report
		return usageIfRequest(err)
	}
	files, err := pending.Commit(pemfile.EncodeCertificates(issued.Chain...))
	if err != nil {
		return failf("write the certificate again with: mutual show "+issued.Serial.String()+" --pem",
			"the certificate %s is issued, but not all of it is written: %w", issued.Serial, err)
	}
	v := r.newIssueView(req, issued)
	v.Key, v.Certificate, v.Bundle = files.Key, files.Certificate, files.Combined
	if v.Export, err = e.writeBeside(r, req.Name, issued.Chain, signer, files.Key); err != nil {
		return err
	}
	if err := r.emit(v); err != nil {
		return err
	}
	return r.noteReplaced(ctx, c, p, req, issued)
}

// rememberedPlace is where a renewal will find the files.
func rememberedPlace(c *cli.Context, target bundle.Target) (store.Place, error) {
	if c.Bool("no-remember") {
		return store.Place{}, nil
	}
	files, err := target.Files().Abs()
	return store.Place{Key: files.Key, Certificate: files.Certificate, Combined: files.Combined}, err
}

// noteReplaced says which certificates of the identity stay valid beside the
// new one when --force has replaced their files.
func (r *run) noteReplaced(ctx context.Context, c *cli.Context, p *store.PKI, req store.IssueRequest, issued *store.Issued) error {
	if !c.Bool("force") {
		return nil
	}
	known, err := p.Resolve(ctx, "name:"+req.Name.String())
	if err != nil {
		return err
	}
	for _, old := range known.Certificates {
		if old.Serial != issued.Serial && old.State(r.now()) == store.Valid {
			r.note("serial %s stays valid until %s; revoke it with: mutual revoke %s", old.Serial, when(old.NotAfter), old.Serial)
		}
	}
	return nil
}

// issueToStdout writes key and chain where no other person can read along.
func (r *run) issueToStdout(ctx context.Context, p *store.PKI, req store.IssueRequest, keyPEM []byte) error {
	switch {
	case r.json:
		return usagef("--json and --out - both want standard output")
	case r.env.Stdout.Terminal && keyPEM != nil:
		return failf("redirect it to a file or a program, or name a directory with --out", "refusing to write a key to a terminal")
	}
	if err := r.write(keyPEM); err != nil { // nothing is issued for a key that is lost
		return err
	}
	issued, err := p.Issue(ctx, req)
	if err != nil {
		return usageIfRequest(err)
	}
	r.newIssueView(req, issued)
	return r.write(pemfile.EncodeCertificates(issued.Chain...))
}

func (r *run) write(data []byte) error {
	if _, err := r.out.Write(data); err != nil {
		return err
	}
	if err := r.out.Flush(); err != nil {
		return fmt.Errorf("writing to standard output: %w", err)
	}
	return nil
}

func (r *run) newIssueView(req store.IssueRequest, issued *store.Issued) *issueView {
	cert := issued.Certificate
	if req.Kind != pki.KindServer && len(issued.Chain[1].PermittedDNSDomains) > 0 && len(cert.DNSNames) == 0 {
		r.warn("Java refuses this certificate: its CA is bound to DNS names, and it has none; give it one with --dns")
	}
	if issued.Clipped != "" {
		r.note("the lifetime was clipped to %s by %s", when(cert.NotAfter), issued.Clipped)
	}
	return &issueView{
		Name: req.Name.String(), Kind: req.Kind, Serial: issued.Serial, Subject: cert.Subject.String(), SAN: sanStrings(cert),
		NotBefore: cert.NotBefore, NotAfter: cert.NotAfter, SHA256: pki.FingerprintOf(cert.Raw), Label: req.Label, Clipped: issued.Clipped,
	}
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
