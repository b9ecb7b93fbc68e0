package store

import (
	"bytes"
	"crypto/x509"
	"errors"
	"maps"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"mutual/pki"
	"mutual/pki/authority"
	"mutual/pki/keys"
	"mutual/pki/pemfile"
)

// renew renews a CA that must be renewed.
func (f *fixture) renew(role pki.Kind, ttl string, changes ...func(*CARenewal)) *CARenewed {
	f.t.Helper()
	done, err := f.tryRenew(role, ttl, changes...)
	f.must(err)
	return done
}

func (f *fixture) tryRenew(role pki.Kind, ttl string, changes ...func(*CARenewal)) (*CARenewed, error) {
	f.t.Helper()
	req := CARenewal{Role: role, TTL: lifetime(ttl)}
	for _, change := range changes {
		change(&req)
	}
	return f.RenewCA(f.t.Context(), req)
}

func rekey(r *CARenewal) { r.Rekey = &Rekey{} }

// certs reads a certificate file of the PKI.
func (f *fixture) certs(name string) []*x509.Certificate {
	f.t.Helper()
	certs, err := pemfile.Certificates(read(f.t, filepath.Join(f.dir, name)))
	f.must(err)
	return certs
}

// certFile gives a certificate of the inventory.
func (f *fixture) cert(c Certificate) *x509.Certificate {
	f.t.Helper()
	der, err := f.DER(f.t.Context(), c.Fingerprint)
	f.must(err)
	cert, err := x509.ParseCertificate(der)
	f.must(err)
	return cert
}

// verifies reports whether a certificate verifies under what a server trusts.
func (f *fixture) verifies(c Certificate, anchors ...*x509.Certificate) bool {
	f.t.Helper()
	o := x509.VerifyOptions{Roots: x509.NewCertPool(), Intermediates: x509.NewCertPool(), CurrentTime: f.now,
		KeyUsages: []x509.ExtKeyUsage{x509.ExtKeyUsageClientAuth}}
	for _, ca := range append(f.certs("ca.crt"), anchors...) {
		if anchors == nil && bytes.Equal(ca.RawSubject, ca.RawIssuer) || slices.Contains(anchors, ca) {
			o.Roots.AddCert(ca)
		} else {
			o.Intermediates.AddCert(ca)
		}
	}
	_, err := f.cert(c).Verify(o)
	return err == nil
}

// content reads every file below a directory but the database and the locks.
func content(t *testing.T, dir string) map[string]string {
	t.Helper()
	out := map[string]string{}
	for _, name := range files(t, dir) {
		info, err := os.Stat(dir + name)
		if err != nil {
			t.Fatal(err)
		}
		if info.IsDir() || strings.Contains(name, dbFile) || strings.HasSuffix(name, "lock") {
			continue
		}
		out[name] = string(read(t, dir+name))
	}
	return out
}

// unchanged runs an act that must fail, and wants nothing to have changed.
func (f *fixture) unchanged(act func() error, target error, text string) {
	f.t.Helper()
	before, err := f.Head(f.t.Context())
	f.must(err)
	had := content(f.t, f.dir)
	wantError(f.t, act(), target, text)
	after, err := f.Head(f.t.Context())
	f.must(err)
	if after != before {
		f.t.Errorf("the journal went from %s to %s", before, after)
	}
	if now := content(f.t, f.dir); !maps.Equal(now, had) {
		f.t.Errorf("the files were %v and are %v", slices.Sorted(maps.Keys(had)), slices.Sorted(maps.Keys(now)))
	}
}

