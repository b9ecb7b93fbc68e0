package store

import (
	"archive/tar"
	"bytes"
	"encoding/json"
	"fmt"
	"io"
	"path/filepath"
	"strings"
	"testing"

	"filippo.io/age"

	"mutual/pki/keys"
)

// member is a part of an archive that a test builds.
type member struct {
	header tar.Header
	data   []byte
}

// members takes an archive apart.
func members(t *testing.T, archive []byte) []member {
	t.Helper()
	var out []member
	r := tar.NewReader(bytes.NewReader(archive))
	for {
		h, err := r.Next()
		if err == io.EOF {
			return out
		}
		if err != nil {
			t.Fatal(err)
		}
		data, err := io.ReadAll(r)
		if err != nil {
			t.Fatal(err)
		}
		out = append(out, member{*h, data})
	}
}

func assemble(t *testing.T, parts []member) []byte {
	t.Helper()
	var b bytes.Buffer
	w := tar.NewWriter(&b)
	for _, m := range parts {
		m.header.Size = int64(len(m.data))
		if err := w.WriteHeader(&m.header); err != nil {
			t.Fatal(err)
		}
		if _, err := w.Write(m.data); err != nil {
			t.Fatal(err)
		}
	}
	if err := w.Close(); err != nil {
		t.Fatal(err)
	}
	return b.Bytes()
}

// manifest changes the manifest of an archive, and its sum with it.
func manifest(t *testing.T, parts []member, change func(*Manifest)) []member {
	t.Helper()
	var m Manifest
	if err := json.Unmarshal(parts[0].data, &m); err != nil {
		t.Fatal(err)
	}
	change(&m)
	text, err := json.Marshal(m)
	if err != nil {
		t.Fatal(err)
	}
	return withManifest(parts, text)
}

func withManifest(parts []member, manifest []byte) []member {
	parts[0].data, parts[1].data = manifest, fmt.Appendf(nil, "%s  manifest.json\n", partOf(manifest).SHA256)
	return parts
}

// replaceDatabase puts another database into an archive, as if it had always
// been there.
func replaceDatabase(t *testing.T, parts []member, database []byte) []member {
	t.Helper()
	last := len(parts) - 1
	parts[last].data = database
	return manifest(t, parts, func(m *Manifest) { m.Database = partOf(database) })
}

