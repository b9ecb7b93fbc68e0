package store

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"net/url"
	"os"
	"path/filepath"
	"sync/atomic"
	"time"
)

// The files of a PKI, relative to its directory.
const (
	dbFile      = "mutual.db"
	lockFile    = "lock"
	crlDir      = "crl"
	publishLock = "crl/.lock"
	caFile      = "ca.crt"
)

// Options are what a PKI needs from outside.
type Options struct {
	Now   func() time.Time
	Actor Actor
	// Passphrase is asked for when a CA key turns out to be encrypted.
	Passphrase func() ([]byte, error)
	// Waiting is told, once, what an act has been waiting for longer than a
	// second. It may be nil.
	Waiting func(what string)
	// Changed is told of each change of who is let in, as soon as it is durable
	// and before the lists with it are made. It may be nil, and does not block.
	Changed func(epoch int64)
	// AllowRolledBack opens a PKI for looking although its database is older
	// than a list that is out, or than what was done last: PKI.RolledBack then
	// gives the ErrRolledBack or ErrLost, and every act is refused with it.
	AllowRolledBack bool
}

// PKI is an open PKI. Its methods may be called by several goroutines.
type PKI struct {
	dir  string
	db   database
	opts Options
	cas  caCache
	file fs.FileInfo // of the database, as it was opened

	schema     atomic.Int64 // the least version that the database has
	rolledBack error        // nil: the database is as new as what is published
}

// Open opens the PKI in a directory. It refuses one that others can read, one
// whose database is damaged, of a newer version, or older than what was done last
// or than a CRL of its own that is out, beside it or where servers read.
func Open(ctx context.Context, dir string, opts Options) (*PKI, error) {
	path := filepath.Join(dir, dbFile)
	st, err := os.Stat(path)
	if err != nil {
		if errors.Is(err, fs.ErrNotExist) || isNotDir(err) {
			return nil, fmt.Errorf("%w in %s", ErrNoPKI, dir)
		}
		return nil, fmt.Errorf("opening the PKI: %w", err)
	}
	if err := checkModes(dir); err != nil {
		return nil, err
	}
	p, err := open(dir, opts)
	if err != nil {
		return nil, err
	}
	p.file = st
	if err := p.check(ctx); err != nil {
		_ = p.db.Close() // the first error is the one to report
		return nil, err
	}
	return p, nil
}

func open(dir string, opts Options) (*PKI, error) {
	abs, err := filepath.Abs(dir)
	if err != nil {
		return nil, fmt.Errorf("opening the PKI: %w", err)
	}
	db, err := openDB(dsn(filepath.Join(abs, dbFile)))
	if err != nil {
		return nil, wrap("opening the database", err)
	}
	return &PKI{dir: abs, db: db, opts: opts}, nil
}

// dsn escapes what SQLite's URI syntax would take for its own: ?, # and %.
func dsn(path string) string {
	u := url.URL{Scheme: "file", Opaque: (&url.URL{Path: filepath.ToSlash(path)}).EscapedPath()}
	u.RawQuery = "mode=rw&_txlock=immediate&_pragma=busy_timeout(30000)&_pragma=synchronous(FULL)" +
		"&_pragma=foreign_keys(1)&_pragma=fullfsync(1)"
	return u.String()
}

// check reads the version and holds the newest CRL against the files.
func (p *PKI) check(ctx context.Context) error {
	if err := p.checkVersion(ctx); err != nil {
		return err
	}
	err := p.checkPublished(ctx)
	if err == nil {
		err = p.checkHead(ctx)
	}
	if p.opts.AllowRolledBack && (errors.Is(err, ErrRolledBack) || errors.Is(err, ErrLost)) {
		p.rolledBack = err
		return nil
	}
	return err
}

func (p *PKI) checkVersion(ctx context.Context) error {
	version, err := p.version(ctx)
	if err != nil {
		return err
	}
	switch {
	case version > schemaVersion:
		return fmt.Errorf("%w: it has version %d, and this program knows %d", ErrNewer, version, schemaVersion)
	case version < 1:
		return fmt.Errorf("reading the database: %w: it has no schema of ours (version %d)", ErrDamaged, version)
	}
	p.schema.Store(int64(version))
	return nil
}

// RolledBack gives, for a PKI that was opened with AllowRolledBack, the
// ErrRolledBack or ErrLost that says what is newer than the database, or nil.
func (p *PKI) RolledBack() error { return p.rolledBack }

// checkMayWrite refuses to write into a PKI of another user, or into one whose
// database is older than what is published.
func (p *PKI) checkMayWrite() error {
	if p.rolledBack != nil {
		return p.rolledBack
	}
	return checkOwner(p.dir)
}

// Close closes the database.
func (p *PKI) Close() error { return wrap("closing the database", p.db.Close()) }

// Dir returns the absolute path of the PKI's directory.
func (p *PKI) Dir() string { return p.dir }

// Path returns the absolute path of a file of the PKI.
func (p *PKI) Path(name string) string { return filepath.Join(p.dir, filepath.FromSlash(name)) }

func (p *PKI) now() time.Time { return p.opts.Now().UTC() }

// checkModes refuses what others may read: the directory, the database and the
// keys. The database's companions are created by SQLite with its mode.
func checkModes(dir string) error {
	if err := checkMode(dir, 0o700); err != nil {
		return err
	}
	private, err := keyFiles(dir)
	if err != nil {
		return err
	}
	for _, path := range append(private, filepath.Join(dir, dbFile)) {
		if err := checkMode(path, 0o600); err != nil && !errors.Is(err, fs.ErrNotExist) {
			return err
		}
	}
	return nil
}
