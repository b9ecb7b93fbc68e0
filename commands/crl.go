package commands

import (
	"context"
	"fmt"
	"os"
	"path/filepath"
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
			"and says when the root's is due.",
		Example: "mutual crl refresh\nmutual crl refresh --ca root --root-key /media/usb/root.key\nmutual crl refresh --print-timer",
		Flags: []cli.Flag{
			&cli.StringFlag{Name: "ca", Usage: "make only the list of the `ROLE`: issuing or root"},
			&cli.StringFlag{Name: "root-key", Usage: "read the root's key from `FILE`"},
			&cli.BoolFlag{Name: "accept-clock", Usage: "sign although the clock is behind what the PKI has signed with"},
			&cli.BoolFlag{Name: "print-timer", Usage: "print a line for cron and a systemd timer that run this daily"},
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
		return r.printTimer()
	}
	return r.withPKI(ctx, func(p *store.PKI) error {
		lists, err := p.Refresh(ctx, req)
		if err != nil {
			return err
		}
		r.noteRootList(lists)
		return r.emit(&refreshView{CRLs: newCRLViews(lists, r.now())})
	})
}

// noteRootList says, from half of the life of the root's list on, which
// command makes it anew.
func (r *run) noteRootList(lists []store.Published) {
	for _, l := range lists {
		refresh, _ := l.Due()
		if l.Issuer == pki.KindRoot && !l.Made && r.now().After(refresh) {
			r.warn("the root's CRL ends at %s, and its key is not here; run: %s", when(l.NextUpdate), refreshCommand(l))
		}
	}
}

// timerView is what refreshes the lists without anybody.
type timerView struct {
	Cron    string `json:"cron"`
	Service string `json:"systemdService"`
	Timer   string `json:"systemdTimer"`
}

// Text implements view.
func (v *timerView) Text(p *ui.Printer) error {
	_, err := fmt.Fprintf(p, "# crontab -e\n%s\n\n# ~/.config/systemd/user/mutual-crl.service\n%s\n# ~/.config/systemd/user/mutual-crl.timer\n%s",
		v.Cron, v.Service, v.Timer)
	return err
}

func (r *run) printTimer() error {
	dir, err := r.pkiDir()
	if err != nil {
		return err
	}
	if dir, err = filepath.Abs(dir); err != nil {
		return fmt.Errorf("finding the PKI: %w", err)
	}
	program, err := os.Executable()
	if err != nil {
		return fmt.Errorf("finding this program: %w", err)
	}
	// A backslash keeps the shell of cron, and its %, from reading the path.
	quote := func(s string) string { return "'" + strings.ReplaceAll(s, "'", `'\''`) + "'" }
	cron := fmt.Sprintf("17 4 * * *  %s crl refresh --quiet --pki %s", quote(program), quote(dir))
	unit := func(s string) string {
		return strings.NewReplacer(`\`, `\\`, `"`, `\"`, `%`, `%%`, `$`, `$$`).Replace(s)
	}
	return r.emit(&timerView{
		Cron: strings.ReplaceAll(cron, "%", `\%`),
		Service: fmt.Sprintf("[Unit]\nDescription=Refresh the certificate revocation lists\n\n[Service]\nType=oneshot\nExecStart=\"%s\" crl refresh --quiet --pki \"%s\"\n",
			unit(program), unit(dir)),
		Timer: "[Unit]\nDescription=Refresh the certificate revocation lists daily\n\n[Timer]\nOnCalendar=daily\nRandomizedDelaySec=1h\nPersistent=true\n\n[Install]\nWantedBy=timers.target\n",
	})
}

func crlPublishCommand() *cli.Command {
	return leaf(leafSpec{
		Name:    "publish",
		Usage:   "write the directory that servers read again",
		Long:    "The directory is the setting publish. Every act that makes a list writes it by itself; this is for when it was lost.",
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
				return r.emit(&publishedView{Directory: s.Publish})
			})
		},
	})
}

type publishedView struct {
	Directory string `json:"directory"`
}

// Text implements view.
func (v *publishedView) Text(p *ui.Printer) error { return p.Printf("published in %s\n", v.Directory) }
