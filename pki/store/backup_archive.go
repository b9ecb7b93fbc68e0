package store

import (
	"archive/tar"
	"bytes"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"time"

	"mutual/pki"
)

// Of an archive: its format, and the most that is read of each part.
const (
	backupFormat = 1
	maxManifest  = 1 << 20
	maxKeys      = 256
	maxKeyFile   = 1 << 16
	maxDatabase  = 1 << 38
)

// tarBlock is what an archive consists of; two empty ones end it.
const tarBlock = 512

// The parts of an archive, in their order. A key's name has its place among
// the keys of the manifest. No name is ever a path.
const (
	partManifest = "manifest.json"
	partSum      = "manifest.json.sha256"
	partKey      = "key-%d.pem"
	partDatabase = "mutual.db"
)

// What a caller branches on when an archive cannot be used.
var (
	ErrBackup      = errors.New("it is no whole backup")
	ErrNewerBackup = errors.New("the backup was written by a newer version")
)

// Manifest is what a backup says of itself.
type Manifest struct {
	Format   int           `json:"format"`
	Created  time.Time     `json:"created"`
	Root     string        `json:"root"` // SHA-256 of the root's certificate
	Head     Head          `json:"journalHead"`
	Epoch    int64         `json:"epoch"`
	CRLs     []ManifestCRL `json:"crls"`
	Keys     []ManifestKey `json:"keys"`
	Database Part          `json:"database"`
}

// ManifestCRL is the newest list of a CA that the backup knows.
type ManifestCRL struct {
	Issuer pki.Kind `json:"issuer"`
	KeyID  string   `json:"keyId"`
	Number string   `json:"number"`
}

// ManifestKey is the key of a CA, as its file was.
type ManifestKey struct {
	Role      pki.Kind `json:"role"`
	KeyID     string   `json:"keyId"`
	Encrypted bool     `json:"encrypted"`
	Part
}

// Files are the names that the keys get in a restored PKI: of each role the
// newest comes first.
func (m *Manifest) Files() []string {
	var out []string
	for i, k := range m.Keys {
		name := keyFile(k.Role)
		if i > 0 && m.Keys[i-1].Role == k.Role {
			name = string(k.Role) + "-" + k.KeyID[:min(8, len(k.KeyID))] + ".key"
		}
		out = append(out, name)
	}
	return out
}

// Part is the content of a part of an archive.
type Part struct {
	Size   int64  `json:"size"`
	SHA256 string `json:"sha256"`
}

func partOf(data []byte) Part {
	sum := sha256.Sum256(data)
	return Part{Size: int64(len(data)), SHA256: hex.EncodeToString(sum[:])}
}

// writeArchive writes a tar archive: the manifest, its SHA-256 as sha256sum
// prints it, the keys, the database.
func writeArchive(w io.Writer, m *Manifest, keys [][]byte, database io.Reader) error {
	manifest, err := json.MarshalIndent(m, "", "  ")
	if err != nil {
		return fmt.Errorf("writing the manifest: %w", err)
	}
	t := tar.NewWriter(w)
	put := func(name string, size int64, content io.Reader) error {
		h := &tar.Header{Typeflag: tar.TypeReg, Name: name, Mode: 0o600, Size: size, ModTime: m.Created, Format: tar.FormatGNU}
		if err := t.WriteHeader(h); err != nil {
			return fmt.Errorf("writing %s: %w", name, err)
		}
		if n, err := io.Copy(t, content); err != nil || n != size {
			return fmt.Errorf("writing %s: %d of %d octets: %w", name, n, size, err)
		}
		return nil
	}
	sum := fmt.Appendf(nil, "%s  %s\n", partOf(manifest).SHA256, partManifest)
	if err := put(partManifest, int64(len(manifest)), bytes.NewReader(manifest)); err != nil {
		return err
	}
	if err := put(partSum, int64(len(sum)), bytes.NewReader(sum)); err != nil {
		return err
	}
	for i, key := range keys {
		if err := put(fmt.Sprintf(partKey, i+1), int64(len(key)), bytes.NewReader(key)); err != nil {
			return err
		}
	}
	if err := put(partDatabase, m.Database.Size, database); err != nil {
		return err
	}
	return t.Close()
}

// archiveReader reads the parts of an archive, each of which must be the one
// that comes next.
type archiveReader struct{ tar *tar.Reader }

