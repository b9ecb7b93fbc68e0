package commands

import (
	"context"
	"errors"
	"io/fs"
	"slices"
	"time"

	"github.com/urfave/cli/v2"

	"mutual/pki"
	"mutual/pki/keys"
	"mutual/pki/renew"
	"mutual/pki/store"
)

func renewCommand() *cli.Command {
	return leaf(leafSpec{
		Name:      "renew",
		Category:  categoryBootstrapping,
		Usage:     "replace certificates by new ones, where they lie",
		ArgsUsage: "[WHAT…]",
		Long: "WHAT is a name, a serial, a fingerprint or a certificate file, which is renewed in its place. The new certificate has what the old one had, " +
			"with a new key unless --same-key or --csr is given, and takes the place of the old files: at every instant a key and a certificate that match. " +
			"The old one is revoked as superseded once the grace is over, by the next command that writes, or: mutual crl refresh. " +
			"Who is revoked or held is not renewed.\n\n" +
			"--due renews every certificate that is due, whose files this PKI knows (mutual issue remembers where it wrote) and whose key is there: " +
			"a line for each, exit code 0 when all of them were renewed or none was due, 1 when one failed. " +
			"--watch goes on doing so, and ends with 3 when nothing is left to renew.",
		Example: "mutual renew alice@example.com\n" +
			"mutual renew ./api.example.com.crt --same-key\n" +
			"mutual renew phone --csr phone.csr --out ./phone\n" +
			"mutual renew --due --exec systemctl reload nginx\n" +
			"mutual renew --due --watch --at 1/2",
		Flags:      renewFlags(),
		Passphrase: true,
		MaxArgs:    anyNumber,
		Complete:   completeWhat,
		Action:     runRenew,
	})
}

func renewFlags() []cli.Flag {
	return []cli.Flag{
		&cli.BoolFlag{Name: "same-key", Usage: "keep the key, and replace only the certificate"},
		&cli.StringFlag{Name: "csr", Usage: "certify the key of the request in `FILE`, which stays where it is"},
		&cli.StringFlag{Name: "key", Usage: "the key of the certificate file lies in `FILE` (default: beside it)"},
		&cli.StringFlag{Name: "out", Usage: "write new files into `DIR`, and leave the old ones (default, where nobody knows their place: the working directory)"},
		&cli.StringFlag{Name: "ttl", Usage: "let it be valid for `TTL` (default: as long as the old one was)"},
		&cli.StringFlag{Name: "grace", Value: "24h", Usage: "revoke the old one as superseded after `TTL`, or at once with 0"},
		&cli.BoolFlag{Name: "keep-old", Usage: "let the old one be valid until it expires"},
		&cli.BoolFlag{Name: "force", Usage: "renew also what was replaced already"},
		&cli.BoolFlag{Name: "no-remember", Usage: "do not remember where the new files are"},
		&cli.BoolFlag{Name: "forget", Usage: "renew nothing: forget where the files of WHAT are"},
		&cli.BoolFlag{Name: "due", Usage: "renew every certificate that is due and whose files are known"},
		&cli.StringFlag{Name: "at", Usage: "with --due: what has lived this `PART` of its life is due (default: 2/3)"},
		&cli.StringFlag{Name: "within", Usage: "with --due: what ends within `TTL` is due, but not in the first half of its life"},
		&cli.BoolFlag{Name: "watch", Usage: "with --due: stay, and renew what becomes due"},
		newRestFlag("exec", "after each change run the command `CMD…`, which takes the rest of the line; no shell, the files in $MUTUAL_KEY_FILE and $MUTUAL_CERTIFICATE_FILE"),
	}
}

func runRenew(ctx context.Context, r *run, c *cli.Context) error {
	o, err := renewOptions(c)
	if err != nil {
		return err
	}
	if err := checkRenewFlags(c); err != nil {
		return err
	}
	if c.String("csr") != "" {
		csr, err := r.readCSR(c.String("csr"))
		if err != nil {
			return err
		}
		o.PublicKey = csr.PublicKey
	}
	switch {
	case c.Bool("watch"):
		return r.renewWatch(ctx, c, o)
	case c.Bool("due"):
		return r.renewDue(ctx, c, o)
	case c.Bool("forget"):
		return r.forgetPlaces(ctx, c)
	}
	return r.renewWhat(ctx, c, o)
}

// checkRenewFlags refuses what does not go together.
func checkRenewFlags(c *cli.Context) error {
	due := c.Bool("due")
	for _, flag := range []string{"at", "within", "watch"} {
		if c.IsSet(flag) && !due {
			return usagef("--%s needs --due", flag)
		}
	}
	for _, flag := range []string{"csr", "key", "out", "force", "forget"} {
		if c.IsSet(flag) && due {
			return usagef("--due renews in place what the PKI knows: --%s excludes it", flag)
		}
	}
	switch {
	case due && c.NArg() > 0:
		return usagef("--due renews all that is due: WHAT excludes it")
	case !due && c.NArg() == 0:
		return withHint(usagef("\"mutual renew\" needs WHAT… or --due"), "what is due is renewed with: mutual renew --due")
	case c.IsSet("at") && c.IsSet("within"):
		return usagef("--at and --within exclude each other")
	case c.Bool("same-key") && c.String("csr") != "":
		return usagef("--same-key and --csr exclude each other")
	case c.Bool("keep-old") && c.IsSet("grace"):
		return usagef("--keep-old and --grace exclude each other")
	case (c.IsSet("csr") || c.IsSet("key")) && c.NArg() != 1:
		return usagef("--csr and --key are for one WHAT")
	case c.String("out") == "-":
		return usagef("--out names a directory, and standard output is none")
	}
	return nil
}

