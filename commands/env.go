package commands

import (
	"context"
	"io"
	"net"
	"os"
	"runtime/debug"
	"sync/atomic"
	"time"

	"github.com/coreos/go-systemd/v22/activation"
	"github.com/coreos/go-systemd/v22/daemon"
	"golang.org/x/term"
)

// Env is what a command sees of the process that it runs in. The commands
// read nothing else of it: no os.Args, no os.Getenv, no time.Now.
type Env struct {
	Stdin  Input
	Stdout Output
	Stderr Output

	// LookupEnv gives a variable, and whether it is set.
	LookupEnv func(name string) (string, bool)
	// Unsetenv removes a variable, so that no child inherits it.
	Unsetenv func(name string) error
	// Environ gives all variables, for a program that a command runs.
	Environ func() []string
	Now     func() time.Time
	// Sleep waits, and returns early with the context's error.
	Sleep   func(context.Context, time.Duration) error
	Version string
	// Executable gives the file of this program, for a process of its own.
	Executable func() (string, error)
	// Sockets gives those that systemd has passed, and Notify tells it of the
	// state; nil: there is none.
	Sockets func() ([]net.Listener, error)
	Notify  func(state string)

	patience *atomic.Int64 // nanoseconds that an interrupted command may take to end
}

// linger lets an interrupted command take that long to end by itself.
func (e Env) linger(d time.Duration) {
	if e.patience != nil {
		e.patience.Store(int64(d))
	}
}

func (e Env) sockets() ([]net.Listener, error) {
	if e.Sockets == nil {
		return nil, nil
	}
	return e.Sockets()
}

func (e Env) notify(state string) {
	if e.Notify != nil {
		e.Notify(state)
	}
}

// Input is the standard input.
type Input struct {
	io.Reader
	Terminal bool
	// ReadSecret reads a line from the terminal without showing it. It is nil
	// where there is no terminal.
	ReadSecret secretReader
}

// Output is the standard output or the standard error, and what it was found
// to be when the process started.
type Output struct {
	io.Writer
	Terminal bool
	Width    int // of the terminal in columns; 0 if not known
}

// SystemEnv is the Env of this process. The version is the one the linker was
// told, if any; otherwise the one that the go command recorded.
func SystemEnv(version string) Env {
	stdin := Input{Reader: os.Stdin, Terminal: term.IsTerminal(int(os.Stdin.Fd()))}
	if stdin.Terminal {
		stdin.ReadSecret = terminalSecret(int(os.Stdin.Fd()))
	}
	if version == "" {
		version = recordedVersion()
	}
	return Env{
		Stdin:     stdin,
		Stdout:    output(os.Stdout),
		Stderr:    output(os.Stderr),
		LookupEnv: os.LookupEnv,
		Unsetenv:  os.Unsetenv,
		Environ:   os.Environ,
		Now:       time.Now,
		Sleep:     sleep,
		Version:   version,

		Executable: os.Executable,
		Sockets:    activation.Listeners,
		Notify:     func(state string) { _, _ = daemon.SdNotify(false, state) }, // nobody else to tell
	}
}

// Getenv gives "" for a variable that is not set. One that is set and empty
// counts as not set, but for what wantsPassphrase says.
func (e Env) Getenv(name string) string {
	value, _ := e.LookupEnv(name)
	return value
}

func sleep(ctx context.Context, d time.Duration) error {
	t := time.NewTimer(d)
	defer t.Stop()
	select {
	case <-t.C:
		return nil
	case <-ctx.Done():
		return ctx.Err()
	}
}

func output(f *os.File) Output {
	o := Output{Writer: f, Terminal: term.IsTerminal(int(f.Fd()))}
	if !o.Terminal {
		return o
	}
	if width, _, err := term.GetSize(int(f.Fd())); err == nil {
		o.Width = width
	}
	return o
}

// recordedVersion is the module's version or, for a build from a checkout, the
// commit.
func recordedVersion() string {
	info, ok := debug.ReadBuildInfo()
	if !ok {
		return "unknown"
	}
	if v := info.Main.Version; v != "" && v != "(devel)" {
		return v
	}
	revision, dirty := "", ""
	for _, s := range info.Settings {
		switch {
		case s.Key == "vcs.revision":
			revision = s.Value
		case s.Key == "vcs.modified" && s.Value == "true":
			dirty = "+dirty"
		}
	}
	if revision == "" {
		return "devel"
	}
	return "devel-" + revision[:min(12, len(revision))] + dirty
}
