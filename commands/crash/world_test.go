//go:build linux && amd64

package crash

import (
	"bytes"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/pem"
	"fmt"
	"io"
	"io/fs"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"time"

	"mutual/pki/store"
)

// program is the binary as it is released, which TestMain builds.
var program string

// TestMain builds the program as a release does. With -short every test is
// skipped, and nothing is built.
func TestMain(m *testing.M) {
	code := func() int {
		dir, err := os.MkdirTemp("", "crash")
		if err != nil {
			panic(err)
		}
		defer func() { _ = os.RemoveAll(dir) }() // nobody is left to tell
		program = filepath.Join(dir, "mutual")
		build := exec.Command("go", "build", "-trimpath", "-ldflags", "-s -w", "-o", program, "mutual")
		build.Env = append(os.Environ(), "CGO_ENABLED=0")
		if out, err := build.CombinedOutput(); err != nil {
			fmt.Fprintf(os.Stderr, "building the program: %v\n%s", err, out)
			return 1
		}
		return m.Run()
	}()
	os.Exit(code)
}

// world is a directory with a PKI and files around it that is put back before
// each attempt. It stays at one path: the PKI remembers where files lie.
type world struct {
	t    *testing.T
	dir  string // as the command finds it
	save string // as it is put back
}

// newWorld prepares a world. It lies in memory where that can be: a kill loses
// nothing that was written, wherever it lies.
func newWorld(t *testing.T, prepare func(*world)) *world {
	t.Helper()
	base := ""
	if st, err := os.Stat("/dev/shm"); err == nil && st.IsDir() {
		base = "/dev/shm"
	}
	root, err := os.MkdirTemp(base, "crash")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = os.RemoveAll(root) }) // nobody is left to tell
	w := &world{t: t, dir: filepath.Join(root, "work"), save: filepath.Join(root, "saved")}
	w.must(os.Mkdir(w.dir, 0o700))
	prepare(w)
	w.must(os.Rename(w.dir, w.save))
	w.reset()
	return w
}

func (w *world) must(err error) {
	w.t.Helper()
	if err != nil {
		w.t.Fatal(err)
	}
}

func (w *world) path(name string) string { return filepath.Join(w.dir, name) }

// reset puts the world back as it was prepared.
func (w *world) reset() {
	w.t.Helper()
	w.must(os.RemoveAll(w.dir))
	w.must(copyTree(w.save, w.dir))
}

func copyTree(from, to string) error {
	if err := os.Mkdir(to, 0o700); err != nil {
		return err
	}
	return fill(from, to)
}

// fill copies what is in a directory into another.
func fill(from, to string) error {
	return filepath.WalkDir(from, func(path string, e fs.DirEntry, err error) error {
		if err != nil {
			return err
		}
		rel, err := filepath.Rel(from, path)
		if err != nil {
			return err
		}
		if rel == "." {
			return nil
		}
		place := filepath.Join(to, rel)
		info, err := e.Info()
		if err != nil {
			return err
		}
		switch {
		case e.IsDir():
			return os.Mkdir(place, info.Mode().Perm())
		case e.Type() == fs.ModeSymlink:
			link, err := os.Readlink(path)
			if err != nil {
				return err
			}
			return os.Symlink(link, place)
		}
		data, err := os.ReadFile(path)
		if err != nil {
			return err
		}
		return os.WriteFile(place, data, info.Mode().Perm())
	})
}

// walk calls do with the size of every file below a directory.
func walk(dir string, do func(size int64)) error {
	return filepath.WalkDir(dir, func(_ string, e fs.DirEntry, err error) error {
		if err != nil {
			return err
		}
		info, err := e.Info()
		if err == nil && info.Mode().IsRegular() {
			do(info.Size())
		}
		return err
	})
}

// command is the program on the world's PKI.
func (w *world) command(args ...string) *exec.Cmd {
	cmd := exec.Command(program, args...)
	cmd.Dir = w.dir
	cmd.Env = []string{"PATH=" + os.Getenv("PATH"), "HOME=" + w.dir, "MUTUAL_PKI=" + w.path("pki"), "TMPDIR=" + w.dir,
		"MUTUAL_EXPORT_PASSWORD=secret"}
	return cmd
}

// mutual runs the program; it must succeed.
func (w *world) mutual(args ...string) string {
	w.t.Helper()
	out, err := w.command(args...).CombinedOutput()
	if err != nil {
		w.t.Fatalf("mutual %s: %v\n%s", strings.Join(args, " "), err, out)
	}
	return string(out)
}

// attempt is what came of one run of the program.
type attempt struct {
	code           int  // -1: killed
	met            bool // the call was reached
	call           string
	stdout, stderr string
}

// traced runs the program, and decides of each call.
func (w *world) traced(args []string, decide func(n int, call string) fate) attempt {
	w.t.Helper()
	cmd := w.command(args...)
	stdout, err := output()
	w.must(err)
	defer func() { _ = stdout.Close() }() // only read below
	stderr, err := output()
	w.must(err)
	defer func() { _ = stderr.Close() }() // only read below
	cmd.Stdout, cmd.Stderr = stdout, stderr
	var a attempt
	status, err := run(cmd, func(n int, call string) fate {
		f := decide(n, call)
		if f != (fate{}) {
			a.met, a.call = true, call
		}
		return f
	})
	w.must(err)
	a.code = -1
	if status.Exited() {
		a.code = status.ExitStatus()
	}
	a.stdout, a.stderr = w.content(stdout), w.content(stderr)
	return a
}

func (w *world) content(f *os.File) string {
	w.t.Helper()
	_, err := f.Seek(0, io.SeekStart)
	w.must(err)
	b, err := io.ReadAll(f)
	w.must(err)
	return string(b)
}

// killedAfter runs the program and kills it after a time.
func (w *world) killedAfter(args []string, after time.Duration) attempt {
	w.t.Helper()
	cmd := w.command(args...)
	var stdout, stderr bytes.Buffer
	cmd.Stdout, cmd.Stderr = &stdout, &stderr
	w.must(cmd.Start())
	timer := time.AfterFunc(after, func() { _ = cmd.Process.Kill() }) // it may have ended
	_ = cmd.Wait()                                                    // the state says it
	timer.Stop()
	a := attempt{code: cmd.ProcessState.ExitCode(), call: "(a random time)", stdout: stdout.String(), stderr: stderr.String()}
	ws, ok := cmd.ProcessState.Sys().(syscall.WaitStatus)
	a.met = ok && ws.Signaled()
	return a
}

// open opens a PKI of the world in this process.
func (w *world) open(name string) (*store.PKI, error) {
	return store.Open(w.t.Context(), w.path(name), w.options())
}

func (w *world) options() store.Options {
	return store.Options{Now: time.Now, Actor: store.Actor{User: "crash", Host: "here", Process: 1},
		Passphrase: func() ([]byte, error) { return []byte("correct horse"), nil }}
}

// write writes a file of the world.
func (w *world) write(name, text string) {
	w.t.Helper()
	w.must(os.WriteFile(w.path(name), []byte(text), 0o600))
}

// request writes a certification request for a new key.
func (w *world) request(name, commonName string) {
	w.t.Helper()
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	w.must(err)
	der, err := x509.CreateCertificateRequest(rand.Reader, &x509.CertificateRequest{Subject: pkix.Name{CommonName: commonName}}, key)
	w.must(err)
	w.write(name, string(pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE REQUEST", Bytes: der})))
}
