package store

import (
	"context"
	"errors"
	"fmt"
	"path/filepath"

	"mutual/pki"
	"mutual/pki/internal/durable"
	"mutual/pki/keys"
	"mutual/pki/pemfile"
)

// PassphraseChange says how the CA keys shall be encrypted from now on.
type PassphraseChange struct {
	New     func() ([]byte, error) // the new passphrase; nil: none
	RootKey string                 // file of a root's key that lies elsewhere: it, too
}

// KeyChanged is a file of a CA key after a change of the passphrase.
type KeyChanged struct {
	File      string
	Encrypted bool
	Changed   bool // false: it was so already
}

// ChangePassphrase encrypts every CA key of the PKI anew: those in use, older,
// retired and requested ones. All are on the disk before the first takes the
// place of what it was, by rename: no key is lost whenever it is killed. Where
// that leaves some keys with the new passphrase and some with the old one, the
// same command finishes it: a key that opens with the new one stays. It also
// removes the copies that it had not given their names.
func (p *PKI) ChangePassphrase(ctx context.Context, req PassphraseChange) ([]KeyChanged, error) {
	release, err := p.queueForCAs(ctx)
	if err != nil {
		return nil, err
	}
	defer release()
	publishing, err := p.queueToPublish(ctx) // which gives keys their names
	if err != nil {
		return nil, err
	}
	defer publishing()
	for _, role := range []pki.Kind{pki.KindRoot, pki.KindIssuing} {
		if err := p.settleKeys(ctx, role); err != nil {
			return nil, err
		}
	}
	files, err := keyFiles(p.dir)
	if err != nil {
		return nil, err
	}
	if req.RootKey != "" {
		files = append(files, req.RootKey)
	}
	if len(files) == 0 {
		return nil, ErrNoKey
	}
	for _, file := range files { // of a change that was killed: perhaps a key without a passphrase
		if err := durable.Sweep(file); err != nil {
			return nil, err
		}
	}
	next, err := req.passphrase()
	if err != nil {
		return nil, err
	}
	var staged []*durable.Staged
	defer func() {
		for _, s := range staged {
			_ = s.Discard() // it holds a copy of a key that is in its place
		}
	}()
	out := make([]KeyChanged, len(files))
	for i, file := range files {
		out[i] = KeyChanged{File: file, Encrypted: len(next) > 0}
		s, err := p.reencrypt(file, next)
		if err != nil {
			return nil, err
		}
		if s != nil {
			staged, out[i].Changed = append(staged, s), true
		}
	}
	if len(staged) == 0 {
		return out, nil
	}
	return out, p.replaceKeys(ctx, staged, out)
}

func (req PassphraseChange) passphrase() ([]byte, error) {
	if req.New == nil {
		return nil, nil
	}
	return req.New()
}

// reencrypt stages the key of a file under another passphrase, none if that is
// empty. It gives nil where the key has it already.
func (p *PKI) reencrypt(file string, next []byte) (*durable.Staged, error) {
	data, err := pemfile.ReadFile(file, pemfile.MaxFile)
	if err != nil {
		return nil, fmt.Errorf("reading the CA key: %w", err)
	}
	signer, err := pemfile.Key(data, nil)
	encrypted := errors.Is(err, pemfile.ErrEncrypted)
	switch {
	case err == nil && len(next) == 0:
		return nil, nil
	case encrypted && len(next) > 0:
		if _, err := pemfile.Key(data, next); err == nil {
			return nil, nil
		}
	}
	if encrypted {
		signer, err = p.readKey(file)
	}
	if err != nil {
		return nil, fmt.Errorf("reading the CA key %s: %w", file, err)
	}
	changed, err := encodeKey(signer, next)
	if err != nil {
		return nil, fmt.Errorf("encoding the CA key %s: %w", file, err)
	}
	if back, err := pemfile.Key(changed, next); err != nil || !keys.Equal(back.Public(), signer.Public()) {
		return nil, fmt.Errorf("the CA key %s could not be read back under the new passphrase", file)
	}
	return durable.Stage(file, changed, 0o600)
}

// replaceKeys writes the journal and gives the keys their places, while no
// other writer does.
func (p *PKI) replaceKeys(ctx context.Context, staged []*durable.Staged, changed []KeyChanged) error {
	var names []string
	for _, c := range changed {
		if c.Changed {
			names = append(names, filepath.Base(c.File))
		}
	}
	return p.update(ctx, p.signerAtHand(ctx), func(t *Tx) error {
		if _, err := t.append("ca passphrase", "", map[string]any{"keys": names, "encrypted": changed[0].Encrypted}); err != nil {
			return err
		}
		for i, s := range staged {
			if err := s.Replace(); err != nil {
				return fmt.Errorf("%w (%d of %d keys are changed: run it again)", err, i, len(staged))
			}
		}
		return nil
	})
}
