package bundle

import (
	"bytes"
	"crypto"
	"crypto/rand"
	"crypto/x509"
	"errors"
	"fmt"
	"time"

	"mutual/pki/internal/pkcs12"
	"mutual/pki/keys"
	"mutual/pki/pemfile"
)

// Identity is a key with its certificate.
type Identity struct {
	Name  string              // friendly name, alias, or what the name of a Secret is made of
	Key   crypto.Signer       // may be nil for a format without a key
	Chain []*x509.Certificate // leaf first
}

// Options say how an identity is encoded.
type Options struct {
	Format   Format
	Password []byte              // one that CheckPassword accepts, for a format that has one
	Legacy   bool                // PKCS12 in triple DES; the password should be NewPassword's
	Anchors  []*x509.Certificate // the ca.crt of a Secret; left out without any
	Created  time.Time           // the date in a JKS
}

// Encode writes an identity in a format.
func Encode(id Identity, o Options) ([]byte, error) {
	if err := id.check(o.Format); err != nil {
		return nil, fmt.Errorf("encoding as %s: %w", o.Format, err)
	}
	if o.Format.HasPassword() {
		if err := CheckPassword(o.Format, o.Password); err != nil {
			return nil, fmt.Errorf("encoding as %s: %w", o.Format, err)
		}
	}
	switch o.Format {
	case PKCS12:
		scheme := pkcs12.Modern
		if o.Legacy {
			scheme = pkcs12.Legacy
		}
		contents := pkcs12.Contents{FriendlyName: id.Name, Key: id.Key, Certificates: id.Chain}
		return pkcs12.Encode(contents, string(o.Password), scheme)
	case JKS:
		return encodeJKS(id, o.Password, o.Created)
	case PEM:
		key, err := id.keyPEM()
		return bytes.Join([][]byte{key, pemfile.EncodeCertificates(id.Chain...)}, nil), err
	case DER:
		return id.Chain[0].Raw, nil
	case PKCS7:
		return encodePKCS7(id.Chain)
	case Kubernetes:
		return encodeSecret(id, o.Anchors)
	}
	return nil, fmt.Errorf("%q is no format", o.Format)
}

// check finds out whether the format has what it needs, and whether the key is
// the certificate's.
func (id Identity) check(f Format) error {
	switch {
	case len(id.Chain) == 0:
		return errors.New("there is no certificate")
	case id.Key == nil && f.HasKey():
		return errors.New("there is no key")
	case id.Key != nil && !keys.Equal(id.Key.Public(), id.Chain[0].PublicKey):
		return ErrKey
	}
	return nil
}

// ErrKey is the error of a key that is not the certificate's.
var ErrKey = errors.New("the key does not belong to the certificate")

func (id Identity) keyPEM() ([]byte, error) {
	der, err := keys.MarshalPKCS8(id.Key)
	if err != nil {
		return nil, err
	}
	return pemfile.EncodeKey(der), nil
}

// minJKSPassword is the length under which keytool refuses the password of a
// JKS.
const minJKSPassword = 6

// CheckPassword checks the password of a file that is to be written. Only
// printable ASCII is accepted: programs do not agree on how anything else is
// encoded.
func CheckPassword(f Format, password []byte) error {
	if len(password) == 0 {
		return errors.New("the password is empty")
	}
	for _, b := range password {
		if b < ' ' || b > '~' {
			return errors.New("the password holds something else than printable ASCII, which not every program reads")
		}
	}
	if f == JKS && len(password) < minJKSPassword {
		return fmt.Errorf("the password has %d characters, and Java wants %d for a JKS", len(password), minJKSPassword)
	}
	return nil
}

// NewPassword makes a password of 100 random bits, in letters and digits that
// can be typed on a phone.
func NewPassword() []byte { return []byte(rand.Text()[:20]) }
