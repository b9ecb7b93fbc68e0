package store

import (
	"context"
	"encoding/hex"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"

	"mutual/pki/internal/durable"
	"mutual/pki/pemfile"
)

// RestoreRequest says what a backup is held against before it is used.
type RestoreRequest struct {
	// Compare are CRL files, directories with crl/ in them, and directories of
	// PKIs. What a newer list of a restored CA says is revoked is revoked again
	// or, where the inventory does not know the serial, listed on.
	Compare []string
	// TakeRevocations also takes over revocations, and blocks of identities,
	// that only the database of another PKI shows, which nobody has signed.
	TakeRevocations bool
}

// Restored is what a restore made.
type Restored struct {
	Manifest  Manifest
	Encrypted bool
	Epoch     int64
	CRLs      []Published
	NoKey     []string // CAs whose keys the backup does not hold
	Unchecked []string // CAs whose keys are encrypted, and no passphrase was at hand
	Publish   string   // the directory that servers read, which is not written yet
	Later     Later
}

// Restore makes a PKI of a backup. It is made beside its place and renamed, so
// that a Restore that fails or is killed leaves nothing there; ErrExists says
// that there is something already.
//
// Everything in the archive is checked: its sums, the whole database as Backup
// does, the keys against their certificates. Then the restore is journaled, the
// epoch grows by one, and the lists are made anew where their keys are at hand,
// with numbers above whatever was published before.
func Restore(ctx context.Context, dir string, archive io.Reader, req RestoreRequest, opts Options) (*PKI, *Restored, error) {
	dir, err := filepath.Abs(dir)
	if err != nil {
		return nil, nil, fmt.Errorf("restoring the PKI: %w", err)
	}
	if err := checkInit(dir, ""); err != nil {
		return nil, nil, err
	}
	undo, err := makeParents(dir)
	if err != nil {
		return nil, nil, fmt.Errorf("restoring the PKI: %w", err)
	}
	made, err := os.MkdirTemp(filepath.Dir(dir), "."+filepath.Base(dir)+".*.tmp") // 0700
	if err != nil {
		undo()
		return nil, nil, fmt.Errorf("restoring the PKI: %w", err)
	}
	place := initialiser{dir: made, undo: undo}
	r := restorer{dir: made, req: req, opts: opts}
	if err := r.run(ctx, archive); err != nil {
		return nil, nil, place.discard(err)
	}
	if err := place.moveTo(dir); err != nil {
		return nil, nil, place.discard(err)
	}
	p, err := Open(ctx, dir, opts)
	if err != nil {
		return nil, nil, err
	}
	r.done.CRLs, err = p.filesOf(ctx, r.done.CRLs)
	return p, &r.done, err
}

// restorer builds a PKI of a backup in its temporary directory.
type restorer struct {
	dir  string
	req  RestoreRequest
	opts Options
	pki  *PKI
	keys map[int64]bool // CAs whose keys came with the backup, by row
	done Restored
}

func (r *restorer) run(ctx context.Context, archive io.Reader) error {
	keys, err := r.unpack(archive)
	if err != nil {
		return err
	}
	if err := r.check(ctx); err != nil {
		return err
	}
	if err := os.Mkdir(filepath.Join(r.dir, crlDir), 0o755); err != nil {
		return fmt.Errorf("restoring the PKI: %w", err)
	}
	if r.pki, err = open(r.dir, r.opts); err != nil {
		return err
	}
	defer func() { _ = r.pki.db.Close() }() // closed with its error below
	if _, err := r.pki.db.ExecContext(ctx, "PRAGMA journal_mode = WAL"); err != nil {
		return wrap("restoring the database", err)
	}
	if err := r.writeKeys(ctx, keys); err != nil {
		return err
	}
	c, err := r.compare(ctx)
	if err != nil {
		return err
	}
	if err := r.record(ctx, c); err != nil {
		return err
	}
	if err := r.publish(ctx); err != nil {
		return err
	}
	return r.pki.Close()
}

// unpack writes the database of an archive and gives the contents of its keys.
func (r *restorer) unpack(archive io.Reader) ([][]byte, error) {
	content, sealed, err := unseal(archive, r.opts.Passphrase)
	if err != nil {
		return nil, err
	}
	r.done.Encrypted = sealed
	f, err := os.OpenFile(filepath.Join(r.dir, dbFile), os.O_WRONLY|os.O_CREATE|os.O_EXCL, 0o600)
	if err != nil {
		return nil, fmt.Errorf("restoring the database: %w", err)
	}
	m, keys, err := readArchive(content, &databaseWriter{to: f})
	if err == nil {
		err = f.Sync()
	}
	if closed := f.Close(); err == nil {
		err = closed
	}
	if err != nil {
		return nil, fmt.Errorf("reading the backup: %w", err)
	}
	r.done.Manifest = *m
	return keys, nil
}

