package commands

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"strings"

	"github.com/urfave/cli/v2"
	"golang.org/x/term"
)

// maxPassphrase bounds a passphrase, in octets.
const maxPassphrase = 1024

const passphraseHint = "give it with --" + flagPassphraseFile + " FILE, --" + flagPassphraseFD + " N or $" + envPassphrase

// secretReader reads a line from a terminal without showing it, and stops
// when the context is cancelled.
type secretReader func(ctx context.Context) ([]byte, error)

// passphrase is where the passphrase of the CA keys comes from. It is read
// once, when a key is found to need it, and never before.
type passphrase struct {
	variable string // what $MUTUAL_PASSPHRASE held
	file     string
	fd       int // -1: none
	value    []byte
}

// takeVariable moves the passphrase out of the environment, so that no child
// of this process inherits it.
func (p *passphrase) takeVariable(env Env) error {
	p.fd = -1
	p.variable = env.Getenv(envPassphrase)
	if err := env.Unsetenv(envPassphrase); err != nil {
		return fmt.Errorf("removing $%s from the environment: %w", envPassphrase, err)
	}
	return nil
}

// configure reads the flags of a command that has them. Two sources are a
// usage error: which one counts would be a guess.
func (p *passphrase) configure(c *cli.Context) error {
	if lookup(c.Command.Flags, flagPassphraseFile) == nil {
		return nil
	}
	var sources []string
	if p.variable != "" {
		sources = append(sources, "$"+envPassphrase)
	}
	if c.IsSet(flagPassphraseFile) {
		p.file = c.String(flagPassphraseFile)
		sources = append(sources, "--"+flagPassphraseFile)
	}
	if c.IsSet(flagPassphraseFD) {
		p.fd = c.Int(flagPassphraseFD)
		sources = append(sources, "--"+flagPassphraseFD)
		if p.fd < 0 || p.fd == 1 || p.fd == 2 {
			return usagef("--%s %d is not a file descriptor to read from", flagPassphraseFD, p.fd)
		}
	}
	if len(sources) > 1 {
		return withHint(usagef("the passphrase has more than one source: %s", strings.Join(sources, ", ")), "give one")
	}
	return nil
}

// given reports whether a source was named, so that nobody need be asked.
func (p *passphrase) given() bool { return p.variable != "" || p.file != "" || p.fd >= 0 }

// passphraseGiven reports whether the command line or the environment names a
// source of a passphrase.
func (r *run) passphraseGiven() bool { return r.passphrase.given() }

// readPassphrase is the passphrase for a key that has one: from its source, or
// asked for once on a terminal. A second call returns what the first one read.
func (r *run) readPassphrase(ctx context.Context) ([]byte, error) {
	return r.obtainPassphrase(ctx, r.askPassphrase)
}

// newPassphrase is the passphrase for a key that is about to be made: as
// readPassphrase, and asked for twice on a terminal.
func (r *run) newPassphrase(ctx context.Context) ([]byte, error) {
	return r.obtainPassphrase(ctx, r.askPassphraseTwice)
}

func (r *run) obtainPassphrase(ctx context.Context, ask secretReader) ([]byte, error) {
	p := &r.passphrase
	if p.value != nil {
		return p.value, nil
	}
	raw, err := r.passphraseSource(ctx, ask)
	if err != nil {
		return nil, err
	}
	p.value, err = checkPassphrase(raw)
	return p.value, err
}

func (r *run) passphraseSource(ctx context.Context, ask secretReader) ([]byte, error) {
	p := &r.passphrase
	switch {
	case p.variable != "":
		return []byte(p.variable), nil
	case p.file != "":
		f, err := os.Open(p.file)
		if err != nil {
			return nil, fmt.Errorf("reading the passphrase: %w", err)
		}
		return readBounded(f)
	case p.fd == 0:
		return readBounded(io.NopCloser(r.env.Stdin))
	case p.fd > 0:
		return readBounded(os.NewFile(uintptr(p.fd), fmt.Sprintf("file descriptor %d", p.fd)))
	}
	if r.env.Stdin.ReadSecret == nil || !r.env.Stderr.Terminal {
		return nil, failf(passphraseHint, "the CA key needs a passphrase, and there is no terminal to ask for it")
	}
	return ask(ctx)
}

// readBounded reads a passphrase with its newline, and one octet more to see
// that there is more, and closes f.
func readBounded(f io.ReadCloser) ([]byte, error) {
	raw, err := io.ReadAll(io.LimitReader(f, maxPassphrase+3))
	if closeErr := f.Close(); err == nil {
		err = closeErr
	}
	if err != nil {
		return nil, fmt.Errorf("reading the passphrase: %w", err)
	}
	return raw, nil
}

// checkPassphrase drops one newline from the end and refuses what is empty or
// too long.
func checkPassphrase(raw []byte) ([]byte, error) {
	value, found := bytes.CutSuffix(raw, []byte("\n"))
	if found {
		value = bytes.TrimSuffix(value, []byte("\r"))
	}
	switch {
	case len(value) == 0:
		return nil, failf(passphraseHint, "the passphrase is empty")
	case len(value) > maxPassphrase:
		return nil, fmt.Errorf("the passphrase is longer than %d octets", maxPassphrase)
	}
	return value, nil
}

func (r *run) askPassphrase(ctx context.Context) ([]byte, error) {
	return r.ask(ctx, "Passphrase of the CA keys: ")
}

func (r *run) askPassphraseTwice(ctx context.Context) ([]byte, error) {
	first, err := r.ask(ctx, "New passphrase for the CA keys: ")
	if err != nil {
		return nil, err
	}
	second, err := r.ask(ctx, "The same again: ")
	if err != nil {
		return nil, err
	}
	if !bytes.Equal(first, second) {
		return nil, errors.New("the two passphrases differ")
	}
	return first, nil
}

func (r *run) ask(ctx context.Context, prompt string) ([]byte, error) {
	if err := r.prompt(prompt); err != nil {
		return nil, err
	}
	secret, err := r.env.Stdin.ReadSecret(ctx)
	if promptErr := r.prompt("\n"); err == nil { // the newline that was typed was not shown
		err = promptErr
	}
	if err != nil {
		return nil, fmt.Errorf("reading the passphrase from the terminal: %w", err)
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
