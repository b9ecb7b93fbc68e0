package commands_test

import (
	"bytes"
	"context"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/pem"
	"errors"
	"fmt"
	"math/big"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"strings"
	"testing"
	"time"

	"mutual/pki/pkitest/tools"
)

// lint fails the test if the linter finds anything at warning or above in the
// files (certificates and CRLs, PEM or DER), or if nothing in one of them was
// judged. Building the linter takes about a second: give it every file of a
// test at once.
func lint(t *testing.T, files ...string) {
	t.Helper()
	if code, output := runZlint(t, buildZlint(t), files...); code != 0 {
		t.Errorf("zlint exits %d:\n%s", code, output)
	}
}

// buildZlint builds the linter, a module of its own, and returns its path. It
// skips the test where that cannot be done, as without network on a machine
// that has never built it; with MUTUAL_REQUIRE_TOOLS=1 that is a failure.
func buildZlint(t *testing.T) string {
	t.Helper()
	tools.Need(t, "go")
	path := filepath.Join(t.TempDir(), "zlint")
	if runtime.GOOS == "windows" {
		path += ".exe"
	}
	ctx, cancel := context.WithTimeout(t.Context(), 5*time.Minute)
	defer cancel()
	dir := filepath.Join("..", "testdata", "zlint")
	output, err := exec.CommandContext(ctx, "go", "-C", dir, "build", "-o", path).CombinedOutput()
	if err == nil {
		return path
	}
	tools.Absent(t, fmt.Sprintf("zlint cannot be built: %v: %s", err, bytes.TrimSpace(output)))
	return ""
}

func runZlint(t *testing.T, program string, files ...string) (code int, output string) {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
	defer cancel()
	out, err := exec.CommandContext(ctx, program, files...).CombinedOutput()
	var exit *exec.ExitError
	switch {
	case err == nil:
		return 0, string(out)
	case errors.As(err, &exit):
		return exit.ExitCode(), string(out)
	default:
		t.Fatalf("running zlint: %v", err)
		return 0, ""
	}
}

// TestZlint shows that the linter can tell right from wrong: a lint that never
// fails proves nothing about what we sign.
func TestZlint(t *testing.T) {
	f := newZlintFiles(t)
	lint(t, f.ca, f.leaf, f.leafDER, f.list, f.listDER)
	program := buildZlint(t)
	tests := []struct {
		name  string
		files []string
		code  int
		want  string
	}{
		{"several in a file", []string{f.bundle}, 0, "zlint: 3 objects,"},
		{"DER", []string{f.leafDER, f.listDER}, 0, "zlint: 2 objects,"},
		{"warning", []string{f.ca, f.noSKI}, 1, f.noSKI + ": w_ext_subject_key_identifier_missing_sub_cert: warn: "},
		{"error", []string{f.leaf, f.badList}, 1, f.badList + ": e_crl_revocation_time_after_this_update: error: "},
		{"second in a file", []string{f.badBundle}, 1, f.badBundle + "#2: w_ext_subject_key_identifier_missing_sub_cert: warn: "},
		{"no file", nil, 2, "zlint: usage: zlint FILE..."},
		{"missing file", []string{filepath.Join(t.TempDir(), "missing")}, 2, "missing"},
		{"empty file", []string{f.empty}, 2, "neither a certificate"},
		{"key", []string{f.key}, 2, `PEM block 1: type "PRIVATE KEY" is neither a certificate nor a CRL`},
		{"truncated", []string{f.truncated}, 2, "only 2 of 3 PEM blocks can be read"},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			code, output := runZlint(t, program, tt.files...)
			if code != tt.code || !strings.Contains(output, tt.want) {
				t.Errorf("zlint exits %d, want %d and %q:\n%s", code, tt.code, tt.want, output)
			}
		})
	}
}

// zlintFiles are inputs for the linter, made by the standard library alone.
type zlintFiles struct {
	ca, leaf, leafDER, list, listDER, bundle string // nothing to find
	noSKI, badList, badBundle                string // one finding each
	empty, key, truncated                    string // unreadable
}

