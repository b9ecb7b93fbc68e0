package store

import (
	"crypto/x509"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"mutual/pki"
	"mutual/pki/pemfile"
)

// repair runs one and gives its findings, a line each.
func (f *fixture) repair(check bool, from ...string) (string, *Repaired) {
	f.t.Helper()
	var lines []string
	done, err := f.Repair(f.t.Context(), RepairRequest{Check: check, From: from}, func(found Finding) error {
		subject := strings.TrimPrefix(found.Subject, f.dir+"/")
		lines = append(lines, fmt.Sprintf("%s: %s: %s (%s)", found.Area, subject, found.Problem, found.Remedy))
		return nil
	})
	f.must(err)
	if done.Wrong != len(lines) {
		f.t.Errorf("%d things are wrong, and %d were said", done.Wrong, len(lines))
	}
	return strings.Join(lines, "\n"), done
}

// lived is a PKI to which everything has happened.
func lived(t *testing.T) *fixture {
	f := newFixture(t)
	for _, who := range []string{"alice", "bob", "carol", "dave"} {
		f.issue(who, "Pixel 8")
	}
	f.revoke("alice", "bob")
	_, err := f.Revoke(t.Context(), Selection{Names: []pki.Name{name("carol")}}, pki.CertificateHold, false)
	f.must(err)
	_, err = f.Unhold(t.Context(), Selection{Names: []pki.Name{name("carol")}}, false)
	f.must(err)
	return f
}

// What follows from the rows is made again from them, in one act of the
// journal; then nothing is wrong any more.
func TestRepairMends(t *testing.T) {
	for _, row := range []struct {
		damage func(*fixture)
		want   string
	}{
		{changed(`UPDATE certificate SET revoked = 1 - revoked WHERE kind = 'client'`),
			"kept: certificate: 4 rows do not say rightly whether the certificate is revoked (repair)"},
		{changed(`UPDATE expiry SET in_force = in_force + 1`), "kept: expiry: 1 hours are not counted as their certificates are (repair)"},
		{changed(`DELETE FROM expiry`), "kept: expiry: 1 hours are not counted as their certificates are (repair)"},
		{changed(`UPDATE counters SET value = value - 1 WHERE name = 'revocations'`), "kept: counters: the number of revocations differs from that of their rows by -1 (repair)"},
		{changed(`UPDATE counters SET value = value + 8 WHERE name = 'revocations'`), "kept: counters: the number of revocations differs from that of their rows by 8 (repair)"},
		{changed(`UPDATE counters SET value = 0 WHERE name = 'epoch'`), "kept: counters: the epoch is 0, and the changes end at 3 (repair)"},
		{changed(`UPDATE counters SET value = 2 WHERE name = 'journal'`), "kept: counters: the number of the journal's last line is 2, and it ends at 15 (repair)"},
		{changed(`UPDATE ca SET changed = 0 WHERE role = 'issuing'`), "kept: issuing-"},
		{changed(`UPDATE identity SET folded = 'x' WHERE name = 'alice'`), "kept: alice: the spelling by which the name is compared is not that of the name (repair)"},
		{gone("ca.crt"), "file: ca.crt: it is missing (repair)"},
		{filled("root.crt"), "file: root.crt: it is not what the database says (repair)"},
		{gone("crl/root.crl"), "file: crl/root.crl: it is missing (repair)"},
		{filled("crl/issuing.pem"), "file: crl/issuing.pem: it is not what the database says (repair)"},
		{gone("crl/chain.pem"), "file: crl/chain.pem: it is missing (repair)"},
		{gone("crl/issuing.crl", "crl/issuing.pem"), "file: crl/issuing.crl: the newest CRL of the issuing CA is in no file, and must be signed again (repair)"},
		{filled("crl/.issuing.crl.0123456789abcdef.tmp"), "temporary: crl/.issuing.crl.0123456789abcdef.tmp: a command that was killed has left it (repair)"},
		{filled(".backup.db.tmp"), "temporary: .backup.db.tmp: a command that was killed has left it (repair)"},
	} {
		t.Run(row.want, func(t *testing.T) {
			t.Parallel()
			f := lived(t)
			if got, _ := f.repair(true); got != "" {
				t.Fatalf("before anything was damaged: %s", got)
			}
			before, _ := f.crls()
			row.damage(f)
			f.reopen()
			head, err := f.Head(t.Context())
			f.must(err)
			got, done := f.repair(true)
			if !strings.HasPrefix(got, row.want) || strings.Contains(got, "\n") || done.Mended != 0 {
				t.Errorf("found is %s, want %s", got, row.want)
			}
			if now, err := f.Head(t.Context()); err != nil || now != head {
				t.Errorf("a check has written: %v, %v", now, err)
			}
			if _, done := f.repair(false); done.Mended != done.Wrong || done.Wrong != 1 {
				t.Errorf("%d of %d are mended", done.Mended, done.Wrong)
			}
			if got, _ := f.repair(true); got != "" {
				t.Errorf("after the repair: %s", got)
			}
			_, _, err = f.VerifyJournal(t.Context(), nil)
			f.must(err)
			last := Line{}
			f.must(f.Journal(t.Context(), head.Number+1, func(l Line) error {
				if l.Act == "repair" {
					last = l
				}
				return nil
			}))
			if last.Act != "repair" {
				t.Error("the journal does not say that it was repaired")
			}
			if now, _ := f.crls(); now.Number.Cmp(before.Number) < 0 || now.Entries != 2 || !now.InPlace {
				t.Errorf("the list is %+v, and was %+v", now, before)
			}
		})
	}
}

