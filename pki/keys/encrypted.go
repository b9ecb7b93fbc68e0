package keys

import (
	"bytes"
	"crypto"
	"crypto/aes"
	"crypto/cipher"
	"crypto/pbkdf2"
	"crypto/rand"
	"crypto/sha256"
	"errors"
	"fmt"

	"golang.org/x/crypto/cryptobyte"
	"golang.org/x/crypto/cryptobyte/asn1"
)

// ErrPassphrase is the error of a key that the passphrase does not open. What
// comes out is then noise, and so it is when the encrypted octets are
// damaged: the two cannot be told apart.
var ErrPassphrase = errors.New("wrong passphrase, or the key is damaged")

const (
	// iterations is the cost of guessing a passphrase: what OWASP asks of
	// PBKDF2-HMAC-SHA256, about a fifth of a second for who knows it.
	iterations = 600_000
	saltSize   = 16
	keySize    = 32 // AES-256
)

// MarshalEncryptedPKCS8 encodes a private key as EncryptedPrivateKeyInfo
// (RFC 5958, Section 3): PBES2 (RFC 8018, Section 6.2) with
// PBKDF2-HMAC-SHA256, 600 000 iterations and AES-256-CBC, which OpenSSL,
// GnuTLS and Java read. An empty passphrase is an error.
func MarshalEncryptedPKCS8(key crypto.Signer, passphrase []byte) ([]byte, error) {
	if len(passphrase) == 0 {
		return nil, errors.New("encrypting a private key: the passphrase is empty")
	}
	plain, err := MarshalPKCS8(key)
	if err != nil {
		return nil, err
	}
	algorithm, sealed, err := SealPBES2(plain, passphrase, iterations)
	if err != nil {
		return nil, fmt.Errorf("encrypting a private key: %w", err)
	}
	var b cryptobyte.Builder
	b.AddASN1(asn1.SEQUENCE, func(b *cryptobyte.Builder) {
		b.AddBytes(algorithm)
		b.AddASN1OctetString(sealed)
	})
	return b.Bytes()
}

// SealPBES2 encrypts with PBKDF2-HMAC-SHA256 and AES-256-CBC and returns the
// AlgorithmIdentifier that says so beside what it encrypted.
func SealPBES2(plain, passphrase []byte, iterations int) (algorithm, sealed []byte, err error) {
	random := make([]byte, saltSize+aes.BlockSize)
	_, _ = rand.Read(random) // never fails: crypto/rand ends the program instead
	salt, iv := random[:saltSize], random[saltSize:]
	secret, err := pbkdf2.Key(sha256.New, string(passphrase), salt, iterations, keySize)
	if err != nil {
		return nil, nil, err
	}
	block, err := aes.NewCipher(secret)
	if err != nil {
		return nil, nil, err
	}
	sealed = pad(plain, block.BlockSize())
	cipher.NewCBCEncrypter(block, iv).CryptBlocks(sealed, sealed)
	algorithm, err = encodePBES2(salt, iv, iterations)
	return algorithm, sealed, err
}

// encodePBES2 writes the AlgorithmIdentifier. keyLength is left out, as
// OpenSSL does: the cipher says it.
func encodePBES2(salt, iv []byte, iterations int) ([]byte, error) {
	var b cryptobyte.Builder
	b.AddASN1(asn1.SEQUENCE, func(b *cryptobyte.Builder) {
		b.AddASN1ObjectIdentifier(oidPBES2)
		b.AddASN1(asn1.SEQUENCE, func(b *cryptobyte.Builder) {
			b.AddASN1(asn1.SEQUENCE, func(b *cryptobyte.Builder) {
				b.AddASN1ObjectIdentifier(oidPBKDF2)
				b.AddASN1(asn1.SEQUENCE, func(b *cryptobyte.Builder) {
					b.AddASN1OctetString(salt)
					b.AddASN1Uint64(uint64(iterations))
					b.AddASN1(asn1.SEQUENCE, func(b *cryptobyte.Builder) {
						b.AddASN1ObjectIdentifier(oidHMACWithSHA256)
						b.AddASN1NULL()
					})
				})
			})
			b.AddASN1(asn1.SEQUENCE, func(b *cryptobyte.Builder) {
				b.AddASN1ObjectIdentifier(oidAES256CBC)
				b.AddASN1OctetString(iv)
			})
		})
	})
	return b.Bytes()
}

// ParseEncryptedPKCS8 reads an EncryptedPrivateKeyInfo: PBES2 with PBKDF2
// (HMAC with SHA-1, SHA-256, SHA-384 or SHA-512) or scrypt, and AES or triple
// DES in CBC mode. The work that the key may ask for is bounded. A passphrase
// that does not open it is ErrPassphrase.
func ParseEncryptedPKCS8(der, passphrase []byte) (crypto.Signer, error) {
	key, err := parseEncrypted(der, passphrase)
	if err != nil {
		return nil, fmt.Errorf("decrypting a private key: %w", err)
	}
	return key, nil
}

func parseEncrypted(der, passphrase []byte) (crypto.Signer, error) {
	scheme, sealed, err := readEncrypted(der)
	if err != nil {
		return nil, err
	}
	plain, err := scheme.Open(sealed, passphrase)
	if err != nil {
		return nil, err
	}
	// One wrong passphrase in 256 leaves a good padding, with noise before it.
	info, err := readPrivateKeyInfo(plain)
	if err != nil {
		return nil, ErrPassphrase
	}
	return info.signer(plain)
}

// pad returns a copy of plain with the padding of RFC 8018, Section 6.1.1.
func pad(plain []byte, size int) []byte {
	n := size - len(plain)%size
	return append(bytes.Clone(plain), bytes.Repeat([]byte{byte(n)}, n)...)
}

// unpad removes what pad added.
func unpad(padded []byte, size int) ([]byte, bool) {
	n := int(padded[len(padded)-1])
	if n == 0 || n > size || n > len(padded) {
		return nil, false
	}
	plain, padding := padded[:len(padded)-n], padded[len(padded)-n:]
	return plain, bytes.Equal(padding, bytes.Repeat([]byte{byte(n)}, n))
}
