package commands

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"mutual/pki/pemfile"
)

// openTerminal makes a pseudo-terminal of the given width: what a person would
// have in front of them, and what the program has.
func openTerminal(t *testing.T, width uint16) (person, program *os.File) {
	t.Helper()
	person, err := os.OpenFile("/dev/ptmx", os.O_RDWR|unix.O_NOCTTY, 0)
	if err != nil {
		t.Skipf("no pseudo-terminal here: %v", err)
	}
	t.Cleanup(func() { _ = person.Close() })
	raw := int(person.Fd())
	if err := unix.IoctlSetPointerInt(raw, unix.TIOCSPTLCK, 0); err != nil {
		t.Fatal(err)
	}
	number, err := unix.IoctlGetInt(raw, unix.TIOCGPTN)
	if err != nil {
		t.Fatal(err)
	}
	program, err = os.OpenFile(fmt.Sprintf("/dev/pts/%d", number), os.O_RDWR|unix.O_NOCTTY, 0)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = program.Close() })
	if err := unix.IoctlSetWinsize(int(program.Fd()), unix.TIOCSWINSZ, &unix.Winsize{Row: 24, Col: width}); err != nil {
		t.Fatal(err)
	}
	return person, program
}

// readUntil reads from the terminal until it shows text.
func readUntil(t *testing.T, person *os.File, text string) string {
	t.Helper()
	found := make(chan string, 1)
	go func() {
		var seen bytes.Buffer
		b := make([]byte, 1)
		for !strings.Contains(seen.String(), text) {
			if _, err := person.Read(b); err != nil {
				break
			}
			seen.Write(b)
		}
		found <- seen.String()
	}()
	select {
	case seen := <-found:
		if !strings.Contains(seen, text) {
			t.Fatalf("the terminal shows %q, want %q", seen, text)
		}
		return seen
	case <-time.After(20 * time.Second):
		t.Fatalf("the terminal does not show %q", text)
	}
	return ""
}

func echoes(t *testing.T, terminal *os.File) bool {
	t.Helper()
	state, err := unix.IoctlGetTermios(int(terminal.Fd()), unix.TCGETS)
	if err != nil {
		t.Fatal(err)
	}
	return state.Lflag&unix.ECHO != 0
}

func TestPassphraseOnATerminal(t *testing.T) {
	person, program := openTerminal(t, 80)
	var stdout bytes.Buffer
	cmd := exec.Command("frame", "secret", "--new")
	cmd.Stdin, cmd.Stderr, cmd.Stdout = program, program, &stdout
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	shown := readUntil(t, person, "keys: ")
	waitFor(t, "the echo to be off", func() bool { return !echoes(t, program) })
	_, _ = io.WriteString(person, "s3cret\n")
	shown += readUntil(t, person, "again: ")
	_, _ = io.WriteString(person, "s3cret\n")
	if err := cmd.Wait(); err != nil {
		t.Fatal(err)
	}
	if got := stdout.String(); got != "s3cret \"\"\n" {
		t.Errorf("stdout: %q", got)
	}
	if strings.Contains(shown, "s3cret") {
		t.Errorf("the passphrase was shown: %q", shown)
	}
	if !echoes(t, program) {
		t.Error("the terminal has no echo any more")
	}
}

// init --encrypt asks twice on a terminal, and makes nothing where the two
// passphrases differ or are empty.
func TestInitAsksTwice(t *testing.T) {
	for _, tt := range []struct {
		name, first, second string
		code                int
		want                string
	}{
		{"the same", "correct horse", "correct horse", exitDone, ""},
		{"different", "correct horse", "correct house", exitFailed, "mutual: error: the two passphrases differ"},
		{"empty", "", "", exitFailed, "mutual: error: the passphrase is empty"},
	} {
		t.Run(tt.name, func(t *testing.T) {
			t.Parallel()
			person, program := openTerminal(t, 80)
			dir := t.TempDir()
			cmd := exec.Command("mutual", "init", "--encrypt")
			cmd.Env = append(os.Environ(), "MUTUAL_PKI="+filepath.Join(dir, "pki"), envPassphrase+"=", "NO_COLOR=1")
			cmd.Stdin, cmd.Stderr = program, program
			if err := cmd.Start(); err != nil {
				t.Fatal(err)
			}
			shown := readUntil(t, person, "New passphrase for the CA keys: ")
			waitFor(t, "the echo to be off", func() bool { return !echoes(t, program) })
			_, _ = io.WriteString(person, tt.first+"\n")
			shown += readUntil(t, person, "The same again: ")
			waitFor(t, "the echo to be off", func() bool { return !echoes(t, program) })
			_, _ = io.WriteString(person, tt.second+"\n")
			if tt.want != "" {
				shown += readUntil(t, person, tt.want)
			}
			_ = cmd.Wait() // the exit code is looked at below
			if code := cmd.ProcessState.ExitCode(); code != tt.code {
				t.Errorf("exit code %d", code)
			}
			if strings.Contains(shown, "horse") {
				t.Errorf("the passphrase was shown: %q", shown)
			}
			if !echoes(t, program) {
				t.Error("the terminal has no echo any more")
			}
			if tt.code != exitDone {
				wantEmpty(t, dir)
				return
			}
			for _, name := range []string{"root.key", "issuing.key"} {
				data, err := os.ReadFile(filepath.Join(dir, "pki", name))
				if err != nil {
					t.Fatal(err)
				}
				if _, err := pemfile.Key(data, []byte(tt.first)); err != nil {
					t.Errorf("%s: %v", name, err)
				}
				if _, err := pemfile.Key(data, nil); !errors.Is(err, pemfile.ErrEncrypted) {
					t.Errorf("%s without the passphrase: %v", name, err)
				}
			}
		})
	}
}

