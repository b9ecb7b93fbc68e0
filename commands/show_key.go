package commands

import (
	"context"
	"crypto"
	"crypto/x509"
	"errors"
	"fmt"

	"mutual/commands/ui"
	"mutual/pki/keys"
	"mutual/pki/pemfile"
)

// keyView is a key without anything private.
type keyView struct {
	Algorithm string `json:"algorithm,omitempty"`     // empty: not known without the passphrase
	KeyID     string `json:"keyIdentifier,omitempty"` // RFC 7093, Section 2, method 1
	Encrypted *bool  `json:"encrypted,omitempty"`     // nil: not a private key
}

// newPublicKeyView describes a SubjectPublicKeyInfo.
func newPublicKeyView(der []byte) (*keyView, error) {
	pub, err := x509.ParsePKIXPublicKey(der)
	if err != nil {
		return nil, fmt.Errorf("reading a public key: %w", err)
	}
	v := newKeyView(pub)
	return &v, nil
}

// newPrivateKeyView describes a private key by its public half. Of an
// encrypted one no more is told than that, unless its passphrase was given.
func (r *run) newPrivateKeyView(ctx context.Context, item pemfile.Item) (*keyView, error) {
	encrypted := item.Type == pemfile.TypeEncryptedKey
	if encrypted && !r.passphraseGiven() {
		return &keyView{Encrypted: &encrypted}, nil
	}
	var passphrase []byte
	if encrypted {
		var err error
		if passphrase, err = r.readPassphrase(ctx); err != nil {
			return nil, err
		}
	}
	key, err := pemfile.Key(item.DER, passphrase)
	if errors.Is(err, keys.ErrPassphrase) {
		r.warn("the passphrase that was given does not open the encrypted key")
		return &keyView{Encrypted: &encrypted}, nil
	}
	if err != nil {
		return nil, err
	}
	v := newKeyView(key.Public())
	v.Encrypted = &encrypted
	return &v, nil
}

// newKeyView describes a public key. A kind that has no identifier here has
// none shown.
func newKeyView(pub crypto.PublicKey) keyView {
	v := keyView{Algorithm: keys.Describe(pub)}
	if id, err := keys.KeyID(pub); err == nil {
		v.KeyID = hexText(id)
	}
	return v
}

func (v *keyView) fields() []ui.Field {
	var encrypted ui.Field
	algorithm := v.Algorithm
	if v.Encrypted != nil {
		encrypted = field("encrypted", map[bool]string{true: "yes", false: "no"}[*v.Encrypted])
		if algorithm == "" {
			algorithm = "not known without the passphrase"
		}
	}
	return []ui.Field{field("key", algorithm), encrypted, styled(ui.Serial, "key identifier", v.KeyID)}
}
