package commands

import (
	"context"
	"encoding/json"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"
)

// processes is how many programs write into one PKI at once.
const processes = 32

// program runs this test's binary as mutual on a PKI.
type program struct{ path, dir, pki string }

func newProgram(t *testing.T) program {
	t.Helper()
	path, err := exec.LookPath("mutual") // TestMain put it there
	if err != nil {
		t.Fatal(err)
	}
	dir := t.TempDir()
	return program{path: path, dir: dir, pki: filepath.Join(dir, "pki")}
}

// run gives standard output, or an error that holds everything.
func (p program) run(words ...string) (string, error) {
	ctx, cancel := context.WithTimeout(context.Background(), 2*time.Minute)
	defer cancel()
	c := exec.CommandContext(ctx, p.path, words...)
	c.Dir = p.dir
	c.Env = append(os.Environ(), "MUTUAL_PKI="+p.pki, "HOME="+p.dir, "GORACE=atexit_sleep_ms=0")
	var stderr strings.Builder
	c.Stderr = &stderr
	out, err := c.Output()
	if err != nil {
		err = fmt.Errorf("mutual %s: %w\n%s%s", strings.Join(words, " "), err, out, stderr.String())
	}
	return string(out), err
}

func (p program) mustRun(t *testing.T, words ...string) string {
	t.Helper()
	out, err := p.run(words...)
	if err != nil {
		t.Fatal(err)
	}
	return out
}

// atOnce runs every command line in a process of its own, all at once.
func (p program) atOnce(t *testing.T, lines [][]string) []string {
	t.Helper()
	out := make([]string, len(lines))
	var all sync.WaitGroup
	for i, words := range lines {
		all.Go(func() {
			var err error
			if out[i], err = p.run(words...); err != nil {
				t.Error(err)
			}
		})
	}
	all.Wait()
	return out
}

// listed gives the inventory by serial.
func (p program) listed(t *testing.T, words ...string) map[string]certificateRow {
	t.Helper()
	var rows []certificateRow
	if err := json.Unmarshal([]byte(p.mustRun(t, append([]string{"list", "--all", "--json"}, words...)...)), &rows); err != nil {
		t.Fatal(err)
	}
	bySerial := map[string]certificateRow{}
	for _, row := range rows {
		bySerial[row.Serial] = row
	}
	if len(bySerial) != len(rows) {
		t.Errorf("%d certificates have %d serials", len(rows), len(bySerial))
	}
	return bySerial
}

type certificateRow struct{ Name, Serial, State string }

// Thirty-two processes issue into one PKI at once: all succeed, every serial
// is its own, and nothing is missing from inventory and journal.
func TestProcessesIssueAtOnce(t *testing.T) {
	p := newProgram(t)
	p.mustRun(t, "init")
	var lines [][]string
	for i := range processes {
		lines = append(lines, []string{"issue", "client", fmt.Sprintf("client-%02d", i), "--json"})
	}
	out := p.atOnce(t, lines)
	listed := p.listed(t)
	if len(listed) != processes+2 {
		t.Errorf("%d certificates are listed", len(listed))
	}
	for i, text := range out {
		var row certificateRow
		if err := json.Unmarshal([]byte(text), &row); err != nil {
			t.Errorf("process %d: %v", i, err)
			continue
		}
		if got := listed[row.Serial]; got.Name != row.Name || got.State != "valid" {
			t.Errorf("%v is listed as %v", row, got)
		}
		for _, name := range []string{row.Name + ".key", row.Name + ".crt"} {
			if _, err := os.Stat(filepath.Join(p.dir, name)); err != nil {
				t.Error(err)
			}
		}
	}
	p.mustRun(t, "log", "--verify")
	p.checkNothingLeft(t, 2*processes+1)
}

// checkNothingLeft counts what lies beside and in the PKI.
func (p program) checkNothingLeft(t *testing.T, beside int) {
	t.Helper()
	for dir, want := range map[string]int{p.dir: beside, p.pki: 9, filepath.Join(p.pki, "crl"): 6} {
		entries, err := os.ReadDir(dir)
		if err != nil {
			t.Fatal(err)
		}
		if len(entries) != want {
			t.Errorf("%s holds %v", dir, entries)
		}
	}
}

// Issuing, revoking, listing and checking at once: everything succeeds, and
// who was revoked is out, in the inventory and in the list.
func TestProcessesMixed(t *testing.T) {
	t.Parallel()
	p := newProgram(t)
	p.mustRun(t, "init")
	var before, lines [][]string
	for i := range processes / 4 {
		old, fresh := fmt.Sprintf("old-%02d", i), fmt.Sprintf("new-%02d", i)
		before = append(before, []string{"issue", "client", old})
		lines = append(lines, []string{"issue", "client", fresh}, []string{"revoke", old}, []string{"list", "--json"},
			[][]string{{"log", "--verify"}, {"config", "ttl"}, {"crl", "refresh"}, {"tree"}}[i%4])
	}
	p.atOnce(t, before)
	p.atOnce(t, lines)
	for _, row := range p.listed(t, "--kind", "client") {
		want := "valid"
		if strings.HasPrefix(row.Name, "old") {
			want = "revoked"
		}
		if row.State != want {
			t.Errorf("%s is %s", row.Name, row.State)
		}
	}
	var lists []struct {
		Revoked []any `json:"revokedCertificates"`
	}
	if err := json.Unmarshal([]byte(p.mustRun(t, "crl", "show", "--json")), &lists); err != nil {
		t.Fatal(err)
	}
	if got := len(lists[0].Revoked); got != processes/4 {
		t.Errorf("the list has %d entries", got)
	}
	p.mustRun(t, "log", "--verify")
	p.mustRun(t, "crl", "verify")
	p.mustRun(t, "status")
	p.checkNothingLeft(t, processes+1)
}

// Ten processes issue to one name into one directory at once: one does, and
// the others are refused before a certificate exists for them.
func TestProcessesIssueOneName(t *testing.T) {
	t.Parallel()
	p := newProgram(t)
	p.mustRun(t, "init")
	errs := make([]error, 10)
	var all sync.WaitGroup
	for i := range errs {
		all.Go(func() { _, errs[i] = p.run("issue", "client", "alice") })
	}
	all.Wait()
	issued := 0
	for _, err := range errs {
		switch {
		case err == nil:
			issued++
		case !strings.Contains(err.Error(), "is there already: ") && !strings.Contains(err.Error(), "another process is writing it at this moment"):
			t.Error(err)
		}
	}
	if n := len(p.listed(t, "--kind", "client")); issued != 1 || n != 1 {
		t.Errorf("%d processes have issued, and %d certificates are in the inventory", issued, n)
	}
	p.checkNothingLeft(t, 3)
}
