package store

import (
	"crypto"
	"errors"
	"fmt"
	"maps"
	"os"
	"path/filepath"
	"testing"

	"mutual/pki"
	"mutual/pki/internal/durable"
	"mutual/pki/keys"
	"mutual/pki/pemfile"
)

// change gives the CA keys another passphrase, none if it is empty.
func (f *fixture) change(next string, rootKey string) error {
	f.t.Helper()
	req := PassphraseChange{RootKey: rootKey}
	if next != "" {
		req.New = func() ([]byte, error) { return []byte(next), nil }
	}
	_, err := f.ChangePassphrase(f.t.Context(), req)
	return err
}

// keysUnder reads every CA key, which must open with the passphrase alone.
func (f *fixture) keysUnder(passphrase string, more ...string) map[string]string {
	f.t.Helper()
	out := map[string]string{}
	found, err := keyFiles(f.dir)
	f.must(err)
	for _, path := range append(found, more...) {
		data := read(f.t, path)
		signer, err := pemfile.Key(data, nil)
		if encrypted := errors.Is(err, pemfile.ErrEncrypted); encrypted != (passphrase != "") {
			f.t.Errorf("%s: encrypted is %t", path, encrypted)
		}
		if passphrase != "" {
			signer, err = pemfile.Key(data, []byte(passphrase))
		}
		f.must(err)
		out[filepath.Base(path)] = keyIDText(f.t, signer)
		if err := checkMode(path, 0o600); err != nil {
			f.t.Error(err)
		}
	}
	return out
}

func keyIDText(t *testing.T, signer crypto.Signer) string {
	id, err := keys.KeyID(signer.Public())
	if err != nil {
		t.Fatal(err)
	}
	return fmt.Sprintf("%x", id)
}

// The passphrase is set, changed and removed on every CA key: in use, older,
// requested, and the root's elsewhere. No key becomes another.
func TestChangePassphrase(t *testing.T) {
	if testing.Short() {
		t.Skip("not with -short: it derives many keys from passphrases")
	}
	t.Parallel()
	rootKey := filepath.Join(t.TempDir(), "root.key")
	f := newFixture(t, func(r *InitRequest) { r.RootKeyOut = rootKey })
	f.renew(pki.KindIssuing, "5y", rekey, func(r *CARenewal) { r.RootKey = rootKey })
	_, err := f.RequestCA(t.Context(), CARequest{Rekey: &Rekey{}})
	f.must(err)
	want := f.keysUnder("", rootKey)
	if len(want) != 4 {
		t.Fatalf("the keys are %v", want)
	}
	old := ""
	for _, next := range []string{"first", "second", ""} {
		f.reopen()
		f.passphrase = []byte(old)
		f.must(f.change(next, rootKey))
		if got := f.keysUnder(next, rootKey); !maps.Equal(got, want) {
			t.Errorf("with %q the keys are %v, want %v", next, got, want)
		}
		f.passphrase, old = []byte(next), next
	}
	f.unchanged(func() error { f.must(f.change("", rootKey)); return ErrExists }, ErrExists, "") // it is so already
	f.reopen()
	f.renew(pki.KindIssuing, "5y", func(r *CARenewal) { r.RootKey = rootKey })
	f.noKeyCopies()
}

func TestChangePassphraseIsRefused(t *testing.T) {
	if testing.Short() {
		t.Skip("not with -short: it derives many keys from passphrases")
	}
	f := newFixture(t, func(r *InitRequest) { r.Passphrase = []byte("right") })
	f.reopen()
	f.passphrase = []byte("wrong")
	f.unchanged(func() error { return f.change("next", "") }, keys.ErrPassphrase, "issuing.key")
	f.unchanged(func() error { return f.change("", "") }, keys.ErrPassphrase, "issuing.key")
	f.unchanged(func() error { return f.change("next", filepath.Join(f.dir, "nosuch")) }, nil, "")
	f.keysUnder("right")
}

// Killed between two keys, the same change finishes, and no other copy of a key
// is left.
func TestChangePassphraseKilledHalfway(t *testing.T) {
	if testing.Short() {
		t.Skip("not with -short: it derives many keys from passphrases")
	}
	t.Parallel()
	f := newFixture(t, func(r *InitRequest) { r.Passphrase = []byte("old") })
	want := f.keysUnder("old")
	first := read(t, filepath.Join(f.dir, "root.key"))
	f.must(f.change("new", ""))
	write(t, filepath.Join(f.dir, "root.key"), first) // as if it had not come to the second
	f.must(os.Chmod(filepath.Join(f.dir, "root.key"), 0o600))
	_, err := durable.Stage(filepath.Join(f.dir, "root.key"), first, 0o600) // which has no name yet
	f.must(err)
	f.reopen()
	f.passphrase = []byte("old")
	f.must(f.change("new", ""))
	if got := f.keysUnder("new"); !maps.Equal(got, want) {
		t.Errorf("the keys are %v, want %v", got, want)
	}
	f.noKeyCopies()
}

// noKeyCopies wants no key under a temporary name.
func (f *fixture) noKeyCopies() {
	f.t.Helper()
	if left, err := filepath.Glob(filepath.Join(f.dir, ".*.tmp")); err != nil || left != nil {
		f.t.Errorf("left behind are %v, %v", left, err)
	}
}
