package commands

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/urfave/cli/v2"

	"mutual/commands/ui"
)

// frameCommands are commands that show what the frame hands to a command.
func frameCommands() []*cli.Command {
	return []*cli.Command{
		leaf(leafSpec{
			Name: "revoke", Category: "Frame", Usage: "show what was given", ArgsUsage: "WHAT…", Passphrase: true,
			Example: "frame revoke alice",
			MinArgs: 1, MaxArgs: anyNumber,
			Flags: []cli.Flag{
				&cli.StringFlag{Name: "reason", Usage: "the `REASON`"},
				&cli.StringSliceFlag{Name: "name", Usage: "every identity that `GLOB` matches (repeatable)"},
				&cli.BoolFlag{Name: "dry-run", Usage: "only look"},
				&cli.IntFlag{Name: "count", Usage: "a number `N`"},
				newRestFlag("exec", "run `CMD…`"),
			},
			Values: map[string][]string{"reason": {"keyCompromise", "superseded"}},
			Complete: func(_ context.Context, r *run, c *cli.Context) []string {
				return []string{"alice", "alice@example.com", "bob smith", "spiffe://example.com/a", "pki=" + r.pkiFlag}
			},
			Action: func(_ context.Context, r *run, c *cli.Context) error {
				dir, err := r.pkiDir()
				if err != nil {
					return err
				}
				return r.emit(givenView{
					Args: c.Args().Slice(), Reason: c.String("reason"), Names: c.StringSlice("name"),
					DryRun: c.Bool("dry-run"), PKI: dir, Exec: c.StringSlice("exec"),
				})
			},
		}),
		group("issue", "Frame", "issue something",
			leaf(leafSpec{Name: "client", Usage: "issue to a client", ArgsUsage: "NAME", MinArgs: 1, Action: emitArgs}),
			leaf(leafSpec{Name: "server", Usage: "issue to a server", ArgsUsage: "NAME", MinArgs: 1, Action: emitArgs}),
		),
		leaf(leafSpec{
			Name: "secret", Usage: "print the passphrase", Passphrase: true,
			Flags: []cli.Flag{&cli.BoolFlag{Name: "new"}, &cli.BoolFlag{Name: "twice"}},
			Action: func(ctx context.Context, r *run, c *cli.Context) error {
				read := r.readPassphrase
				if c.Bool("new") {
					read = r.newPassphrase
				}
				secret, err := read(ctx)
				if err == nil && c.Bool("twice") {
					secret, err = read(ctx)
				}
				if err != nil {
					return err
				}
				return r.out.Printf("%s %q\n", string(secret), os.Getenv(envPassphrase))
			},
		}),
		leaf(leafSpec{
			Name: "wait", Usage: "wait to be interrupted", ArgsUsage: "[stubborn]", MaxArgs: 1,
			Action: func(ctx context.Context, r *run, c *cli.Context) error {
				if err := r.emitRow(versionView{"ready"}); err != nil {
					return err
				}
				<-ctx.Done()
				if c.NArg() > 0 {
					_ = r.emitRow(versionView{"stubborn"})
					select {}
				}
				return fmt.Errorf("waiting: %w", ctx.Err())
			},
		}),
		leaf(leafSpec{
			Name: "rows", Usage: "print rows", Hidden: true,
			Action: func(ctx context.Context, r *run, c *cli.Context) error {
				for range 100_000 {
					if err := r.emitRow(versionView{strings.Repeat("x", 60)}); err != nil {
						return err
					}
				}
				return nil
			},
		}),
		leaf(leafSpec{
			Name: "talk", Usage: "warn, note and fail", ArgsUsage: "KIND", MinArgs: 1,
			Action: func(ctx context.Context, r *run, c *cli.Context) error {
				r.warn("the list of %s is due", "issuing")
				r.note("a note about %s", "ali\x1b[31mce\nmutual: error: fake")
				_ = r.emit(versionView{"product"})
				return failures()[c.Args().First()]
			},
		}),
	}
}

// failures are the ways for a command to end.
func failures() map[string]error {
	return map[string]error{
		"done":       nil,
		"plain":      errors.New("reading \"a\nmutual: error: fake\""),
		"usage":      usagef("the lifetime %q cannot be", "3x"),
		"usagehint":  withHint(usage(errors.New("no such reason")), "one of these"),
		"hint":       failf("try that", "doing this: %w", fs.ErrExist),
		"bad":        bad(errors.New("expired")),
		"badsilent":  bad(nil),
		"unsure":     unsure(errors.New("no list"), "mutual crl refresh"),
		"unsurehint": unsure(nil, "mutual crl refresh"),
		"wrapped":    fmt.Errorf("outer: %w", unsure(errors.New("inner"), "look inside")),
		"joined":     errors.Join(errors.New("first"), errors.New("second")),
		"both":       fmt.Errorf("%w and %w", errors.New("first"), errors.New("second")),
		"full":       &fs.PathError{Op: "write", Path: "f", Err: syscall.ENOSPC},
		"readonly":   &fs.PathError{Op: "open", Path: "f", Err: syscall.EROFS},
		"permission": &fs.PathError{Op: "open", Path: "f", Err: syscall.EACCES},
		"exists":     &fs.PathError{Op: "link", Path: "f", Err: syscall.EEXIST},
		"missing":    &fs.PathError{Op: "open", Path: "f", Err: syscall.ENOENT},
		"canceled":   fmt.Errorf("asking: %w", context.Canceled),
	}
}

// givenView shows what a command was given.
type givenView struct {
	Args   []string `json:"args"`
	Reason string   `json:"reason"`
	Names  []string `json:"names"`
	DryRun bool     `json:"dryRun"`
	PKI    string   `json:"pki"`
	Exec   []string `json:"exec,omitempty"`
}

func (v givenView) Text(p *ui.Printer) error {
	if v.Exec != nil {
		return p.Printf("args %q reason %q exec %q\n", v.Args, v.Reason, v.Exec)
	}
	return p.Printf("args %q reason %q names %q dryRun %t\n", v.Args, v.Reason, v.Names, v.DryRun)
}

func emitArgs(_ context.Context, r *run, c *cli.Context) error {
	return r.emit(givenView{Args: c.Args().Slice()})
}

// result is how a command line ended.
type result struct {
	code           int
	stdout, stderr string
}

// testEnv is an Env without a terminal whose variables are vars.
func testEnv(vars map[string]string, stdout, stderr *bytes.Buffer) Env {
	return Env{
		Stdin:     Input{Reader: strings.NewReader("")},
		Stdout:    Output{Writer: stdout},
		Stderr:    Output{Writer: stderr},
		LookupEnv: func(name string) (string, bool) { value, ok := vars[name]; return value, ok },
		Unsetenv:  func(name string) error { delete(vars, name); return nil },
		Now:       func() time.Time { return time.Date(2026, 3, 4, 5, 6, 7, 8, time.UTC) },
		Version:   "v1.2.3",
	}
}

// frame runs a command line with the commands of this file.
func frame(t *testing.T, words ...string) result {
	t.Helper()
	var stdout, stderr bytes.Buffer
	env := testEnv(map[string]string{"HOME": "/home/u"}, &stdout, &stderr)
	code := mainWith(t.Context(), words, env, frameCommands())
	return result{code, stdout.String(), stderr.String()}
}
