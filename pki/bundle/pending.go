package bundle

import (
	"bytes"
	"errors"
	"fmt"
	"io/fs"
	"os"

	"mutual/pki/internal/durable"
)

// Pending is a hand-over whose key is on the disk. It is ended by Commit, Discard
// or Keep.
type Pending struct {
	target  Target
	keyPEM  []byte
	key     *durable.Staged // nil without a key
	lock    *lock           // on the names; nil where there are no locks
	madeDir bool
}

// Stage makes the directory if it is not there, keeps other processes from
// staging the same files (ErrBusy) until Commit or Discard, and writes the key
// to a temporary file beside its place. Without WithKey there is no key, and
// keyPEM must be empty. On failure nothing is left.
func Stage(t Target, keyPEM []byte) (*Pending, error) {
	if err := t.validate(); err != nil {
		return nil, err
	}
	if t.WithKey != (len(keyPEM) > 0) {
		return nil, errors.New("staging a key: one is missing, or none was wanted")
	}
	p := &Pending{target: t, keyPEM: keyPEM}
	if err := p.makeDir(); err != nil {
		return nil, err
	}
	if err := p.reserve(); err != nil {
		_ = p.Discard() // the first error is the one to tell
		return nil, err
	}
	return p, nil
}

// reserve takes the lock, looks again whether the places are free, because
// another process may have been faster than the lock, and stages the key.
func (p *Pending) reserve() (err error) {
	if p.lock, err = p.target.acquire(); err != nil {
		return err
	}
	for _, path := range p.target.paths() {
		if err := checkFile(path, p.target.Force); err != nil {
			return err
		}
	}
	if p.target.WithKey {
		p.key, err = durable.Stage(p.target.files().Key, p.keyPEM, 0o600)
	}
	return err
}

func (p *Pending) makeDir() error {
	if p.target.Dir == "" {
		return nil
	}
	if _, err := os.Stat(p.target.Dir); err == nil {
		return nil
	}
	err := durable.Mkdir(p.target.Dir, 0o700)
	if errors.Is(err, fs.ErrExist) { // another process was faster
		return nil
	}
	p.madeDir = err == nil
	return err
}

// Discard removes the key's temporary file, and the directory if Stage made it
// and nothing else is in it.
func (p *Pending) Discard() error {
	var err error
	if p.key != nil {
		err = p.key.Discard()
	}
	p.lock.release()
	if p.madeDir {
		_ = os.Remove(p.target.Dir) // fails when it is not empty, and then it stays
	}
	return err
}

// Keep leaves the key in its temporary file, and gives where: nobody knows whether
// a certificate was issued for it. Without a key it is empty.
func (p *Pending) Keep() string {
	p.lock.release()
	if p.key == nil {
		return ""
	}
	return p.key.Path()
}

// Commit writes the chain and gives every file its name. With Force what was
// there is replaced; otherwise it is fs.ErrExist. On failure no file has its
// name, what was there is there again, and the key is in the file that
// Files.Key and the error name.
func (p *Pending) Commit(chainPEM []byte) (Files, error) {
	defer p.lock.release()
	places, err := p.stage(chainPEM)
	if err == nil {
		err = putAll(places, p.target.Force)
	} else {
		undoAll(places)
	}
	if err == nil {
		return p.target.files(), nil
	}
	if p.key == nil {
		return Files{}, err
	}
	kept := Files{Key: places[0].file.Path()}
	return kept, fmt.Errorf("%w; the key is kept in %q: move it to a place of its own, or remove it", err, kept.Key)
}

// stage puts everything on the disk that is not there yet. The key is the
// first of the places and stays there on failure, too.
func (p *Pending) stage(chainPEM []byte) ([]place, error) {
	files := p.target.files()
	var places []place
	if p.key != nil {
		places = append(places, place{path: files.Key, file: p.key, secret: true})
	}
	certificate, err := durable.Stage(files.Certificate, chainPEM, 0o644)
	if err != nil {
		return places, err
	}
	places = append(places, place{path: files.Certificate, file: certificate})
	if !p.target.Combined {
		return places, nil
	}
	combined, err := durable.Stage(files.Combined, bytes.Join([][]byte{p.keyPEM, chainPEM}, nil), 0o600)
	if err != nil {
		return places, err
	}
	return append(places, place{path: files.Combined, file: combined}), nil
}
