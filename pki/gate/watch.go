package gate

import (
	"crypto/sha256"
	"io/fs"
	"os"
	"time"

	"mutual/pki/pemfile"
)

// watched is a file whose content may change: in place, by rename, or because a
// symbolic link on the way leads elsewhere. It is looked at by its content;
// where file, size and times are those of a content that had been there for a
// while, it is not read again.
type watched struct {
	path  string
	limit int64
	seen  fs.FileInfo
	calm  bool // it had not changed for so long that its times would tell
	sum   [sha256.Size]byte
	read  bool
}

// settled is how old a change must be before the times of a file tell the next
// one: more than the coarsest resolution that file systems have.
const settled = 3 * time.Second

// load gives the content where it is another than the last time, and else nil.
func (w *watched) load(now time.Time) ([]byte, error) {
	st, err := os.Stat(w.path)
	if err != nil {
		return nil, err
	}
	if w.read && w.calm && os.SameFile(w.seen, st) && st.Size() == w.seen.Size() && st.ModTime().Equal(w.seen.ModTime()) {
		return nil, nil
	}
	data, err := pemfile.ReadFile(w.path, w.limit)
	if err != nil {
		return nil, err
	}
	w.seen, w.calm = st, now.Sub(st.ModTime()) > settled
	sum := sha256.Sum256(data)
	if w.read && sum == w.sum {
		return nil, nil
	}
	w.sum, w.read = sum, true
	return data, nil
}
