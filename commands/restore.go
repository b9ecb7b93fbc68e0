package commands

import (
	"context"
	"fmt"
	"io"
	"os"

	"github.com/urfave/cli/v2"

	"mutual/pki/store"
)

func restoreCommand() *cli.Command {
	return leaf(leafSpec{
		Name:      "restore",
		Category:  categoryKeeping,
		Usage:     "make the PKI of a backup",
		ArgsUsage: "FILE",
		Long: "FILE may be -, the standard input. The PKI is made whole or not at all, where there is none yet; move an old one away first, " +
			"and name it with --compare.\n\n" +
			"New CRLs are made at once, with numbers above whatever was published. --compare says what happened after the backup: a CRL " +
			"file, a directory that servers read, or an old PKI. What a newer CRL lists is revoked again, or listed on where the certificate " +
			"is not known. The directory to publish into is looked at, too, and not written. Exits with 3 when something needs a person.",
		Example: "mutual restore pki.age\nmutual restore pki.age --pki ~/pki --compare ~/pki.broken --compare /srv/pki",
		Flags: []cli.Flag{
			&cli.StringSliceFlag{Name: "compare", Usage: "hold the backup against the CRL, directory or old PKI at `PATH` (repeatable)"},
			&cli.BoolFlag{Name: "take-revocations", Usage: "take over revocations and blocked names that only the database of an old PKI shows, too"},
		},
		Passphrase: true,
		MinArgs:    1,
		Action:     runRestore,
	})
}

func runRestore(ctx context.Context, r *run, c *cli.Context) error {
	req := store.RestoreRequest{Compare: c.StringSlice("compare"), TakeRevocations: c.Bool("take-revocations")}
	if req.TakeRevocations && len(req.Compare) == 0 {
		return usagef("--take-revocations needs --compare PATH")
	}
	dir, err := r.pkiDir()
	if err != nil {
		return err
	}
	archive, err := r.openBackup(c.Args().First())
	if err != nil {
		return err
	}
	defer func() { _ = archive.Close() }() // only read
	p, done, err := store.Restore(ctx, dir, archive, req, r.storeOptions(ctx))
	if err != nil {
		return err
	}
	defer func() { _ = p.Close() }() // everything is durable
	if err := r.emit(r.newRestoredView(p, done)); err != nil {
		return err
	}
	r.warnRestored(done)
	if done.Later.NeedsPerson() {
		return bad(nil)
	}
	return nil
}

// openBackup opens what a backup is read from: a file, a pipe, or the standard
// input.
func (r *run) openBackup(path string) (io.ReadCloser, error) {
	if path == "-" {
		return io.NopCloser(r.env.Stdin), nil
	}
	f, err := os.Open(path)
	if err != nil {
		return nil, fmt.Errorf("reading the backup: %w", err)
	}
	st, err := f.Stat()
	if err == nil && st.IsDir() {
		err = fmt.Errorf("%s is a directory", path)
	}
	if err != nil {
		_ = f.Close() // only read
		return nil, fmt.Errorf("reading the backup: %w", err)
	}
	return f, nil
}

// warnRestored says what is still to be done.
func (r *run) warnRestored(done *store.Restored) {
	for _, l := range done.CRLs {
		if !l.Made {
			r.warn("the CRL of the %s was not made anew (%v); run: %s", l.CA(), l.Skipped, refreshCommand(l))
		}
	}
	for _, ca := range done.Unchecked {
		r.warn("the key of the %s is encrypted, and was not checked: there was no passphrase", ca)
	}
	for _, ca := range done.NoKey {
		r.note("the backup does not hold the key of the %s", ca)
	}
	if done.Publish != "" {
		r.warn("servers read %s, which was not touched; when this PKI takes over: mutual crl publish; if it is only for a look: mutual config publish \"\"", done.Publish)
	}
}
