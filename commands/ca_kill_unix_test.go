//go:build unix

package commands

import (
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"
)

// TestCAActsKilled kills acts on the CAs after ever longer times. Whatever is
// left, no key is lost: the PKI opens, the next act puts its files right, what
// was issued verifies, and the acts go through when nobody kills them.
func TestCAActsKilled(t *testing.T) {
	if testing.Short() {
		t.Skip("not with -short: it starts many processes")
	}
	t.Parallel()
	dir := t.TempDir()
	pkiDir := filepath.Join(dir, "pki")
	mutual := func(words ...string) string {
		t.Helper()
		out, err := exec.Command("mutual", append(words, "--pki", pkiDir)...).CombinedOutput()
		if err != nil {
			t.Fatalf("mutual %q: %v\n%s", words, err, out)
		}
		return string(out)
	}
	write := func(name, text string) string {
		path := filepath.Join(dir, name)
		if err := os.WriteFile(path, []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
		return path
	}
	mutual("init", "--publish", filepath.Join(dir, "srv"))
	mutual("issue", "client", "alice", "--out", dir)
	acts := [][]string{{"renew", "issuing"}, {"renew", "issuing", "--rekey"}, {"renew", "root", "--rekey"}, {"retire", "issuing", "--force"}}
	for i := range 24 {
		act := append([]string{"ca"}, acts[i%len(acts)]...)
		cmd := exec.Command("mutual", append(act, "--pki", pkiDir)...)
		if err := cmd.Start(); err != nil {
			t.Fatal(err)
		}
		time.Sleep(time.Duration(i/len(acts)*12+4) * time.Millisecond)
		_ = cmd.Process.Kill() // it may have ended
		_ = cmd.Wait()
		mutual("issue", "client", "bob", "--out", dir, "--force")
		mutual("verify", filepath.Join(dir, "bob.crt"))
		mutual("verify", filepath.Join(dir, "bob.crt"), "--ca", filepath.Join(dir, "srv", "ca.crt"), "--crl", filepath.Join(dir, "srv", "crl", "chain.pem"))
		mutual("crl", "refresh")
		mutual("log", "--verify")
	}
	shown := mutual("ca", "show")
	if strings.Contains(shown, "not in the PKI") {
		t.Errorf("a key is lost:\n%s", shown)
	}

	old, next := write("old", "old\n"), write("next", "next\n")
	mutual("ca", "passphrase", "--new-passphrase-file", old)
	cmd := exec.Command("mutual", "ca", "passphrase", "--pki", pkiDir, "--passphrase-file", old, "--new-passphrase-file", next)
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	time.Sleep(700 * time.Millisecond)
	_ = cmd.Process.Kill() // it may have ended
	_ = cmd.Wait()
	mutual("ca", "passphrase", "--passphrase-file", old, "--new-passphrase-file", next)
	mutual("ca", "renew", "issuing", "--rekey", "--passphrase-file", next)
}
