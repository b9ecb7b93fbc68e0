// Package commands translates command lines into library calls: each leaf
// command reads its flags, calls the library once, and prints what came back.
package commands

import (
	"context"
	"io"
	"os"
	"os/signal"
	"strings"
	"sync/atomic"
	"syscall"
	"time"

	"github.com/urfave/cli/v2"
)

// tree is every command, in the order of the help.
func tree() []*cli.Command {
	return []*cli.Command{
		initCommand(),
		issueCommand(),
		signCommand(),
		renewCommand(),
		exportCommand(),
		importCommand(),
		configCommand(),
		caCommand(),
		revokeCommand(),
		holdCommand(),
		unholdCommand(),
		allowCommand(),
		crlCommand(),
		verifyCommand(),
		listCommand(),
		showCommand(),
		treeCommand(),
		statusCommand(),
		logCommand(),
		backupCommand(),
		restoreCommand(),
		repairCommand(),
		probeCommand(),
		gateCommand(),
		demoCommand(),
		completionCommand(),
		manCommand(),
		helpCommand(),
		completeCommand(),
	}
}

// The headings of the help.
const (
	categoryBootstrapping = "Bootstrapping"
	categoryRevoking      = "Revoking"
	categoryLooking       = "Looking"
	categoryEnforcing     = "Enforcing"
	categoryKeeping       = "Keeping"
	categoryHelp          = "Help"
)

// Main runs the command line args, without the program's name, and returns
// the exit code.
func Main(args []string, env Env) int {
	commands := make(chan []*cli.Command, 1)
	go func() { commands <- tree() }() // while the kernel is told of the signals
	ctx, stop := interruptible(context.Background())
	defer stop()
	env.patience = new(atomic.Int64)
	env.linger(grace)
	return within(ctx, env.patience, func() int { return mainWith(ctx, args, env, <-commands) })
}

// grace is how long an interrupted command may take to end by itself. One that
// waits for a file or computes does not see that it was interrupted; to leave
// it where it is loses nothing, as a crash would not.
const grace = 2 * time.Second

func within(ctx context.Context, patience *atomic.Int64, do func() int) int {
	done := make(chan int, 1)
	go func() { done <- do() }()
	select {
	case code := <-done:
		return code
	case <-ctx.Done():
	}
	select {
	case code := <-done:
		return code
	case <-time.After(time.Duration(patience.Load())):
		return exitInterrupted
	}
}

// interruptible gives a context that the first SIGINT or SIGTERM cancels; the
// second one kills. A reader that went away becomes a failed write like any
// other, and does not kill a command halfway through its work.
func interruptible(parent context.Context) (ctx context.Context, stop func()) {
	ctx, cancel := context.WithCancel(parent)
	interrupts := make(chan os.Signal, 1)
	signal.Notify(interrupts, os.Interrupt, syscall.SIGTERM)
	broken := make(chan os.Signal, 1)
	signal.Notify(broken, syscall.SIGPIPE)
	go func() {
		select {
		case <-interrupts:
		case <-ctx.Done():
		}
		signal.Stop(interrupts) // before anything can see the first one
		cancel()
	}()
	return ctx, func() {
		signal.Stop(broken)
		cancel()
	}
}

// hangups gives each SIGHUP, which then no longer ends the process, until ignore
// is called.
func hangups() (got <-chan os.Signal, ignore func()) {
	c := make(chan os.Signal, 1)
	signal.Notify(c, syscall.SIGHUP)
	return c, func() { signal.Stop(c) }
}

// mainWith is Main with a context and commands of the caller's.
func mainWith(ctx context.Context, args []string, env Env, commands []*cli.Command) int {
	root := rootCommand(commands)
	l, err := parseLine(root, args)
	r := newRun(env, root, l.value(flagColor))
	for _, p := range r.secrets() {
		if takeErr := p.takeVariable(env); err == nil {
			err = takeErr
		}
	}
	if err == nil {
		err = r.dispatch(ctx, l)
	}
	if leavesNothing(err, r.json) {
		r.out.Discard()
	}
	if flushErr := r.out.Flush(); flushErr != nil {
		err = &brokenStdout{flushErr, r.done}
	}
	return finish(ctx, r.talk, err)
}

// rootCommand is the command line as a tree with one root.
func rootCommand(commands []*cli.Command) *cli.Command {
	return &cli.Command{
		Name:        "mutual",
		Usage:       "a certificate authority for mutual TLS that remembers what it issued",
		Subcommands: commands,
		Flags:       rootFlags(),
	}
}

// dispatch runs what a line asks for.
func (r *run) dispatch(ctx context.Context, l *line) error {
	if err := checkColor(l.value(flagColor)); err != nil {
		return err
	}
	switch {
	case l.has(flagHelp):
		return r.showHelp(l)
	case l.has(flagVersion):
		r.json = l.has(flagJSON)
		return r.emit(versionView{Version: r.env.Version})
	case l.command == r.root:
		return r.showHelp(l)
	case onlyHolds(l.command):
		return withHint(usagef("%q needs a command: %s", l.name(), strings.Join(visibleNames(l.command), ", ")),
			l.helpHint("says what they do"))
	case l.command.Name == completeName:
		return r.completeLine(ctx, l.args)
	}
	return r.runLine(ctx, l)
}

// runLine runs the leaf command of a line.
func (r *run) runLine(ctx context.Context, l *line) error {
	r.command = l.command
	return r.app(l).RunContext(ctx, l.normal(r.root.Name))
}

func checkColor(mode string) error {
	switch mode {
	case "", colorAuto, colorAlways, colorNever:
		return nil
	}
	return usagef("--%s %q is none of %s, %s, %s", flagColor, mode, colorAuto, colorAlways, colorNever)
}

// app is the root as urfave/cli runs it. It gets lines that parseLine has
// already checked, so it has no help, no version and no voice of its own, and
// only the commands and flags that the line needs: urfave/cli asks each flag
// about every other, which took longer than signing a certificate.
func (r *run) app(l *line) *cli.App {
	return &cli.App{
		Name:                      r.root.Name,
		Usage:                     r.root.Usage,
		Commands:                  []*cli.Command{l.needed(r.root.Command(l.path[0]), l.path[1:])},
		Reader:                    r.env.Stdin,
		Writer:                    r.out,
		ErrWriter:                 io.Discard,
		HideHelp:                  true,
		HideVersion:               true,
		DisableSliceFlagSeparator: true,
		OnUsageError:              onUsageError,
		ExitErrHandler:            func(*cli.Context, error) {},
		Metadata:                  map[string]any{runKey: r},
		Compiled:                  time.Unix(0, 0), // else urfave/cli looks for the program's file
	}
}

// onUsageError is told of a value that the flag package could not read.
func onUsageError(c *cli.Context, err error, _ bool) error {
	text := strings.Replace(err.Error(), "flag -", "flag --", 1)
	for _, f := range c.Command.Flags {
		if _, ok := f.(*cli.DurationFlag); ok && strings.Contains(text, "for flag --"+f.Names()[0]+":") {
			return withHint(usagef("%s", text), "write a time as 500ms, 30s, 5m or 24h")
		}
	}
	return usagef("%s", text)
}
