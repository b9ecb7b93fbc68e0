package renew

import (
	"bytes"
	"crypto"
	"crypto/ecdsa"
	"crypto/ed25519"
	"crypto/elliptic"
	"crypto/rsa"
	"crypto/x509"
	"errors"
	"fmt"
	"io/fs"

	"mutual/pki"
	"mutual/pki/bundle"
	"mutual/pki/keys"
	"mutual/pki/pemfile"
)

// pair is what lies at the place of a certificate.
type pair struct {
	cert   *x509.Certificate
	key    crypto.PublicKey // nil: no key
	keyErr error            // why the key cannot be read
}

// readPair reads the files. A missing certificate is ErrMoved.
func readPair(files bundle.Files) (pair, error) {
	var p pair
	path := files.Main()
	data, err := pemfile.ReadFile(path, pemfile.MaxFile)
	if err != nil {
		return p, moved(err)
	}
	certs, err := pemfile.Certificates(data)
	if err != nil {
		return p, fmt.Errorf("reading %q: %w", path, err)
	}
	if !bytes.Contains(data, []byte("-----BEGIN ")) {
		return p, fmt.Errorf("%q is DER, and only PEM is replaced in its place", path)
	}
	p.cert = certs[0]
	switch {
	case files.Key != "":
		path = files.Key
	case files.Combined != "":
		path = files.Combined
	default:
		return p, nil
	}
	if path != files.Main() {
		if data, err = pemfile.ReadFile(path, pemfile.MaxFile); err != nil {
			return p, moved(err)
		}
	}
	key, err := pemfile.Key(data, nil)
	if err != nil {
		p.keyErr = fmt.Errorf("reading the key %q: %w", path, err)
		return p, nil
	}
	p.key = key.Public()
	return p, nil
}

// moved says, of a file that is not there, that somebody has taken it away.
func moved(err error) error {
	if errors.Is(err, fs.ErrNotExist) {
		return fmt.Errorf("%w: %w", ErrMoved, err)
	}
	return err
}

// checkPair refuses to replace what is not the pair that is renewed.
func (a *act) checkPair() error {
	p := a.pair
	if !bytes.Equal(p.cert.Raw, a.der) {
		return fmt.Errorf("%s, serial %s: %w: %q holds %s", a.old.Name, a.old.Serial, ErrOther, a.files.Main(), pki.NewSerial(p.cert.SerialNumber))
	}
	hasKey := a.files.Key != "" || a.files.Combined != ""
	switch {
	case a.o.PublicKey != nil && hasKey && (p.key == nil || !keys.Equal(p.key, a.o.PublicKey)):
		return fmt.Errorf("%w of the request: %q would not match it", ErrMismatch, a.files.Key+a.files.Combined)
	case a.o.PublicKey != nil, a.o.SameKey && !hasKey:
		return nil
	case !hasKey:
		return fmt.Errorf("%s, serial %s: %w", a.old.Name, a.old.Serial, ErrNoKey)
	case errors.Is(p.keyErr, pemfile.ErrEncrypted) && a.o.SameKey:
		return nil // whoever has the passphrase knows
	case errors.Is(p.keyErr, pemfile.ErrEncrypted):
		return fmt.Errorf("%w: %w", ErrEncrypted, p.keyErr)
	case p.keyErr != nil:
		return p.keyErr
	case !keys.Equal(p.key, p.cert.PublicKey):
		return fmt.Errorf("%w: %q and %q", ErrMismatch, a.files.Key+a.files.Combined, a.files.Main())
	}
	return nil
}

func parse(der []byte) (*x509.Certificate, error) {
	cert, err := x509.ParseCertificate(der)
	if err != nil {
		return nil, fmt.Errorf("reading the certificate to renew: %w", err)
	}
	return cert, nil
}

// algorithmOf names the algorithm of a key, so that its successor is of the
// same.
func algorithmOf(public crypto.PublicKey) (keys.Algorithm, error) {
	switch k := public.(type) {
	case *ecdsa.PublicKey:
		switch k.Curve {
		case elliptic.P256():
			return keys.P256, nil
		case elliptic.P384():
			return keys.P384, nil
		}
	case *rsa.PublicKey:
		for bits, a := range map[int]keys.Algorithm{2048: keys.RSA2048, 3072: keys.RSA3072, 4096: keys.RSA4096} {
			if k.N.BitLen() == bits {
				return a, nil
			}
		}
	case ed25519.PublicKey:
		return keys.Ed25519, nil
	}
	return "", fmt.Errorf("a key like this one (%s) is not made here: the old key can stay, or a request can bring a new one", keys.Describe(public))
}
