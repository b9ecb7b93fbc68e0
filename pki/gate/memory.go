package gate

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"strconv"
	"strings"

	"mutual/pki/internal/durable"
)

// memory remembers the newest epoch that was seen of one PKI, durably and
// outside the PKI: a restored backup lets in again who was revoked since, and
// nothing in it says so. An epoch is an empty file with its number and hash for a
// name, so that several gates can remember without waiting for each other, and
// the newest name counts.
type memory struct {
	dir  string
	last Epoch
}

// openMemory opens the memory of a PKI below a directory. An empty one remembers
// nothing.
func openMemory(dir, pki string) (*memory, error) {
	if dir == "" {
		return &memory{}, nil
	}
	m := &memory{dir: filepath.Join(dir, "gate-"+pki)}
	if err := os.MkdirAll(dir, 0o700); err != nil {
		return nil, fmt.Errorf("opening the gate's memory: %w", err)
	}
	if err := durable.Mkdir(m.dir, 0o700); err != nil && !errors.Is(err, fs.ErrExist) {
		return nil, fmt.Errorf("opening the gate's memory: %w", err)
	}
	return m, nil
}

// newest gives the newest epoch that was seen, zero for none.
func (m *memory) newest() (Epoch, error) {
	all, err := m.all()
	var newest Epoch
	for _, e := range all {
		if e.Number > newest.Number {
			newest = e
		}
	}
	return newest, err
}

func (m *memory) all() ([]Epoch, error) {
	if m.dir == "" {
		return nil, nil
	}
	entries, err := os.ReadDir(m.dir)
	if err != nil {
		return nil, fmt.Errorf("reading the gate's memory: %w", err)
	}
	var out []Epoch
	for _, entry := range entries {
		number, hash, _ := strings.Cut(strings.TrimPrefix(entry.Name(), "epoch-"), "-")
		n, err := strconv.ParseInt(number, 10, 64)
		if e := (Epoch{Number: n, Hash: hash}); err == nil && m.file(e) == filepath.Join(m.dir, entry.Name()) {
			out = append(out, e)
		}
	}
	return out, nil
}

// remember is durable when it returns. An older epoch than the newest is not
// worth remembering.
func (m *memory) remember(e Epoch) error {
	if m.dir == "" || e.Number <= m.last.Number {
		return nil
	}
	f, err := os.OpenFile(m.file(e), os.O_WRONLY|os.O_CREATE, 0o600)
	if err == nil {
		err = f.Close()
	}
	if err == nil {
		err = durable.SyncDir(m.dir)
	}
	if err != nil {
		return fmt.Errorf("writing the gate's memory: %w", err)
	}
	m.last = e
	return m.drop(func(old Epoch) bool { return old.Number < e.Number })
}

// forget forgets everything.
func (m *memory) forget() error { return m.drop(func(Epoch) bool { return true }) }

func (m *memory) drop(old func(Epoch) bool) error {
	all, err := m.all()
	if err != nil {
		return err
	}
	for _, e := range all {
		if !old(e) {
			continue
		}
		if err := os.Remove(m.file(e)); err != nil && !errors.Is(err, fs.ErrNotExist) { // another gate did
			return fmt.Errorf("writing the gate's memory: %w", err)
		}
	}
	return nil
}

func (m *memory) file(e Epoch) string {
	return filepath.Join(m.dir, fmt.Sprintf("epoch-%019d-%s", e.Number, e.Hash))
}
