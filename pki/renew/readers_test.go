package renew

import (
	"bytes"
	"errors"
	"io/fs"
	"os"
	"path/filepath"
	"testing"

	"mutual/pki/bundle"
	"mutual/pki/keys"
)

// A reader that takes the key, the certificate and the key again, as a program
// should, always has a pair while it is renewed over and over; the file with
// both is a pair whenever it is read.
func TestReadersSeeAPair(t *testing.T) {
	f := newFixture(t)
	f.issue("alice", "90d")
	stop, done := make(chan struct{}), make(chan error, 1)
	go func() { done <- f.readUntil(stop) }()
	for range 10 {
		c := f.lookup(f.certificate("alice"))
		_, err := f.renewer().One(t.Context(), c.Fingerprint, Options{KeepOld: true})
		f.must(err)
	}
	close(stop)
	f.must(<-done)
	f.wantFiles("alice.crt alice.key alice.pem")
}

// readUntil reads the pair again and again.
func (f *fixture) readUntil(stop <-chan struct{}) error {
	base := filepath.Join(f.out, "alice")
	for reads := 0; ; reads++ {
		select {
		case <-stop:
			if reads == 0 {
				return errors.New("nothing was read")
			}
			return nil
		default:
		}
		both, err := again(func() (pair, error) { return readPair(bundle.Files{Combined: base + ".pem"}) })
		if err != nil {
			return err
		}
		if !keys.Equal(both.key, both.cert.PublicKey) {
			return errors.New("the file with both holds no pair")
		}
		if err := readCarefully(base); err != nil {
			return err
		}
	}
}

// again reads once more where the reader followed a link that went away
// meanwhile: see bundle.Swap.
func again[T any](read func() (T, error)) (T, error) {
	v, err := read()
	if errors.Is(err, fs.ErrNotExist) {
		return read()
	}
	return v, err
}

// readCarefully reads key, certificate and key: where the key stood still, the
// certificate is its own, or a renewal came and another one went meanwhile.
func readCarefully(base string) error {
	for range 20 {
		key := func() ([]byte, error) { return os.ReadFile(base + ".key") }
		before, err1 := again(key)
		p, err2 := again(func() (pair, error) {
			return readPair(bundle.Files{Key: base + ".key", Certificate: base + ".crt"})
		})
		after, err3 := again(key)
		if err := errors.Join(err1, err2, err3, p.keyErr); err != nil {
			return err
		}
		if bytes.Equal(before, after) && keys.Equal(p.key, p.cert.PublicKey) {
			return nil
		}
	}
	return errors.New("twenty times in a row key and certificate did not match")
}
