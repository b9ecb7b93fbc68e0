package store

import (
	"context"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"hash"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"time"

	"mutual/pki/internal/durable"
)

// The lock of whoever makes a backup, and the copy of the database that it
// makes for it.
const (
	backupLock   = ".backup.lock"
	snapshotFile = ".backup.db.tmp"
)

// BackupRequest says where a backup goes.
type BackupRequest struct {
	Path  string    // a file, outside the PKI
	Force bool      // replace the file that is there
	To    io.Writer // where Path is empty; what arrives there is not read back
	// Passphrase is asked for where no CA key is encrypted, and encrypts the
	// backup. It may be nil: such a backup is then not encrypted.
	Passphrase func() ([]byte, error)
}

// Backup is a backup that was made.
type Backup struct {
	Manifest
	Path      string // absolute; empty where it went to a writer
	Size      int64
	SHA256    string // of the file
	Encrypted bool
	NoKey     []string // CAs in use whose keys are not in the PKI
}

// Backup writes one archive with all that cannot be made again: the database
// as it is at one moment, while others go on writing, and the keys in the PKI of
// the CAs in use, as their files are. The key of a CA that is retired, or that
// waits for its first certificate, is not among them. Where one of those is encrypted, so is the
// archive, with the same passphrase.
//
// The whole database is checked before, and a file is read back before it gets
// its name. A key that is not its certificate's, or that the passphrase does
// not open, is an error. The act is journaled; the epoch stays.
func (p *PKI) Backup(ctx context.Context, req BackupRequest) (*Backup, error) {
	if err := p.checkMayWrite(); err != nil {
		return nil, err
	}
	var err error
	if req.Path != "" {
		if req.Path, err = p.checkBackupPath(req.Path, req.Force); err != nil {
			return nil, err
		}
	}
	release, err := p.queue(ctx, backupLock, "another process that makes a backup")
	if err != nil {
		return nil, err
	}
	defer release()
	b := backupMaker{pki: p, req: req}
	made, err := b.make(ctx)
	if err != nil {
		return nil, err
	}
	return made, p.journalBackup(ctx, made)
}

// checkBackupPath refuses, before anything is done, a file that is there, and
// one that would be lost with the PKI or take the place of a file of it.
func (p *PKI) checkBackupPath(path string, force bool) (string, error) {
	path, err := filepath.Abs(path)
	if err != nil {
		return "", fmt.Errorf("writing the backup: %w", err)
	}
	switch st, err := os.Lstat(path); {
	case errors.Is(err, fs.ErrNotExist):
	case err != nil:
		return "", fmt.Errorf("writing the backup: %w", err)
	case !st.Mode().IsRegular():
		return "", fmt.Errorf("writing the backup: %s is no regular file", path)
	case !force:
		return "", fmt.Errorf("writing the backup: %s: %w", path, fs.ErrExist)
	}
	own, err := os.Stat(p.dir)
	if err != nil {
		return "", fmt.Errorf("writing the backup: %w", err)
	}
	place, err := filepath.EvalSymlinks(filepath.Dir(path))
	if err != nil {
		return "", fmt.Errorf("writing the backup: %w", err)
	}
	for dir := place; ; dir = filepath.Dir(dir) {
		if st, err := os.Stat(dir); err == nil && os.SameFile(st, own) {
			return "", fmt.Errorf("writing the backup: %s is inside the PKI, and would be lost with it", path)
		}
		if dir == filepath.Dir(dir) {
			return path, nil
		}
	}
}

func (p *PKI) journalBackup(ctx context.Context, b *Backup) error {
	name := "-"
	if b.Path != "" {
		name = filepath.Base(b.Path)
	}
	err := p.update(ctx, p.signerAtHand(ctx), func(t *Tx) error {
		_, err := t.append("backup", name, map[string]any{
			"file": b.Path, "sha256": b.SHA256, "encrypted": b.Encrypted, "head": b.Head.String(), "epoch": b.Epoch,
		})
		return err
	})
	if err != nil {
		return fmt.Errorf("the backup %s is there and whole, but the journal does not say so: %w", name, err)
	}
	return nil
}

// backupMaker makes one backup.
type backupMaker struct {
	pki        *PKI
	req        BackupRequest
	keys       map[string][]byte // the files of CA keys, by the key's identifier
	passphrase []byte            // empty: the archive is not encrypted
	noKey      []string          // CAs whose keys are elsewhere
}

func (b *backupMaker) make(ctx context.Context) (*Backup, error) {
	b.keys = map[string][]byte{}
	if err := b.readKeys(ctx, b.pki); err != nil {
		return nil, err
	}
	if err := b.askPassphrase(); err != nil {
		return nil, err
	}
	snapshot, err := b.pki.snapshot(ctx)
	if err != nil {
		return nil, err
	}
	defer func() { _ = os.Remove(snapshot) }() // the next backup removes what a crash leaves
	m, contents, err := b.prepare(ctx, snapshot)
	if err != nil {
		return nil, err
	}
	made := &Backup{Manifest: *m, Path: b.req.Path, Encrypted: len(b.passphrase) > 0, NoKey: b.noKey}
	write := func(w io.Writer) error { return b.write(w, made, contents, snapshot) }
	if b.req.Path == "" {
		return made, write(b.req.To)
	}
	staged, err := durable.StageFunc(b.req.Path, 0o600, write)
	if err != nil {
		return nil, err
	}
	if err := b.place(staged); err != nil {
		_ = staged.Discard() // the first error is the one to tell
		return nil, err
	}
	return made, nil
}

