package commands

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"path/filepath"
	"strings"
	"time"

	"github.com/urfave/cli/v2"

	"mutual/commands/ui"
	"mutual/pki"
	"mutual/pki/keys"
	"mutual/pki/profile"
	"mutual/pki/store"
)

func initCommand() *cli.Command {
	return leaf(leafSpec{
		Name:     "init",
		Category: categoryBootstrapping,
		Usage:    "create a root, an issuing CA, the inventory and both CRLs",
		Long: "Nothing is asked. The PKI is made whole or not at all; a second init in the same place changes nothing.\n\n" +
			"With --root-key-out the root's key leaves the PKI: everything but the root's own CRL goes on working without it.",
		Example: "mutual init --name \"Acme Dev\"\nmutual init --root-key-out /media/usb/root.key --passphrase-file pass.txt",
		Flags: []cli.Flag{
			&cli.StringFlag{Name: "name", Usage: "put `NAME` into the names of the CAs", Value: "mutual"},
			&cli.StringFlag{Name: "root-ttl", Usage: "let the root be valid for `TTL`", Value: "10y"},
			&cli.StringFlag{Name: "issuing-ttl", Usage: "let the issuing CA be valid for `TTL`", Value: "5y"},
			&cli.StringFlag{Name: "ttl", Usage: "let what is issued be valid for `TTL`, unless said otherwise", Value: "90d"},
			&cli.StringFlag{Name: "crl-ttl", Usage: "let the issuing CA's CRL be valid for `TTL`", Value: "30d"},
			&cli.StringFlag{Name: "root-crl-ttl", Usage: "let the root's CRL be valid for `TTL`", Value: "1y"},
			&cli.StringFlag{Name: "publish", Usage: "keep what servers read in `DIR`, readable by everybody"},
			&cli.BoolFlag{Name: "test", Usage: "make a PKI for tests, whose CA names say TEST"},
			keyTypeFlag("make CA keys of `TYPE`"),
			&cli.StringSliceFlag{Name: "permit-dns", Usage: "let the issuing CA sign only for `HOST` and below it (repeatable)"},
			&cli.StringSliceFlag{Name: "permit-email", Usage: "let it sign only for the mailboxes of `HOST`, .DOMAIN or one mailbox (repeatable)"},
			&cli.StringSliceFlag{Name: "permit-uri", Usage: "let it sign only for URIs with `HOST` or .DOMAIN (repeatable)"},
			&cli.StringSliceFlag{Name: "permit-ip", Usage: "let it sign only for addresses in `RANGE` (repeatable)"},
			&cli.StringFlag{Name: "crl-url", Usage: "put `URL` into certificates as the place of the CRL (http only)"},
			&cli.BoolFlag{Name: "encrypt", Usage: "encrypt the CA keys; without a source, the passphrase is asked for on the terminal"},
			&cli.StringFlag{Name: "root-key-out", Usage: "write the root's key to `FILE` and not into the PKI"},
		},
		Passphrase: true,
		Values:     map[string][]string{"key-type": algorithmNames()},
		Action:     runInit,
	})
}

func keyTypeFlag(usage string) cli.Flag {
	return &cli.StringFlag{Name: "key-type", Usage: usage + ": " + strings.Join(algorithmNames(), ", ")}
}

func algorithmNames() []string {
	var names []string
	for _, a := range keys.Algorithms() {
		names = append(names, string(a))
	}
	return names
}

// initView is a new PKI.
type initView struct {
	PKI      string            `json:"pki"`
	Root     initCA            `json:"root"`
	Issuing  initCA            `json:"issuing"`
	RootKey  string            `json:"rootKey"`
	RootNext *time.Time        `json:"rootKeyNeeded,omitempty"` // where it is elsewhere
	Trust    string            `json:"trust"`
	CRLs     []crlView         `json:"crls"`
	CRLChain string            `json:"crlChain"`
	Next     map[string]string `json:"next"`
}

type initCA struct {
	Subject   string          `json:"subject"`
	Serial    pki.Serial      `json:"serial"`
	NotAfter  string          `json:"notAfter"`
	SHA256    pki.Fingerprint `json:"sha256"`
	Encrypted bool            `json:"keyEncrypted"`
}

