package commands

import (
	"context"
	"errors"
	"runtime/debug"
	"strings"

	"github.com/urfave/cli/v2"

	"mutual/commands/ui"
	"mutual/pki"
	"mutual/pki/store"
)

func crlCommand() *cli.Command {
	return group("crl", categoryRevoking, "show, refresh, verify and publish the revocation lists",
		crlShowCommand(), crlRefreshCommand(), crlVerifyCommand(), crlPublishCommand())
}

func crlRefreshCommand() *cli.Command {
	return leaf(leafSpec{
		Name:  "refresh",
		Usage: "make new lists with a new nextUpdate",
		Long: "Safe to run from cron, and needs only the issuing CA's key; without the root's key it makes the issuing CA's list " +
			"and says when the root's is due. While that one is expired servers refuse everyone: exit code 4. " +
			"With --quiet nothing is said while all is well.",
		Example: "mutual crl refresh\nmutual crl refresh --ca root --root-key /media/usb/root.key\nmutual crl refresh --print-timer",
		Flags: []cli.Flag{
			&cli.StringFlag{Name: "ca", Usage: "make only the list of the `ROLE`: issuing or root"},
			&cli.StringFlag{Name: "root-key", Usage: "read the root's key from `FILE`"},
			&cli.BoolFlag{Name: "accept-clock", Usage: "sign although the clock is behind what the PKI has signed with"},
			&cli.BoolFlag{Name: "print-timer", Usage: "print a line for cron and a systemd timer that run this often enough, with the other flags"},
		},
		Passphrase: true,
		Values:     map[string][]string{"ca": {string(pki.KindIssuing), string(pki.KindRoot)}},
		Action:     runCRLRefresh,
	})
}

// refreshView is what crl refresh made.
type refreshView struct {
	CRLs []crlView `json:"crls"`
}

// Text implements view.
func (v *refreshView) Text(p *ui.Printer) error {
	for _, l := range v.CRLs {
		word := ui.Valid.Of("made")
		if !l.Made {
			word = ui.Muted.Of("kept")
		}
		_ = p.Line(word, ui.Plain.Of("  "+l.line()))
	}
	return p.Flush()
}

func runCRLRefresh(ctx context.Context, r *run, c *cli.Context) error {
	req := store.RefreshRequest{Only: pki.Kind(c.String("ca")), RootKey: c.String("root-key"), AcceptClock: c.Bool("accept-clock")}
	if req.Only != "" && !req.Only.IsCA() {
		return usagef("--ca %q is neither issuing nor root", req.Only)
	}
	if c.Bool("print-timer") {
		if req.AcceptClock {
			return usagef("--accept-clock is for once, and excludes --print-timer")
		}
		return r.printTimer(ctx, req)
	}
	return r.withPKI(ctx, func(p *store.PKI) error {
		// A list that is made anew is large, and octets without a pointer in them: to
		// collect garbage more often costs next to nothing, and halves what lies there.
		defer debug.SetGCPercent(debug.SetGCPercent(20))
		lists, err := p.Refresh(ctx, req)
		if err != nil {
			return err
		}
		expired := r.warnOfRootList(lists)
		if !r.quiet || r.json {
			if err := r.emit(&refreshView{CRLs: newCRLViews(lists, r.now())}); err != nil {
				return err
			}
		}
		if expired && req.Only == "" {
			return unsure(nil, "")
		}
		return nil
	})
}

// warnOfRootList says, from half of the life of the root's list on, which
// command makes it anew, and reports whether it has expired.
func (r *run) warnOfRootList(lists []store.Published) (expired bool) {
	for _, l := range lists {
		refresh, _ := l.Due()
		if l.Issuer != pki.KindRoot || l.Made || !r.now().After(refresh) {
			continue
		}
		why := "its key is not here"
		if l.Skipped != nil && !errors.Is(l.Skipped, store.ErrNoKey) {
			why = l.Skipped.Error()
		}
		if expired = !r.now().Before(l.NextUpdate); expired {
			r.warn("the root's CRL expired at %s: servers refuse everyone, and %s; run: %s", when(l.NextUpdate), why, refreshCommand(l))
			continue
		}
		r.warn("the root's CRL ends at %s, and %s; run: %s", when(l.NextUpdate), why, refreshCommand(l))
	}
	return expired
}

func crlPublishCommand() *cli.Command {
	return leaf(leafSpec{
		Name:    "publish",
		Usage:   "write the directory that servers read again",
		Long:    "The directory is the setting publish. Every act that makes a list writes it by itself; this is for when something of it was lost, and needs no key.",
		Example: "mutual config publish /srv/pki\nmutual crl publish",
		Action: func(ctx context.Context, r *run, _ *cli.Context) error {
			return r.writing(ctx, func(p *store.PKI) error {
				s, err := p.Settings(ctx)
				if err != nil {
					return err
				}
				if s.Publish == "" {
					return failf("choose one with: mutual config publish DIR", "no directory is chosen to publish into")
				}
				if err := p.Publish(ctx); err != nil {
					return err
				}
				r.warnUnreachable(s.Publish)
				files, err := p.PublishedFiles(ctx)
				if err != nil {
					return err
				}
				return r.emit(&publishedView{Directory: s.Publish, Files: files})
			})
		},
	})
}

type publishedView struct {
	Directory string   `json:"directory"`
	Files     []string `json:"files"`
}

// Text implements view.
func (v *publishedView) Text(p *ui.Printer) error {
	return p.Printf("published in %s: %s\n", v.Directory, strings.Join(v.Files, ", "))
}