// An archive that is not as it was written, in any way, is refused with a line
// that says so, and nothing is left.
func TestHostileArchives(t *testing.T) {
	if testing.Short() {
		t.Skip("not with -short: it derives many keys from passphrases")
	}
	t.Parallel()
	f := newFixture(t)
	f.issue("alice", "")
	whole := read(t, f.backup())
	other := newFixture(t)
	sealed := func(recipient age.Recipient, data []byte) []byte {
		var b bytes.Buffer
		w, err := age.Encrypt(&b, recipient)
		f.must(err)
		_, err = w.Write(data)
		f.must(err)
		f.must(w.Close())
		return b.Bytes()
	}
	identity, err := age.GenerateX25519Identity()
	f.must(err)
	costly, err := age.NewScryptRecipient("x")
	f.must(err)
	costly.SetWorkFactor(maxSealWork + 1)
	for _, row := range []struct {
		what     string
		make     func(parts []member) []byte
		sentinel error
		text     string
	}{
		{"nothing", func([]member) []byte { return nil }, ErrBackup, "it ends before manifest.json"},
		{"text", func([]member) []byte { return bytes.Repeat([]byte("text "), 1000) }, ErrBackup, "before manifest.json"},
		{"a key", func([]member) []byte { return read(t, f.Path("issuing.key")) }, ErrBackup, "it ends before manifest.json"},
		{"half", func([]member) []byte { return whole[:len(whole)/2] }, ErrBackup, "it ends in mutual.db"},
		{"without its end", func([]member) []byte { return whole[:len(whole)-1024] }, ErrBackup, "it ends"},
		{"something after the end", func([]member) []byte { return append(bytes.Clone(whole), 'x') }, ErrBackup, "something stands after its end"},
		{"one more part", func(p []member) []byte { return assemble(t, append(p, p[2])) }, ErrBackup, "something stands after the database"},
		{"one part less", func(p []member) []byte { return assemble(t, append(p[:2], p[3:]...)) }, ErrBackup, "key-1.pem is not where it belongs"},
		{"parts in another order", func(p []member) []byte { p[0], p[1] = p[1], p[0]; return assemble(t, p) }, ErrBackup, "manifest.json is not where it belongs"},
		{"a path", func(p []member) []byte { p[2].header.Name = "../../key-1.pem"; return assemble(t, p) }, ErrBackup, "key-1.pem is not where it belongs"},
		{"a link", func(p []member) []byte {
			p[2].header.Typeflag, p[2].header.Linkname, p[2].data = tar.TypeSymlink, "/etc/passwd", nil
			return assemble(t, p)
		}, ErrBackup, "key-1.pem is not where it belongs"},
		{"a sparse file", func(p []member) []byte {
			p[2].header.Format, p[2].header.PAXRecords = tar.FormatPAX, map[string]string{"comment": "as sparse files have"}
			return assemble(t, p)
		}, ErrBackup, "key-1.pem is not where it belongs"},
		{"a huge key", func(p []member) []byte {
			p[2].data = make([]byte, maxKeyFile+1)
			return assemble(t, p)
		}, ErrBackup, "key-1.pem has 65537 octets, and at most 65536 are read"},
		{"a huge manifest", func(p []member) []byte {
			p[0].data = make([]byte, maxManifest+1)
			return assemble(t, p)
		}, ErrBackup, "manifest.json has 1048577 octets"},
		{"zeros for a database", func(p []member) []byte { return assemble(t, replaceDatabase(t, p, make([]byte, 8192))) }, ErrBackup, "in mutual.db: it is no database"},
		{"a changed database", func(p []member) []byte { p[len(p)-1].data[5000] ^= 1; return assemble(t, p) }, ErrBackup, "mutual.db is not what the manifest says"},
		{"a changed key", func(p []member) []byte { p[3].data[100] ^= 1; return assemble(t, p) }, ErrBackup, "key-2.pem is not what the manifest says"},
		{"a changed manifest", func(p []member) []byte { p[0].data[30] ^= 1; return assemble(t, p) }, ErrBackup, "manifest.json.sha256 is not"},
		{"no manifest", func(p []member) []byte { return assemble(t, withManifest(p, []byte("nothing"))) }, ErrBackup, "reading the manifest"},
		{"an unknown field", func(p []member) []byte { return assemble(t, withManifest(p, []byte(`{"format":1,"x":1}`))) }, ErrBackup, `unknown field "x"`},
		{"a newer format", func(p []member) []byte { return assemble(t, withManifest(p, []byte(`{"format":2,"x":1}`))) }, ErrNewerBackup, "its format is 2, and this program knows 1"},
		{"format 0", func(p []member) []byte { return assemble(t, withManifest(p, []byte(`{"format":0}`))) }, ErrBackup, "the manifest has format 0"},
		{"many keys", func(p []member) []byte {
			return assemble(t, manifest(t, p, func(m *Manifest) { m.Keys = make([]ManifestKey, maxKeys+1) }))
		}, ErrBackup, "257 keys"},
		{"another epoch", func(p []member) []byte { return assemble(t, manifest(t, p, func(m *Manifest) { m.Epoch++ })) }, ErrBackup, "the manifest is not of this database"},
		{"another head", func(p []member) []byte { return assemble(t, manifest(t, p, func(m *Manifest) { m.Head.Number++ })) }, ErrBackup, "the manifest is not of this database"},
		{"another CRL number", func(p []member) []byte {
			return assemble(t, manifest(t, p, func(m *Manifest) { m.CRLs[0].Number += "0" }))
		}, ErrBackup, "the manifest is not of this database"},
		{"keys exchanged", func(p []member) []byte {
			return assemble(t, manifest(t, p, func(m *Manifest) { m.Keys[0].KeyID, m.Keys[1].KeyID = m.Keys[1].KeyID, m.Keys[0].KeyID }))
		}, nil, "the private key does not belong to the certificate"},
		{"the key of nobody", func(p []member) []byte {
			return assemble(t, manifest(t, p, func(m *Manifest) { m.Keys[0].KeyID = "../../x" }))
		}, ErrBackup, "it holds a key that is no CA's"},
		{"the same key twice", func(p []member) []byte {
			p = append(p[:4], append([]member{p[3]}, p[4:]...)...)
			p[4].header.Name = "key-3.pem"
			return assemble(t, manifest(t, p, func(m *Manifest) { m.Keys = append(m.Keys, m.Keys[1]) }))
		}, ErrBackup, "it holds a key that is no CA's"},
		{"another PKI's database", func(p []member) []byte {
			theirs := members(t, read(t, other.backup()))
			return assemble(t, replaceDatabase(t, p, theirs[len(theirs)-1].data))
		}, ErrBackup, "the manifest is not of this database"},
		{"no database", func(p []member) []byte { return assemble(t, replaceDatabase(t, p, []byte("no database"))) }, ErrBackup, "in mutual.db: it is no database"},
		{"an empty database", func(p []member) []byte { return assemble(t, replaceDatabase(t, p, nil)) }, ErrDamaged, "checking the backup"},
		{"age for a key", func([]member) []byte { return sealed(identity.Recipient(), whole) }, ErrBackup, "it was not encrypted with a passphrase"},
		{"age that takes long", func([]member) []byte { return sealed(costly, whole) }, ErrBackup, "work factor too large"},
		{"age without end", func([]member) []byte {
			return append([]byte("age-encryption.org/v1\n"), bytes.Repeat([]byte("-> X25519 abc\n"), 10000)...)
		}, ErrBackup, "its header does not end"},
	} {
		t.Run(row.what, func(t *testing.T) {
			path := filepath.Join(t.TempDir(), "b")
			write(t, path, row.make(members(t, whole)))
			f.passphrase = []byte("x")
			_, _, err := f.tryRestore(path, RestoreRequest{})
			wantError(t, err, row.sentinel, row.text)
		})
	}
}

