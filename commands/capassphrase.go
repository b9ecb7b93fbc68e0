package commands

import (
	"context"
	"slices"

	"github.com/urfave/cli/v2"

	"mutual/commands/ui"
	"mutual/pki/store"
)

func caPassphraseCommand() *cli.Command {
	return leaf(leafSpec{
		Name:  "passphrase",
		Usage: "change, set or remove the passphrase of the CA keys",
		Long: "Encrypts every CA key in the PKI anew, each in one step, and with --root-key one that lies elsewhere. Without a source the new " +
			"passphrase is asked for, twice, on a terminal. Killed halfway, run it again with the same two passphrases. " +
			"Backups and copies keep the passphrase that they had.",
		Example: "mutual ca passphrase\nmutual ca passphrase --passphrase-file old.txt --new-passphrase-file new.txt\nmutual ca passphrase --remove",
		Flags: slices.Concat([]cli.Flag{
			&cli.BoolFlag{Name: "remove", Usage: "leave the keys without a passphrase"},
			&cli.StringFlag{Name: "root-key", Usage: "change the root's key in `FILE`, too"},
		}, newPassphraseFlags()),
		Passphrase: true,
		Action:     runCAPassphrase,
	})
}

// caPassphraseView is every file of a CA key.
type caPassphraseView struct {
	Keys []caKeyFileView `json:"keys"`
}

type caKeyFileView struct {
	File      string `json:"file"`
	Encrypted bool   `json:"encrypted"`
	Changed   bool   `json:"changed"`
}

// Text implements view.
func (v *caPassphraseView) Text(p *ui.Printer) error {
	for _, k := range v.Keys {
		word := ui.Valid.Of("changed")
		if !k.Changed {
			word = ui.Muted.Of("was so already")
		}
		state := "  encrypted"
		if !k.Encrypted {
			state = "  not encrypted"
		}
		_ = p.Line(word, ui.Plain.Of("  "+k.File+state))
	}
	return p.Flush()
}

func runCAPassphrase(ctx context.Context, r *run, c *cli.Context) error {
	req := store.PassphraseChange{RootKey: c.String("root-key")}
	remove := c.Bool("remove")
	if remove && r.nextPassphrase.given() {
		return usagef("--remove and a new passphrase exclude each other")
	}
	return r.withPKI(ctx, func(p *store.PKI) error {
		if !remove {
			req.New = func() ([]byte, error) { return r.nextPassphraseOf(ctx, p) }
		}
		changed, err := p.ChangePassphrase(ctx, req)
		if err != nil {
			return err
		}
		if req.RootKey == "" {
			if err := r.noteKeysElsewhere(ctx, p); err != nil {
				return err
			}
		}
		v := &caPassphraseView{}
		for _, k := range changed {
			v.Keys = append(v.Keys, caKeyFileView(k))
		}
		return r.emit(v)
	})
}

// noteKeysElsewhere says whose keys a change of the passphrase did not find.
func (r *run) noteKeysElsewhere(ctx context.Context, p *store.PKI) error {
	cas, err := p.CAs(ctx)
	for _, ca := range cas {
		if ca.KeyFile == "" && (ca.State == store.CAActive || ca.State == store.CAOlder) {
			r.note("the key of %s CA %s is not in the PKI and keeps its passphrase: change it with --root-key FILE", ca.Role, ca.Key)
		}
	}
	return err
}

// nextPassphraseOf is the passphrase that the keys of a PKI shall have. Who is
// asked for it is asked for the one that they have before, as everywhere.
func (r *run) nextPassphraseOf(ctx context.Context, p *store.PKI) ([]byte, error) {
	if r.nextPassphrase.given() {
		return r.readNextPassphrase(ctx)
	}
	cas, err := p.CAs(ctx)
	if err == nil && slices.ContainsFunc(cas, func(ca store.CAInfo) bool { return ca.Encrypted }) {
		_, err = r.readPassphrase(ctx)
	}
	if err != nil {
		return nil, err
	}
	return r.readNextPassphrase(ctx)
}
