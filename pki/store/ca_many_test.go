package store_test

import (
	"bytes"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"mutual/commands"
	"mutual/pki"
	"mutual/pki/keys"
	"mutual/pki/pemfile"
	"mutual/pki/pkitest"
	"mutual/pki/pkitest/tools"
	"mutual/pki/profile"
	"mutual/pki/store"
)

// TestRenewTenThousand: the command renews each CA under 10 000 live leaves,
// prints that it has verified 10 000, and openssl accepts a sample of them.
func TestRenewTenThousand(t *testing.T) {
	openssl := tools.Need(t, "openssl")
	t.Parallel()
	const count = 10_000
	dir := filepath.Join(t.TempDir(), "pki")
	p := newLargePKI(t, dir, count)
	for _, role := range []string{"issuing", "root"} {
		began := time.Now()
		out := mutual(t, dir, "ca", "renew", role)
		if !strings.Contains(out, fmt.Sprintf("verified  %d live certificates", count)) {
			t.Errorf("ca renew %s prints:\n%s", role, out)
		}
		t.Logf("ca renew %s took %s", role, time.Since(began))
	}
	sample := 0
	err := p.List(t.Context(), store.Filter{Kind: pki.KindClient}, func(c store.Certificate) error {
		if sample++; sample%500 != 0 {
			return nil
		}
		der, err := p.DER(t.Context(), c.Fingerprint)
		if err != nil {
			return err
		}
		return accepts(openssl, dir, filepath.Join(t.TempDir(), c.Name.FileBase()+".crt"), der)
	})
	if err != nil {
		t.Error(err)
	}
	if sample != count {
		t.Errorf("there are %d", sample)
	}
}

func newLargePKI(t *testing.T, dir string, count int) *store.PKI {
	t.Helper()
	lifetime := func(s string) pki.Lifetime {
		l, err := pki.ParseLifetime(s)
		if err != nil {
			t.Fatal(err)
		}
		return l
	}
	p, err := store.Init(t.Context(), dir, store.InitRequest{
		Name: "Large", RootTTL: lifetime("10y"), IssuingTTL: lifetime("5y"), KeyType: keys.P256, Constraints: profile.Constraints{},
		Settings: store.Settings{TTL: lifetime("90d"), CRLTTL: lifetime("30d"), RootCRLTTL: lifetime("1y"), KeyType: keys.P256},
	}, store.Options{Now: time.Now})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = p.Close() }) // it was only read
	if err := store.IssueMany(t.Context(), p, count, pkitest.Key(t, "leaf-p256").Public()); err != nil {
		t.Fatal(err)
	}
	return p
}

// accepts asks openssl with the files of the PKI as they stand.
func accepts(openssl, dir, path string, der []byte) error {
	certs, err := pemfile.Certificates(der)
	if err != nil {
		return err
	}
	if err := os.WriteFile(path, pemfile.EncodeCertificates(certs...), 0o600); err != nil {
		return err
	}
	out, err := exec.Command(openssl, "verify", "-x509_strict", "-crl_check_all", "-purpose", "sslclient",
		"-CAfile", filepath.Join(dir, "ca.crt"), "-CRLfile", filepath.Join(dir, "crl", "chain.pem"), path).CombinedOutput()
	if err != nil {
		return fmt.Errorf("openssl verify: %w\n%s", err, out)
	}
	return nil
}

// mutual runs a command that must succeed.
func mutual(t *testing.T, dir string, words ...string) string {
	t.Helper()
	var stdout, stderr bytes.Buffer
	code := commands.Main(append(words, "--pki", dir), commands.Env{
		Stdin:  commands.Input{Reader: strings.NewReader("")},
		Stdout: commands.Output{Writer: &stdout}, Stderr: commands.Output{Writer: &stderr},
		LookupEnv: func(string) (string, bool) { return "", false }, Unsetenv: func(string) error { return nil }, Now: time.Now,
	})
	if code != 0 {
		t.Fatalf("mutual %q exits with %d:\n%s%s", words, code, stdout.String(), stderr.String())
	}
	return stdout.String()
}
