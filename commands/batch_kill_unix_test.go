//go:build unix

package commands

import (
	"archive/tar"
	"bytes"
	"crypto/tls"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"math/rand/v2"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"time"
)

// batchRounds is how often a batch is killed in each of its two forms.
const batchRounds = 3

// batchPKI is a PKI with a file of rows.
func batchPKI(t *testing.T, rows int) program {
	t.Helper()
	p := newProgram(t)
	p.mustRun(t, "init")
	var b strings.Builder
	b.WriteString("name,email\n")
	for i := range rows {
		fmt.Fprintf(&b, "dev-%05d,dev-%05d@example.com\n", i, i)
	}
	if err := os.WriteFile(filepath.Join(p.dir, "rows.csv"), []byte(b.String()), 0o600); err != nil {
		t.Fatal(err)
	}
	return p
}

// start begins a batch whose results go to a file, so that what a killed one
// has reported is there.
func (p program) startBatch(t *testing.T, results string, args ...string) *exec.Cmd {
	t.Helper()
	out, err := os.Create(filepath.Join(p.dir, results))
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = out.Close() }() // the program has it
	cmd := exec.Command(p.path, append([]string{"issue", "client", "--batch", "rows.csv", "--json"}, args...)...)
	cmd.Dir, cmd.Stdout = p.dir, out
	cmd.Env = append(os.Environ(), "MUTUAL_PKI="+p.pki, "GORACE=atexit_sleep_ms=0")
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	return cmd
}

// batchLine is a line of the results.
type batchLine struct {
	Name, Serial, Error string
	Key                 string `json:"keyFile"`
	Certificate         string `json:"certificateFile"`
}

// reported reads the results, of which the last may be half a line.
func (p program) reported(t *testing.T, results string) map[string]batchLine {
	t.Helper()
	data, err := os.ReadFile(filepath.Join(p.dir, results))
	if err != nil {
		t.Fatal(err)
	}
	out := map[string]batchLine{}
	for line := range bytes.Lines(data) {
		if !bytes.HasSuffix(line, []byte("\n")) {
			break
		}
		var v batchLine
		if err := json.Unmarshal(line, &v); err != nil {
			t.Fatalf("%s: %v", line, err)
		}
		if v.Error == "" {
			out[v.Name] = v
		}
	}
	return out
}

// archived reads the entries of an archive, as far as it goes.
func archived(t *testing.T, path string) map[string][]byte {
	t.Helper()
	out := map[string][]byte{}
	data, err := os.ReadFile(path)
	if errors.Is(err, fs.ErrNotExist) {
		return out
	}
	if err != nil {
		t.Fatal(err)
	}
	r := tar.NewReader(bytes.NewReader(data))
	for {
		h, err := r.Next()
		if err != nil { // the end, or where it was killed
			return out
		}
		content, err := io.ReadAll(r)
		if err != nil {
			return out
		}
		out[h.Name] = content
	}
}

// checkReported: what was reported is in the inventory, and its key is there with
// the certificate.
func (p program) checkReported(t *testing.T, rows map[string]batchLine, read func(file string) []byte) {
	t.Helper()
	known := map[string]bool{}
	for _, c := range p.listed(t) {
		known[c.Serial] = true
	}
	for name, v := range rows {
		if !known[v.Serial] {
			t.Fatalf("%s was reported, and %s is not in the inventory", name, v.Serial)
		}
		pair, err := tls.X509KeyPair(read(v.Certificate), read(v.Key))
		if err != nil {
			t.Fatalf("%s was reported: %v", name, err)
		}
		if got := fmt.Sprintf("%032x", pair.Leaf.SerialNumber); got != v.Serial {
			t.Fatalf("%s was reported with %s, and its file has %s", name, v.Serial, got)
		}
	}
	p.mustRun(t, "log", "--verify")
}