// Text implements view.
func (v *initView) Text(p *ui.Printer) error {
	if err := p.Fields(
		ui.Plain.Field("PKI", v.PKI),
		ui.Plain.Field("root", v.Root.Subject+", until "+v.Root.NotAfter),
		ui.Plain.Field("issuing CA", v.Issuing.Subject+", until "+v.Issuing.NotAfter),
		ui.Plain.Field("root's key", v.RootKey),
		fieldUnlessEmpty("needed next", v.rootKeyUse()),
		ui.Plain.Field("servers trust", v.Trust),
		ui.Plain.Field("servers refuse by", v.CRLChain),
	); err != nil {
		return err
	}
	_ = p.Printf("\n")
	_ = p.Heading("Next")
	return p.Fields(
		ui.Plain.Field("issue", v.Next["issue"]),
		ui.Plain.Field("nginx", strings.Split(v.Next["nginx"], "\n")...),
		ui.Plain.Field("timer", v.Next["timer"]),
	)
}

// rootKeyUse says when a root's key that is elsewhere is needed, and for what.
func (v *initView) rootKeyUse() string {
	if v.RootNext == nil {
		return ""
	}
	return when(*v.RootNext) + ": mutual crl refresh --ca root --root-key " + quote(v.RootKey)
}

// initHint says which place is taken.
func initHint(err error) error {
	if errors.Is(err, fs.ErrExist) && !errors.Is(err, store.ErrExists) {
		return withHint(err, "nothing was overwritten: --pki names a directory that is empty or not there yet, --root-key-out a file that is not there")
	}
	return err
}

func runInit(ctx context.Context, r *run, c *cli.Context) error {
	req, err := initRequest(c)
	if err != nil {
		return err
	}
	dir, err := r.pkiDir()
	if err != nil {
		return err
	}
	encrypt, err := r.wantsPassphrase(c.Bool("encrypt"))
	if err != nil {
		return err
	}
	if encrypt {
		if req.Passphrase, err = r.newPassphrase(ctx); err != nil {
			return err
		}
	}
	if len(req.Constraints.DNS) > 0 {
		r.warn("Java refuses a client certificate without a DNS name under a CA that --permit-dns constrains: give clients --dns")
	}
	warnEd25519(r, req.KeyType)
	p, err := store.Init(ctx, dir, req, r.storeOptions(ctx))
	if err != nil {
		return initHint(usageIfRequest(err))
	}
	defer func() { _ = p.Close() }() // everything is durable
	r.done = "the PKI is created"
	if req.Settings.Publish != "" {
		r.warnUnreachable(req.Settings.Publish)
	}
	v, err := newInitView(ctx, r, p, req)
	if err != nil {
		return err
	}
	return r.emit(v)
}

// initRequest reads the flags. Whatever is wrong in them is wrong usage.
func initRequest(c *cli.Context) (store.InitRequest, error) {
	req := store.InitRequest{Name: c.String("name"), RootKeyOut: c.String("root-key-out")}
	if n := len([]rune(req.Name)); n == 0 || n > store.MaxCAName {
		return req, usagef("--name has %d characters, and between 1 and %d are allowed", n, store.MaxCAName)
	}
	s := &req.Settings
	s.Test, s.CRLURL, s.KeyType = c.Bool("test"), c.String("crl-url"), keys.P256
	for _, l := range []struct {
		flag string
		into *pki.Lifetime
	}{{"root-ttl", &req.RootTTL}, {"issuing-ttl", &req.IssuingTTL}, {"ttl", &s.TTL}, {"crl-ttl", &s.CRLTTL}, {"root-crl-ttl", &s.RootCRLTTL}} {
		var err error
		if *l.into, err = pki.ParseLifetime(c.String(l.flag)); err != nil {
			return req, usagef("--%s: %w", l.flag, err)
		}
	}
	if s.CRLURL != "" {
		if err := profile.CheckCRLURL(s.CRLURL); err != nil {
			return req, usage(err)
		}
	}
	var err error
	if req.KeyType, err = keyType(c, keys.P256); err != nil {
		return req, err
	}
	if dir := c.String("publish"); dir != "" {
		if s.Publish, err = filepath.Abs(dir); err != nil {
			return req, err
		}
	}
	for flag, permit := range map[string]func(string) error{
		"permit-dns": req.Constraints.PermitDNS, "permit-email": req.Constraints.PermitEmail,
		"permit-uri": req.Constraints.PermitURI, "permit-ip": req.Constraints.PermitIP,
	} {
		for _, value := range c.StringSlice(flag) {
			if err := permit(value); err != nil {
				return req, usagef("--%s: %w", flag, err)
			}
		}
	}
	return req, nil
}