// A database with something in it that acts is refused before it can.
func TestHostileDatabases(t *testing.T) {
	for _, row := range []struct{ what, statement, text string }{
		{"a trigger", `CREATE TRIGGER evil AFTER INSERT ON journal BEGIN DELETE FROM revocation; END`, "something in it that is no table"},
		{"a view", `CREATE VIEW evil AS SELECT 1`, "something in it that is no table"},
		{"a table that is none", `CREATE VIRTUAL TABLE evil USING fts5(x)`, "something in it that is no table"},
		{"a newer version", `PRAGMA user_version = 1000`, "it has version 1000"},
		{"a certificate that is not there", `PRAGMA foreign_keys = 0; INSERT INTO revocation VALUES (999, 0, 0, 0, 0, X'00')`, "a row refers to one that is not there"},
		{"a list that is another", `UPDATE crl SET der = X'00'`, "a row does not have the content that was written"},
		{"a signature that is another", `UPDATE journal SET signature = X'00' WHERE number = 3`, "the journal does not hold at line 3"},
	} {
		t.Run(row.what, func(t *testing.T) {
			f := newFixture(t)
			parts := members(t, read(t, f.backup()))
			dir := t.TempDir()
			write(t, filepath.Join(dir, dbFile), parts[len(parts)-1].data)
			evil, err := open(dir, f.options())
			f.must(err)
			_, err = evil.db.ExecContext(t.Context(), row.statement)
			f.must(err)
			f.must(evil.Close())
			path := filepath.Join(dir, "b")
			write(t, path, assemble(t, replaceDatabase(t, parts, read(t, filepath.Join(dir, dbFile)))))
			_, _, err = f.tryRestore(path, RestoreRequest{})
			wantError(t, err, nil, row.text)
		})
	}
}

