package commands_test

import (
	"bytes"
	"context"
	"crypto/x509"
	"encoding/json"
	"encoding/pem"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"mutual/commands"
)

// interopPKI is a PKI that a test drives through the commands, and the
// directory into which it issues.
type interopPKI struct {
	t        *testing.T
	dir, out string
}

func newInteropPKI(t *testing.T, flags ...string) *interopPKI {
	t.Helper()
	dir := t.TempDir()
	p := &interopPKI{t: t, dir: filepath.Join(dir, "pki"), out: filepath.Join(dir, "out")}
	p.run(append([]string{"init", "--name", "Interop"}, flags...)...)
	return p
}

// with is the PKI on behalf of a subtest.
func (p *interopPKI) with(t *testing.T) *interopPKI {
	return &interopPKI{t: t, dir: p.dir, out: p.out}
}

// run runs a command that must succeed and returns what it printed.
func (p *interopPKI) run(words ...string) string {
	p.t.Helper()
	code, stdout, stderr := p.try(words...)
	if code != 0 {
		p.t.Fatalf("mutual %q exits with %d:\n%s%s", words, code, stdout, stderr)
	}
	return stdout
}

func (p *interopPKI) try(words ...string) (code int, stdout, stderr string) {
	var out, errs bytes.Buffer
	env := commands.Env{
		Stdin:     commands.Input{Reader: strings.NewReader("")},
		Stdout:    commands.Output{Writer: &out},
		Stderr:    commands.Output{Writer: &errs},
		LookupEnv: func(string) (string, bool) { return "", false },
		Unsetenv:  func(string) error { return nil },
		Now:       time.Now,
		Version:   "v0.0.0-test",
	}
	code = commands.Main(append(words, "--pki", p.dir), env)
	return code, out.String(), errs.String()
}

// issue issues to a name and returns the file of its chain.
func (p *interopPKI) issue(kind, name string, flags ...string) (chain string) {
	p.t.Helper()
	return p.chainOf(append([]string{"issue", kind, name}, flags...)...)
}

// chainOf runs a command that issues and returns the file of the chain.
func (p *interopPKI) chainOf(words ...string) string {
	p.t.Helper()
	var issued struct{ CertificateFile string }
	if err := json.Unmarshal([]byte(p.run(append(words, "--out", p.out, "--json")...)), &issued); err != nil {
		p.t.Fatal(err)
	}
	return issued.CertificateFile
}

// file is the path of a file of the PKI, named with slashes.
func (p *interopPKI) file(name string) string { return filepath.Join(p.dir, filepath.FromSlash(name)) }

// The files that verifiers read, as they stand.
func (p *interopPKI) trust() string { return p.file("ca.crt") }
func (p *interopPKI) crls() string  { return p.file("crl/chain.pem") }

// program runs a program with an empty standard input and returns its exit
// code and all that it printed.
func program(t *testing.T, name string, args ...string) (code int, output string) {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
	defer cancel()
	cmd := exec.CommandContext(ctx, name, args...)
	cmd.Env = append(os.Environ(), "LC_ALL=C")
	out, err := cmd.CombinedOutput()
	if cmd.ProcessState == nil || !cmd.ProcessState.Exited() {
		t.Fatalf("running %s: %v\n%s", name, err, out)
	}
	return cmd.ProcessState.ExitCode(), string(out)
}

// mustProgram runs a program that must succeed and print the text.
func mustProgram(t *testing.T, want, name string, args ...string) {
	t.Helper()
	if code, output := program(t, name, args...); code != 0 || !strings.Contains(output, want) {
		t.Errorf("%s %q exits with %d, want 0 and %q:\n%s", name, args, code, want, output)
	}
}

// readCertificates reads every certificate of a PEM file.
func readCertificates(t *testing.T, path string) []*x509.Certificate {
	t.Helper()
	var certs []*x509.Certificate
	for _, der := range readPEM(t, path, "CERTIFICATE") {
		cert, err := x509.ParseCertificate(der)
		if err != nil {
			t.Fatalf("%s: %v", path, err)
		}
		certs = append(certs, cert)
	}
	return certs
}

// readLists reads every CRL of a PEM file.
func readLists(t *testing.T, path string) []*x509.RevocationList {
	t.Helper()
	var lists []*x509.RevocationList
	for _, der := range readPEM(t, path, "X509 CRL") {
		list, err := x509.ParseRevocationList(der)
		if err != nil {
			t.Fatalf("%s: %v", path, err)
		}
		lists = append(lists, list)
	}
	return lists
}

func readPEM(t *testing.T, path, kind string) (ders [][]byte) {
	t.Helper()
	data, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	for block, rest := pem.Decode(data); block != nil; block, rest = pem.Decode(rest) {
		if block.Type != kind {
			t.Fatalf("%s holds a %q, want only %q", path, block.Type, kind)
		}
		ders = append(ders, block.Bytes)
	}
	if len(ders) == 0 {
		t.Fatalf("%s holds no %q", path, kind)
	}
	return ders
}