func renewOptions(c *cli.Context) (renew.Options, error) {
	o := renew.Options{SameKey: c.Bool("same-key"), KeepOld: c.Bool("keep-old"), Force: c.Bool("force"), Forget: c.Bool("no-remember"), Dir: c.String("out")}
	var err error
	if c.IsSet("ttl") {
		if o.TTL, err = pki.ParseLifetime(c.String("ttl")); err != nil {
			return o, usagef("--ttl: %w", err)
		}
	}
	if s := c.String("grace"); s != "0" {
		grace, err := pki.ParseLifetime(s)
		if err != nil {
			return o, usagef("--grace: %w", err)
		}
		var start time.Time
		o.Grace = grace.From(start).Sub(start)
	}
	return o, nil
}

func (r *run) renewer(p *store.PKI) *renew.Renewer {
	return &renew.Renewer{PKI: p, Now: r.now, Generate: keys.Generate}
}

// toRenew is one certificate that was named, and where it lies if that was
// said.
type toRenew struct {
	cert  store.Certificate
	place store.Place
}

// renewWhat renews what was named: one is a result or an error, and of several
// each has its line.
func (r *run) renewWhat(ctx context.Context, c *cli.Context, o renew.Options) error {
	failed := false
	err := r.writing(ctx, func(p *store.PKI) error {
		list, err := r.namedToRenew(ctx, c, p)
		if err != nil {
			return err
		}
		for _, one := range list {
			done, err := r.renewOne(ctx, p, one, o)
			if err != nil && (len(list) == 1 || ctx.Err() != nil && errors.Is(err, ctx.Err())) {
				return usageIfRequest(err)
			}
			ok, err := r.renewed(ctx, c, renew.Outcome{Old: store.Placed{Certificate: one.cert}, Result: done, Err: err})
			if err != nil {
				return err
			}
			failed = failed || !ok
		}
		return nil
	})
	if err == nil && failed {
		return &exitError{code: exitFailed} // the lines say what
	}
	return err
}

// renewOne renews in place or, where nobody knows it, into the working
// directory.
func (r *run) renewOne(ctx context.Context, p *store.PKI, one toRenew, o renew.Options) (*renew.Result, error) {
	o.Place = one.place
	done, err := r.renewer(p).One(ctx, one.cert.Fingerprint, o)
	if errors.Is(err, renew.ErrNoPlace) {
		o.Dir = "."
		done, err = r.renewer(p).One(ctx, one.cert.Fingerprint, o)
	}
	if o.Dir != "" && errors.Is(err, fs.ErrExist) {
		return nil, failf("write elsewhere with --out DIR, or name the file to replace it: mutual renew FILE", "%w", err)
	}
	return done, err
}

// namedToRenew finds the certificates that are named. A name means the valid
// ones that nothing has replaced.
func (r *run) namedToRenew(ctx context.Context, c *cli.Context, p *store.PKI) ([]toRenew, error) {
	var out []toRenew
	for _, what := range c.Args().Slice() {
		found, err := r.resolve(ctx, p, what)
		if err != nil {
			return nil, err
		}
		certs := found.Certificates
		if found.Identity != nil {
			if certs, err = p.Renewable(ctx, found.Identity.Name); err != nil {
				return nil, err
			}
			if len(certs) == 0 {
				return nil, failf("name one by its serial to renew it all the same: mutual list --all", "%s has no valid certificate that nothing has replaced", found.Identity.Name)
			}
		}
		var place store.Place
		if found.As == "file" && !c.Bool("forget") {
			if place, err = r.placeOfFile(ctx, p, what, c.String("key"), certs[0]); err != nil {
				return nil, err
			}
		} else if c.IsSet("key") {
			return nil, usagef("--key is for a certificate file")
		}
		for _, cert := range certs {
			if !slices.ContainsFunc(out, func(have toRenew) bool { return have.cert.Fingerprint == cert.Fingerprint }) {
				out = append(out, toRenew{cert: cert, place: place})
			}
		}
	}
	return out, nil
}

// forgetPlaces makes the PKI forget where files are, as when they were handed
// over.
func (r *run) forgetPlaces(ctx context.Context, c *cli.Context) error {
	return r.writing(ctx, func(p *store.PKI) error {
		list, err := r.namedToRenew(ctx, c, p)
		if err != nil {
			return err
		}
		var certs []store.Certificate
		for _, one := range list {
			certs = append(certs, one.cert)
		}
		n, err := p.Forget(ctx, certs)
		if err != nil {
			return err
		}
		return r.emit(&forgetView{Forgotten: n})
	})
}

// renewRules say what the errors of a renewal mean.
func renewRules() []rule {
	return []rule{
		{match: is(renew.ErrMoved), hint: "renew it where it is now: mutual renew FILE; if it was handed over: mutual renew --forget WHAT"},
		{match: is(renew.ErrOther), hint: "renew what lies there: mutual renew FILE; or write new files: --out DIR"},
		{match: is(renew.ErrNoKey), hint: "name it with --key FILE, keep it with --same-key, or bring a new one with --csr FILE"},
		{match: is(renew.ErrMismatch), hint: "nothing was changed; name the right key with --key FILE, or write new files: --out DIR"},
		{match: is(renew.ErrEncrypted), hint: "keep it with --same-key, or write new files: --out DIR"},
		{match: is(store.ErrReplaced), hint: "its successor is listed by: mutual list; to renew it all the same: --force"},
		{match: is(store.ErrRevoked), hint: "issue a new one if it may have one: mutual issue"},
	}
}
