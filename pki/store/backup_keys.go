package store

import (
	"context"
	"errors"
	"fmt"
	"io/fs"

	"mutual/pki/authority"
	"mutual/pki/pemfile"
)

// readKeys reads the files of the keys of a database's CAs that it has not read
// yet. It is done before and after the snapshot: a CA that comes or goes in
// between then is in the backup with its key.
func (b *backupMaker) readKeys(ctx context.Context, from *PKI) error {
	rows, err := caRows(ctx, from.db)
	if err != nil {
		return err
	}
	for _, r := range rows {
		id, path := string(r.cert.SubjectKeyId), b.pki.keyHere(r)
		if b.keys[id] != nil || path == "" { // an offline root's
			continue
		}
		data, err := pemfile.ReadFile(path, maxKeyFile)
		if errors.Is(err, fs.ErrNotExist) {
			continue // it has just got another name, and is read after the snapshot
		}
		if err == nil {
			err = checkMode(path, 0o600)
		}
		if err != nil {
			return fmt.Errorf("reading the key of the %s CA: %w", r.role, err)
		}
		b.keys[id] = data
	}
	return nil
}

// askPassphrase gets the passphrase of the keys or, where they have none, the
// one for the archive.
func (b *backupMaker) askPassphrase() (err error) {
	ask := b.req.Passphrase
	for _, key := range b.keys {
		if isEncryptedKey(key) {
			ask = b.pki.opts.Passphrase
			if ask == nil {
				return pemfile.ErrEncrypted
			}
		}
	}
	if ask != nil {
		b.passphrase, err = ask()
	}
	return err
}

func isEncryptedKey(data []byte) bool {
	_, err := pemfile.Key(data, nil)
	return errors.Is(err, pemfile.ErrEncrypted)
}

// checkKey refuses a key that is not its CA's, or that the passphrase does not
// open. A backup that cannot be used is noticed when it is made.
func checkKey(r caRow, data, passphrase []byte) error {
	signer, err := pemfile.Key(data, passphrase)
	if err == nil {
		_, err = authority.NewCA(r.cert, signer)
	}
	if err != nil {
		return fmt.Errorf("reading the key of the %s CA: %w", r.role, err)
	}
	return nil
}
