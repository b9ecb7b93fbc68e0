package gate

import (
	"crypto/tls"
	"errors"
	"fmt"
	"sync/atomic"
	"time"

	"mutual/pki"
	"mutual/pki/keys"
	"mutual/pki/pemfile"
)

// CertificateSource is the certificate with which a gate shows itself.
type CertificateSource struct {
	current   atomic.Pointer[tls.Certificate]
	cert, key *watched // nil: it was given
	leaf      []byte   // of files: what was read last, also where it did not fit
	private   []byte
	renew     func() // nil: nobody does
	asked     time.Time
}

// GivenCertificate is one that was made for the gate.
func GivenCertificate(cert *tls.Certificate) *CertificateSource {
	s := &CertificateSource{}
	s.current.Store(cert)
	return s
}

// CertificateFiles reads chain and key from files, now and whenever their content
// is another. It may be one file. renew, where it is not nil, is called, in the
// Look of the gate and at most once a minute, when two thirds of its life are
// over; it does not block, and writes other files.
func CertificateFiles(cert, key string, renew func(), now time.Time) (*CertificateSource, error) {
	s := &CertificateSource{renew: renew, cert: &watched{path: cert, limit: pemfile.MaxFile}, key: &watched{path: key, limit: pemfile.MaxFile}}
	return s, s.look(now)
}

// renewEvery is how long somebody who was told that a certificate is about to
// end is left alone.
const renewEvery = time.Minute

// look reads files again that have changed. Files that do not fit leave the
// certificate as it is: one of the two may be about to be replaced.
func (s *CertificateSource) look(now time.Time) error {
	if s.cert != nil {
		if err := s.lookAtFiles(now); err != nil {
			return err
		}
	}
	leaf := s.current.Load().Leaf
	switch {
	case now.Before(pki.TwoThirds(leaf.NotBefore, leaf.NotAfter)):
		return nil
	case s.renew != nil && now.Sub(s.asked) >= renewEvery:
		s.asked = now
		s.renew()
		return nil
	case s.renew != nil && now.Before(leaf.NotAfter):
		return nil
	case now.After(leaf.NotAfter):
		return fmt.Errorf("the server's certificate has expired (%s): clients refuse it", leaf.NotAfter.Format(time.RFC3339))
	}
	return fmt.Errorf("the server's certificate ends at %s", leaf.NotAfter.Format(time.RFC3339))
}

func (s *CertificateSource) lookAtFiles(now time.Time) error {
	leaf, err := s.cert.load(now)
	if err != nil {
		return fmt.Errorf("reading the server's certificate: %w", err)
	}
	if leaf != nil {
		s.leaf = leaf
	}
	private, err := s.key.load(now)
	if err != nil {
		return fmt.Errorf("reading the server's key: %w", err)
	}
	if private != nil {
		s.private = private
	}
	if s.leaf == nil && s.private == nil && s.current.Load() != nil {
		return nil
	}
	if s.leaf == nil || s.private == nil { // one of them is as it was when both fitted
		if s.leaf, err = pemfile.ReadFile(s.cert.path, s.cert.limit); err != nil {
			return err
		}
		if s.private, err = pemfile.ReadFile(s.key.path, s.key.limit); err != nil {
			return err
		}
	}
	cert, err := NewCertificate(s.leaf, s.private)
	if err != nil {
		return fmt.Errorf("%s and %s: %w", s.cert.path, s.key.path, err)
	}
	s.leaf, s.private = nil, nil
	s.current.Store(cert)
	return nil
}

// NewCertificate joins a chain and a key, both in PEM.
func NewCertificate(chain, key []byte) (*tls.Certificate, error) {
	certs, err := pemfile.Certificates(chain)
	if err != nil {
		return nil, err
	}
	signer, err := pemfile.Key(key, nil)
	if err != nil {
		return nil, err
	}
	if !keys.Equal(certs[0].PublicKey, signer.Public()) {
		return nil, errors.New("the key is not that of the certificate")
	}
	out := &tls.Certificate{PrivateKey: signer, Leaf: certs[0]}
	for _, c := range certs {
		out.Certificate = append(out.Certificate, c.Raw)
	}
	return out, nil
}
