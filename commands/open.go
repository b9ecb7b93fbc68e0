package commands

import (
	"cmp"
	"context"
	"errors"
	"io/fs"
	"os"
	"os/user"
	"strconv"

	"mutual/pki/authority"
	"mutual/pki/bundle"
	"mutual/pki/keys"
	"mutual/pki/store"
)

// storeOptions are what a PKI needs from this process.
func (r *run) storeOptions(ctx context.Context) store.Options {
	return store.Options{
		Now:        r.env.Now,
		Actor:      actor(),
		Passphrase: func() ([]byte, error) { return r.readPassphrase(ctx) },
		Waiting:    func(what string) { r.note("waiting for %s", what) },
	}
}

// actor is who the journal says it was. A system that does not say so is no
// reason to fail.
func actor() store.Actor {
	a := store.Actor{Process: os.Getpid(), User: strconv.Itoa(os.Geteuid())}
	if u, err := user.Current(); err == nil {
		a.User = u.Username
	}
	if host, err := os.Hostname(); err == nil {
		a.Host = host
	}
	return a
}

// reading opens the PKI, runs do, and warns of lists that grow old.
func (r *run) reading(ctx context.Context, do func(*store.PKI) error) error {
	return r.withPKI(ctx, func(p *store.PKI) error {
		done := do(p)
		if e, ok := errors.AsType[*exitError](done); done != nil && !(ok && e.err == nil) {
			return done // it failed; a verdict on stdout is none
		}
		if lists, err := p.CRLs(ctx); err == nil { // else the PKI has been read all the same
			r.warnOfLists(lists)
		}
		return done
	})
}

// writing opens the PKI, runs do, and then makes the CRLs that are past half
// of their life. What cannot be refreshed is a warning: do has succeeded.
func (r *run) writing(ctx context.Context, do func(*store.PKI) error) error {
	return r.withPKI(ctx, func(p *store.PKI) error {
		if err := do(p); err != nil {
			return err
		}
		lists, err := p.Upkeep(ctx)
		switch {
		case as[*store.PublishError](err):
			r.warn("the CRLs are not where servers read them: %v; when that is mended, run: mutual crl publish", err)
			return nil
		case err != nil:
			r.warn("the CRLs could not be refreshed: %v", err)
			return nil
		}
		r.warnOfLists(lists)
		return nil
	})
}

// looking is reading for what shows or checks what has happened: it opens the
// PKI also where its database is older than a list that is out, and warns of
// that. Nothing can be written then.
func (r *run) looking(ctx context.Context, do func(*store.PKI) error) error {
	return r.withOldPKI(ctx, func(p *store.PKI) error {
		if err := p.RolledBack(); err != nil {
			r.warn("%v", err)
			return do(p)
		}
		if err := do(p); err != nil {
			return err
		}
		lists, err := p.CRLs(ctx)
		if err != nil {
			return err
		}
		r.warnOfLists(lists)
		return nil
	})
}

// withOldPKI is withPKI also for a database that is older than a list that is
// out: store.PKI.RolledBack.
func (r *run) withOldPKI(ctx context.Context, do func(*store.PKI) error) error {
	opts := r.storeOptions(ctx)
	opts.AllowRolledBack = true
	return r.withOptions(ctx, opts, do)
}

func (r *run) withPKI(ctx context.Context, do func(*store.PKI) error) error {
	return r.withOptions(ctx, r.storeOptions(ctx), do)
}

func (r *run) withOptions(ctx context.Context, opts store.Options, do func(*store.PKI) error) error {
	dir, err := r.pkiDir()
	if err != nil {
		return err
	}
	told := r.watchGates(ctx, dir, &opts)
	p, err := store.Open(ctx, dir, opts)
	if err != nil {
		return err
	}
	err = do(p)
	answers, gateErr := told.wait(ctx, p)
	err = cmp.Or(err, unsureOfAll(answers, gateErr))
	if closeErr := p.Close(); err == nil {
		err = closeErr
	}
	return err
}

// warnOfLists says which lists need somebody: two thirds of their life are
// over, and nothing has replaced them.
func (r *run) warnOfLists(lists []store.Published) {
	now := r.now()
	for _, l := range lists {
		if l.Number == nil {
			continue
		}
		_, warn := l.Due()
		switch {
		case l.Older && !now.Before(l.Ends): // what it would say has expired, too
		case !now.Before(l.NextUpdate):
			r.warn("the CRL of the %s expired at %s: servers refuse everyone; run: %s", l.CA(), when(l.NextUpdate), refreshCommand(l))
		case l.Overdue:
			r.warn("the CRL of the %s lacks a revocation; run: %s", l.CA(), refreshCommand(l))
		case now.After(warn):
			r.warn("the CRL of the %s ends at %s; run: %s", l.CA(), when(l.NextUpdate), refreshCommand(l))
		}
	}
}

