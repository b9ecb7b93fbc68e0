package commands

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strings"
	"syscall"
	"testing"
	"time"

	"golang.org/x/sys/unix"
)

// What a command may take of a machine for a file that is no good.
const (
	hostileMemory = 256 << 20        // octets, at its peak
	hostileList   = 1280 << 20       // of a reader of lists, which may have 512 MiB
	hostileTime   = 60 * time.Second // of a machine that has other things to do
)

// reader is a command that reads what somebody else has made: the file FILE
// or, with stdin, its standard input.
type reader struct {
	args  string
	kind  string // of what it reads, for the contents that only some readers look into
	stdin bool
}

// readers are all of them. The PKI has the identity alice, whose files lie in
// the working directory, and locked is a PKI with a passphrase.
var readers = []reader{
	{args: "show FILE"},
	{args: "show -", stdin: true},
	{args: "show --pem FILE", kind: "certificate"},
	{args: "verify FILE", kind: "certificate"},
	{args: "verify -", kind: "certificate", stdin: true},
	{args: "verify alice.crt --ca FILE", kind: "certificate"},
	{args: "verify alice.crt --untrusted FILE", kind: "certificate"},
	{args: "verify alice.crt --ca pki/ca.crt --crl FILE", kind: "list"},
	{args: "revoke FILE", kind: "certificate"},
	{args: "hold FILE", kind: "certificate"},
	{args: "sign FILE --as client --name bob", kind: "request"},
	{args: "sign - --as client --name bob", kind: "request", stdin: true},
	{args: "sign FILE --as ca", kind: "request"},
	{args: "issue client bob --csr FILE", kind: "request"},
	{args: "issue client bob --csr -", kind: "request", stdin: true},
	{args: "renew FILE", kind: "certificate"},
	{args: "renew alice.crt --key FILE", kind: "key"},
	{args: "renew alice --csr FILE", kind: "request"},
	{args: "import FILE --name bob --password-file password", kind: "bundle"},
	{args: "import - --name bob --password-file password", kind: "bundle", stdin: true},
	{args: "import alice.p12 --name bob --password-file FILE", kind: "secret"},
	{args: "import alice.p12 --name bob --password-fd 0", kind: "secret", stdin: true},
	{args: "export alice --format pem --out - --key FILE", kind: "key"},
	{args: "export alice --key alice.key --force --password-file FILE", kind: "secret"},
	{args: "crl show FILE", kind: "list"},
	{args: "crl show -", kind: "list", stdin: true},
	{args: "crl verify FILE", kind: "list"},
	{args: "crl verify pki/crl/issuing.crl --ca FILE", kind: "certificate"},
	{args: "crl refresh --ca root --root-key FILE", kind: "key"},
	{args: "ca install FILE", kind: "certificate"},
	{args: "ca install --crl FILE", kind: "list"},
	{args: "ca renew root --root-key FILE", kind: "key"},
	{args: "ca renew issuing --root-key FILE", kind: "key"},
	{args: "ca passphrase --root-key FILE --new-passphrase-file password", kind: "key"},
	{args: "ca passphrase --new-passphrase-file FILE", kind: "secret"},
	{args: "--pki locked issue client bob --passphrase-file FILE", kind: "secret"},
	{args: "--pki locked issue client bob --passphrase-fd 0", kind: "secret", stdin: true},
	{args: "--pki new init --passphrase-file FILE", kind: "secret"},
	{args: "--pki new restore FILE", kind: "backup"},
	{args: "--pki new restore -", kind: "backup", stdin: true},
	{args: "--pki new restore good.backup --compare FILE", kind: "list"},
	{args: "probe 127.0.0.1:1 --ca FILE", kind: "certificate"},
	{args: "probe 127.0.0.1:1 --cert FILE --key alice.key", kind: "certificate"},
	{args: "probe 127.0.0.1:1 --cert alice.crt --key FILE", kind: "key"},
}

// hostile is something that a command is told to read: a path, or what is
// written into a pipe until its reader has gone.
type hostile struct {
	name string
	kind string // only readers of this kind get it, and those of any kind
	few  bool   // only the first reader of each kind: it takes its time
	// shown is what show describes without opening it.
	shown bool
	make  func(t *testing.T, path string)
	feed  func(w io.Writer) error
}

// TestHostileFiles gives every command that reads a file whatever is hostile.
// It ends by itself with one line that says why, in little memory, and leaves
// everything as it was.
func TestHostileFiles(t *testing.T) {
	if testing.Short() {
		t.Skip("not with -short: it reads a lot")
	}
	dir := hostileDir(t)
	before := hostileState(t, dir)
	t.Run("all", func(t *testing.T) {
		for _, h := range hostiles(t) {
			t.Run(h.name, func(t *testing.T) {
				t.Parallel()
				path := filepath.Join(t.TempDir(), "hostile.pem")
				if h.make != nil {
					h.make(t, path)
				}
				met := map[string]bool{}
				for _, r := range readers {
					if h.kind != "" && r.kind != "" && h.kind != r.kind || h.few && met[r.kind] || h.shown && r.kind == "" {
						continue
					}
					h.giveTo(t, r, dir, path)
					met[r.kind] = true
				}
				if len(met) == 0 {
					t.Error("nothing reads it")
				}
			})
		}
	})
	if after := hostileState(t, dir); after != before {
		t.Errorf("something has changed: %s\nbefore: %s", after, before)
	}
}

