package commands

import (
	"context"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"time"

	"mutual/commands/ui"
	"mutual/pki"
	"mutual/pki/store"
)

// timerView is what refreshes the lists without anybody.
type timerView struct {
	Cron           string   `json:"cron"`
	CronWithReload string   `json:"cronWithReload"`
	Service        string   `json:"systemdService"`
	Timer          string   `json:"systemdTimer"`
	Enable         []string `json:"enable"`
}

// Text implements view.
func (v *timerView) Text(p *ui.Printer) error {
	_, err := fmt.Fprintf(p, `# crontab -e
%s
# the same, and then a server that reads the list when it is reloaded (%s):
# %s

# ~/.config/systemd/user/mutual-crl.service
%s
# ~/.config/systemd/user/mutual-crl.timer
%s
# %s
`, v.Cron, sudoersLine, v.CronWithReload, v.Service, v.Timer, strings.Join(v.Enable, "\n# "))
	return err
}

// What lets the owner of a PKI reload a server, and does so. The path and its
// argument are those that sudo compares.
const (
	reloadCommand = "/usr/bin/systemctl reload nginx"
	sudoersLine   = "sudoers: USER ALL=(root) NOPASSWD: " + reloadCommand
)

// schedule is how often the lists are refreshed.
type schedule struct{ cron, calendar, delay string }

// scheduleFor is often enough that a list is replaced before half of its life
// is over: daily is usual.
func scheduleFor(half time.Duration) schedule {
	switch {
	case half >= 24*time.Hour:
		return schedule{"17 4 * * *", "daily", "1h"}
	case half >= time.Hour:
		return schedule{"17 * * * *", "hourly", "5min"}
	}
	return schedule{"*/5 * * * *", "*:0/5", "10s"}
}

// timerFacts reads what the timer must suit: half of the shorter life of a
// list, and whether the issuing CA's key needs a passphrase. A PKI that is not
// there yet, or not to be read, is no reason to print nothing.
func (r *run) timerFacts(ctx context.Context) (half time.Duration, encrypted bool) {
	const usual = 15 * 24 * time.Hour
	half = usual
	_ = r.withOldPKI(ctx, func(p *store.PKI) error {
		s, err := p.Settings(ctx)
		if err != nil {
			return err
		}
		now := r.now()
		half = min(s.CRLTTL.From(now).Sub(now), s.RootCRLTTL.From(now).Sub(now)) / 2
		encrypted, err = p.KeyIsEncrypted(pki.KindIssuing)
		return err
	})
	return half, encrypted
}

func (r *run) printTimer(ctx context.Context, req store.RefreshRequest) error {
	words, err := r.timerWords(req)
	if err != nil {
		return err
	}
	half, encrypted := r.timerFacts(ctx)
	if encrypted && r.passphrase.file == "" {
		r.warn("the issuing CA's key is encrypted, and a timer cannot ask for its passphrase")
		_ = r.talk.Message(ui.SeverityHint, "name a file that only you can read: --"+flagPassphraseFile+" FILE") // nobody else to tell
	}
	when := scheduleFor(half)
	return r.emit(&timerView{
		Cron:           cronLine(when.cron, words, ""),
		CronWithReload: cronLine(when.cron, words, " && sudo -n "+reloadCommand),
		Service:        serviceUnit(words),
		Timer: "[Unit]\nDescription=Refresh the certificate revocation lists\n\n[Timer]\nOnCalendar=" + when.calendar +
			"\nRandomizedDelaySec=" + when.delay + "\nPersistent=true\n\n[Install]\nWantedBy=timers.target\n",
		Enable: []string{
			"systemctl --user daemon-reload",
			"systemctl --user enable --now mutual-crl.timer",
			"loginctl enable-linger",
		},
	})
}

// timerWords is the command line that the timer runs. Its paths are absolute:
// it runs in another directory.
func (r *run) timerWords(req store.RefreshRequest) ([]string, error) {
	program, err := os.Executable()
	if err != nil {
		return nil, fmt.Errorf("finding this program: %w", err)
	}
	dir, err := r.pkiDir()
	if err != nil {
		return nil, err
	}
	words := []string{program, "crl", "refresh", "--quiet"}
	for _, path := range []struct{ flag, value string }{
		{flagPKI, dir}, {flagPassphraseFile, r.passphrase.file}, {"root-key", req.RootKey},
	} {
		if path.value == "" {
			continue
		}
		abs, err := filepath.Abs(path.value)
		if err != nil {
			return nil, fmt.Errorf("finding %s: %w", path.value, err)
		}
		words = append(words, "--"+path.flag, abs)
	}
	if req.Only != "" {
		words = append(words, "--ca", string(req.Only))
	}
	return words, nil
}

// cronLine quotes for the shell that cron starts, and for cron, to which % is
// the end of a line.
func cronLine(at string, words []string, then string) string {
	var quoted []string
	for _, w := range words {
		quoted = append(quoted, quote(w))
	}
	return at + "  " + strings.ReplaceAll(strings.Join(quoted, " ")+then, "%", `\%`)
}

// serviceUnit quotes as systemd reads a command line. The + that lifts a
// command to root works in a system unit only: a user's goes through sudo.
func serviceUnit(words []string) string {
	escape := strings.NewReplacer(`\`, `\\`, `"`, `\"`, `%`, `%%`, `$`, `$$`)
	var quoted []string
	for _, w := range words {
		quoted = append(quoted, `"`+escape.Replace(w)+`"`)
	}
	return "[Unit]\nDescription=Refresh the certificate revocation lists\n\n[Service]\nType=oneshot\nExecStart=" + strings.Join(quoted, " ") + `
# A server reads the list when it is reloaded. In a user's unit (` + sudoersLine + `):
# ExecStartPost=/usr/bin/sudo -n ` + reloadCommand + `
# In a system unit with User=:
# ExecStartPost=+` + reloadCommand + "\n"
}
