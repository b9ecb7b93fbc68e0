package store

import (
	"os"
	"path/filepath"
	"strings"
	"testing"

	"mutual/pki"
)

func TestRetireIssuing(t *testing.T) {
	f := newFixture(t)
	ctx := t.Context()
	retire := func(which string, force bool) func() error {
		return func() error { _, err := f.RetireCA(ctx, which, force); return err }
	}
	alice := f.issue("alice", "")
	before, err := f.CACertificate(ctx, pki.KindIssuing)
	f.must(err)
	old := shortID(before.SubjectKeyId)
	f.unchanged(retire("issuing", true), ErrNewestCA, `"issuing": it is the newest of its role`)
	f.renew(pki.KindIssuing, "5y", rekey)
	f.issue("bob", "")
	f.unchanged(retire("issuing", false), ErrLive, "CN=Acme TEST Issuing CA "+old+" cannot be retired: live certificates depend on it: 1")
	f.unchanged(retire("root", true), ErrNewestCA, `"root": it is the newest of its role`)
	f.unchanged(retire("01234567", true), ErrNoCA, `"01234567": it is no CA in use`)
	f.unchanged(retire(old[:7], true), ErrNoCA, "it is no CA in use")

	f.revoke("alice")
	done, err := f.RetireCA(ctx, old, false)
	f.must(err)
	if done.Live != 0 || len(done.CRLs) != 2 {
		t.Errorf("%d live, %d lists", done.Live, len(done.CRLs))
	}
	for _, name := range files(t, f.dir) {
		if strings.Contains(name, old) && filepath.Base(name) != "issuing-"+old+".key" {
			t.Errorf("%s is still there", name)
		}
	}
	if _, err := os.Stat(filepath.Join(f.dir, "issuing-"+old+".key")); err != nil {
		t.Error("the key is gone")
	}
	f.reopen()
	known, err := f.Lookup(ctx, alice.Fingerprint)
	f.must(err)
	if !known.Retired {
		t.Error("alice's issuer is not known as retired")
	}
	if _, _, err := f.VerifyJournal(ctx, nil); err != nil {
		t.Error(err) // the retired key's signatures still count
	}
	if _, err := f.RetireCA(ctx, old, true); err == nil {
		t.Error("it was retired twice")
	}
}

// A root may go once nobody has a chain that leads to it.
func TestRetireRoot(t *testing.T) {
	f := newFixture(t)
	ctx := t.Context()
	f.issue("alice", "")
	former, err := f.CACertificate(ctx, pki.KindRoot)
	f.must(err)
	f.renew(pki.KindRoot, "10y", rekey)
	f.issue("bob", "")
	f.unchanged(func() error { _, err := f.RetireCA(ctx, "root", false); return err }, ErrLive, "live certificates depend on it: 1")
	f.renew(pki.KindIssuing, "6y") // alice's chain is as it was
	f.unchanged(func() error { _, err := f.RetireCA(ctx, "root", false); return err }, ErrLive, "live certificates depend on it: 1")
	forced := copyFixture(f)
	if done, err := forced.RetireCA(ctx, "root", true); err != nil || done.Live != 1 {
		t.Errorf("%+v, %v", done, err)
	}

	f.now = f.now.AddDate(0, 0, 89)
	carol := f.issue("carol", "")
	f.now = f.now.AddDate(0, 0, 2) // alice's has ended
	_, err = f.RetireCA(ctx, "root", false)
	f.must(err)
	if certs := f.certs("ca.crt"); len(certs) != 2 || certs[1].Equal(former) {
		t.Errorf("ca.crt holds %d certificates", len(certs))
	}
	if !f.verifies(carol) {
		t.Error("carol does not verify")
	}
	issued, err := f.tryIssue("dave", "")
	f.must(err)
	if len(issued.Chain) != 2 {
		t.Errorf("a chain of %d", len(issued.Chain))
	}
}

// Several older CAs of a role are told apart by their keys.
func TestRetireNeedsToKnowWhich(t *testing.T) {
	f := newFixture(t)
	first, err := f.CACertificate(t.Context(), pki.KindIssuing)
	f.must(err)
	f.renew(pki.KindIssuing, "5y", rekey)
	f.renew(pki.KindIssuing, "5y", rekey)
	f.unchanged(func() error { _, err := f.RetireCA(t.Context(), "issuing", false); return err }, ErrWhichCA, "several CAs could be meant")
	_, err = f.RetireCA(t.Context(), shortID(first.SubjectKeyId), false)
	f.must(err)
	_, err = f.RetireCA(t.Context(), "issuing", false)
	f.must(err)
	cas, err := f.CAs(t.Context())
	f.must(err)
	var states []CAState
	for _, ca := range cas {
		states = append(states, ca.State)
		if ca.KeyFile == "" {
			t.Errorf("the key of %s CA %s is not here", ca.Role, ca.Key)
		}
	}
	if len(states) != 4 || states[0] != CAActive || states[1] != CAActive || states[2] != CAOut || states[3] != CAOut {
		t.Errorf("the states are %v", states)
	}
}

// copyFixture is a copy of a PKI, as it is on another machine.
func copyFixture(f *fixture) *fixture {
	f.t.Helper()
	f.must(f.Close())
	c := &fixture{t: f.t, dir: filepath.Join(f.t.TempDir(), "pki"), now: f.now, passphrase: f.passphrase}
	f.must(os.CopyFS(c.dir, os.DirFS(f.dir)))
	for _, name := range files(f.t, c.dir) {
		mode := os.FileMode(0o600)
		if info, err := os.Stat(c.dir + name); err == nil && info.IsDir() {
			mode = 0o700
		}
		f.must(os.Chmod(c.dir+name, mode))
	}
	f.reopen()
	p, err := Open(f.t.Context(), c.dir, c.options())
	f.must(err)
	c.PKI = p
	f.t.Cleanup(func() { _ = c.Close() }) // a test may have closed it
	return c
}