// giveTo runs the reader once.
func (h hostile) giveTo(t *testing.T, r reader, dir, path string) {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), hostileTime)
	defer cancel()
	cmd := exec.CommandContext(ctx, "mutual", strings.Fields(strings.ReplaceAll(r.args, "FILE", path))...)
	cmd.Dir = dir
	cmd.Env = append(os.Environ(), "MUTUAL_PKI=pki")
	var stderr strings.Builder
	cmd.Stderr = &stderr
	fed := h.connect(t, cmd, r, path)
	err := cmd.Run()
	if exit, ok := errors.AsType[*exec.ExitError](err); err == nil || !ok {
		t.Errorf("%s: it ended with %v\n%s", r.args, err, stderr.String())
	} else if code := exit.ExitCode(); ctx.Err() != nil || code < exitFailed || code > exitUnsure {
		t.Errorf("%s: %v, %v\n%s", r.args, exit, ctx.Err(), stderr.String())
	}
	fed()
	if cmd.ProcessState == nil {
		return
	}
	if text := stderr.String(); !isOneError(text) {
		t.Errorf("%s: stderr is not one error: %q", r.args, text[:min(len(text), 2000)])
	}
	most := int64(hostileMemory)
	if r.kind == "list" {
		most = hostileList
	}
	peak := cmd.ProcessState.SysUsage().(*syscall.Rusage).Maxrss << 10
	if testing.Verbose() {
		t.Logf("%s: %d MiB, %v of the processor: %s", r.args, peak>>20, cmd.ProcessState.UserTime()+cmd.ProcessState.SystemTime(), stderr.String())
	}
	if peak > most {
		t.Errorf("%s: %d MiB at its peak, and %d are the most\n%s", r.args, peak>>20, most>>20, stderr.String())
	}
}

// connect puts the hostile thing where the reader looks, and gives what to
// wait for when the reader has gone.
func (h hostile) connect(t *testing.T, cmd *exec.Cmd, r reader, path string) (fed func()) {
	t.Helper()
	switch {
	case h.feed == nil && r.stdin:
		f, err := os.Open(path)
		if err != nil {
			t.Fatal(err)
		}
		cmd.Stdin = f
		return func() { _ = f.Close() }
	case h.feed == nil:
		return func() {}
	case r.stdin:
		read, write, err := os.Pipe()
		if err != nil {
			t.Fatal(err)
		}
		cmd.Stdin = read
		done := make(chan struct{})
		go func() { defer close(done); _ = h.feed(write); _ = write.Close() }() // ends when the reader has gone
		return func() { _ = read.Close(); <-done }
	}
	_ = os.Remove(path)
	if err := unix.Mkfifo(path, 0o600); err != nil {
		t.Fatal(err)
	}
	f, err := os.OpenFile(path, os.O_RDWR, 0) // does not wait for a reader
	if err != nil {
		t.Fatal(err)
	}
	done := make(chan struct{})
	go func() { defer close(done); _ = h.feed(f) }()
	return func() { _ = f.Close(); <-done }
}

// isOneError reports whether a command said what is wrong in one line, with at
// most notes before it and a hint after it, and nothing else.
func isOneError(text string) bool {
	found := 0
	for line := range strings.Lines(text) {
		switch {
		case strings.HasPrefix(line, "mutual: error: ") && len(line) < 4096 && strings.HasSuffix(line, "\n"):
			found++
		case !strings.HasPrefix(line, "mutual: hint: ") && !strings.HasPrefix(line, "mutual: note: "):
			return false
		}
	}
	return found == 1
}

// hostileDir makes the directory that the readers work in.
func hostileDir(t *testing.T) string {
	t.Helper()
	dir := t.TempDir()
	if err := os.WriteFile(filepath.Join(dir, "password"), []byte("secret\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	for _, args := range []string{
		"--pki pki init", "--pki pki issue client alice",
		"--pki pki export alice --key alice.key --password-file password",
		"--pki pki backup good.backup",
		"--pki locked init --passphrase-file password",
	} {
		cmd := exec.Command("mutual", strings.Fields(args)...)
		cmd.Dir = dir
		if out, err := cmd.CombinedOutput(); err != nil {
			t.Fatalf("%s: %v: %s", args, err, out)
		}
	}
	return dir
}

// daysLeftField is what time changes by itself.
var daysLeftField = regexp.MustCompile(`"daysLeft": -?\d+,`)

// hostileState lists the files of a directory and the inventory of the PKI in
// it.
func hostileState(t *testing.T, dir string) string {
	t.Helper()
	var b strings.Builder
	err := filepath.WalkDir(dir, func(path string, d os.DirEntry, err error) error {
		if err != nil {
			return err
		}
		if !strings.Contains(d.Name(), ".db-") && !strings.HasSuffix(d.Name(), "lock") { // SQLite's while it is open, and locks, stay
			fmt.Fprintln(&b, path)
		}
		return nil
	})
	if err != nil {
		t.Fatal(err)
	}
	cmd := exec.Command("mutual", "--pki", "pki", "list", "--all", "--json")
	cmd.Dir = dir
	out, err := cmd.Output()
	if err != nil {
		t.Fatal(err)
	}
	head := exec.Command("mutual", "--pki", "pki", "log", "--head")
	head.Dir = dir
	line, err := head.Output()
	if err != nil {
		t.Fatal(err)
	}
	return b.String() + daysLeftField.ReplaceAllString(string(out), "") + string(line)
}
