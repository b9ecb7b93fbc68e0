//go:build unix

package commands

import (
	"bytes"
	"fmt"
	"math/rand/v2"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"mutual/pki/keys"
	"mutual/pki/pemfile"
)

// An init that is killed at any time leaves a PKI that is whole, or nothing
// that the next one trips over.
func TestKilledInit(t *testing.T) {
	if testing.Short() {
		t.Skip("not with -short: it kills a program many times")
	}
	t.Parallel()
	dir := t.TempDir()
	random := rand.New(rand.NewPCG(2, 2))
	took := whole(t, dir, "init", "--pki", "whole")
	left := 0
	for round := range killRounds {
		name := fmt.Sprintf("pki-%d", round)
		done := killed(t, random, took, dir, "init", "--pki", name)
		_, err := os.Stat(filepath.Join(dir, name))
		if done && err != nil {
			t.Fatalf("round %d: it was done, and there is no PKI: %v", round, err)
		}
		if err != nil {
			left++
			whole(t, dir, "init", "--pki", name)
		}
		whole(t, dir, "status", "--pki", name)
		whole(t, dir, "issue", "client", name, "--pki", name)
	}
	t.Logf("%d of %d were killed before there was a PKI", left, killRounds)
	if left == 0 {
		t.Error("none was killed in time")
	}
}

// An issue that is killed at any time loses no key of a certificate that
// exists: both files are there and belong together, or the key is beside its
// place. A certificate is never without its key, and the name is free again.
func TestKilledIssue(t *testing.T) {
	if testing.Short() {
		t.Skip("not with -short: it kills a program many times")
	}
	t.Parallel()
	dir, mutual := crashPKI(t)
	random := rand.New(rand.NewPCG(3, 3))
	took := whole(t, dir, "issue", "client", "carol")
	waiting := 0
	for round := range killRounds {
		name := fmt.Sprintf("client-%d", round)
		done := killed(t, random, took, dir, "issue", "client", name)
		issued, err := mutual("show", name, "--pem")
		key := filepath.Join(dir, name+".key")
		switch {
		case err != nil && (done || exists(key)):
			t.Fatalf("round %d: done %t, the key is there %t, and the certificate is not in the inventory:\n%s", round, done, exists(key), issued)
		case err != nil: // nothing had happened yet
		case exists(filepath.Join(dir, name+".crt")):
			on, err := os.ReadFile(filepath.Join(dir, name+".crt"))
			if err != nil {
				t.Fatal(err)
			}
			if !bytes.Equal(on, []byte(issued)) {
				t.Errorf("round %d: the file holds another certificate than the inventory", round)
			}
			belongs(t, key, issued)
		case done:
			t.Fatalf("round %d: it was done, and there is no certificate", round)
		case exists(key):
			belongs(t, key, issued)
		default:
			waiting++
			beside, err := filepath.Glob(filepath.Join(dir, "."+name+".key.*"))
			if err != nil || len(beside) != 1 {
				t.Fatalf("round %d: the certificate exists, and its key does not: %q, %v", round, beside, err)
			}
			belongs(t, beside[0], issued)
		}
		if !done {
			whole(t, dir, "issue", "client", name, "--force")
		}
	}
	whole(t, dir, "log", "--verify")
	t.Logf("%d of %d were killed between the certificate and its files", waiting, killRounds)
}

// A revocation that is killed at any time is made or not made, and what was
// reported done is in the list that servers read. That list is whole at every
// instant: who is not revoked is accepted with it as it stands.
func TestKilledRevoke(t *testing.T) {
	if testing.Short() {
		t.Skip("not with -short: it kills a program many times")
	}
	t.Parallel()
	dir, mutual := crashPKI(t)
	random := rand.New(rand.NewPCG(4, 4))
	whole(t, dir, "issue", "client", "carol")
	took := whole(t, dir, "revoke", "carol")
	served := func(name string) (string, error) {
		return mutual("verify", name+".crt", "--ca", filepath.Join("pki", "ca.crt"), "--crl", filepath.Join("pki", "crl", "chain.pem"))
	}
	overdue := 0
	for round := range killRounds {
		name := fmt.Sprintf("client-%d", round)
		whole(t, dir, "issue", "client", name)
		done := killed(t, random, took, dir, "revoke", name)
		if out, err := served("alice"); err != nil {
			t.Fatalf("round %d: %v\n%s", round, err, out)
		}
		state, err := mutual("list", "--name", name, "--revoked")
		if err != nil {
			t.Fatalf("round %d: %v\n%s", round, err, state)
		}
		revoked := strings.Contains(state, name)
		out, err := served(name)
		switch refused := err != nil && strings.HasPrefix(out, "bad "); {
		case done && !(revoked && refused):
			t.Fatalf("round %d: it was done: in the inventory %t, in the list %t\n%s", round, revoked, refused, out)
		case refused && !revoked:
			t.Fatalf("round %d: the list has it, and the inventory has not", round)
		case revoked && !refused:
			overdue++
			if out, err := mutual("status"); err == nil {
				t.Fatalf("round %d: the list lacks it, and nothing is due:\n%s", round, out)
			}
		}
		if done {
			continue
		}
		whole(t, dir, "crl", "refresh")
		if out, err := served(name); (err != nil && strings.HasPrefix(out, "bad ")) != revoked {
			t.Fatalf("round %d: in the inventory %t, and after a refresh:\n%s", round, revoked, out)
		}
	}
	whole(t, dir, "log", "--verify")
	t.Logf("%d of %d were killed between the inventory and the list", overdue, killRounds)
}

// belongs fails unless the file holds the key of the first certificate.
func belongs(t *testing.T, file, certificates string) {
	t.Helper()
	chain, err := pemfile.Certificates([]byte(certificates))
	if err != nil {
		t.Fatal(err)
	}
	raw, err := os.ReadFile(file)
	if err != nil {
		t.Fatal(err)
	}
	key, err := pemfile.Key(raw, nil)
	if err != nil {
		t.Fatalf("%s: %v", file, err)
	}
	if !keys.Equal(key.Public(), chain[0].PublicKey) {
		t.Errorf("%s does not belong to the certificate", file)
	}
}
