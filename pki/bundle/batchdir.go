package bundle

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"runtime"
	"sync"

	"mutual/pki/internal/durable"
)

// BatchDir is a directory into which the pairs of a batch are written, as
// Base.key (0600) and Base.crt (0644).
type BatchDir struct {
	target Target
	set    *durable.Set
	made   bool // the directory was not there
	kept   bool // keys of certificates that are issued wait for their names
}

// OpenBatchDir makes the directory, 0700, if only its parent exists.
func OpenBatchDir(dir string, force bool) (*BatchDir, error) {
	d := &BatchDir{target: Target{Dir: dir, Base: "batch", Force: force, WithKey: true}}
	if _, err := d.target.existingDir(); err != nil {
		return nil, err
	}
	p := Pending{target: d.target}
	if err := p.makeDir(); err != nil {
		return nil, err
	}
	d.made = p.madeDir
	var err error
	if d.set, err = durable.NewSet(dir); err != nil {
		d.unmake()
		return nil, err
	}
	return d, nil
}

// Files names the places of a pair's files.
func (d *BatchDir) Files(base string) Files {
	t := d.target
	t.Base = base
	return t.files()
}

// Check says whether the files of a pair can get their names.
func (d *BatchDir) Check(p *Pair) error {
	t := d.target
	t.Base = p.Base
	if err := t.validate(); err != nil {
		return err
	}
	files := t.files()
	if err := checkFile(files.Key, t.Force); err != nil {
		return err
	}
	return checkFile(files.Certificate, t.Force)
}

// Stage writes the key of a pair. It may be called by several goroutines.
func (d *BatchDir) Stage(p *Pair) (err error) {
	p.key, err = d.set.Stage(filepath.Base(d.Files(p.Base).Key), p.Key, 0o600)
	return err
}

// Keep makes all keys that are staged durable.
func (d *BatchDir) Keep([]*Pair) error { return d.set.Flush() }

// Drop removes the key of a pair.
func (d *BatchDir) Drop(p *Pair) {
	if p.key != nil {
		_ = p.key.Discard() // a file that stays goes with Close
	}
}

// Doubt says that nobody knows whether certificates were issued for the keys
// that were kept last: they stay, and it gives where.
func (d *BatchDir) Doubt() string {
	d.kept = true
	return d.set.Dir()
}

// Put writes the certificates and gives all files their names. A pair whose
// names somebody else has taken in the meantime has that as its error; any other
// failure is of all of them, and then keys whose files have no name stay in the
// hidden directory that the error names.
func (d *BatchDir) Put(pairs []*Pair) error {
	err := d.put(pairs)
	if err != nil {
		d.kept = true
		return fmt.Errorf("%w; keys without a certificate are kept in %q", err, d.set.Dir())
	}
	return nil
}

func (d *BatchDir) put(pairs []*Pair) error {
	staged := make([]*durable.Staged, len(pairs))
	err := eachOnAllCores(len(pairs), func(i int) (err error) {
		staged[i], err = d.set.Stage(filepath.Base(d.Files(pairs[i].Base).Certificate), pairs[i].Chain, 0o644)
		return err
	})
	if err == nil {
		err = d.set.Flush()
	}
	if err != nil {
		return err
	}
	for i, p := range pairs {
		err := d.name(p, staged[i])
		if errors.Is(err, fs.ErrExist) {
			d.kept = true
			p.Err = fmt.Errorf("it is issued, but %w; its key is kept in %q", err, p.key.Path())
			continue
		}
		if err != nil {
			return err
		}
	}
	return d.set.SyncNames()
}

// name gives both files of a pair their names, or none.
func (d *BatchDir) name(p *Pair, chain *durable.Staged) error {
	if d.target.Force {
		if err := p.key.PlaceOver(); err != nil {
			return err
		}
		return chain.PlaceOver()
	}
	if err := chain.Place(); err != nil {
		return err
	}
	if err := p.key.Place(); err != nil {
		_ = os.Remove(chain.Path()) // the certificate can be written again
		return err
	}
	return nil
}

// Close ends the batch. Nothing that was not put remains, and without done and
// with nothing in it neither does a directory that OpenBatchDir made.
func (d *BatchDir) Close(done bool) error {
	err := d.set.Close(d.kept)
	if !done {
		d.unmake()
	}
	return err
}

func (d *BatchDir) unmake() {
	if d.made {
		_ = os.Remove(d.target.Dir) // fails where something is in it
	}
}

// eachOnAllCores calls do with the numbers below n and gives the first error.
func eachOnAllCores(n int, do func(i int) error) error {
	workers := min(n, runtime.GOMAXPROCS(0))
	errs := make([]error, workers)
	var wait sync.WaitGroup
	for w := range workers {
		wait.Go(func() {
			for i := w; i < n && errs[w] == nil; i += workers {
				errs[w] = do(i)
			}
		})
	}
	wait.Wait()
	return errors.Join(errs...)
}
