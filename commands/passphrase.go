package commands

import (
	"bytes"
	"context"
	"fmt"
	"io"
	"os"
	"strings"

	"github.com/urfave/cli/v2"
	"golang.org/x/term"
)

// maxPassphrase bounds a passphrase, in octets.
const maxPassphrase = 1024

// hint says where the passphrase can come from.
func (p *passphrase) hint() string {
	return "give it with --" + p.fileFlag + " FILE, --" + p.fdFlag + " N or $" + p.env
}

// secretReader reads a line from a terminal without showing it, and stops
// when the context is cancelled.
type secretReader func(ctx context.Context) ([]byte, error)

// passphrase is where a passphrase or password comes from. It is read once,
// when something is found to need it, and never before.
type passphrase struct {
	name                  string // what it is called
	owner                 string // what needs it
	fileFlag, fdFlag, env string // where it may come from
	mayBeEmpty            bool

	variable string // what the variable held
	blank    bool   // the variable was there, and empty
	file     string
	fd       int // -1: none
	value    []byte
}

// takeVariable moves the passphrase out of the environment, so that no child
// of this process inherits it.
func (p *passphrase) takeVariable(env Env) error {
	p.fd = -1
	var set bool
	p.variable, set = env.LookupEnv(p.env)
	p.blank = set && p.variable == ""
	if err := env.Unsetenv(p.env); err != nil {
		return fmt.Errorf("removing $%s from the environment: %w", p.env, err)
	}
	return nil
}

// configure reads the flags of a command that has them. Two sources are a
// usage error: which one counts would be a guess.
func (p *passphrase) configure(c *cli.Context) error {
	var sources []string
	if p.variable != "" {
		sources = append(sources, "$"+p.env)
	}
	if c.IsSet(p.fileFlag) {
		p.file = c.String(p.fileFlag)
		sources = append(sources, "--"+p.fileFlag)
	}
	if c.IsSet(p.fdFlag) {
		p.fd = c.Int(p.fdFlag)
		sources = append(sources, "--"+p.fdFlag)
		if p.fd < 0 || p.fd == 1 || p.fd == 2 {
			return usagef("--%s %d is not a file descriptor to read from", p.fdFlag, p.fd)
		}
	}
	if len(sources) > 1 {
		return withHint(usagef("the %s has more than one source: %s", p.name, strings.Join(sources, ", ")), "give one")
	}
	return nil
}

// given reports whether a source was named, so that nobody need be asked.
func (p *passphrase) given() bool { return p.variable != "" || p.file != "" || p.fd >= 0 }

// passphraseGiven reports whether the command line or the environment names a
// source of a passphrase.
func (r *run) passphraseGiven() bool { return r.passphrase.given() }

// wantsPassphrase reports whether what is about to be written is to be
// encrypted: because it was asked for, or because a source is named. A
// variable that is there and empty is neither yes nor no: whoever set it meant
// a passphrase.
func (r *run) wantsPassphrase(asked bool) (bool, error) {
	if asked || r.passphraseGiven() || !r.passphrase.blank {
		return asked || r.passphraseGiven(), nil
	}
	return false, failf("unset it for keys without a passphrase, or "+r.passphrase.hint(),
		"the %s is empty: $%s is set, and nothing is in it", r.passphrase.name, r.passphrase.env)
}

// readPassphrase is the passphrase for a key that has one: from its source, or
// asked for once on a terminal. A second call returns what the first one read.
func (r *run) readPassphrase(ctx context.Context) ([]byte, error) {
	return r.obtainPassphrase(ctx, &r.passphrase, r.askPassphrase)
}

// newPassphrase is the passphrase for a key that is about to be made: as
// readPassphrase, and asked for twice on a terminal.
func (r *run) newPassphrase(ctx context.Context) ([]byte, error) {
	return r.obtainPassphrase(ctx, &r.passphrase, r.askPassphraseTwice)
}

// readNextPassphrase is the passphrase that keys which may have another one
// shall have: from sources of its own, or asked for twice on a terminal.
func (r *run) readNextPassphrase(ctx context.Context) ([]byte, error) {
	return r.obtainPassphrase(ctx, &r.nextPassphrase, r.askPassphraseTwice)
}

func (r *run) obtainPassphrase(ctx context.Context, p *passphrase, ask secretReader) ([]byte, error) {
	if p.value != nil {
		return p.value, nil
	}
	raw, err := r.passphraseSource(ctx, p, ask)
	if err != nil {
		return nil, err
	}
	p.value, err = p.check(raw)
	return p.value, err
}

