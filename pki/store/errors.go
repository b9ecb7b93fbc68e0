package store

import (
	"database/sql"
	"errors"
	"fmt"
	"io/fs"
	"strings"
	"syscall"
	"time"

	"modernc.org/sqlite"

	"mutual/pki"
)

// What a caller branches on. Each is wrapped in an error that says where.
var (
	ErrNoPKI       = errors.New("there is no PKI")
	ErrExists      = errors.New("there is a PKI already")
	ErrDamaged     = errors.New("the database is damaged")
	ErrRolledBack  = errors.New("the database is older than the published CRL: restored or damaged")
	ErrLost        = errors.New("the database has lost acts that were done: restored or damaged")
	ErrMaybe       = errors.New("it may be recorded all the same")
	ErrNewer       = errors.New("the database was written by a newer version")
	ErrBlocked     = errors.New("the identity is revoked: no certificate is issued for it")
	ErrNotFound    = errors.New("not in the inventory")
	ErrNotHeld     = errors.New("revoked, which cannot be undone")
	ErrHeld        = errors.New("held, and stays blocked until the hold ends")
	ErrNoKey       = errors.New("the CA's key is not here")
	ErrNameTaken   = errors.New("the name is taken in another spelling")
	ErrIsCA        = errors.New("a CA's certificate")
	ErrWrongOwner  = errors.New("the PKI belongs to another user")
	ErrRevokedCA   = errors.New("the issuing CA is revoked")
	ErrRetired     = errors.New("the CA is retired")
	ErrLive        = errors.New("live certificates depend on it")
	ErrNotInFiles  = errors.New("it is recorded, but not all of its files are written")
	ErrBadPlace    = errors.New("what servers read must lie apart from the PKI")
	ErrForeign     = errors.New("a file of another PKI or program is there")
	ErrUnknownKey  = errors.New("no such setting")
	ErrBadValue    = errors.New("the setting cannot have this value")
	ErrReplaced    = errors.New("replaced already")
	ErrRevoked     = errors.New("revoked: it is not renewed")
	errNeedsDigest = fmt.Errorf("%w: a row does not have the content that was written", ErrDamaged)
)

// LaxError says that a directory or a key can be used by others.
type LaxError struct {
	Path       string
	Mode, Want fs.FileMode
}

func (e *LaxError) Error() string {
	return fmt.Sprintf("%s is open to others: its mode is %04o and must be %04o or less", e.Path, e.Mode, e.Want)
}

// ClockError says that the clock is behind what the PKI has signed with.
type ClockError struct{ Now, Newest time.Time }

func (e *ClockError) Error() string {
	return fmt.Sprintf("the clock says %s, but this PKI has signed at %s already",
		e.Now.UTC().Format(time.RFC3339), e.Newest.UTC().Format(time.RFC3339))
}

// AmbiguousError says that a text can be read in several ways that name
// different certificates.
type AmbiguousError struct {
	Text     string
	Readings []Reading
}

func (e *AmbiguousError) Error() string {
	var ways []string
	for _, r := range e.Readings {
		ways = append(ways, fmt.Sprintf("as a %s it is %s", r.As, r.describe()))
	}
	return fmt.Sprintf("%q is ambiguous: %s", e.Text, strings.Join(ways, "; "))
}

// OverdueError says that an act is recorded and in force, but that the CRL
// which should carry it could not be made.
type OverdueError struct{ Err error }

func (e *OverdueError) Error() string {
	return "the act is recorded, but the CRL with it is not out: " + e.Err.Error()
}

func (e *OverdueError) Unwrap() error { return e.Err }

// SQLite's primary result codes that say the file is not what it was.
const (
	sqliteLogic    = 1 // with "no such column": our statements are right, so it is the schema
	sqliteCorrupt  = 11
	sqliteNotADB   = 26
	sqliteReadOnly = 8
	sqliteFull     = 13
	sqliteCantOpen = 14
	sqliteShmSize  = 10 | 19<<8 // the memory that readers and writers share is a file, too
)

// wrap says what was attempted, and marks what SQLite finds damaged.
func wrap(doing string, err error) error {
	if err == nil {
		return nil
	}
	var e *sqlite.Error
	if errors.As(err, &e) {
		if e.Code() == sqliteShmSize {
			return fmt.Errorf("%s: %w (%v)", doing, syscall.ENOSPC, err)
		}
		switch code := e.Code() & 0xff; {
		case code == sqliteCorrupt, code == sqliteNotADB, code == sqliteLogic && strings.Contains(e.Error(), "no such "):
			return fmt.Errorf("%s: %w (%v)", doing, ErrDamaged, err)
		case code == sqliteReadOnly:
			return fmt.Errorf("%s: %w (%v)", doing, fs.ErrPermission, err)
		case code == sqliteFull:
			return fmt.Errorf("%s: %w (%v)", doing, syscall.ENOSPC, err)
		case code == sqliteCantOpen:
			return fmt.Errorf("%s: the directory is read-only, or the file cannot be opened: %w", doing, err)
		}
	}
	// A row that is always there is not, or holds what is never written.
	if errors.Is(err, sql.ErrNoRows) || strings.HasPrefix(err.Error(), "sql: Scan error") {
		return fmt.Errorf("%s: %w (%w)", doing, ErrDamaged, err)
	}
	return fmt.Errorf("%s: %w", doing, err)
}

// wrapCommit: where the disk failed to flush a commit, the commit stands in the
// write-ahead log all the same, and who opens the database next may find it done.
func wrapCommit(err error) error {
	const ioError = 10
	wrapped := wrap("committing the transaction", err)
	if e, ok := errors.AsType[*sqlite.Error](err); ok && e.Code()&0xff == ioError {
		return fmt.Errorf("%w; %w", wrapped, ErrMaybe)
	}
	return wrapped
}

func notFound(what string) error { return fmt.Errorf("%q is %w", what, ErrNotFound) }

func blocked(name pki.Name) error { return fmt.Errorf("%q: %w", name, ErrBlocked) }
