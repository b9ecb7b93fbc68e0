package pkcs12

import (
	"crypto/hmac"
	"crypto/rand"
	"crypto/sha1"
	"crypto/sha256"
	"crypto/sha512"
	encoding_asn1 "encoding/asn1"
	"errors"
	"fmt"
	"hash"

	"golang.org/x/crypto/cryptobyte"
	"golang.org/x/crypto/cryptobyte/asn1"
)

// macData is the MacData of RFC 7292, Section 4.
type macData struct {
	hash       func() hash.Hash
	digest     []byte
	salt       []byte
	iterations int
}

// readMAC reads the MacData of a file. A file without one is an error: nobody
// could tell whether it was changed, nor whether the password is right.
func readMAC(s *cryptobyte.String) (macData, error) {
	m := macData{iterations: 1} // the DEFAULT
	if s.Empty() {
		return m, errors.New("it has no MAC, so it is not protected by a password")
	}
	var body, info, algorithm cryptobyte.String
	var oid encoding_asn1.ObjectIdentifier
	if !s.ReadASN1(&body, asn1.SEQUENCE) ||
		!body.ReadASN1(&info, asn1.SEQUENCE) ||
		!info.ReadASN1(&algorithm, asn1.SEQUENCE) || !algorithm.ReadASN1ObjectIdentifier(&oid) {
		return m, errMalformed
	}
	if m.hash = hashOf(oid); m.hash == nil {
		return m, fmt.Errorf("its MAC algorithm %v is not supported, only HMAC with SHA-1, SHA-256, SHA-384 and SHA-512 is", oid)
	}
	if !info.ReadASN1Bytes(&m.digest, asn1.OCTET_STRING) || !info.Empty() ||
		!body.ReadASN1Bytes(&m.salt, asn1.OCTET_STRING) {
		return m, errMalformed
	}
	if !body.Empty() {
		var err error
		if m.iterations, err = readIterations(&body); err != nil {
			return m, err
		}
	}
	if !body.Empty() {
		return m, errMalformed
	}
	return m, nil
}

func hashOf(oid encoding_asn1.ObjectIdentifier) func() hash.Hash {
	switch {
	case oid.Equal(oidSHA1):
		return sha1.New
	case oid.Equal(oidSHA256):
		return sha256.New
	case oid.Equal(oidSHA384):
		return sha512.New384
	case oid.Equal(oidSHA512):
		return sha512.New
	}
	return nil
}

// readIterations reads the number of iterations that a key derivation asks
// for.
func readIterations(s *cryptobyte.String) (int, error) {
	var n uint64
	if !s.ReadASN1Integer(&n) || n == 0 {
		return 0, errMalformed
	}
	if n > MaxCost {
		return 0, errCost
	}
	return int(n), nil
}

// of is the MAC of data under a password.
func (m macData) of(data, password []byte) []byte {
	key := derive(m.hash, forMAC, password, m.salt, m.iterations, m.hash().Size())
	mac := hmac.New(m.hash, key)
	_, _ = mac.Write(data) // a hash never fails
	return mac.Sum(nil)
}

// addMAC writes the MacData for a content.
func addMAC(b *cryptobyte.Builder, p parameters, content []byte, password string) {
	m := macData{hash: hashOf(p.macHash), salt: make([]byte, p.saltSize), iterations: p.iterations}
	_, _ = rand.Read(m.salt) // never fails: crypto/rand ends the program instead
	b.AddASN1(asn1.SEQUENCE, func(b *cryptobyte.Builder) {
		b.AddASN1(asn1.SEQUENCE, func(b *cryptobyte.Builder) {
			b.AddASN1(asn1.SEQUENCE, func(b *cryptobyte.Builder) {
				b.AddASN1ObjectIdentifier(p.macHash)
				b.AddASN1NULL()
			})
			b.AddASN1OctetString(m.of(content, terminated(password)))
		})
		b.AddASN1OctetString(m.salt)
		b.AddASN1Uint64(uint64(m.iterations))
	})
}