func (r *run) passphraseSource(ctx context.Context, p *passphrase, ask secretReader) ([]byte, error) {
	switch {
	case p.variable != "":
		return []byte(p.variable), nil
	case p.file != "":
		f, err := os.Open(p.file)
		if err != nil {
			return nil, fmt.Errorf("reading the %s: %w", p.name, err)
		}
		return readBounded(f, p.name)
	case p.fd == 0:
		return readBounded(io.NopCloser(r.env.Stdin), p.name)
	case p.fd > 0:
		f, err := inheritedFile(p.fd)
		if err != nil {
			return nil, fmt.Errorf("reading the %s: %w", p.name, err)
		}
		return readBounded(f, p.name)
	}
	if r.env.Stdin.ReadSecret == nil || !r.env.Stderr.Terminal {
		return nil, failf(p.hint(), "%s needs a %s, and there is no terminal to ask for it", p.owner, p.name)
	}
	return ask(ctx)
}

// readBounded reads a passphrase, called name in an error, with its newline,
// and one octet more to see that there is more, and closes f.
func readBounded(f io.ReadCloser, name string) ([]byte, error) {
	raw, err := io.ReadAll(io.LimitReader(f, maxPassphrase+3))
	if closeErr := f.Close(); err == nil {
		err = closeErr
	}
	if err != nil {
		return nil, fmt.Errorf("reading the %s: %w", name, err)
	}
	return raw, nil
}

// check drops one newline from the end and refuses what is empty or too long.
func (p *passphrase) check(raw []byte) ([]byte, error) {
	value, found := bytes.CutSuffix(raw, []byte("\n"))
	if found {
		value = bytes.TrimSuffix(value, []byte("\r"))
	}
	switch {
	case len(value) == 0 && !p.mayBeEmpty:
		return nil, failf(p.hint(), "the %s is empty", p.name)
	case len(value) > maxPassphrase:
		return nil, fmt.Errorf("the %s is longer than %d octets", p.name, maxPassphrase)
	}
	return value, nil
}

func (r *run) askPassphrase(ctx context.Context) ([]byte, error) {
	return r.ask(ctx, r.passphrase.name, "Passphrase of the CA keys: ")
}

func (r *run) askPassphraseTwice(ctx context.Context) ([]byte, error) {
	return r.askTwice(ctx, r.passphrase.name, "New passphrase for the CA keys: ")
}

// askTwice asks for something new, which nobody sees while it is typed, and
// for the same again.
func (r *run) askTwice(ctx context.Context, name, prompt string) ([]byte, error) {
	first, err := r.ask(ctx, name, prompt)
	if err != nil {
		return nil, err
	}
	second, err := r.ask(ctx, name, "The same again: ")
	if err != nil {
		return nil, err
	}
	if !bytes.Equal(first, second) {
		return nil, fmt.Errorf("the two %ss differ", name)
	}
	return first, nil
}

func (r *run) ask(ctx context.Context, name, prompt string) ([]byte, error) {
	if err := r.prompt(prompt); err != nil {
		return nil, err
	}
	secret, err := r.env.Stdin.ReadSecret(ctx)
	if promptErr := r.prompt("\n"); err == nil { // the newline that was typed was not shown
		err = promptErr
	}
	if err != nil {
		return nil, fmt.Errorf("reading the %s from the terminal: %w", name, err)
	}
	return secret, nil
}

func (r *run) prompt(text string) error {
	if _, err := io.WriteString(r.talk, text); err != nil {
		return err
	}
	return r.talk.Flush()
}

// terminalSecret reads from the terminal on fd. When the context is cancelled
// it gives the terminal its echo back; the read itself cannot be stopped and
// ends with the process.
func terminalSecret(fd int) secretReader {
	return func(ctx context.Context) ([]byte, error) {
		state, err := term.GetState(fd)
		if err != nil {
			return nil, err
		}
		type result struct {
			secret []byte
			err    error
		}
		done := make(chan result, 1)
		go func() {
			secret, err := term.ReadPassword(fd)
			done <- result{secret, err}
		}()
		select {
		case r := <-done:
			return r.secret, r.err
		case <-ctx.Done():
			_ = term.Restore(fd, state) // the process is about to end
			return nil, ctx.Err()
		}
	}
}
