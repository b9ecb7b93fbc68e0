package commands

import (
	"context"
	"errors"
	"fmt"
	"os/exec"
	"time"

	"github.com/urfave/cli/v2"

	"mutual/pki"
	"mutual/pki/renew"
	"mutual/pki/store"
)

func renewRule(c *cli.Context) (renew.Rule, error) {
	switch {
	case c.IsSet("within"):
		within, err := pki.ParseLifetime(c.String("within"))
		if err != nil {
			return renew.Rule{}, usagef("--within: %w", err)
		}
		return renew.RuleWithin(within), nil
	case c.IsSet("at"):
		rule, err := renew.RuleAt(c.String("at"))
		if err != nil {
			return rule, usagef("--at: %w", err)
		}
		return rule, nil
	}
	return renew.DefaultRule(), nil
}

// renewDue renews all that is due, a line for each.
func (r *run) renewDue(ctx context.Context, c *cli.Context, o renew.Options) error {
	rule, err := renewRule(c)
	if err != nil {
		return err
	}
	failed := false
	err = r.writing(ctx, func(p *store.PKI) error {
		count, next, err := r.renewer(p).All(ctx, rule, o, func(out renew.Outcome) error {
			ok, err := r.renewed(ctx, c, out)
			failed = failed || !ok
			return err
		})
		if err != nil || count > 0 {
			return err
		}
		return r.emitRow(newNothingDueView(next))
	})
	if err == nil && failed {
		return &exitError{code: exitFailed} // the lines say what
	}
	return err
}

// renewWatch stays and renews what becomes due.
func (r *run) renewWatch(ctx context.Context, c *cli.Context, o renew.Options) error {
	rule, err := renewRule(c)
	if err != nil {
		return err
	}
	w := &renew.Watch{
		Rule: rule, Options: o, Now: r.now, Sleep: r.env.Sleep,
		Open: r.watching(),
		Each: func(out renew.Outcome) error {
			_, err := r.renewed(ctx, c, out)
			return err
		},
		Stopped: func(p store.Placed) error { return r.emitRow(newStoppedView(p)) },
		Failed:  func(err error) { r.warn("%v; trying again", err) },
	}
	err = w.Run(ctx)
	if errors.Is(err, renew.ErrNothingLeft) {
		return bad(err)
	}
	return err
}

// watching gives what opens the PKI for one look. Each also keeps the lists
// fresh; what cannot be refreshed is said once and not every minute.
func (r *run) watching() func(context.Context, func(*renew.Renewer) error) error {
	said := ""
	return func(ctx context.Context, do func(*renew.Renewer) error) error {
		return r.withPKI(ctx, func(p *store.PKI) error {
			if err := do(r.renewer(p)); err != nil {
				return err
			}
			_, err := p.Upkeep(ctx)
			switch {
			case err == nil:
				said = ""
			case ctx.Err() == nil && err.Error() != said:
				said = err.Error()
				r.warn("the CRLs could not be refreshed: %v", err)
			}
			return nil
		})
	}
}

// renewed prints what came of one certificate and, where it changed, runs the
// command of --exec. ok is false where either failed.
func (r *run) renewed(ctx context.Context, c *cli.Context, out renew.Outcome) (ok bool, err error) {
	v := newRenewView(out)
	if out.Err == nil {
		r.sayRenewed(out.Result)
		if argv := c.StringSlice("exec"); len(argv) > 0 {
			if err := r.runAfter(ctx, argv, out.Result); err != nil {
				v.ExecError = err.Error()
			}
		}
	}
	return out.Err == nil && v.ExecError == "", r.emitRow(v)
}

// sayRenewed says what is good to know of a renewal.
func (r *run) sayRenewed(done *renew.Result) {
	if done.Issued.Clipped != "" {
		r.note("the lifetime was clipped to %s by %s", when(done.Issued.Certificate.NotAfter), done.Issued.Clipped)
	}
	if !done.Atomic {
		r.warn("symbolic links cannot be made in that place: key and certificate of %s changed one after the other", done.Old.Name)
	}
}

// execPatience is how long a command of --exec may take to end once it was
// told to.
const execPatience = 5 * time.Second

// runAfter runs a command with the files of a renewal in its environment. What
// it prints goes to standard error: standard output is ours.
func (r *run) runAfter(ctx context.Context, argv []string, done *renew.Result) error {
	cmd := exec.CommandContext(ctx, argv[0], argv[1:]...)
	cmd.Env = append(r.env.Environ(),
		"MUTUAL_NAME="+done.Old.Name.String(),
		"MUTUAL_SERIAL="+done.Issued.Serial.String(),
		"MUTUAL_KEY_FILE="+done.Place.Key,
		"MUTUAL_CERTIFICATE_FILE="+done.Place.Certificate,
		"MUTUAL_BUNDLE_FILE="+done.Place.Combined,
	)
	cmd.Stdout, cmd.Stderr = r.env.Stderr, r.env.Stderr
	cmd.WaitDelay = execPatience
	if err := cmd.Run(); err != nil {
		return fmt.Errorf("running %q: %w", argv[0], err)
	}
	return nil
}