// databaseWriter writes what begins as a database of SQLite does. Nothing else
// is worth the room that it would take, which may be more than there is.
type databaseWriter struct {
	to      io.Writer
	written int64
}

const databaseMagic = "SQLite format 3\x00" // https://www.sqlite.org/fileformat.html, Section 1.3

// Write implements io.Writer.
func (d *databaseWriter) Write(b []byte) (int, error) {
	if left := databaseMagic[min(d.written, int64(len(databaseMagic))):]; left != "" {
		n := min(len(left), len(b))
		if left[:n] != string(b[:n]) {
			return 0, errors.New("it is no database")
		}
	}
	n, err := d.to.Write(b)
	d.written += int64(n)
	return n, err
}

// check reads the whole database before anything is written to it.
func (r *restorer) check(ctx context.Context) error {
	frozen, err := (&PKI{opts: r.opts}).openCopy(filepath.Join(r.dir, dbFile))
	if err != nil {
		return err
	}
	defer func() { _ = frozen.db.Close() }() // only read
	if err := frozen.checkDatabase(ctx); err != nil {
		if _, broken := errors.AsType[*ChainError](err); broken || errors.Is(err, ErrDamaged) {
			return fmt.Errorf("checking the backup: %w: %w", ErrBackup, err)
		}
		return fmt.Errorf("checking the backup: %w", err)
	}
	return frozen.checkManifest(ctx, &r.done.Manifest)
}

// writeKeys gives the keys the names that belong to their CAs. One that is not
// its CA's is refused; one that cannot be opened is written as it is.
func (r *restorer) writeKeys(ctx context.Context, contents [][]byte) error {
	rows, err := caRows(ctx, r.pki.db)
	if err != nil {
		return err
	}
	r.keys = map[int64]bool{}
	byID := map[string][]byte{}
	for i, k := range r.done.Manifest.Keys {
		byID[k.KeyID] = contents[i]
	}
	for _, row := range rows {
		id := hex.EncodeToString(row.cert.SubjectKeyId)
		content := byID[id]
		if content == nil {
			r.done.NoKey = append(r.done.NoKey, row.String())
			continue
		}
		delete(byID, id)
		r.keys[row.id] = true
		if err := r.checkKey(row, content); err != nil {
			return err
		}
		if err := durable.WriteFile(r.pki.Path(row.base()+".key"), content, 0o600); err != nil {
			return err
		}
	}
	if len(byID) > 0 || len(r.done.Manifest.Keys)+len(r.done.NoKey) != len(rows) {
		return fmt.Errorf("%w: it holds a key that is no CA's", ErrBackup)
	}
	return nil
}

func (r *restorer) checkKey(row caRow, content []byte) error {
	var passphrase []byte
	if isEncryptedKey(content) {
		var err error
		if r.opts.Passphrase == nil {
			err = pemfile.ErrEncrypted
		} else {
			passphrase, err = r.opts.Passphrase()
		}
		if err != nil {
			r.done.Unchecked = append(r.done.Unchecked, row.String())
			return nil
		}
	}
	return checkKey(row, content, passphrase)
}

// publish makes the lists anew that record marked, and writes the files, but not
// the directory that servers read: a PKI that is only looked at must not touch
// it. A list that cannot be made stays the newest that is known.
func (r *restorer) publish(ctx context.Context) error {
	settings, err := r.pki.Settings(ctx)
	if err != nil {
		return err
	}
	r.done.Publish = settings.Publish
	lists, err := r.pki.makeLists(ctx, publishRequest{private: true})
	without := false
	for i := range lists {
		l := &lists[i]
		without = without || l.der == nil
		if !l.Made && l.Skipped == nil {
			l.Skipped = ErrNoKey
		}
	}
	if err != nil && !without {
		return err
	}
	r.done.CRLs = lists
	return r.pki.writeCertificates(ctx, r.dir)
}

// filesOf names the files of lists that were made in another directory.
func (p *PKI) filesOf(ctx context.Context, made []Published) ([]Published, error) {
	now, err := p.CRLs(ctx)
	if err != nil {
		return nil, err
	}
	for i := range now {
		for _, l := range made {
			if l.ca == now[i].ca {
				now[i].Made, now[i].Skipped = l.Made, l.Skipped
			}
		}
	}
	return now, nil
}