// With the same key, name and key stay, every leaf verifies, and the files
// and their copy are those of the new certificate.
func TestRenewWithTheSameKey(t *testing.T) {
	published := filepath.Join(t.TempDir(), "srv")
	f := newFixture(t, func(r *InitRequest) { r.Settings.Publish = published })
	alice := f.issue("alice", "")
	f.now = f.now.AddDate(4, 11, 0)
	bob := f.issue("bob", "")
	f.now = f.now.AddDate(0, 0, 1)
	for _, role := range []pki.Kind{pki.KindRoot, pki.KindIssuing} {
		before, err := f.CACertificate(t.Context(), role)
		f.must(err)
		done := f.renew(role, "5y")
		cert := done.Certificate
		switch {
		case !bytes.Equal(cert.RawSubject, before.RawSubject), !keys.Equal(cert.PublicKey, before.PublicKey),
			!bytes.Equal(cert.SubjectKeyId, before.SubjectKeyId), cert.SerialNumber.Cmp(before.SerialNumber) == 0:
			t.Errorf("%s: %s became %s", role, before.Subject, cert.Subject)
		case !cert.NotAfter.Equal(f.now.AddDate(5, 0, 0)):
			t.Errorf("%s: it ends at %s", role, cert.NotAfter)
		case done.Verified != 1: // alice has expired
			t.Errorf("%s: %d leaves were verified", role, done.Verified)
		}
		old, err := f.Lookup(t.Context(), pki.FingerprintOf(before.Raw))
		f.must(err)
		if !old.Replaced {
			t.Errorf("%s: the certificate before is not marked as replaced", role)
		}
		for _, dir := range []string{f.dir, published} {
			certs, err := pemfile.Certificates(read(t, filepath.Join(dir, certificateFile(role))))
			if err != nil || len(certs) != 1 || !certs[0].Equal(cert) {
				t.Errorf("%s holds %d certificates", filepath.Join(dir, certificateFile(role)), len(certs))
			}
		}
	}
	if !f.verifies(bob) || f.verifies(alice) {
		t.Error("bob does not verify, or alice does")
	}
	if o := f.revoke("bob"); o.CRLs[0].Entries != 1 {
		t.Errorf("the list has %d entries", o.CRLs[0].Entries)
	}
	f.reopen()
	if _, _, err := f.VerifyJournal(t.Context(), nil); err != nil {
		t.Error(err)
	}
}

// What a CA may sign stays, too.
func TestRenewKeepsNameConstraints(t *testing.T) {
	f := newFixture(t, func(r *InitRequest) {
		for _, err := range []error{r.Constraints.PermitDNS("example.com"), r.Constraints.PermitEmail(".example.com"),
			r.Constraints.PermitURI("example.com"), r.Constraints.PermitIP("10.0.0.0/8"), r.Constraints.PermitIP("2001:db8::/32")} {
			if err != nil {
				t.Fatal(err)
			}
		}
	})
	before, err := f.CACertificate(t.Context(), pki.KindIssuing)
	f.must(err)
	for _, cert := range []*x509.Certificate{f.renew(pki.KindIssuing, "6y").Certificate, f.renew(pki.KindIssuing, "6y", rekey).Certificate,
		f.renew(pki.KindRoot, "9y", rekey).Reissued[0]} {
		if got, want := extension(cert, "2.5.29.30"), extension(before, "2.5.29.30"); !bytes.Equal(got, want) || want == nil {
			t.Errorf("the name constraints of %s are %x, want %x", cert.Subject, got, want)
		}
	}
}

func extension(cert *x509.Certificate, oid string) []byte {
	for _, e := range cert.Extensions {
		if e.Id.String() == oid {
			return e.Value
		}
	}
	return nil
}

func TestRenewIsRefused(t *testing.T) {
	f := newFixture(t)
	alice := f.issue("alice", "")
	short := func(role pki.Kind) func() error {
		return func() error { _, err := f.tryRenew(role, "30d"); return err }
	}
	text := "the certificate of CN=alice, serial " + alice.Serial.String() + ", is valid until 2026-06-02T05:06:07Z, and its CA would end before"
	f.unchanged(short(pki.KindIssuing), nil, text)
	f.unchanged(short(pki.KindRoot), nil, text)

	other := newFixture(t)
	f.reopen()
	f.unchanged(func() error {
		_, err := f.tryRenew(pki.KindIssuing, "5y", func(r *CARenewal) { r.RootKey = filepath.Join(other.dir, "root.key") })
		return err
	}, authority.ErrKeyMismatch, "the private key does not belong to the certificate")

	issuing, err := f.CACertificate(t.Context(), pki.KindIssuing)
	f.must(err)
	_, err = f.Revoke(t.Context(), Selection{CA: true, Certificates: []pki.Fingerprint{pki.FingerprintOf(issuing.Raw)}}, pki.CACompromise, false)
	f.must(err)
	f.unchanged(func() error { _, err := f.tryRenew(pki.KindIssuing, "5y"); return err }, ErrRevokedCA, "the issuing CA is revoked")
	f.renew(pki.KindIssuing, "5y", rekey)
	f.issue("bob", "")
}