// readArchive reads an archive to its end, writes the database to a writer,
// and returns manifest and keys. Everything has the size and the SHA-256 that
// the manifest says. An archive that is not whole, or holds anything else, is
// ErrBackup; what it gave to the writer until then is worth nothing.
func readArchive(r io.Reader, database io.Writer) (*Manifest, [][]byte, error) {
	count := &countingReader{r: r}
	a := archiveReader{tar.NewReader(count)}
	m, err := a.manifest()
	if err != nil {
		return nil, nil, err
	}
	var keys [][]byte
	for i, k := range m.Keys {
		var key bytes.Buffer
		if err := a.part(fmt.Sprintf(partKey, i+1), k.Part, maxKeyFile, &key); err != nil {
			return nil, nil, err
		}
		keys = append(keys, key.Bytes())
	}
	if err := a.part(partDatabase, m.Database, maxDatabase, database); err != nil {
		return nil, nil, err
	}
	before := count.n
	if _, err := a.tar.Next(); err != io.EOF {
		return nil, nil, notWhole("after the database", err)
	}
	if count.n-before != -m.Database.Size&(tarBlock-1)+2*tarBlock { // the tar package takes any end for one
		return nil, nil, notWhole("before its last blocks", io.EOF)
	}
	var more [1]byte // an encrypted archive proves its last piece at its end
	if _, err := io.ReadFull(r, more[:]); err != io.EOF {
		return nil, nil, notWhole("after its end", err)
	}
	return m, keys, nil
}

// countingReader counts what was read.
type countingReader struct {
	r io.Reader
	n int64
}

// Read implements io.Reader.
func (c *countingReader) Read(b []byte) (int, error) {
	n, err := c.r.Read(b)
	c.n += int64(n)
	return n, err
}

func notWhole(where string, err error) error {
	switch {
	case err == nil:
		return fmt.Errorf("%w: something stands %s", ErrBackup, where)
	case err == io.EOF || errors.Is(err, io.ErrUnexpectedEOF):
		return fmt.Errorf("%w: it ends %s", ErrBackup, where)
	}
	if _, ok := errors.AsType[*fs.PathError](err); ok { // a disk's, not the archive's
		return fmt.Errorf("copying the backup: %w", err)
	}
	return fmt.Errorf("%w: %s: %v", ErrBackup, where, err)
}

// next goes to a part and returns its size.
func (a archiveReader) next(name string, most int64) (int64, error) {
	h, err := a.tar.Next()
	switch {
	case err != nil:
		return 0, notWhole("before "+name, err)
	case h.Name != name || h.Typeflag != tar.TypeReg || len(h.PAXRecords) > 0: // sparse files have records
		return 0, fmt.Errorf("%w: %s is not where it belongs", ErrBackup, name)
	case h.Size > most:
		return 0, fmt.Errorf("%w: %s has %d octets, and at most %d are read", ErrBackup, name, h.Size, most)
	}
	return h.Size, nil
}

// part copies the content that the manifest announces.
func (a archiveReader) part(name string, want Part, most int64, to io.Writer) error {
	size, err := a.next(name, most)
	if err != nil {
		return err
	}
	sum := sha256.New()
	if _, err := io.Copy(io.MultiWriter(to, sum), a.tar); err != nil {
		return notWhole("in "+name, err)
	}
	if size != want.Size || hex.EncodeToString(sum.Sum(nil)) != want.SHA256 {
		return fmt.Errorf("%w: %s is not what the manifest says", ErrBackup, name)
	}
	return nil
}

func (a archiveReader) manifest() (*Manifest, error) {
	if _, err := a.next(partManifest, maxManifest); err != nil {
		return nil, err
	}
	text, err := io.ReadAll(a.tar)
	if err != nil {
		return nil, notWhole("in "+partManifest, err)
	}
	sum := fmt.Appendf(nil, "%s  %s\n", partOf(text).SHA256, partManifest)
	if err := a.part(partSum, partOf(sum), int64(len(sum)), io.Discard); err != nil {
		return nil, err
	}
	return parseManifest(text)
}

func parseManifest(text []byte) (*Manifest, error) {
	var version struct {
		Format int `json:"format"`
	}
	if err := json.Unmarshal(text, &version); err != nil {
		return nil, fmt.Errorf("%w: reading the manifest: %v", ErrBackup, err)
	}
	if version.Format > backupFormat {
		return nil, fmt.Errorf("%w: its format is %d, and this program knows %d", ErrNewerBackup, version.Format, backupFormat)
	}
	m := &Manifest{}
	d := json.NewDecoder(bytes.NewReader(text))
	d.DisallowUnknownFields()
	if err := d.Decode(m); err != nil {
		return nil, fmt.Errorf("%w: reading the manifest: %v", ErrBackup, err)
	}
	if m.Format != backupFormat || len(m.Keys) > maxKeys {
		return nil, fmt.Errorf("%w: the manifest has format %d and %d keys", ErrBackup, m.Format, len(m.Keys))
	}
	return m, nil
}
