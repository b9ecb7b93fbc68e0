package store

import (
	"context"
	"crypto"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"

	"mutual/pki"
	"mutual/pki/authority"
	"mutual/pki/internal/durable"
	"mutual/pki/keys"
	"mutual/pki/pemfile"
)

// Rekey says what a new CA key should be.
type Rekey struct {
	KeyType    keys.Algorithm // empty: as the key before
	RootKeyOut string         // where a root's key goes; empty: into the PKI
}

// ErrKeyElsewhere says that the key before lies elsewhere, so that the next one
// does not belong into the PKI either.
var ErrKeyElsewhere = errors.New("the root's key does not lie in the PKI, and the place of the new one was not said")

// newKey is a CA key that is on the disk and not yet certified.
type newKey struct {
	signer crypto.Signer
	id     []byte
	path   string
	pki    *PKI  // where it was kept as a CA's, else nil
	ca     int64 // and as which
}

// newKey makes the key that follows a CA's, of the same kind and encrypted
// where that one is, and puts it on the disk under a name of its own.
func (p *PKI) newKey(ctx context.Context, before caRow, how *Rekey) (*newKey, error) {
	if err := p.settleKeysAlone(ctx, before.role); err != nil {
		return nil, err
	}
	algorithm, err := keys.AlgorithmOf(before.cert.PublicKey)
	if how.KeyType != "" {
		algorithm, err = how.KeyType, nil
	}
	if err != nil {
		return nil, err
	}
	place := p.keyHere(before)
	if before.role == pki.KindRoot && place == "" && how.RootKeyOut == "" {
		return nil, ErrKeyElsewhere
	}
	passphrase, err := p.passphraseLike(place)
	if err != nil {
		return nil, err
	}
	key := &newKey{}
	if key.signer, err = keys.Generate(algorithm); err != nil {
		return nil, fmt.Errorf("making the key: %w", err)
	}
	if key.id, err = keys.KeyID(key.signer.Public()); err != nil {
		return nil, err
	}
	key.path = p.Path(byKey(before.role, key.id) + ".key")
	if how.RootKeyOut != "" {
		key.path = how.RootKeyOut
	}
	data, err := encodeKey(key.signer, passphrase)
	if err != nil {
		return nil, fmt.Errorf("encoding the key: %w", err)
	}
	return key, key.write(data)
}

// write never replaces a file.
func (k *newKey) write(data []byte) error {
	staged, err := durable.Stage(k.path, data, 0o600)
	if err != nil {
		return fmt.Errorf("writing the key: %w", err)
	}
	if err := staged.Create(); err != nil {
		_ = staged.Discard() // the first error is the one to report
		return fmt.Errorf("writing the key: %w", err)
	}
	return nil
}

// becomes makes the key that of a CA.
func (k *newKey) becomes(p *PKI, id int64, ca *authority.CA) {
	p.cas.keep(id, ca)
	k.pki, k.ca = p, id
}

// certify is update for an act that certifies a new key. The key of a CA that
// does not come to be is removed, but not after a commit that failed: it may
// have been written. The head is signed with the issuing CA before, so that who
// trusts that can trust the next one.
func (p *PKI) certify(ctx context.Context, key *newKey, do func(*Tx) error) error {
	decided := false
	err := p.update(ctx, p.signerAtHand(ctx), func(t *Tx) error {
		err := do(t)
		decided = err == nil
		return err
	})
	if err == nil {
		return nil
	}
	if key.pki != nil {
		p.cas.forget(key.ca)
	}
	if decided {
		return fmt.Errorf("%w; the key is kept in %s", err, key.path)
	}
	_ = os.Remove(key.path) // the first error is the one to report
	return err
}

// forget drops a CA of which nothing was recorded.
func (c *caCache) forget(id int64) {
	c.mu.Lock()
	defer c.mu.Unlock()
	delete(c.byID, id)
}

// passphraseLike gives the passphrase of the CA keys if the key in a file has
// one, and of any key of the PKI where the file is empty.
func (p *PKI) passphraseLike(path string) ([]byte, error) {
	paths := []string{path}
	if path == "" {
		var err error
		if paths, err = keyFiles(p.dir); err != nil {
			return nil, err
		}
	}
	for _, path := range paths {
		data, err := pemfile.ReadFile(path, pemfile.MaxFile)
		if err != nil {
			return nil, fmt.Errorf("reading the key before: %w", err)
		}
		_, err = pemfile.Key(data, nil)
		if errors.Is(err, pemfile.ErrEncrypted) && p.opts.Passphrase != nil {
			return p.opts.Passphrase()
		}
		if err != nil {
			return nil, fmt.Errorf("reading the key before %s: %w", path, err)
		}
	}
	return nil, nil
}

// setAside gives the key of a root that another follows its own name, where
// that other's key lies elsewhere.
func (p *PKI) setAside(before caRow) error {
	place := p.Path(keyFile(before.role))
	if _, err := os.Lstat(place); errors.Is(err, fs.ErrNotExist) {
		return nil
	}
	if err := durable.Rename(place, filepath.Join(p.dir, byKey(before.role, before.keyID)+".key")); err != nil {
		return fmt.Errorf("%w: %w", ErrNotInFiles, err)
	}
	return nil
}