// snapshot copies the database as it is at one moment. Writers go on meanwhile:
// the copy is made in one reading transaction.
func (p *PKI) snapshot(ctx context.Context) (path string, err error) {
	path = p.Path(snapshotFile)
	if err := os.Remove(path); err != nil && !errors.Is(err, fs.ErrNotExist) { // of one that was killed
		return "", fmt.Errorf("copying the database: %w", err)
	}
	f, err := os.OpenFile(path, os.O_WRONLY|os.O_CREATE|os.O_EXCL, 0o600) // SQLite would make it with another mode
	if err == nil {
		err = f.Close()
	}
	if err != nil {
		return "", fmt.Errorf("copying the database: %w", err)
	}
	if _, err := p.db.ExecContext(ctx, `VACUUM INTO $1`, path); err != nil {
		_ = os.Remove(path) // the first error is the one to tell
		return "", wrap("copying the database", err)
	}
	return path, nil
}

// prepare checks the snapshot and the keys, and says in a manifest what they
// are.
func (b *backupMaker) prepare(ctx context.Context, snapshot string) (*Manifest, [][]byte, error) {
	frozen, err := b.pki.openCopy(snapshot)
	if err != nil {
		return nil, nil, err
	}
	defer func() { _ = frozen.db.Close() }() // only read
	if err := frozen.checkDatabase(ctx); err != nil {
		return nil, nil, err
	}
	if err := b.readKeys(ctx, frozen); err != nil {
		return nil, nil, err
	}
	m := &Manifest{Format: backupFormat, Created: b.pki.now().Truncate(time.Second), Keys: []ManifestKey{}}
	if err := frozen.describe(ctx, m); err != nil {
		return nil, nil, err
	}
	rows, err := caRows(ctx, frozen.db)
	if err != nil {
		return nil, nil, err
	}
	var contents [][]byte
	for _, r := range rows {
		key := b.keys[string(r.cert.SubjectKeyId)]
		if key == nil {
			b.noKey = append(b.noKey, r.String())
			continue
		}
		if err := checkKey(r, key, b.passphrase); err != nil {
			return nil, nil, err
		}
		m.Keys = append(m.Keys, ManifestKey{r.role, hex.EncodeToString(r.cert.SubjectKeyId), isEncryptedKey(key), partOf(key)})
		contents = append(contents, key)
	}
	m.Database, err = partOfFile(snapshot)
	return m, contents, err
}

func partOfFile(path string) (Part, error) {
	f, err := os.Open(path)
	if err != nil {
		return Part{}, err
	}
	defer func() { _ = f.Close() }() // only read
	sum := sha256.New()
	n, err := io.Copy(sum, f)
	return Part{Size: n, SHA256: hex.EncodeToString(sum.Sum(nil))}, err
}

// write writes the archive and notes its size and SHA-256.
func (b *backupMaker) write(w io.Writer, made *Backup, contents [][]byte, snapshot string) error {
	database, err := os.Open(snapshot)
	if err != nil {
		return err
	}
	defer func() { _ = database.Close() }() // only read
	count := &counter{to: w, sum: sha256.New()}
	sealed, err := seal(count, b.passphrase)
	if err != nil {
		return err
	}
	if err := writeArchive(sealed, &made.Manifest, contents, database); err != nil {
		return err
	}
	if err := sealed.Close(); err != nil {
		return err
	}
	made.Size, made.SHA256 = count.n, hex.EncodeToString(count.sum.Sum(nil))
	return nil
}

// counter counts and sums what goes through it.
type counter struct {
	to  io.Writer
	sum hash.Hash
	n   int64
}

// Write implements io.Writer.
func (c *counter) Write(b []byte) (int, error) {
	n, err := c.to.Write(b)
	c.sum.Write(b[:n])
	c.n += int64(n)
	return n, err
}

// place reads back what was written, and gives it its name.
func (b *backupMaker) place(staged *durable.Staged) error {
	if err := b.readBack(staged.Path()); err != nil {
		return fmt.Errorf("reading the backup back: %w", err)
	}
	if b.req.Force {
		return staged.Replace()
	}
	return staged.Create()
}

func (b *backupMaker) readBack(path string) error {
	f, err := os.Open(path)
	if err != nil {
		return err
	}
	defer func() { _ = f.Close() }() // only read
	content, _, err := unseal(f, func() ([]byte, error) { return b.passphrase, nil })
	if err == nil {
		_, _, err = readArchive(content, io.Discard)
	}
	return err
}
