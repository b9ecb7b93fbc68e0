package commands

import (
	"slices"
	"strings"

	"github.com/urfave/cli/v2"
)

// The names of the common flags and of the variables that stand in for them.
const (
	flagPKI            = "pki"
	flagJSON           = "json"
	flagQuiet          = "quiet"
	flagColor          = "color"
	flagHelp           = "help"
	flagVersion        = "version"
	flagPassphraseFile = "passphrase-file"
	flagPassphraseFD   = "passphrase-fd"

	flagNewPassphraseFile = "new-passphrase-file"
	flagNewPassphraseFD   = "new-passphrase-fd"

	flagPasswordFile = "password-file"
	flagPasswordFD   = "password-fd"

	envPKI            = "MUTUAL_PKI"
	envPassphrase     = "MUTUAL_PASSPHRASE"
	envNewPassphrase  = "MUTUAL_NEW_PASSPHRASE"
	envExportPassword = "MUTUAL_EXPORT_PASSWORD"

	colorAuto   = "auto"
	colorAlways = "always"
	colorNever  = "never"
)

// commonFlags stand on the app and on every leaf command.
func commonFlags() []cli.Flag {
	return []cli.Flag{
		&cli.StringFlag{Name: flagPKI, Usage: "use the PKI in `DIR` (default: $" + envPKI + ", else the user's data directory)"},
		&cli.BoolFlag{Name: flagJSON, Usage: "print the result as JSON"},
		&cli.BoolFlag{Name: flagQuiet, Aliases: []string{"q"}, Usage: "print no notes on standard error; warnings and errors stay"},
		&cli.StringFlag{Name: flagColor, Usage: "use colours `WHEN`: auto, always or never (default: auto)"},
		&cli.BoolFlag{Name: flagHelp, Aliases: []string{"h"}, Usage: "print this help"},
	}
}

// passphraseFlags stand on the commands that may need the key of a CA.
func passphraseFlags() []cli.Flag {
	return []cli.Flag{
		&cli.StringFlag{Name: flagPassphraseFile, Usage: "read the passphrase of the CA keys from `FILE` (or set $" + envPassphrase + ")"},
		&cli.IntFlag{Name: flagPassphraseFD, Usage: "read the passphrase of the CA keys from file descriptor `N`"},
	}
}

// newPassphraseFlags stand on the command that changes the passphrase.
func newPassphraseFlags() []cli.Flag {
	return []cli.Flag{
		&cli.StringFlag{Name: flagNewPassphraseFile, Usage: "read the new passphrase from `FILE` (or set $" + envNewPassphrase + ")"},
		&cli.IntFlag{Name: flagNewPassphraseFD, Usage: "read the new passphrase from file descriptor `N`"},
	}
}

// passwordFlags stand on the commands that write or read a file with a
// password.
func passwordFlags() []cli.Flag {
	return []cli.Flag{
		&cli.StringFlag{Name: flagPasswordFile, Usage: "read the password of the file from `FILE` (or set $" + envExportPassword + ")"},
		&cli.IntFlag{Name: flagPasswordFD, Usage: "read the password of the file from file descriptor `N`"},
	}
}

// earlyFlags are the flags that may stand before the command. They go to the
// command, which must have them.
func earlyFlags() []cli.Flag { return slices.Concat(commonFlags(), passphraseFlags()) }

// rootFlags are the flags of the program.
func rootFlags() []cli.Flag {
	return append(earlyFlags(), &cli.BoolFlag{Name: flagVersion, Usage: "print the version"})
}

// isCommon reports whether a flag is one that every command has.
func isCommon(f cli.Flag) bool {
	return lookup(commonFlags(), f.Names()[0]) != nil
}

// lookup finds a flag by any of its names, or gives nil.
func lookup(flags []cli.Flag, name string) cli.Flag {
	for _, f := range flags {
		if slices.Contains(f.Names(), name) {
			return f
		}
	}
	return nil
}

// takesValue reports whether a flag is followed by a value.
func takesValue(f cli.Flag) bool {
	d, ok := f.(cli.DocGenerationFlag)
	return ok && d.TakesValue()
}

// hasDefault reports whether a flag that is not given has a value all the same.
func hasDefault(f cli.Flag) bool {
	d, ok := f.(cli.DocGenerationFlag)
	return ok && d.GetValue() != "" && d.GetValue() != "0"
}

// repeatable reports whether a flag may be given more than once.
func repeatable(f cli.Flag) bool {
	d, ok := f.(cli.DocGenerationSliceFlag)
	return ok && d.IsSliceFlag()
}

// restFlag is a flag that takes all that follows on the line as its values, as
// they stand: a command to run, with its own flags.
type restFlag struct{ *cli.StringSliceFlag }

// newRestFlag makes one; the usage names the values as in `CMD…`.
func newRestFlag(name, usage string) restFlag {
	return restFlag{&cli.StringSliceFlag{Name: name, Usage: usage, KeepSpace: true}}
}

// IsSliceFlag says that it is given once, whatever holds its values.
func (restFlag) IsSliceFlag() bool { return false }

// takesRest reports whether a flag is one.
func takesRest(f cli.Flag) bool {
	_, ok := f.(restFlag)
	return ok
}

// dashed gives the name of a flag as it is typed.
func dashed(name string) string {
	if len(name) == 1 {
		return "-" + name
	}
	return "--" + name
}

// placeholder is what stands for the value of a flag in its help, and the
// text of the help without the marks.
func placeholder(f cli.Flag) (value, text string) {
	d, ok := f.(cli.DocGenerationFlag)
	if !ok {
		return "", ""
	}
	text = d.GetUsage()
	if before, rest, ok := strings.Cut(text, "`"); ok {
		if name, after, ok := strings.Cut(rest, "`"); ok {
			return name, before + name + after
		}
	}
	if d.TakesValue() {
		value = "VALUE"
	}
	return value, text
}
