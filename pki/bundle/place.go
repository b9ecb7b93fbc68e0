package bundle

import (
	"errors"
	"io/fs"
	"os"
	"path/filepath"
	"slices"

	"mutual/pki/internal/durable"
)

// place is the place of one file of a hand-over.
type place struct {
	path   string
	file   *durable.Staged
	old    *durable.Staged // what was there, nil if nothing
	secret bool            // undo must keep the content: there is no other copy
}

// putAll gives all files their names, or none. They are durable together: each
// directory is flushed once.
func putAll(places []place, force bool) error {
	var dirs []string
	for i := range places {
		if err := places[i].put(force); err != nil {
			undoAll(places)
			return err
		}
		if dir := filepath.Dir(places[i].path); !slices.Contains(dirs, dir) {
			dirs = append(dirs, dir)
		}
	}
	for _, dir := range dirs {
		if err := durable.SyncDir(dir); err != nil {
			undoAll(places)
			return err
		}
	}
	for i := range places {
		places[i].forget()
	}
	return nil
}

func undoAll(places []place) {
	for i := range places {
		places[i].undo()
	}
}

// put gives the file its name.
func (p *place) put(force bool) error {
	if !force {
		return p.file.Place()
	}
	old, err := durable.Keep(p.path)
	if err != nil && !errors.Is(err, fs.ErrNotExist) {
		return err
	}
	p.old = old // nil if nothing was there
	return p.file.PlaceOver()
}

// forget gives up what was there before.
func (p *place) forget() {
	if p.old != nil {
		_ = p.old.Discard() // the new files are in place, and that is what counts
	}
}

// undo puts things back as they were before put. What cannot be put back stays
// as it is: the error that led here is the one to tell.
func (p *place) undo() {
	put := p.file.Path() == p.path
	switch {
	case !put && !p.secret:
		_ = p.file.Discard()
	case put && p.secret:
		kept, err := durable.Keep(p.path)
		if err != nil {
			return // better a key at its name than none
		}
		p.file = kept
	}
	switch {
	case put && p.old != nil:
		_ = p.old.Replace()
	case put:
		_ = os.Remove(p.path)
	default:
		p.forget()
	}
}