// An expired CA comes back.
func TestRenewWhatHasExpired(t *testing.T) {
	f := newFixture(t)
	f.now = f.now.AddDate(6, 0, 0)
	_, err := f.tryIssue("alice", "")
	wantError(t, err, authority.ErrIssuerExpired, "the issuing CA has expired")
	f.renew(pki.KindIssuing, "2y")
	f.issue("alice", "")
	f.now = f.now.AddDate(5, 0, 0)
	f.unchanged(func() error { _, err := f.tryRenew(pki.KindIssuing, "2y"); return err }, authority.ErrIssuerExpired, "CN=Acme TEST Root CA")
	f.renew(pki.KindRoot, "10y")
	f.renew(pki.KindIssuing, "2y")
	alice := f.issue("alice", "")
	if !f.verifies(alice) {
		t.Error("alice does not verify")
	}
}

// Old and new issuing CA stand side by side: each revokes what it has issued,
// and the older one has files of its own.
func TestRekeyIssuing(t *testing.T) {
	published := filepath.Join(t.TempDir(), "srv")
	f := newFixture(t, func(r *InitRequest) { r.Passphrase, r.Settings.Publish = []byte("secret"), published })
	alice := f.issue("alice", "")
	before, err := f.CACertificate(t.Context(), pki.KindIssuing)
	f.must(err)
	done := f.renew(pki.KindIssuing, "5y", rekey, func(r *CARenewal) { r.Rekey.KeyType = keys.P384 })
	bob := f.issue("bob", "")
	if done.Verified != 1 || !f.verifies(alice) || !f.verifies(bob) {
		t.Errorf("%d verified, alice %t, bob %t", done.Verified, f.verifies(alice), f.verifies(bob))
	}
	if a, err := keys.AlgorithmOf(done.Certificate.PublicKey); err != nil || a != keys.P384 {
		t.Errorf("the key is %s, %v", a, err)
	}
	old, now := "issuing-"+shortID(before.SubjectKeyId), shortID(done.Certificate.SubjectKeyId)
	if want := "CN=Acme TEST Issuing CA " + now; done.Certificate.Subject.String() != want {
		t.Errorf("it is called %s, want %s", done.Certificate.Subject, want)
	}
	f.revoke("alice")
	f.revoke("bob")
	f.reopen()
	lists, err := f.CRLs(t.Context())
	f.must(err)
	for i, want := range []struct{ ca, file string }{{"issuing CA", "issuing.crl"}, {"older issuing CA " + old[8:], old + ".crl"}, {"root CA", "root.crl"}} {
		l := lists[i]
		if l.CA() != want.ca || filepath.Base(l.Files[0]) != want.file || !l.InPlace || i < 2 && l.Entries != 1 {
			t.Errorf("list %d is of the %s in %s, in place %t, %d entries", i, l.CA(), l.Files[0], l.InPlace, l.Entries)
		}
	}
	for _, dir := range []string{f.dir, published} {
		chain, err := pemfile.CRLs(read(t, filepath.Join(dir, "crl", "chain.pem")))
		if err != nil || len(chain) != 3 || !bytes.Equal(chain[0], read(t, filepath.Join(dir, "crl", "issuing.crl"))) ||
			!bytes.Equal(chain[1], read(t, filepath.Join(dir, "crl", old+".crl"))) {
			t.Errorf("chain.pem in %s is not the newest, the older, the root's", dir)
		}
	}
	for _, name := range []string{"issuing.key", old + ".key"} {
		_, err := pemfile.Key(read(t, filepath.Join(f.dir, name)), nil)
		if !errors.Is(err, pemfile.ErrEncrypted) {
			t.Errorf("%s is not encrypted: %v", name, err)
		}
	}
	head, signed, err := f.VerifyJournal(t.Context(), nil)
	if err != nil || int64(signed) < head.Number-2 { // but the two with which it began
		t.Errorf("%d of %d lines are signed, %v", signed, head.Number, err)
	}
}

