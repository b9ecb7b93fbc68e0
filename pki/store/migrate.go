package store

import (
	"context"
	"fmt"
	"os"
	"path/filepath"

	"mutual/pki/internal/durable"
)

// version reads which schema the database has.
func (p *PKI) version(ctx context.Context) (int, error) {
	var version int
	err := p.db.QueryRowContext(ctx, "PRAGMA user_version").Scan(&version)
	return version, wrap("reading the database "+filepath.Join(p.dir, dbFile), err)
}

// migrate brings an older database to the version of this program, in one
// transaction, after a copy of it as mutual.db.vN. The caller holds the lock of
// the writers; who only reads goes on with the older version.
func (p *PKI) migrate(ctx context.Context) error {
	version, err := p.version(ctx)
	switch {
	case err != nil:
		return err
	case version == schemaVersion:
		p.schema.Store(schemaVersion)
		return nil
	case version > schemaVersion: // since it was opened
		return fmt.Errorf("%w: it has version %d, and this program knows %d", ErrNewer, version, schemaVersion)
	}
	if err := p.copyDatabase(ctx, fmt.Sprintf("%s.v%d", p.Path(dbFile), version)); err != nil {
		return err
	}
	tx, err := p.db.BeginTx(ctx, nil)
	if err != nil {
		return wrap("beginning the migration of the database", err)
	}
	defer func() { _ = tx.Rollback() }() // after the commit it does nothing
	for _, step := range migrations()[version-1:] {
		if _, err := tx.ExecContext(ctx, step); err != nil {
			return wrap("migrating the database", err)
		}
	}
	if _, err := tx.ExecContext(ctx, fmt.Sprintf("PRAGMA user_version = %d", schemaVersion)); err != nil {
		return wrap("migrating the database", err)
	}
	if err := tx.Commit(); err != nil {
		return wrap("migrating the database", err)
	}
	p.schema.Store(schemaVersion)
	return nil
}

// copyDatabase writes the database as it is at this moment to another file,
// 0600.
func (p *PKI) copyDatabase(ctx context.Context, path string) error {
	empty, err := durable.Stage(path, nil, 0o600) // SQLite fills an empty file
	if err != nil {
		return fmt.Errorf("copying the database: %w", err)
	}
	_, err = p.db.ExecContext(ctx, "VACUUM INTO $1", empty.Path())
	if err = wrap("copying the database", err); err == nil {
		err = flush(empty.Path())
	}
	if err == nil {
		err = empty.Replace()
	}
	if err != nil {
		_ = empty.Discard() // the first error is the one to tell
		return err
	}
	return nil
}

// flush brings a file that another library wrote to the disk.
func flush(path string) error {
	f, err := os.OpenFile(path, os.O_RDWR, 0)
	if err != nil {
		return fmt.Errorf("flushing a file: %w", err)
	}
	err = f.Sync()
	if closed := f.Close(); err == nil {
		err = closed
	}
	return err
}