func changed(statement string) func(*fixture) { return func(f *fixture) { f.sql(statement) } }

func gone(names ...string) func(*fixture) {
	return func(f *fixture) {
		for _, name := range names {
			f.must(os.Remove(f.Path(name)))
		}
	}
}

func filled(name string) func(*fixture) {
	return func(f *fixture) { write(f.t, f.Path(name), []byte("garbage")) }
}

// What nothing here can be made of again is named, and then nothing is mended:
// not a byte changes.
func TestRepairLeavesDamage(t *testing.T) {
	const flip = `unhex(substr(hex(der), 1, 200) || CASE substr(hex(der), 201, 2) WHEN '00' THEN '01' ELSE '00' END || substr(hex(der), 203))`
	for _, row := range []struct{ sql, want string }{
		{`UPDATE certificate SET label = 'Pixel 9' WHERE kind = 'client'`, ": the row of the certificate or of its revocation does not have the content that was written (restore)"},
		{`UPDATE revocation SET reason = 6`, ": the row of the certificate or of its revocation does not have the content that was written (restore)"},
		{`UPDATE certificate SET der = ` + flip + ` WHERE kind = 'client'`, ": the certificate is not the one that was stored (restore)"},
		{`UPDATE certificate SET sha1 = x'00' WHERE kind = 'client'`, ": the certificate is not the one that was stored (restore)"},
		{`UPDATE certificate SET der = (SELECT der FROM certificate WHERE kind = 'root') WHERE kind = 'client'`, ": the certificate is not the one that was stored (restore)"},
		{`DELETE FROM revocation WHERE certificate = (SELECT MAX(certificate) FROM revocation)`, "inventory: revocation: 1 revocations that were recorded are not there (restore)\ninventory: serial "},
		{`UPDATE counters SET value = 99 WHERE name = 'epoch'`, "inventory: change: the epoch is 99, and the changes end at 3 (restore)"},
		{`UPDATE crl SET entries = entries + 1 WHERE number = (SELECT MAX(number) FROM crl)`, ": the row is not what line "},
		{`UPDATE crl SET epoch = 98`, ": it covers epoch 98, and there are 3 (restore)"},
		{`UPDATE journal SET line = x'00' WHERE number = 5`, "journal: line 5: the journal does not hold at line 5: its hash is not that of its content and the line before it (restore)"},
		{`DELETE FROM journal WHERE number > 12`, "journal: line 12: the journal does not hold at line 12: it ends here, but "},
		{`UPDATE identity SET name = 'malice' WHERE name = 'dave'`, ": the row of the certificate or of its revocation does not have the content that was written (restore)"},
	} {
		t.Run(row.sql, func(t *testing.T) {
			t.Parallel()
			f := lived(t)
			f.sql(row.sql)
			f.must(os.Remove(f.Path("ca.crt")))
			f.must(os.Remove(f.Path(headFile))) // with it the PKI would not open
			f.must(f.Close())                   // all of it is in the database's file
			f.reopen()
			before := read(t, f.Path(dbFile))
			for _, check := range []bool{true, false} {
				got, done := f.repair(check)
				if !strings.Contains(got, row.want) || done.Mended != 0 || !strings.Contains(got, "ca.crt: it is missing (restore)") && !strings.Contains(got, "the files cannot be held against the database") {
					t.Errorf("check %v: found is\n%s\nwant\n%s", check, got, row.want)
				}
			}
			if _, err := os.Stat(f.Path("ca.crt")); err == nil {
				t.Error("files were made of a damaged database")
			}
			f.must(f.Close())
			if string(before) != string(read(t, f.Path(dbFile))) {
				t.Error("the database was written to")
			}
		})
	}
}