// One flipped bit anywhere, or a missing end: an encrypted archive is refused,
// a plain one is refused or gives the same PKI.
func TestFlippedBits(t *testing.T) {
	t.Parallel()
	f := newFixture(t)
	plain := read(t, f.backup())
	want, _, err := readArchive(bytes.NewReader(plain), io.Discard)
	f.must(err)
	accepted, step := 0, 37
	if testing.Short() {
		step = 211
	}
	for i := 0; i < len(plain); i += step {
		bad := bytes.Clone(plain)
		bad[i] ^= 1 << (i % 8)
		got, _, err := readArchive(bytes.NewReader(bad), io.Discard)
		switch {
		case err == nil && fmt.Sprint(got) != fmt.Sprint(want):
			t.Errorf("octet %d changes the backup unnoticed", i)
		case err == nil:
			accepted++
		}
	}
	if accepted*20 > len(plain)/step { // only the padding between the parts means nothing
		t.Errorf("%d of %d are not noticed", accepted, len(plain)/step)
	}
	for _, size := range []int{1, 500, 512, 1000, len(plain) / 3, len(plain) - 1025, len(plain) - 1024, len(plain) - 512, len(plain) - 1} {
		if _, _, err := readArchive(bytes.NewReader(plain[:size]), io.Discard); err == nil {
			t.Errorf("%d of %d octets are enough", size, len(plain))
		}
	}
}

func TestFlippedBitsEncrypted(t *testing.T) {
	if testing.Short() {
		t.Skip("not with -short: it derives many keys from passphrases")
	}
	t.Parallel()
	f := newFixture(t)
	f.passphrase = []byte("x")
	path := f.backup(func(r *BackupRequest) { r.Passphrase = func() ([]byte, error) { return f.passphrase, nil } })
	sealed := read(t, path)
	for _, row := range []struct {
		at       int // from the end where it is negative
		sentinel error
		text     string
	}{
		{30, nil, ""}, // the header
		{180, nil, ""},
		{1000, ErrBackup, "failed to decrypt"},
		{len(sealed) / 2, ErrBackup, "failed to decrypt"},
		{len(sealed) - 1, ErrBackup, "failed to decrypt"},
	} {
		bad := bytes.Clone(sealed)
		bad[row.at] ^= 4
		write(t, path, bad)
		_, _, err := f.tryRestore(path, RestoreRequest{})
		wantError(t, err, row.sentinel, row.text)
	}
	for _, size := range []int{100, 70000, len(sealed) - 1} {
		write(t, path, sealed[:size])
		_, _, err := f.tryRestore(path, RestoreRequest{})
		wantError(t, err, ErrBackup, "it is no whole backup")
	}
	write(t, path, sealed)
	f.passphrase = []byte("y")
	_, _, err := f.tryRestore(path, RestoreRequest{})
	wantError(t, err, keys.ErrPassphrase, "reading the backup: wrong passphrase")
}

// FuzzReadArchive feeds the reader of archives: it ends, holds no more than it
// may, and what it accepts is what the manifest says.
func FuzzReadArchive(f *testing.F) {
	key := []byte("a key")
	m := &Manifest{Format: backupFormat, Created: start(), Keys: []ManifestKey{{Part: partOf(key)}}, Database: partOf([]byte("a database"))}
	var b bytes.Buffer
	if err := writeArchive(&b, m, [][]byte{key}, strings.NewReader("a database")); err != nil {
		f.Fatal(err)
	}
	whole := b.Bytes()
	f.Add(whole)
	f.Add(whole[:1500])
	f.Add([]byte(nil))
	f.Add([]byte("age-encryption.org/v1\n-> scrypt AAAAAAAAAAAAAAAAAAAAAA 10\nAAAA\n--- AAAA\n"))
	f.Add(append(bytes.Clone(whole), whole...))
	f.Fuzz(func(t *testing.T, data []byte) {
		content, _, err := unseal(bytes.NewReader(data), func() ([]byte, error) { return nil, io.EOF })
		if err != nil {
			return
		}
		var database bytes.Buffer
		m, keys, err := readArchive(content, &database)
		if database.Len() > len(data) {
			t.Fatalf("%d octets became %d", len(data), database.Len())
		}
		if err != nil {
			return
		}
		if partOf(database.Bytes()) != m.Database || len(keys) != len(m.Keys) {
			t.Fatalf("accepted is %+v", m)
		}
		for i, k := range m.Keys {
			if partOf(keys[i]) != k.Part || len(keys[i]) > maxKeyFile {
				t.Fatalf("key %d is not the manifest's", i)
			}
		}
	})
}
