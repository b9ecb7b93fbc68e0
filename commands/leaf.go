package commands

import (
	"context"
	"slices"

	"github.com/urfave/cli/v2"
)

// leafSpec is what a leaf command consists of.
type leafSpec struct {
	Name      string
	Category  string // one of the category constants; only for a command of the root
	Usage     string // one line, without a full stop
	ArgsUsage string // such as "NAME" or "WHAT…"
	Long      string // what the help says besides; paragraphs with a blank line between
	Example   string // command lines, one below the other
	Hidden    bool

	Flags      []cli.Flag // the common flags come by themselves
	Passphrase bool       // the command may need the key of a CA: adds the flags for its passphrase

	// MinArgs and MaxArgs bound the number of arguments. MaxArgs 0 means as
	// many as MinArgs, anyNumber means no bound.
	MinArgs, MaxArgs int

	// Values gives the words that a flag takes, for completion.
	Values map[string][]string
	// Complete gives what the next argument may be, for completion. It is
	// quick, asks nothing, and gives nothing when it fails.
	Complete func(ctx context.Context, r *run, c *cli.Context) []string

	Action func(ctx context.Context, r *run, c *cli.Context) error
}

// anyNumber is the MaxArgs of a command that takes any number of arguments.
const anyNumber = -1

// leaf makes the command of a spec.
func leaf(s leafSpec) *cli.Command {
	flags := s.Flags
	if s.Passphrase {
		flags = slices.Concat(flags, passphraseFlags())
	}
	return &cli.Command{
		Name:         s.Name,
		Category:     s.Category,
		Usage:        s.Usage,
		ArgsUsage:    s.ArgsUsage,
		Description:  s.Long,
		UsageText:    s.Example,
		Hidden:       s.Hidden,
		Flags:        slices.Concat(flags, commonFlags()),
		HideHelp:     true,
		OnUsageError: onUsageError,
		Action:       s.run,
	}
}

// group makes a command that only holds others.
func group(name, category, usage string, commands ...*cli.Command) *cli.Command {
	return &cli.Command{
		Name:         name,
		Category:     category,
		Usage:        usage,
		Subcommands:  commands,
		Flags:        earlyFlags(),
		HideHelp:     true,
		OnUsageError: onUsageError,
	}
}

// run is the action of every leaf command.
func (s leafSpec) run(c *cli.Context) error {
	r := runOf(c)
	if err := r.configure(c); err != nil {
		return err
	}
	if r.wish != nil {
		s.complete(c, r)
		return nil
	}
	if err := s.checkArgs(c); err != nil {
		return err
	}
	return s.Action(c.Context, r, c)
}

func (s leafSpec) checkArgs(c *cli.Context) error {
	most := s.MaxArgs
	if most == 0 {
		most = s.MinArgs
	}
	usageLine := "usage: " + synopsis(c.Command.HelpName, c.Command)
	switch n := c.NArg(); {
	case n < s.MinArgs:
		return withHint(usagef("%q needs %s", c.Command.HelpName, s.ArgsUsage), usageLine)
	case most != anyNumber && n > most:
		return withHint(usagef("unexpected argument %q", c.Args().Get(most)), usageLine)
	}
	return nil
}