// A list that lacks somebody although its row covers the revocation is made
// anew.
func TestRepairListThatLacksSomebody(t *testing.T) {
	f := lived(t)
	before, _ := f.crls()
	f.sql(`UPDATE crl SET epoch = 4`)
	f.sql(`UPDATE counters SET value = 4 WHERE name = 'epoch'`)
	f.sql(`INSERT INTO change (epoch, at, what, journal) VALUES (4, 0, 'revoke', 14)`)
	c, err := f.list1("dave")
	f.must(err)
	revoked, err := f.list1("alice")
	f.must(err)
	c.Revocation, c.epoch = revoked.Revocation, 4
	f.must(f.update(t.Context(), nil, func(tx *Tx) error { return tx.putRevocation(c) }))
	got, _ := f.repair(true)
	if !strings.Contains(got, "crl: crl/issuing.crl: it does not say what the database says of 1 revocations (repair)") {
		t.Errorf("found is %s", got)
	}
	f.repair(false)
	if got, _ := f.repair(true); got != "" {
		t.Errorf("after the repair: %s", got)
	}
	if now, _ := f.crls(); now.Entries != 3 || now.Number.Cmp(before.Number) <= 0 {
		t.Errorf("the list is %+v", now)
	}
}

func (f *fixture) list1(who string) (c Certificate, err error) {
	err = f.List(f.t.Context(), Filter{All: true, Glob: who}, func(found Certificate) error { c = found; return nil })
	return c, err
}

// A key that is another's or gone is named; nothing can make one.
func TestRepairKeys(t *testing.T) {
	f := lived(t)
	write(t, f.Path("issuing.key"), read(t, f.Path("root.key")))
	f.reopen()
	if got, done := f.repair(false); got != "key: issuing.key: it is not the key of the issuing CA (restoreKey)" || done.Mended != 0 {
		t.Errorf("found is %s", got)
	}
	f.must(os.Remove(f.Path("issuing.key")))
	f.reopen()
	if got, _ := f.repair(true); got != "key: issuing.key: the key of the issuing CA is not here (restoreKey)" {
		t.Errorf("found is %s", got)
	}
	f.must(os.Remove(f.Path("crl/issuing.crl")))
	f.must(os.Remove(f.Path("crl/issuing.pem")))
	if got, _ := f.repair(false); !strings.Contains(got, "must be signed again (sign)") {
		t.Errorf("found is %s", got)
	}
}

// forgetful makes a PKI that has forgotten what it issued last: it was restored
// from a backup, and what it issued lies in a directory.
func forgetful(t *testing.T) (f *fixture, dir string) {
	f = newFixture(t)
	f.issue("alice", "")
	backup := filepath.Join(t.TempDir(), "b")
	_, err := f.Backup(t.Context(), BackupRequest{Path: backup})
	f.must(err)
	dir = t.TempDir()
	keep := func(name, ext string, c Certificate) {
		der, err := f.DER(t.Context(), c.Fingerprint)
		f.must(err)
		if ext != ".der" {
			der = pemfile.EncodeCertificates(f.parse(der))
		}
		write(t, filepath.Join(dir, name+ext), der)
	}
	f.now = f.now.Add(time.Hour)
	keep("bob", ".crt", f.issue("bob", "lost"))
	f.must(os.Mkdir(filepath.Join(dir, "below"), 0o700))
	keep("below/carol", ".der", f.issue("carol", ""))
	keep("web", ".pem", f.issue("web.example.com", "", func(r *IssueRequest) { r.Kind = pki.KindServer }))
	keep("mail", ".crt", f.issue("dave@example.com", ""))
	f.revoke("carol")
	keep("root", ".crt", f.ca(pki.KindRoot))
	other := newFixture(t)
	stranger := other.issue("mallory", "")
	der, err := other.DER(t.Context(), stranger.Fingerprint)
	f.must(err)
	write(t, filepath.Join(dir, "mallory.crt"), pemfile.EncodeCertificates(other.parse(der)))
	write(t, filepath.Join(dir, "garbage.pem"), []byte("garbage"))
	f.must(f.Close())
	old := f.dir + ".old"
	f.must(os.Rename(f.dir, old))
	archive, err := os.Open(backup)
	f.must(err)
	defer func() { _ = archive.Close() }()
	p, _, err := Restore(t.Context(), f.dir, archive, RestoreRequest{Compare: []string{filepath.Join(old, "crl", "issuing.crl")}}, f.options())
	f.must(err)
	f.PKI = p
	return f, dir
}

func (f *fixture) parse(der []byte) *x509.Certificate {
	f.t.Helper()
	cert, err := x509.ParseCertificate(der)
	f.must(err)
	return cert
}

// ca gives the inventory's row of a CA.
func (f *fixture) ca(role pki.Kind) Certificate {
	f.t.Helper()
	cert, err := f.CACertificate(f.t.Context(), role)
	f.must(err)
	c, err := f.Lookup(f.t.Context(), pki.FingerprintOf(cert.Raw))
	f.must(err)
	return c
}