// A new root: who trusts only it, and who trusts only the one before, verifies
// old and new leaves, each with the chain that their holders have.
func TestRekeyRoot(t *testing.T) {
	f := newFixture(t)
	first, err := f.tryIssue("alice", "")
	f.must(err)
	before, err := f.CACertificate(t.Context(), pki.KindRoot)
	f.must(err)
	done := f.renew(pki.KindRoot, "20y", rekey)
	second, err := f.tryIssue("bob", "")
	f.must(err)
	if len(done.Reissued) != 1 || done.Verified != 1 || len(second.Chain) != 3 || !second.Chain[2].Equal(done.Cross) {
		t.Errorf("%d issuing CAs signed, %d leaves verified, a chain of %d", len(done.Reissued), done.Verified, len(second.Chain))
	}
	if !done.Cross.NotAfter.Equal(before.NotAfter) {
		t.Errorf("the cross-certificate ends at %s", done.Cross.NotAfter)
	}
	for _, tt := range []struct {
		who    string
		chain  []*x509.Certificate
		anchor *x509.Certificate
		more   []*x509.Certificate
	}{
		{"alice, who trusts the former root", first.Chain, before, nil},
		{"alice, who trusts the new root and has ca.crt", first.Chain, done.Certificate, f.certs("ca.crt")},
		{"bob, who trusts the former root", second.Chain, before, nil},
		{"bob, who trusts the new root", second.Chain, done.Certificate, nil},
	} {
		o := x509.VerifyOptions{Roots: x509.NewCertPool(), Intermediates: x509.NewCertPool(), CurrentTime: f.now, KeyUsages: []x509.ExtKeyUsage{x509.ExtKeyUsageAny}}
		o.Roots.AddCert(tt.anchor)
		for _, c := range append(tt.chain[1:], tt.more...) {
			o.Intermediates.AddCert(c)
		}
		if _, err := tt.chain[0].Verify(o); err != nil {
			t.Errorf("%s: %v", tt.who, err)
		}
	}
	if certs := f.certs("ca.crt"); len(certs) != 3 || !certs[1].Equal(done.Certificate) || !certs[2].Equal(before) {
		t.Errorf("ca.crt holds %d certificates", len(certs))
	}
	roots, err := f.Tree(t.Context())
	f.must(err)
	if len(roots) != 2 || len(roots[0].Issued) != 1 || f.leaves(roots[0].Issued[0]) != 2 || roots[1].Issued[0].Kind != pki.KindCross {
		t.Error("the tree is another")
	}
}

// A root that lies elsewhere has a successor that does, and the keys are told
// apart.
func TestRekeyOfflineRoot(t *testing.T) {
	usb := t.TempDir()
	f := newFixture(t, func(r *InitRequest) { r.RootKeyOut = filepath.Join(usb, "root.key") })
	offline := func(r *CARenewal) { r.RootKey, r.Rekey = filepath.Join(usb, "root.key"), &Rekey{} }
	f.unchanged(func() error { _, err := f.tryRenew(pki.KindRoot, "10y", rekey); return err }, ErrNoKey, "root.key is not there")
	f.unchanged(func() error { _, err := f.tryRenew(pki.KindRoot, "10y", offline); return err }, ErrKeyElsewhere, "the root's key does not lie in the PKI")
	f.unchanged(func() error {
		_, err := f.tryRenew(pki.KindRoot, "10y", offline, func(r *CARenewal) { r.Rekey.RootKeyOut = r.RootKey })
		return err
	}, os.ErrExist, "root.key")
	f.renew(pki.KindRoot, "10y", offline, func(r *CARenewal) { r.Rekey.RootKeyOut = filepath.Join(usb, "next.key") })
	f.reopen()
	f.now = f.now.AddDate(0, 7, 0)
	for _, file := range []string{"root.key", "next.key"} {
		lists, err := f.Refresh(t.Context(), RefreshRequest{Only: pki.KindRoot, RootKey: filepath.Join(usb, file)})
		f.must(err)
		if newest := file == "next.key"; lists[1].Made != newest || lists[2].Made == newest {
			t.Errorf("%s: the root's list made %t, the older root's %t", file, lists[1].Made, lists[2].Made)
		}
		f.reopen()
	}
	_, err := f.Refresh(t.Context(), RefreshRequest{Only: pki.KindRoot})
	wantError(t, err, ErrNoKey, "making the root CA's CRL")
}

// A key that was never certified is not left behind, and one that was is never
// removed.
func TestRekeyFailsWithoutATrace(t *testing.T) {
	f := newFixture(t)
	f.issue("alice", "")
	f.unchanged(func() error { _, err := f.tryRenew(pki.KindRoot, "30d", rekey); return err }, nil, "its CA would end before")
	f.renew(pki.KindRoot, "10y", rekey)
}

