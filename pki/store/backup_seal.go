package store

import (
	"bufio"
	"bytes"
	"errors"
	"fmt"
	"io"
	"strings"

	"filippo.io/age"

	"mutual/pki/keys"
)

// The work of making a key of a passphrase: 2^17 takes 128 MiB and a fraction
// of a second. age's own default is 2^18; more is not done for an archive of
// which nobody knows yet who made it.
const (
	sealWork    = 17
	maxSealWork = 18
)

const (
	agePrefix    = "age-encryption.org/"
	maxAgeHeader = 4096 // one passphrase takes less than 300 octets
)

// seal encrypts what is written with a passphrase; without one it is written
// as it is. Closing it does not close w.
func seal(w io.Writer, passphrase []byte) (io.WriteCloser, error) {
	if len(passphrase) == 0 {
		return plain{w}, nil
	}
	recipient, err := age.NewScryptRecipient(string(passphrase))
	if err != nil {
		return nil, fmt.Errorf("encrypting the backup: %w", err)
	}
	recipient.SetWorkFactor(sealWork)
	sealed, err := age.Encrypt(w, recipient)
	if err != nil {
		return nil, fmt.Errorf("encrypting the backup: %w", err)
	}
	return sealed, nil
}

type plain struct{ io.Writer }

func (plain) Close() error { return nil }

// unseal decrypts an archive that seal wrote, and asks for the passphrase only
// if there is one. A wrong one is keys.ErrPassphrase.
func unseal(r io.Reader, passphrase func() ([]byte, error)) (content io.Reader, sealed bool, err error) {
	b := bufio.NewReaderSize(r, maxAgeHeader)
	head, err := b.Peek(maxAgeHeader)
	if err != nil && err != io.EOF {
		return nil, false, fmt.Errorf("reading the backup: %w", err)
	}
	if !bytes.HasPrefix(head, []byte(agePrefix)) {
		return b, false, nil
	}
	if !bytes.Contains(head, []byte("\n--- ")) { // age reads a header however long it is
		return nil, true, fmt.Errorf("reading the backup: %w: its header does not end", ErrBackup)
	}
	if passphrase == nil {
		return nil, true, errors.New("reading the backup: it is encrypted, and there is no passphrase")
	}
	secret, err := passphrase()
	if err != nil {
		return nil, true, err
	}
	identity, err := age.NewScryptIdentity(string(secret))
	if err != nil {
		return nil, true, fmt.Errorf("reading the backup: %w", err)
	}
	identity.SetMaxWorkFactor(maxSealWork)
	content, err = age.Decrypt(b, identity)
	if _, wrong := errors.AsType[*age.NoIdentityMatchError](err); wrong {
		if !strings.Contains(string(head), "\n-> scrypt ") {
			return nil, true, fmt.Errorf("reading the backup: %w: it was not encrypted with a passphrase", ErrBackup)
		}
		return nil, true, fmt.Errorf("reading the backup: %w", keys.ErrPassphrase)
	}
	if err != nil {
		return nil, true, fmt.Errorf("reading the backup: %w: %v", ErrBackup, err)
	}
	return content, true, nil
}