func TestRepairFrom(t *testing.T) {
	f, dir := forgetful(t)
	if got := f.list(Filter{Kind: pki.KindClient}); len(got) != 1 {
		t.Fatalf("listed are %v", got)
	}
	if got, done := f.repair(true, dir); strings.Count(got, " is not in the inventory: ") != 4 || done.Ignored != 2 {
		t.Errorf("found is %s, and %d were ignored", got, done.Ignored)
	}
	if got := f.list(Filter{Kind: pki.KindClient}); len(got) != 1 {
		t.Fatalf("after a check listed are %v", got)
	}
	got, done := f.repair(false, dir)
	if done.Mended != 4 {
		t.Errorf("%d are mended: %s", done.Mended, got)
	}
	for who, want := range map[string]string{"bob": "valid", "carol": "revoked", "dave@example.com": "valid", "web.example.com": "valid"} {
		c, err := f.list1(who)
		if err != nil || string(c.State(f.now)) != want {
			t.Errorf("%s is %s, %v", who, c.State(f.now), err)
		}
		if c.Label != "" {
			t.Errorf("%s has the label %q, which nobody has signed", who, c.Label)
		}
	}
	if got, _ := f.repair(true, dir); got != "" {
		t.Errorf("after the repair: %s", got)
	}
	f.now = f.now.Add(time.Hour)
	lists, err := f.Refresh(t.Context(), RefreshRequest{})
	f.must(err)
	if lists[0].Entries != 1 {
		t.Errorf("the next list has %d entries", lists[0].Entries)
	}
	_, _, err = f.VerifyJournal(t.Context(), nil)
	f.must(err)
	f.revoke("bob")
	if got, _ := f.repair(true, dir); got != "" {
		t.Errorf("after a revocation: %s", got)
	}
}

// Nothing is believed beyond its signature.
func TestRepairFromHostileFiles(t *testing.T) {
	f := newFixture(t)
	dir := t.TempDir()
	alice := f.issue("alice", "")
	der, err := f.DER(t.Context(), alice.Fingerprint)
	f.must(err)
	forged := append([]byte(nil), der...)
	forged[len(forged)-1] ^= 1 // the signature
	write(t, filepath.Join(dir, "forged.der"), forged)
	if os.Symlink("/etc/ssl/certs", filepath.Join(dir, "link")) != nil {
		t.Log("there are no links here")
	}
	got, done := f.repair(false, dir)
	if !strings.HasSuffix(got, "forged.der: it names the issuing CA as its issuer, which has not signed it: it is not believed (restore)") || done.Mended != 0 {
		t.Errorf("found is %s", got)
	}
	if _, err := f.Repair(t.Context(), RepairRequest{From: []string{filepath.Join(dir, "nosuch")}}, func(Finding) error { return nil }); !errors.Is(err, os.ErrNotExist) {
		t.Errorf("the error is %v", err)
	}
}

// A certificate that was lost before its name was revoked is revoked, too.
func TestRepairFromBlocked(t *testing.T) {
	f := newFixture(t)
	dir := t.TempDir()
	bob := f.issue("bob", "")
	der, err := f.DER(t.Context(), bob.Fingerprint)
	f.must(err)
	write(t, filepath.Join(dir, "bob.der"), der)
	f.issue("bob", "")
	_, err = f.db.ExecContext(t.Context(), `DELETE FROM certificate WHERE id = $1`, bob.id)
	f.must(err)
	f.revoke("bob")
	if got, _ := f.repair(false, dir); !strings.Contains(got, "is not in the inventory: revoked, unspecified") {
		t.Errorf("found is %s", got)
	}
	f.now = f.now.Add(time.Hour)
	lists, err := f.Refresh(t.Context(), RefreshRequest{})
	f.must(err)
	if lists[0].Entries != 2 {
		t.Errorf("the next list has %d entries", lists[0].Entries)
	}
	if got, _ := f.repair(true, dir); got != "" {
		t.Errorf("after the repair: %s", got)
	}
}

// A directory that cannot be opened is told of, and the others are searched.
func TestRepairFromDeep(t *testing.T) {
	f, dir := forgetful(t)
	root, err := os.OpenRoot(dir)
	f.must(err)
	defer func() { _ = root.Close() }() // only to tidy up
	if err := root.MkdirAll(strings.Repeat(strings.Repeat("d", 100)+"/", 50), 0o700); err != nil {
		t.Skip(err) // a system without such paths
	}
	got, done := f.repair(false, dir)
	if done.Mended != 4 || !strings.Contains(got, "it cannot be read: ") {
		t.Errorf("%d are mended: %s", done.Mended, got)
	}
}