// completeIdentities completes the names of identities.
func completeIdentities(ctx context.Context, r *run, prefix string) []string {
	dir, err := r.pkiDir()
	if err != nil {
		return nil
	}
	p, err := store.Open(ctx, dir, store.Options{Now: r.env.Now})
	if err != nil {
		return nil
	}
	defer func() { _ = p.Close() }() // only read
	names, err := p.Names(ctx, prefix, 200)
	if err != nil {
		return nil
	}
	return names
}

// warnUnreachable says where servers of another user cannot come to what is
// published for them.
func (r *run) warnUnreachable(dir string) {
	if closed := store.Unreachable(dir); closed != "" {
		r.warn("others may not enter %s: servers of another user cannot read what is published in %s", closed, dir)
	}
}

// isForbiddenPlace matches a directory to publish into that this user may not
// write.
func isForbiddenPlace(err error) bool {
	return as[*store.PublishError](err) && errors.Is(err, fs.ErrPermission)
}

// storeRules say what the errors of a PKI mean to the person at the terminal.
func storeRules() []rule {
	return []rule{
		{match: is(store.ErrNoPKI), hint: "create one with: mutual init (or name another with --pki DIR)"},
		{match: is(store.ErrExists), hint: "nothing was changed; look at it with: mutual status"},
		{match: as[*store.LaxError], hint: "what others could read may be known to them; if it is not: chmod 700 the directory, chmod 600 its keys and database"},
		{match: is(store.ErrNewerBackup), hint: "use the newer mutual"},
		{match: is(store.ErrBackup), hint: "nothing was changed: try another copy of the backup, or an older one"},
		{match: is(store.ErrRolledBack), hint: "restore the newest backup with mutual restore FILE --compare DIR: going on would let revoked certificates back in"},
		{match: is(store.ErrMaybe), hint: "when the disk is mended, look whether it was done with: mutual log"},
		{match: is(store.ErrLost), hint: "restore the newest backup with mutual restore FILE --compare DIR: what was issued or revoked last is missing"},
		{match: is(store.ErrBadPlace), hint: "choose a directory of its own, such as /srv/pki: the PKI's own is private"},
		{match: is(store.ErrForeign), hint: "nothing was overwritten: choose another directory, or remove the file if nobody needs it"},
		{match: isForbiddenPlace, hint: "choose a directory that the PKI's owner may write: mutual config publish DIR"},
		{match: is(bundle.ErrBusy), hint: "nothing was issued: see what the other one writes, or choose another place with --out"},
		{match: is(store.ErrDamaged), hint: "nothing was changed; move this PKI away and restore a backup: mutual restore FILE --compare OLD-PKI"},
		{match: is(store.ErrNewer), hint: "use the newer mutual"},
		{match: is(store.ErrBlocked), hint: "let it have certificates again with: mutual allow NAME (mutual unhold NAME after a hold)"},
		{match: is(store.ErrNotFound), hint: "list what there is with: mutual list --all"},
		{match: is(store.ErrWrongOwner), hint: "run it as the owner: sudo -u OWNER mutual …"},
		{match: is(store.ErrNameTaken), hint: "use the name as it is written already, or another one"},
		{match: is(store.ErrRevokedCA), hint: "what it signs nobody accepts any more; give the PKI another issuing CA with: mutual ca renew issuing --rekey"},
		{match: is(authority.ErrIssuerExpired), hint: "give it a new certificate with: mutual ca renew issuing (mutual ca renew root, if that is what has expired)"},
		{match: is(store.ErrNotInFiles), hint: "write the files again with: mutual crl refresh"},
		{match: is(store.ErrLive), hint: "renew them first; one that was replaced counts until its grace is over, which mutual renew --grace 0 ends at once; --force retires it all the same, and they verify no more"},
		{match: is(store.ErrNewestCA), hint: "give it a successor first: mutual ca renew issuing --rekey (or root)"},
		{match: is(store.ErrWhichCA), hint: "name one by its key, as mutual ca show lists them"},
		{match: is(store.ErrNoCA), hint: "name one by its key, as mutual ca show lists them"},
		{match: is(store.ErrKeyElsewhere), hint: "name its place with --root-key-out FILE"},
		{match: is(authority.ErrKeyMismatch), hint: "put the right key back from a backup"},
		{match: is(keys.ErrPassphrase), hint: "nothing was changed: try again with the right passphrase"},
		{match: is(store.ErrIsCA), hint: "revoking an issuing CA takes out everything it has issued; if that is meant: --ca"},
		{match: is(store.ErrNoKey), hint: "the root's key is named with --root-key FILE; the issuing CA's belongs into the PKI: put it back from a backup"},
		{match: is(store.ErrNotHeld), hint: "the name can have new certificates: mutual allow NAME"},
		{match: is(store.ErrHeld), hint: "end the hold with: mutual unhold NAME"},
		{match: as[*store.ClockError], hint: "set the clock right; if it is right now and was wrong before: mutual crl refresh --accept-clock"},
		{match: as[*store.AmbiguousError], hint: "say which: name: serial: sha256: sha1: or file: in front"},
	}
}
