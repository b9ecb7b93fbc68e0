package commands

import (
	"context"
	"fmt"
	"strconv"
	"time"

	"github.com/urfave/cli/v2"

	"mutual/commands/ui"
	"mutual/pki"
	"mutual/pki/store"
)

func backupCommand() *cli.Command {
	return leaf(leafSpec{
		Name:      "backup",
		Category:  categoryKeeping,
		Usage:     "write one file with all of the PKI that cannot be made again",
		ArgsUsage: "FILE",
		Long: "The database as it is at one moment, while others go on writing, and the CA keys that are in the PKI, as their files are. " +
			"FILE may be -, the standard output; a file is read back before success is reported.\n\n" +
			"Where the CA keys are encrypted the backup is too, with the same passphrase (age -d opens it); else it is with --encrypt, " +
			"or when a passphrase is given.",
		Example: "mutual backup /media/usb/pki.age\nmutual backup --force nightly.age --passphrase-file pass.txt",
		Flags: []cli.Flag{
			&cli.BoolFlag{Name: "force", Usage: "replace FILE"},
			&cli.BoolFlag{Name: "encrypt", Usage: "encrypt the backup although the CA keys are not"},
		},
		Passphrase: true,
		MinArgs:    1,
		Action:     runBackup,
	})
}

// backupView is a backup that was made.
type backupView struct {
	File      string          `json:"file"`
	Encrypted bool            `json:"encrypted"`
	Size      int64           `json:"size"`
	SHA256    string          `json:"sha256"`
	Created   time.Time       `json:"created"`
	Head      string          `json:"journalHead"`
	Epoch     int64           `json:"epoch"`
	Keys      []backupKeyView `json:"keys"`
}

type backupKeyView struct {
	Role      pki.Kind `json:"role"`
	File      string   `json:"file"`
	Encrypted bool     `json:"encrypted"`
}

func newBackupView(b *store.Backup) *backupView {
	v := &backupView{File: b.Path, Encrypted: b.Encrypted, Size: b.Size, SHA256: b.SHA256, Created: b.Created,
		Head: b.Head.String(), Epoch: b.Epoch, Keys: []backupKeyView{}}
	for i, file := range b.Files() {
		v.Keys = append(v.Keys, backupKeyView{b.Keys[i].Role, file, b.Keys[i].Encrypted})
	}
	return v
}

// Text implements view.
func (v *backupView) Text(p *ui.Printer) error {
	sealed, style := "not encrypted", ui.Warning
	if v.Encrypted {
		sealed, style = "encrypted with the passphrase", ui.Valid
	}
	var keys []string
	for _, k := range v.Keys {
		keys = append(keys, k.File)
	}
	if len(keys) == 0 {
		keys = []string{"none"}
	}
	return p.Fields(
		ui.Plain.Field("backup", v.File),
		style.Field("", sealed),
		ui.Plain.Field("size", strconv.FormatInt(v.Size, 10)),
		ui.Serial.Field("SHA-256", v.SHA256),
		ui.Plain.Field("keys", keys...),
		ui.Serial.Field("journal", v.Head),
		ui.Plain.Field("epoch", fmt.Sprint(v.Epoch)),
	)
}

func runBackup(ctx context.Context, r *run, c *cli.Context) error {
	req := store.BackupRequest{Path: c.Args().First(), Force: c.Bool("force")}
	switch {
	case req.Path == "":
		return usagef("FILE is empty")
	case req.Path == "-" && r.json:
		return usagef("--json needs a FILE: the backup itself goes to standard output")
	case req.Path == "-" && r.env.Stdout.Terminal:
		return failf("redirect it to a file or a program, or name a FILE", "refusing to write a backup to a terminal")
	case req.Path == "-":
		req.Path, req.To = "", r.env.Stdout
	}
	encrypt, err := r.wantsPassphrase(c.Bool("encrypt"))
	if err != nil {
		return err
	}
	if encrypt {
		req.Passphrase = func() ([]byte, error) { return r.newPassphrase(ctx) }
	}
	return r.reading(ctx, func(p *store.PKI) error {
		b, err := p.Backup(ctx, req)
		if err != nil {
			return err
		}
		r.noteBackup(b)
		if b.Path == "" {
			return nil
		}
		return r.emit(newBackupView(b))
	})
}

// noteBackup says what a person should know of a backup.
func (r *run) noteBackup(b *store.Backup) {
	switch {
	case !b.Encrypted && len(b.Keys) > 0:
		r.warn("the backup is not encrypted: who can read it has the CA keys (encrypt it with: mutual backup --encrypt)")
	case !b.Encrypted:
		r.warn("the backup is not encrypted: who can read it knows every name in the inventory")
	}
	for _, ca := range b.NoKey {
		r.note("the key of the %s is not in the PKI, and so not in the backup: keep it apart", ca)
	}
	if b.Path == "" {
		r.note("backup of journal %s, SHA-256 %s; what arrived was not read back", b.Head, b.SHA256)
	}
}
