package probe

import (
	"crypto"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/rsa"
	"crypto/tls"
	"crypto/x509"
	"crypto/x509/pkix"
	"errors"
	"fmt"
	"io"
	"math/big"
	"slices"
	"sync"
	"time"
)

// strangerName is the subject of what is made here, for those who read the
// server's log.
const strangerName = "mutual probe"

// strangers makes certificates that a server must refuse. They have keys of
// their own, which never leave the memory, and are right in every way but one:
// no CA that the server knows has signed them.
type strangers struct {
	now  time.Time
	mu   sync.Mutex
	keys map[bool]crypto.Signer // RSA or not
	made map[string]*tls.Certificate
}

func newStrangers(now time.Time) *strangers {
	return &strangers{now: now, keys: map[bool]crypto.Signer{}, made: map[string]*tls.Certificate{}}
}

// guise is what a self-made certificate pretends to be.
type guise struct {
	issuer []byte            // the DER name of its issuer; nil: its own
	copied *x509.Certificate // all but the key and the signature is this one's; nil: nothing is
}

// certificate gives a self-made certificate, with a key that the server says it
// can verify.
func (s *strangers) certificate(g guise, info *tls.CertificateRequestInfo) (*tls.Certificate, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	rsaOnly := !slices.Contains(info.SignatureSchemes, tls.ECDSAWithP256AndSHA256)
	id := fmt.Sprint(rsaOnly, "/", g.copied != nil, "/", string(g.issuer))
	if made := s.made[id]; made != nil {
		return made, nil
	}
	key, err := s.key(rsaOnly)
	if err != nil {
		return nil, fmt.Errorf("making a key: %w", err)
	}
	made, err := s.make(key, g)
	if err != nil {
		return nil, fmt.Errorf("making a certificate: %w", err)
	}
	s.made[id] = made
	return made, nil
}

func (s *strangers) key(rsaOnly bool) (crypto.Signer, error) {
	if key := s.keys[rsaOnly]; key != nil {
		return key, nil
	}
	var key crypto.Signer
	var err error
	if rsaOnly {
		key, err = rsa.GenerateKey(rand.Reader, 2048)
	} else {
		key, err = ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	}
	if err != nil {
		return nil, err
	}
	s.keys[rsaOnly] = key
	return key, nil
}

// make signs a certificate for clients with its own key. The key identifier of an
// issuer with a copied name is another one than the real CA's: with that, or
// without any, OpenSSL finds the real CA and sees the false signature, which a
// server that lets unknown issuers pass does not let pass; with another it looks
// no further, and a server that goes by names is fooled. Servers whose clock
// differs from ours find it in its time all the same.
func (s *strangers) make(key crypto.Signer, g guise) (*tls.Certificate, error) {
	serial, err := rand.Int(rand.Reader, new(big.Int).Lsh(big.NewInt(1), 126))
	if err != nil {
		return nil, err
	}
	serial.SetBit(serial, 126, 1)
	template := &x509.Certificate{
		SerialNumber:          serial,
		Subject:               pkix.Name{CommonName: strangerName},
		NotBefore:             s.now.AddDate(-1, 0, 0),
		NotAfter:              s.now.AddDate(1, 0, 0),
		KeyUsage:              x509.KeyUsageDigitalSignature,
		ExtKeyUsage:           []x509.ExtKeyUsage{x509.ExtKeyUsageClientAuth},
		BasicConstraintsValid: true,
	}
	parent := template
	if c := g.copied; c != nil {
		template.SerialNumber, template.RawSubject = c.SerialNumber, c.RawSubject
		template.DNSNames, template.EmailAddresses, template.IPAddresses, template.URIs = c.DNSNames, c.EmailAddresses, c.IPAddresses, c.URIs
		g.issuer = c.RawIssuer
	}
	if g.issuer != nil {
		parent = &x509.Certificate{RawSubject: g.issuer, SubjectKeyId: serial.Bytes()}
	}
	der, err := x509.CreateCertificate(rand.Reader, template, parent, key.Public(), key)
	if err != nil {
		return nil, err
	}
	leaf, err := x509.ParseCertificate(der)
	if err != nil {
		return nil, err
	}
	return &tls.Certificate{Certificate: [][]byte{der}, PrivateKey: key, Leaf: leaf}, nil
}

// withoutKey gives the certificate with a key that makes false signatures: of
// the right form, over the right octets, and wrong.
func withoutKey(c *tls.Certificate) (*tls.Certificate, error) {
	signer, ok := c.PrivateKey.(crypto.Signer)
	if !ok {
		return nil, errors.New("the certificate has no key to sign with")
	}
	out := *c
	out.PrivateKey = falseSigner{signer}
	return &out, nil
}

// falseSigner signs another digest than it is given.
type falseSigner struct{ crypto.Signer }

func (s falseSigner) Sign(random io.Reader, digest []byte, opts crypto.SignerOpts) ([]byte, error) {
	other := slices.Clone(digest)
	if len(other) > 0 {
		other[0] ^= 1
	}
	return s.Signer.Sign(random, other, opts)
}