func keyType(c *cli.Context, fallback keys.Algorithm) (keys.Algorithm, error) {
	if c.String("key-type") == "" {
		return fallback, nil
	}
	a, err := keys.ParseAlgorithm(c.String("key-type"))
	if err != nil {
		return "", usagef("--key-type: %w", err)
	}
	return a, nil
}

func warnEd25519(r *run, a keys.Algorithm) {
	if a == keys.Ed25519 {
		r.warn("Chrome, Firefox and Apple's systems do not take Ed25519 certificates, and NSS no Ed25519 CA")
	}
}

func newInitView(ctx context.Context, r *run, p *store.PKI, req store.InitRequest) (*initView, error) {
	root, err := p.CACertificate(ctx, pki.KindRoot)
	if err != nil {
		return nil, err
	}
	issuing, err := p.CACertificate(ctx, pki.KindIssuing)
	if err != nil {
		return nil, err
	}
	lists, err := p.CRLs(ctx)
	if err != nil {
		return nil, err
	}
	if req.IssuingTTL.From(issuing.NotBefore.Add(profile.Backdate)).After(issuing.NotAfter) {
		r.note("the issuing CA's lifetime was clipped to %s by the end of the root", when(issuing.NotAfter))
	}
	encrypted := len(req.Passphrase) > 0
	v := &initView{
		PKI:  p.Dir(),
		Root: initCA{root.Subject.String(), pki.NewSerial(root.SerialNumber), when(root.NotAfter), pki.FingerprintOf(root.Raw), encrypted},
		Issuing: initCA{issuing.Subject.String(), pki.NewSerial(issuing.SerialNumber), when(issuing.NotAfter),
			pki.FingerprintOf(issuing.Raw), encrypted},
		RootKey: p.Path("root.key"), CRLs: newCRLViews(lists, r.now()),
	}
	for i := range v.CRLs {
		v.CRLs[i].Made = true
	}
	if req.RootKeyOut != "" {
		if err := v.setRootKey(req.RootKeyOut, lists); err != nil {
			return nil, err
		}
	}
	dir := p.Dir()
	if req.Settings.Publish != "" {
		dir = req.Settings.Publish
	}
	v.Trust, v.CRLChain = filepath.Join(dir, "ca.crt"), filepath.Join(dir, filepath.FromSlash(store.ChainPath))
	v.Next = nextLines(r, v)
	return v, nil
}

// nextLines are what comes after init, each to be copied as it stands. A PKI
// that --pki named is not found without it.
func nextLines(r *run, v *initView) map[string]string {
	where := ""
	if r.pkiFlag != "" {
		where = " --pki " + quote(v.PKI)
	}
	return map[string]string{
		"issue": "mutual issue client alice@example.com" + where,
		"nginx": "ssl_verify_client on; ssl_client_certificate " + nginxQuote(v.Trust) + "; ssl_crl " + nginxQuote(v.CRLChain) +
			"; ssl_session_cache off; ssl_session_tickets off;",
		"timer": "mutual crl refresh --print-timer" + where,
	}
}

// nginxQuote writes a parameter of a directive as nginx reads it.
func nginxQuote(s string) string {
	if quote(s) == s {
		return s
	}
	return `"` + strings.NewReplacer(`\`, `\\`, `"`, `\"`).Replace(s) + `"`
}

// setRootKey says where a root's key is that left the PKI, and when the root's
// list needs it.
func (v *initView) setRootKey(path string, lists []store.Published) error {
	abs, err := filepath.Abs(path)
	if err != nil {
		return fmt.Errorf("finding the root's key: %w", err)
	}
	v.RootKey = abs
	for _, l := range lists {
		if l.Issuer == pki.KindRoot {
			next, _ := l.Due()
			next = next.Truncate(time.Second)
			v.RootNext = &next
		}
	}
	return nil
}
