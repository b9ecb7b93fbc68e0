package commands

import (
	"fmt"
	"path/filepath"
	"runtime"
	"time"

	"github.com/urfave/cli/v2"

	"mutual/commands/ui"
)

// run is one run of a command: its Env, and what the common flags say.
type run struct {
	env  Env
	out  *ui.Printer // the product
	talk *ui.Printer // everything said about it
	root *cli.Command

	command *cli.Command // the one that runs, with all its flags

	json       bool
	quiet      bool
	pkiFlag    string
	passphrase passphrase
	// nextPassphrase is the one that the CA keys shall have, for ca passphrase.
	nextPassphrase passphrase
	password       passphrase // of a file that is exported or imported
	wish           *wish      // not nil: complete the line instead of running it

	gates *gates // of the PKI that is open

	// done is what this run has changed: it is said when the result cannot be
	// printed.
	done string
}

// newRun decides once what each stream can show.
func newRun(env Env, root *cli.Command, colorMode string) *run {
	return &run{
		env:  env,
		out:  env.printer(env.Stdout, colorMode),
		talk: env.printer(env.Stderr, colorMode),
		root: root,

		passphrase:     passphrase{name: "passphrase", owner: "the CA key", fileFlag: flagPassphraseFile, fdFlag: flagPassphraseFD, env: envPassphrase},
		nextPassphrase: passphrase{name: "new passphrase", owner: "the CA key", fileFlag: flagNewPassphraseFile, fdFlag: flagNewPassphraseFD, env: envNewPassphrase},
		password:       passphrase{name: "password", owner: "the file", fileFlag: flagPasswordFile, fdFlag: flagPasswordFD, env: envExportPassword},
	}
}

// printer decides whether a stream gets colours: "always" and "never" are
// obeyed; otherwise a terminal that can show them does, unless NO_COLOR is
// set.
func (e Env) printer(o Output, colorMode string) *ui.Printer {
	auto := o.Terminal && e.Getenv("NO_COLOR") == "" && e.Getenv("TERM") != "dumb"
	color := colorMode == colorAlways || colorMode != colorNever && auto
	return ui.NewPrinter(o, ui.Options{Terminal: o.Terminal, Color: color, Width: o.Width})
}

// runKey is where the run hangs in the App's metadata.
const runKey = "run"

func runOf(c *cli.Context) *run { return c.App.Metadata[runKey].(*run) }

// configure reads the common flags of the command that was given.
func (r *run) configure(c *cli.Context) error {
	r.json, r.quiet, r.pkiFlag = c.Bool(flagJSON), c.Bool(flagQuiet), c.String(flagPKI)
	for _, p := range r.secrets() {
		if lookup(r.command.Flags, p.fileFlag) == nil {
			continue
		}
		if err := p.configure(c); err != nil {
			return err
		}
	}
	return nil
}

// secrets are all that a command may read from a source of its own.
func (r *run) secrets() []*passphrase {
	return []*passphrase{&r.passphrase, &r.nextPassphrase, &r.password}
}

// now is the time in UTC, in whole seconds.
func (r *run) now() time.Time { return r.env.Now().UTC().Truncate(time.Second) }

// pkiDir is the directory of the PKI: --pki, else $MUTUAL_PKI, else mutual in
// the user's data directory.
func (r *run) pkiDir() (string, error) {
	if r.pkiFlag != "" {
		return r.pkiFlag, nil
	}
	if dir := r.env.Getenv(envPKI); dir != "" {
		return dir, nil
	}
	dir := dataDir(runtime.GOOS, r.env.Getenv)
	if dir == "" {
		return "", failf("name the PKI with --pki DIR or $"+envPKI,
			"finding the user's data directory: the environment does not say where it is")
	}
	return filepath.Join(dir, "mutual"), nil
}

// dataDir is where the system keeps a user's data, or "" if the environment
// does not say. The XDG specification has a relative path ignored.
func dataDir(goos string, getenv func(string) string) string {
	if goos == "windows" {
		return getenv("LocalAppData")
	}
	home := getenv("HOME")
	if goos != "darwin" {
		if dir := getenv("XDG_DATA_HOME"); filepath.IsAbs(dir) {
			return dir
		}
	}
	switch {
	case home == "":
		return ""
	case goos == "darwin":
		return filepath.Join(home, "Library", "Application Support")
	}
	return filepath.Join(home, ".local", "share")
}

// view is a result. Its exported fields are its JSON.
type view interface {
	Text(p *ui.Printer) error
}

// longView is a result that is too long to be held: it prints its JSON as it
// reads it.
type longView interface {
	view
	JSON(p *ui.Printer) error
}

// emit prints a result: as text, or as one JSON document.
func (r *run) emit(v view) error {
	if long, ok := v.(longView); ok && r.json {
		return long.JSON(r.out)
	}
	if r.json {
		return r.out.JSON(v)
	}
	return v.Text(r.out)
}

// emitRow prints one result of many at once: as text, or as a line of JSON.
func (r *run) emitRow(v view) error {
	if r.json {
		return r.out.JSONLine(v)
	}
	if err := v.Text(r.out); err != nil {
		return err
	}
	return r.out.Flush()
}

// warn says on stderr what a person should know and act on.
func (r *run) warn(format string, args ...any) {
	_ = r.talk.Message(ui.SeverityWarning, fmt.Sprintf(format, args...)) // nobody else to tell
}

// note says on stderr what is good to know; --quiet silences it.
func (r *run) note(format string, args ...any) {
	if !r.quiet {
		_ = r.talk.Message(ui.SeverityNote, fmt.Sprintf(format, args...)) // nobody else to tell
	}
}
