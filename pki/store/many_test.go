package store

import (
	"errors"
	"fmt"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"mutual/pki/pemfile"
	"mutual/pki/pkitest/tools"
)

// TestSevenHundred issues and revokes seven hundred times in a row. OpenSSL,
// which refuses everyone on a list from the future, then still accepts bob and
// refuses each of them.
func TestSevenHundred(t *testing.T) {
	openssl := tools.Need(t, "openssl")
	t.Parallel()
	const many = 700
	f := newFixtureAt(t, time.Now()) // OpenSSL looks at the same clock
	out := t.TempDir()
	f.writeLeaf("bob", out)
	var gone []string
	for i := range many {
		n := fmt.Sprintf("client-%03d", i)
		gone = append(gone, f.writeLeaf(n, out))
		f.now = time.Now()
		f.revoke(n)
	}
	if got := f.crlEntries(); got != many {
		t.Errorf("the list has %d entries", got)
	}
	verify := func(leaves ...string) (string, error) {
		args := append([]string{"verify", "-x509_strict", "-crl_check_all", "-CAfile", f.Path("root.crt"), "-untrusted", f.Path("issuing.crt"),
			"-CRLfile", f.Path("crl/chain.pem"), "-purpose", "sslclient"}, leaves...)
		text, err := exec.Command(openssl, args...).CombinedOutput()
		return string(text), err
	}
	if text, err := verify(filepath.Join(out, "bob.crt")); err != nil {
		t.Errorf("bob: %v: %s", err, text)
	}
	text, err := verify(gone...)
	if _, failed := errors.AsType[*exec.ExitError](err); !failed {
		t.Errorf("openssl says %v", err)
	}
	if refused, ok := strings.Count(text, "certificate revoked"), strings.Count(text, ": OK"); refused != many || ok != 0 {
		t.Errorf("%d are refused, %d accepted", refused, ok)
	}
}

// writeLeaf issues to a name and writes the certificate.
func (f *fixture) writeLeaf(who, dir string) string {
	f.t.Helper()
	f.now = time.Now()
	issued, err := f.tryIssue(who, "")
	f.must(err)
	path := filepath.Join(dir, who+".crt")
	write(f.t, path, pemfile.EncodeCertificates(issued.Certificate))
	return path
}
