package bundle

import (
	"bytes"
	"crypto/x509"
	"encoding/pem"
	"errors"
	"fmt"
	"slices"

	"mutual/pki/internal/pkcs12"
	"mutual/pki/keys"
	"mutual/pki/pemfile"
)

// MaxFile is the size, in octets, over which a file is not decoded.
const MaxFile = pkcs12.MaxSize

// ErrPassword is the error of Decode for a wrong password, which cannot be
// told from damage.
var ErrPassword = pkcs12.ErrPassword

// Decode reads a file with one key and its certificates: PKCS#12, also in PEM
// as GnuTLS writes it, JKS, or PEM. The password is asked for only if the file
// needs one, after its format has been recognised; for PKCS#12 it may be
// empty. The leaf comes first in the chain, whatever the order in the file,
// then the issuer of each, then what is left. The Name is the friendly name or
// alias, if there is one.
func Decode(data []byte, password func() ([]byte, error)) (Identity, error) {
	if len(data) > MaxFile {
		return Identity{}, fmt.Errorf("it has %d octets, and at most %d are read", len(data), MaxFile)
	}
	id, err := decode(data, password)
	if err != nil {
		return Identity{}, err
	}
	if len(id.Chain) == 0 {
		return Identity{}, errors.New("it holds no certificate")
	}
	return id, id.order()
}

func decode(data []byte, password func() ([]byte, error)) (Identity, error) {
	if der, ok := asPKCS12(data); ok {
		secret, err := password()
		if err != nil {
			return Identity{}, err
		}
		c, err := pkcs12.Decode(der, string(secret))
		if err != nil {
			return Identity{}, err
		}
		return Identity{Name: c.FriendlyName, Key: c.Key, Chain: c.Certificates}, nil
	}
	switch {
	case bytes.HasPrefix(data, []byte(magicJCEKS)):
		return Identity{}, errors.New("it is a JCEKS, which is not read: convert it with keytool -importkeystore -deststoretype pkcs12")
	case bytes.HasPrefix(data, []byte(magicJKS)):
		secret, err := password()
		if err != nil {
			return Identity{}, err
		}
		id, err := decodeJKS(data, secret)
		if err != nil {
			return id, fmt.Errorf("reading JKS: %w", err)
		}
		return id, nil
	}
	return decodePEM(data, password)
}

// asPKCS12 returns the PKCS#12 that data is or that its first block of PEM
// holds.
func asPKCS12(data []byte) ([]byte, bool) {
	if block, _ := pem.Decode(data); block != nil && block.Type == "PKCS12" {
		return block.Bytes, true
	}
	if len(data) < 2 || data[0] != 0x30 { // a SEQUENCE
		return nil, false
	}
	skip := 2
	if data[1] > 0x80 { // a length in so many octets
		skip += int(data[1] & 0x7f)
	}
	version3 := []byte{2, 1, 3} // a key begins with the version 0 or 1, a certificate with a SEQUENCE
	return data, len(data) > skip && bytes.HasPrefix(data[skip:], version3)
}

func decodePEM(data []byte, password func() ([]byte, error)) (Identity, error) {
	chain, err := pemfile.Certificates(data)
	if err != nil {
		return Identity{}, err
	}
	key, err := pemfile.Key(data, nil)
	if errors.Is(err, pemfile.ErrEncrypted) {
		secret, passwordErr := password()
		if passwordErr != nil {
			return Identity{}, passwordErr
		}
		key, err = pemfile.Key(data, secret)
	}
	if errors.Is(err, keys.ErrPassphrase) {
		err = ErrPassword
	}
	return Identity{Key: key, Chain: chain}, err
}

// order puts the key's certificate first, then the issuer of each, then the
// others as they were.
func (id *Identity) order() error {
	rest := slices.Clone(id.Chain)
	next := slices.IndexFunc(rest, func(c *x509.Certificate) bool { return keys.Equal(id.Key.Public(), c.PublicKey) })
	if next < 0 {
		return errors.New("it holds no certificate for its private key")
	}
	var chain []*x509.Certificate
	for next >= 0 {
		cert := rest[next]
		chain = append(chain, cert)
		rest = slices.Delete(rest, next, next+1)
		next = slices.IndexFunc(rest, func(c *x509.Certificate) bool { return issued(c, cert) })
	}
	id.Chain = append(chain, rest...)
	return nil
}

// issued reports whether issuer is named as the issuer of cert.
func issued(issuer, cert *x509.Certificate) bool {
	return bytes.Equal(issuer.RawSubject, cert.RawIssuer) &&
		(len(cert.AuthorityKeyId) == 0 || len(issuer.SubjectKeyId) == 0 || bytes.Equal(issuer.SubjectKeyId, cert.AuthorityKeyId))
}
