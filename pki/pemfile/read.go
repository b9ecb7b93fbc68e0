package pemfile

import (
	"crypto"
	"crypto/x509"
	"errors"
	"fmt"
	"slices"

	"mutual/pki/keys"
)

// ErrEncrypted is the error of Key when the key is encrypted and no
// passphrase was given.
var ErrEncrypted = errors.New("the private key is encrypted, and no passphrase was given")

// purpose is what a file is read for.
type purpose struct {
	noun   string // what is wanted, in an error
	wanted []Type // at least one item of these
	beside []Type // may stand there, too
	single bool   // not more than one is wanted
}

var isKey = []Type{TypeKey, TypeEncryptedKey}

// pick returns the items of a file that the purpose wants.
func (p purpose) pick(data []byte) ([]Item, error) {
	items, err := Parse(data)
	if err != nil {
		return nil, err
	}
	var found []Item
	for _, item := range items {
		if slices.Contains(p.wanted, item.Type) {
			found = append(found, item)
		}
	}
	switch {
	case len(items) == 0:
		return nil, fmt.Errorf("it holds no %s", p.noun)
	case len(found) == 0:
		return nil, fmt.Errorf("it holds %s, no %s", inventory(items), p.noun)
	case len(found) > 1 && p.single:
		return nil, fmt.Errorf("it holds %s, and one %s is wanted", inventory(found), p.noun)
	}
	for _, item := range items {
		if !slices.Contains(p.wanted, item.Type) && !slices.Contains(p.beside, item.Type) {
			return nil, item.errorf("%s does not belong beside a %s", quantity(1, item.Type), p.noun)
		}
	}
	return found, nil
}

// Certificates returns every certificate of a file in order, and at least one.
// A private key may stand beside them; anything else is an error.
func Certificates(data []byte) ([]*x509.Certificate, error) {
	p := purpose{noun: "certificate", wanted: []Type{TypeCertificate}, beside: isKey}
	found, err := p.pick(data)
	if err != nil {
		return nil, err
	}
	certs := make([]*x509.Certificate, len(found))
	for i, item := range found {
		if certs[i], err = x509.ParseCertificate(item.DER); err != nil {
			return nil, item.errorf("reading a certificate: %w", err)
		}
	}
	return certs, nil
}

// Request returns the one certificate request of a file that holds nothing
// else. Its signature has not been checked.
func Request(data []byte) (*x509.CertificateRequest, error) {
	p := purpose{noun: "certificate request", wanted: []Type{TypeRequest}, single: true}
	found, err := p.pick(data)
	if err != nil {
		return nil, err
	}
	request, err := x509.ParseCertificateRequest(found[0].DER)
	if err != nil {
		return nil, found[0].errorf("reading a certificate request: %w", err)
	}
	return request, nil
}

// Key returns the one private key of a file, beside which certificates may
// stand. The passphrase is used only if the key is encrypted; then an empty
// one is ErrEncrypted, and a wrong one is keys.ErrPassphrase.
func Key(data, passphrase []byte) (crypto.Signer, error) {
	p := purpose{noun: "private key", wanted: isKey, beside: []Type{TypeCertificate}, single: true}
	found, err := p.pick(data)
	if err != nil {
		return nil, err
	}
	key, err := found[0].signer(passphrase)
	if err != nil {
		return nil, found[0].errorf("%w", err)
	}
	return key, nil
}

// signer reads an item that is a private key.
func (i Item) signer(passphrase []byte) (crypto.Signer, error) {
	switch {
	case i.Type == TypeEncryptedKey && len(passphrase) == 0:
		return nil, ErrEncrypted
	case i.Type == TypeEncryptedKey:
		return keys.ParseEncryptedPKCS8(i.DER, passphrase)
	case i.label == labelSEC1:
		return keys.ParseSEC1(i.DER)
	case i.label == labelPKCS1:
		return keys.ParsePKCS1(i.DER)
	}
	return keys.ParsePKCS8(i.DER)
}

// CRLs returns the DER of every CRL of a file that holds nothing else, in
// order, and at least one. What is in them has not been looked at.
func CRLs(data []byte) ([][]byte, error) {
	found, err := purpose{noun: "CRL", wanted: []Type{TypeCRL}}.pick(data)
	if err != nil {
		return nil, err
	}
	lists := make([][]byte, len(found))
	for i, item := range found {
		lists[i] = item.DER
	}
	return lists, nil
}