// A batch that is killed at any time has lost nothing that it reported, and
// nothing has half a content under its final name.
func TestKilledBatch(t *testing.T) {
	if testing.Short() {
		t.Skip("not with -short: it kills a program many times")
	}
	t.Parallel()
	const rows = 4000
	p := batchPKI(t, rows)
	began := time.Now()
	if err := p.startBatch(t, "whole", "--tar", "whole.tar").Wait(); err != nil {
		t.Fatal(err)
	}
	took := time.Since(began)
	if n := len(p.reported(t, "whole")); n != rows {
		t.Fatalf("%d of %d are reported", n, rows)
	}
	random := rand.New(rand.NewPCG(7, 7))
	killed, lines := 0, 0
	for round := range 2 * batchRounds {
		results, place := fmt.Sprintf("results-%d", round), fmt.Sprintf("place-%d", round)
		flag := []string{"--tar", "--out"}[round%2]
		cmd := p.startBatch(t, results, flag, place)
		time.Sleep(took/8 + time.Duration(random.Int64N(int64(took))))
		_ = cmd.Process.Kill() // it may have ended
		if cmd.Wait() != nil {
			killed++
		}
		done := p.reported(t, results)
		lines += len(done)
		if flag == "--tar" {
			in := archived(t, filepath.Join(p.dir, place+".partial"))
			if whole := archived(t, filepath.Join(p.dir, place)); len(whole) > 0 {
				in = whole
			}
			p.checkReported(t, done, func(file string) []byte { return in[file] })
			continue
		}
		p.checkReported(t, done, func(file string) []byte {
			data, err := os.ReadFile(filepath.Join(p.dir, file))
			if err != nil {
				t.Fatal(err)
			}
			return data
		})
		p.checkWhole(t, place)
	}
	t.Logf("%d of %d were killed, with %d rows reported", killed, 2*batchRounds, lines)
	if lines == 0 || killed == 0 {
		t.Error("no batch was killed after it had reported something")
	}
}

// checkWhole: what has its final name in a directory is a key or a certificate.
func (p program) checkWhole(t *testing.T, dir string) {
	t.Helper()
	for _, path := range glob(t, filepath.Join(p.dir, dir, "dev-*")) {
		data, err := os.ReadFile(path)
		if err != nil {
			t.Fatal(err)
		}
		if !bytes.HasSuffix(data, []byte("-----\n")) {
			t.Fatalf("%s has half a content", path)
		}
	}
}

func glob(t *testing.T, pattern string) []string {
	t.Helper()
	found, err := filepath.Glob(pattern)
	if err != nil {
		t.Fatal(err)
	}
	return found
}

// A batch that is interrupted ends with 130 after the rows in hand; what it
// reported is there, and it says where.
func TestInterruptedBatch(t *testing.T) {
	t.Parallel()
	for _, flag := range []string{"--tar", "--out"} {
		p := batchPKI(t, 20000)
		var said safeBuffer
		cmd := exec.Command(p.path, "issue", "client", "--batch", "rows.csv", "--json", flag, "place")
		cmd.Dir, cmd.Stderr = p.dir, &said
		cmd.Env = append(os.Environ(), "MUTUAL_PKI="+p.pki, "GORACE=atexit_sleep_ms=0")
		out, err := os.Create(filepath.Join(p.dir, "results"))
		if err != nil {
			t.Fatal(err)
		}
		cmd.Stdout = out
		if err := cmd.Start(); err != nil {
			t.Fatal(err)
		}
		waitFor(t, "the first results", func() bool {
			info, err := out.Stat()
			return err == nil && info.Size() > 0
		})
		if err := cmd.Process.Signal(syscall.SIGINT); err != nil {
			t.Fatal(err)
		}
		_ = cmd.Wait() // the exit code is looked at below
		if code := cmd.ProcessState.ExitCode(); code != exitInterrupted {
			t.Errorf("%s: exit code %d: %s", flag, code, said.String())
		}
		done := p.reported(t, "results")
		if len(done) == 0 || len(done) == 20000 || len(done)%1000 != 0 {
			t.Errorf("%s: %d rows are reported", flag, len(done))
		}
		if n := len(p.listed(t, "--kind", "client")); n != len(done) {
			t.Errorf("%s: %d rows are reported, and the inventory has %d", flag, len(done), n)
		}
		in := archived(t, filepath.Join(p.dir, "place.partial"))
		if flag == "--tar" {
			if len(in) != 2*len(done) || !strings.Contains(said.String(), "what was issued is in place.partial") {
				t.Errorf("the archive has %d entries, and stderr is %q", len(in), said.String())
			}
			p.checkReported(t, done, func(file string) []byte { return in[file] })
			continue
		}
		// On a busy machine the hidden directory may stay: who was interrupted
		// has two seconds to tidy up.
		if left := glob(t, filepath.Join(p.dir, "place", "dev-*")); len(left) != 2*len(done) {
			t.Errorf("the directory has %d files", len(left))
		}
	}
}
