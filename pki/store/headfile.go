package store

import (
	"bytes"
	"context"
	"crypto/sha256"
	"database/sql"
	"encoding/hex"
	"errors"
	"fmt"
	"os"
	"strings"
)

// headFile holds the journal's newest head beside the database. A write-ahead
// log that is cut or has a flipped bit loses the acts after that without a word:
// the database is whole, and older. It then lacks the line that is named here.
//
// The file is written after the commit and not flushed, which costs an act
// nothing to speak of: it may be older than the database, as after a crash or a
// loss of power, and is never newer. One that cannot be read says nothing.
const headFile = "head"

// maxHead is more than a note has. What is longer, or no regular file, is none.
const maxHead = 256

// keepHead notes the head that a transaction has left. The caller holds the lock
// of the writers. The act is done: a note that cannot be made fails nothing.
func (p *PKI) keepHead(h Head) {
	if h.Number == 0 {
		return
	}
	path := p.Path(headFile)
	if st, err := os.Lstat(path); err == nil && !st.Mode().IsRegular() {
		return
	}
	f, err := os.OpenFile(path, os.O_WRONLY|os.O_CREATE, 0o600)
	if err != nil {
		return
	}
	_, _ = f.WriteAt(h.note(), 0) // in one call, so that a killed process leaves this one or the one before
	_ = f.Close()                 // as above
}

// note is a head as the file has it, always of the same length, with a checksum.
func (h Head) note() []byte {
	line := fmt.Sprintf("%019d:%s", h.Number, h.Hash)
	sum := sha256.Sum256([]byte(line))
	return fmt.Appendf(nil, "%s %x\n", line, sum[:4])
}

// keptHead reads the note; false says that there is none.
func keptHead(path string) (Head, bool) {
	st, err := os.Lstat(path)
	if err != nil || !st.Mode().IsRegular() || st.Size() > maxHead {
		return Head{}, false
	}
	data, err := os.ReadFile(path)
	if err != nil {
		return Head{}, false
	}
	line, _, _ := strings.Cut(string(data), " ")
	h, err := ParseHead(line)
	return h, err == nil && bytes.Equal(h.note(), data)
}

// checkHead refuses a database that lacks an act that was done. The note is read
// before the database, which is never behind it.
func (p *PKI) checkHead(ctx context.Context) error {
	kept, ok := keptHead(p.Path(headFile))
	if !ok {
		return nil
	}
	var hash []byte
	err := p.db.QueryRowContext(ctx, `SELECT hash FROM journal WHERE number = $1`, kept.Number).Scan(&hash)
	if errors.Is(err, sql.ErrNoRows) {
		newest, err := p.Head(ctx)
		if err != nil {
			return err
		}
		if newest.Number >= kept.Number {
			return fmt.Errorf("%w: line %d of the journal is not there", ErrDamaged, kept.Number)
		}
		return fmt.Errorf("%w: the journal ends at line %d, and line %d was written", ErrLost, newest.Number, kept.Number)
	}
	if err != nil {
		return wrap("reading the journal", err)
	}
	if hex.EncodeToString(hash) != kept.Hash {
		return fmt.Errorf("%w: line %d of the journal is not the one that was written", ErrLost, kept.Number)
	}
	return nil
}