func newZlintFiles(t *testing.T) zlintFiles {
	t.Helper()
	signer := newZlintSigner(t)
	leaf, noSKI := signer.leaf(t, []byte{1, 2, 3, 4}), signer.leaf(t, nil)
	list, badList := signer.list(t, signer.now), signer.list(t, signer.now.Add(time.Hour))
	pkcs8, err := x509.MarshalPKCS8PrivateKey(signer.key)
	if err != nil {
		t.Fatal(err)
	}
	block := func(kind string, der []byte) []byte {
		return pem.EncodeToMemory(&pem.Block{Type: kind, Bytes: der})
	}
	ca, leafPEM, listPEM := block("CERTIFICATE", signer.ca.Raw), block("CERTIFICATE", leaf), block("X509 CRL", list)
	bundle := bytes.Join([][]byte{ca, leafPEM, listPEM}, nil)

	dir := t.TempDir()
	write := func(name string, data []byte) string {
		path := filepath.Join(dir, name)
		if err := os.WriteFile(path, data, 0o600); err != nil {
			t.Fatal(err)
		}
		return path
	}
	return zlintFiles{
		ca:        write("ca.crt", ca),
		leaf:      write("leaf.crt", leafPEM),
		leafDER:   write("leaf.der", leaf),
		list:      write("ca.pem", listPEM),
		listDER:   write("ca.crl", list),
		bundle:    write("bundle.pem", bundle),
		noSKI:     write("no-ski.crt", block("CERTIFICATE", noSKI)),
		badList:   write("bad.crl", badList),
		badBundle: write("bad-bundle.pem", append(ca[:len(ca):len(ca)], block("CERTIFICATE", noSKI)...)),
		empty:     write("empty", nil),
		key:       write("ca.key", block("PRIVATE KEY", pkcs8)),
		truncated: write("truncated.pem", bundle[:len(bundle)-40]),
	}
}

// zlintSigner is a CA on nothing but crypto/x509.
type zlintSigner struct {
	ca  *x509.Certificate
	key *ecdsa.PrivateKey
	now time.Time
}

func newZlintSigner(t *testing.T) zlintSigner {
	t.Helper()
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	now := time.Date(2026, 9, 1, 12, 0, 0, 0, time.UTC)
	template := &x509.Certificate{
		SerialNumber:          new(big.Int).Lsh(big.NewInt(0x51), 120),
		Subject:               pkix.Name{CommonName: "zlint test CA"},
		NotBefore:             now,
		NotAfter:              now.AddDate(1, 0, 0),
		KeyUsage:              x509.KeyUsageCertSign | x509.KeyUsageCRLSign,
		BasicConstraintsValid: true,
		IsCA:                  true,
	}
	der, err := x509.CreateCertificate(rand.Reader, template, template, key.Public(), key)
	if err != nil {
		t.Fatal(err)
	}
	ca, err := x509.ParseCertificate(der)
	if err != nil {
		t.Fatal(err)
	}
	return zlintSigner{ca: ca, key: key, now: now}
}

// leaf is a client certificate without a subject key identifier if ski is nil.
func (s zlintSigner) leaf(t *testing.T, ski []byte) []byte {
	t.Helper()
	der, err := x509.CreateCertificate(rand.Reader, &x509.Certificate{
		SerialNumber:          new(big.Int).Lsh(big.NewInt(0x52), 120),
		Subject:               pkix.Name{CommonName: "alice"},
		NotBefore:             s.now,
		NotAfter:              s.now.AddDate(0, 3, 0),
		KeyUsage:              x509.KeyUsageDigitalSignature,
		ExtKeyUsage:           []x509.ExtKeyUsage{x509.ExtKeyUsageClientAuth},
		BasicConstraintsValid: true,
		SubjectKeyId:          ski,
		EmailAddresses:        []string{"alice@example.com"},
	}, s.ca, s.key.Public(), s.key)
	if err != nil {
		t.Fatal(err)
	}
	return der
}

// list is a CRL with one entry, revoked at the given time.
func (s zlintSigner) list(t *testing.T, revoked time.Time) []byte {
	t.Helper()
	der, err := x509.CreateRevocationList(rand.Reader, &x509.RevocationList{
		Number:     big.NewInt(1),
		ThisUpdate: s.now,
		NextUpdate: s.now.AddDate(0, 1, 0),
		RevokedCertificateEntries: []x509.RevocationListEntry{
			{SerialNumber: big.NewInt(7), RevocationTime: revoked, ReasonCode: 1},
		},
	}, s.ca, s.key)
	if err != nil {
		t.Fatal(err)
	}
	return der
}