// An interrupt while the passphrase is asked for ends the command with 130
// and gives the terminal its echo back.
func TestInterruptAtThePrompt(t *testing.T) {
	person, program := openTerminal(t, 80)
	cmd := exec.Command("frame", "secret")
	cmd.Stdin, cmd.Stderr = program, program
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	readUntil(t, person, "keys: ")
	waitFor(t, "the echo to be off", func() bool { return !echoes(t, program) })
	if err := cmd.Process.Signal(syscall.SIGINT); err != nil {
		t.Fatal(err)
	}
	readUntil(t, person, "interrupted")
	_ = cmd.Wait() // the exit code is looked at below
	if code := cmd.ProcessState.ExitCode(); code != exitInterrupted {
		t.Errorf("exit code %d", code)
	}
	if !echoes(t, program) {
		t.Error("the terminal has no echo any more")
	}
}

// On a terminal there are colours, unless NO_COLOR or --color says no, and
// nothing is ever asked of the terminal.
func TestColorOnATerminal(t *testing.T) {
	for _, tt := range []struct {
		env, flag string
		want      bool
	}{{"", "auto", true}, {"NO_COLOR=1", "auto", false}, {"NO_COLOR=1", "always", true}, {"", "never", false}} {
		person, program := openTerminal(t, 80)
		cmd := exec.Command("frame", "--help", "--color", tt.flag)
		cmd.Env = append(os.Environ(), "NO_COLOR=", "TERM=xterm-256color", tt.env)
		cmd.Stdin, cmd.Stdout, cmd.Stderr = program, program, program
		if err := cmd.Run(); err != nil {
			t.Fatal(err)
		}
		shown := readUntil(t, person, "130 interrupted.")
		if got := strings.Contains(shown, "\x1b["); got != tt.want {
			t.Errorf("%+v: colour %t", tt, got)
		}
		if strings.Contains(shown, "\x1b]") || strings.Contains(shown, "\x1b[6n") || strings.Contains(shown, "\x1b[c") {
			t.Errorf("%+v: the terminal was asked something: %q", tt, shown)
		}
	}
}

// A person types a line with tabs at the prompt of a real shell, and the
// command that runs then has the whole words.
func TestCompletionAtAPrompt(t *testing.T) {
	for name, tt := range map[string]struct{ command, setUp []string }{
		"bash": {[]string{"bash", "--norc", "-i"}, nil},
		"zsh":  {[]string{"zsh", "-f", "-i"}, []string{"autoload -Uz compinit && compinit -u -D"}},
	} {
		t.Run(name, func(t *testing.T) {
			script, err := scripts.ReadFile("completion/mutual." + name)
			if err != nil {
				t.Fatal(err)
			}
			person, program := openTerminal(t, 120)
			cmd := shellCommand(t, tt.command...)
			if err := os.WriteFile(filepath.Join(cmd.Dir, "script"), script, 0o600); err != nil {
				t.Fatal(err)
			}
			cmd.Stdin, cmd.Stdout, cmd.Stderr = program, program, program
			cmd.SysProcAttr = &syscall.SysProcAttr{Setsid: true, Setctty: true}
			if err := cmd.Start(); err != nil {
				t.Fatal(err)
			}
			t.Cleanup(func() { _ = cmd.Process.Kill(); _ = cmd.Wait() })
			for _, line := range append(tt.setUp, "source ./script", "echo rea''dy") {
				_, _ = io.WriteString(person, line+"\n")
			}
			readUntil(t, person, "ready\r\n")
			_, _ = io.WriteString(person, "mutual rev\tbob\t--rea\tkey\t--name=x; echo do''ne\n")
			shown := readUntil(t, person, "done\r\n")
			if want := `args ["bob smith"] reason "keyCompromise" names ["x"]`; !strings.Contains(shown, want) {
				t.Errorf("the terminal shows %q, want %s", shown, want)
			}
		})
	}
}