// Killed after the commit and before any file, the next act that writes puts
// keys, certificates and lists into their places.
func TestRekeyKilledAfterTheCommit(t *testing.T) {
	for _, role := range []pki.Kind{pki.KindIssuing, pki.KindRoot} {
		t.Run(string(role), func(t *testing.T) {
			f := newFixture(t)
			alice := f.issue("alice", "")
			before := content(t, f.dir)
			done := f.renew(role, "9y", rekey)
			want := content(t, f.dir)
			f.must(f.Close())

			// The files as they were, and the new key under its first name.
			next := want["/"+string(role)+".key"]
			for name := range want {
				f.must(os.Remove(f.dir + name))
			}
			for name, data := range before {
				write(t, f.dir+name, []byte(data))
			}
			write(t, filepath.Join(f.dir, byKey(role, done.Certificate.SubjectKeyId)+".key"), []byte(next))
			if role == pki.KindIssuing { // its list is in its file only
				f.now = f.now.Add(time.Minute)
			}

			f.reopen()
			bob := f.issue("bob", "") // before anything is put right
			_, err := f.Upkeep(t.Context())
			f.must(err)
			got := content(t, f.dir)
			if !slices.Equal(slices.Sorted(maps.Keys(got)), slices.Sorted(maps.Keys(want))) {
				t.Errorf("the files are %q, want %q", slices.Sorted(maps.Keys(got)), slices.Sorted(maps.Keys(want)))
			}
			for name, data := range want {
				if !strings.Contains(name, "/crl/") && name != "/"+headFile && got[name] != data {
					t.Errorf("%s is another", name)
				}
			}
			if !f.verifies(alice) || !f.verifies(bob) {
				t.Error("a leaf does not verify")
			}
			if settled, err := f.certificatesInPlace(t.Context()); err != nil || !settled {
				t.Errorf("settled %t, %v", settled, err)
			}
		})
	}
}

// Revoking an issuing CA takes every certificate of its key, from whichever
// root.
func TestRevokeIssuingCATakesEveryCertificateOfTheKey(t *testing.T) {
	f := newFixture(t)
	first := f.mustCA(pki.KindIssuing)
	f.renew(pki.KindRoot, "10y", rekey)
	o, err := f.Revoke(t.Context(), Selection{CA: true, Certificates: []pki.Fingerprint{pki.FingerprintOf(first.Raw)}}, pki.CACompromise, false)
	f.must(err)
	if o.Changed != 2 {
		t.Errorf("%d certificates are revoked", o.Changed)
	}
	lists, err := f.CRLs(t.Context())
	f.must(err)
	if lists[1].Entries != 1 || lists[2].Entries != 1 {
		t.Errorf("the roots' lists have %d and %d entries", lists[1].Entries, lists[2].Entries)
	}
	_, err = f.tryIssue("alice", "")
	wantError(t, err, ErrRevokedCA, "the issuing CA is revoked")
}

// An older CA that has expired needs no list any more: it holds nothing up,
// and is due to be retired.
func TestOlderCAExpires(t *testing.T) {
	f := newFixture(t)
	old := shortID(f.mustCA(pki.KindIssuing).SubjectKeyId)
	f.now = f.now.AddDate(4, 0, 0)
	f.renew(pki.KindIssuing, "5y", rekey)
	f.now = f.now.AddDate(2, 0, 0)
	f.issue("alice", "")
	for _, remove := range []bool{false, true} {
		if remove {
			f.must(os.Remove(f.Path(crlDir + "/issuing-" + old + ".crl")))
		}
		_, err := f.Refresh(t.Context(), RefreshRequest{})
		f.must(err)
	}
	s, err := f.Status(t.Context())
	f.must(err)
	due := f.Due(s)
	if len(due) != 1 || due[0].CA == nil || due[0].CA.Key != old || due[0].What != "the older issuing CA "+old+" has expired" {
		t.Errorf("due is %+v", due)
	}
	_, err = f.RetireCA(t.Context(), "issuing", false)
	f.must(err)
}

// A PKI may lie where the path has characters of a pattern, and a list that is
// newer than the database is found there, of an older CA, too.
func TestRollbackOfAnOlderCA(t *testing.T) {
	f := newFixture(t)
	f.issue("alice", "")
	f.renew(pki.KindIssuing, "5y", rekey)
	f.must(f.Close())
	strange := filepath.Join(t.TempDir(), "[p]*?")
	f.must(os.Rename(f.dir, strange))
	f.dir = strange
	f.reopen()
	backup := copyFixture(f)
	f.now = f.now.Add(time.Hour)
	f.revoke("alice")
	for _, name := range files(t, filepath.Join(f.dir, crlDir)) {
		if strings.HasPrefix(name, "/issuing-") {
			write(t, filepath.Join(backup.dir, crlDir, name), read(t, filepath.Join(f.dir, crlDir, name)))
		}
	}
	wantError(t, backup.open(), ErrRolledBack, "issuing-")
}
