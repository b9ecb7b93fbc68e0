package bundle

import (
	"archive/tar"
	"bufio"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"time"

	"mutual/pki/internal/durable"
)

// BatchTar is a tar archive of the pairs of a batch: Base.key (0600) and
// Base.crt (0644), of the user and group 0, whoever made it: what they are on
// another machine is not ours to say.
//
// A file is written as PATH.partial, 0600, and gets its name when it is whole.
// Until then, and if it never comes to that, tar reads it as far as it goes: up
// to there all keys and certificates that were put are in it.
type BatchTar struct {
	path  string   // "" for a stream
	file  *os.File // nil for a stream
	force bool
	at    time.Time
	out   *bufio.Writer
	tar   *tar.Writer
	size  counter // octets in the archive
	good  int64   // and up to where it is to stay whatever happens
}

// counter counts what goes through it to w.
type counter struct {
	w io.Writer
	n int64
}

func (c *counter) Write(b []byte) (int, error) {
	n, err := c.w.Write(b)
	c.n += int64(n)
	return n, err
}

// partial is what the name of an unfinished archive ends with.
const partial = ".partial"

// ErrPartial says that an archive was begun and not ended: it may hold the only
// copies of keys.
var ErrPartial = errors.New("an unfinished archive is there")

// CreateBatchTar begins an archive at a path. Its files are from the given time.
func CreateBatchTar(path string, force bool, at time.Time) (*BatchTar, error) {
	if err := CheckFiles(force, path); err != nil {
		return nil, err
	}
	f, err := os.OpenFile(path+partial, os.O_WRONLY|os.O_CREATE|os.O_EXCL, 0o600)
	if errors.Is(err, fs.ErrExist) {
		return nil, fmt.Errorf("%q: %w", path+partial, ErrPartial)
	}
	if err != nil {
		return nil, fmt.Errorf("creating the archive: %w", err)
	}
	if err := durable.SyncDir(filepath.Dir(path)); err != nil {
		_ = f.Close() // nothing is in it
		_ = os.Remove(path + partial)
		return nil, err
	}
	t := newBatchTar(f, at)
	t.path, t.file, t.force = path, f, force
	return t, nil
}

// StreamBatchTar writes an archive to a stream. There nothing can be taken back:
// the keys are written after the certificates are issued.
func StreamBatchTar(w io.Writer, at time.Time) *BatchTar { return newBatchTar(w, at) }

func newBatchTar(w io.Writer, at time.Time) *BatchTar {
	t := &BatchTar{at: at, size: counter{w: w}}
	t.out = bufio.NewWriterSize(&t.size, 256<<10)
	t.tar = tar.NewWriter(t.out)
	return t
}

// Partial names the file that is being written, "" for a stream.
func (t *BatchTar) Partial() string {
	if t.file == nil {
		return ""
	}
	return t.path + partial
}

// Files names the entries of a pair.
func (t *BatchTar) Files(base string) Files {
	return Files{Key: base + ".key", Certificate: base + ".crt"}
}

// Check accepts every pair: that names are there once is for the caller.
func (t *BatchTar) Check(*Pair) error { return nil }

// Stage does nothing: Keep and Put write.
func (t *BatchTar) Stage(*Pair) error { return nil }

// Drop does nothing: what is not put is not in the archive when it is closed.
func (t *BatchTar) Drop(*Pair) {}

// Keep writes the keys and makes them durable.
func (t *BatchTar) Keep(pairs []*Pair) error {
	if t.file == nil {
		return nil
	}
	return t.writeKeys(pairs)
}

func (t *BatchTar) writeKeys(pairs []*Pair) error {
	for _, p := range pairs {
		if err := t.entry(t.Files(p.Base).Key, 0o600, p.Key); err != nil {
			return err
		}
	}
	return t.flush()
}

// Doubt says that nobody knows whether certificates were issued for the keys
// that were kept last: they stay, and it gives where. An archive that is a
// stream has none yet.
func (t *BatchTar) Doubt() string {
	t.good = t.size.n
	return t.Partial()
}

// Put writes the certificates and makes them durable. If it fails, the keys
// stay.
func (t *BatchTar) Put(pairs []*Pair) error {
	if t.file == nil {
		if err := t.writeKeys(pairs); err != nil {
			return err
		}
	}
	t.good = t.size.n
	for _, p := range pairs {
		if err := t.entry(t.Files(p.Base).Certificate, 0o644, p.Chain); err != nil {
			return err
		}
	}
	if err := t.flush(); err != nil {
		return err
	}
	t.good = t.size.n
	return nil
}

func (t *BatchTar) entry(name string, mode int64, data []byte) error {
	err := t.tar.WriteHeader(&tar.Header{Typeflag: tar.TypeReg, Name: name, Mode: mode, Size: int64(len(data)), ModTime: t.at})
	if err == nil {
		_, err = t.tar.Write(data)
	}
	return t.wrap(err)
}

func (t *BatchTar) flush() error {
	err := t.tar.Flush()
	if err == nil {
		err = t.out.Flush()
	}
	if err == nil && t.file != nil {
		err = t.file.Sync()
	}
	return t.wrap(err)
}

func (t *BatchTar) wrap(err error) error {
	if err == nil {
		return nil
	}
	return fmt.Errorf("writing the archive: %w", err)
}

// Close ends the archive. When it is done it gets its end and its name;
// otherwise it goes if nothing was put, and stays as PATH.partial with what was.
func (t *BatchTar) Close(done bool) error {
	switch {
	case t.file == nil && done:
		return t.end()
	case t.file == nil:
		return nil
	case done:
		return t.finish()
	case t.good == 0:
		_ = t.file.Close() // it goes
		return t.wrap(os.Remove(t.Partial()))
	}
	err := t.file.Truncate(t.good)
	if err == nil {
		err = t.file.Sync()
	}
	if closed := t.file.Close(); err == nil {
		err = closed
	}
	return t.wrap(err)
}

func (t *BatchTar) end() error {
	if err := t.tar.Close(); err != nil {
		return t.wrap(err)
	}
	return t.wrap(t.out.Flush())
}

// finish gives the archive its name.
func (t *BatchTar) finish() error {
	err := t.end()
	if err == nil {
		err = t.wrap(t.file.Sync())
	}
	if closed := t.file.Close(); err == nil {
		err = t.wrap(closed)
	}
	if err != nil {
		return err
	}
	if t.force {
		return durable.Rename(t.Partial(), t.path)
	}
	return durable.RenameNew(t.Partial(), t.path)
}
