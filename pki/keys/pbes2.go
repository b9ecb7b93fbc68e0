package keys

import (
	"crypto/aes"
	"crypto/cipher"
	"crypto/des"
	"crypto/pbkdf2"
	"crypto/sha1"
	"crypto/sha256"
	"crypto/sha512"
	encoding_asn1 "encoding/asn1"
	"errors"
	"fmt"
	"hash"

	"golang.org/x/crypto/cryptobyte"
	"golang.org/x/crypto/cryptobyte/asn1"
	"golang.org/x/crypto/scrypt"
)

// The bounds on the work that an encrypted key may ask of its reader.
const (
	maxIterations   = 10_000_000
	maxScryptMemory = 256 << 20 // octets; OpenSSL writes 16 MiB
)

// RFC 8018, Appendix C; RFC 7914, Section 7.
var (
	oidPBES2          = encoding_asn1.ObjectIdentifier{1, 2, 840, 113549, 1, 5, 13}
	oidPBKDF2         = encoding_asn1.ObjectIdentifier{1, 2, 840, 113549, 1, 5, 12}
	oidScrypt         = encoding_asn1.ObjectIdentifier{1, 3, 6, 1, 4, 1, 11591, 4, 11}
	oidHMACWithSHA1   = encoding_asn1.ObjectIdentifier{1, 2, 840, 113549, 2, 7}
	oidHMACWithSHA256 = encoding_asn1.ObjectIdentifier{1, 2, 840, 113549, 2, 9}
	oidHMACWithSHA384 = encoding_asn1.ObjectIdentifier{1, 2, 840, 113549, 2, 10}
	oidHMACWithSHA512 = encoding_asn1.ObjectIdentifier{1, 2, 840, 113549, 2, 11}
	oidDESEDE3CBC     = encoding_asn1.ObjectIdentifier{1, 2, 840, 113549, 3, 7}
	oidAES128CBC      = encoding_asn1.ObjectIdentifier{2, 16, 840, 1, 101, 3, 4, 1, 2}
	oidAES192CBC      = encoding_asn1.ObjectIdentifier{2, 16, 840, 1, 101, 3, 4, 1, 22}
	oidAES256CBC      = encoding_asn1.ObjectIdentifier{2, 16, 840, 1, 101, 3, 4, 1, 42}
)

var errEncrypted = errors.New("it is damaged or no EncryptedPrivateKeyInfo")

// PBES2 is an encryption scheme of RFC 8018, Section 6.2, with parameters that
// have been read, and that ask for a bounded amount of work.
type PBES2 struct {
	kdf    kdf
	cipher blockCipher
	iv     []byte
}

// kdf makes a key of a passphrase; its cost has been checked.
type kdf interface {
	derive(passphrase []byte, size int) ([]byte, error)
	cost() int
}

var (
	_ kdf = pbkdf2Params{}
	_ kdf = scryptParams{}
)

// blockCipher is a cipher in CBC mode.
type blockCipher struct {
	keySize int
	open    func(key []byte) (cipher.Block, error)
}

// ParsePBES2 reads an AlgorithmIdentifier with PBES2-params (RFC 8018,
// Appendix A.4): PBKDF2 (HMAC with SHA-1, SHA-256, SHA-384 or SHA-512) or
// scrypt, and AES or triple DES in CBC mode. Nothing is derived yet.
func ParsePBES2(algorithm []byte) (*PBES2, error) {
	input := cryptobyte.String(algorithm)
	scheme, params, ok := readAlgorithm(&input)
	if !ok || !input.Empty() {
		return nil, errEncrypted
	}
	if !scheme.Equal(oidPBES2) {
		return nil, fmt.Errorf("its encryption %v is not supported, only PBES2 is: convert it with openssl pkcs8 -topk8 -v2 aes-256-cbc", scheme)
	}
	var pbes2 cryptobyte.String
	if !params.ReadASN1(&pbes2, asn1.SEQUENCE) || !params.Empty() {
		return nil, errEncrypted
	}
	derivation, derivationParams, ok := readAlgorithm(&pbes2)
	if !ok {
		return nil, errEncrypted
	}
	p := &PBES2{}
	encryption, encryptionParams, ok := readAlgorithm(&pbes2)
	if !ok || !pbes2.Empty() ||
		!encryptionParams.ReadASN1Bytes(&p.iv, asn1.OCTET_STRING) || !encryptionParams.Empty() {
		return nil, errEncrypted
	}
	var err error
	if p.cipher, err = cipherOf(encryption); err != nil {
		return nil, err
	}
	p.kdf, err = readKDF(derivation, derivationParams, p.cipher.keySize)
	return p, err
}

// Cost is the work that Open takes: the iterations of PBKDF2, or the blocks of
// scrypt, each of which takes about as long as an iteration.
func (p *PBES2) Cost() int { return p.kdf.cost() }

// Open decrypts. A passphrase that leaves no good padding is ErrPassphrase;
// one wrong passphrase in 256 leaves one, with noise before it.
func (p *PBES2) Open(sealed, passphrase []byte) ([]byte, error) {
	secret, err := p.kdf.derive(passphrase, p.cipher.keySize)
	if err != nil {
		return nil, err
	}
	block, err := p.cipher.open(secret)
	if err != nil {
		return nil, err
	}
	if n := block.BlockSize(); len(p.iv) != n || len(sealed) == 0 || len(sealed)%n != 0 {
		return nil, errors.New("its encrypted octets are cut off or damaged")
	}
	padded := make([]byte, len(sealed))
	cipher.NewCBCDecrypter(block, p.iv).CryptBlocks(padded, sealed)
	plain, ok := unpad(padded, block.BlockSize())
	if !ok {
		return nil, ErrPassphrase
	}
	return plain, nil
}

// readEncrypted takes apart an EncryptedPrivateKeyInfo (RFC 5958, Section 3).
func readEncrypted(der []byte) (scheme *PBES2, sealed []byte, err error) {
	if len(der) > maxKeyDER {
		return nil, nil, fmt.Errorf("it has %d octets, and at most %d are read", len(der), maxKeyDER)
	}
	input := cryptobyte.String(der)
	var body, algorithm cryptobyte.String
	if !input.ReadASN1(&body, asn1.SEQUENCE) || !input.Empty() ||
		!body.ReadASN1Element(&algorithm, asn1.SEQUENCE) ||
		!body.ReadASN1Bytes(&sealed, asn1.OCTET_STRING) || !body.Empty() {
		return nil, nil, errEncrypted
	}
	scheme, err = ParsePBES2(algorithm)
	return scheme, sealed, err
}

// readAlgorithm reads an AlgorithmIdentifier; params is what follows the OID.
func readAlgorithm(s *cryptobyte.String) (oid encoding_asn1.ObjectIdentifier, params cryptobyte.String, ok bool) {
	ok = s.ReadASN1(&params, asn1.SEQUENCE) && params.ReadASN1ObjectIdentifier(&oid)
	return oid, params, ok
}

func cipherOf(oid encoding_asn1.ObjectIdentifier) (blockCipher, error) {
	switch {
	case oid.Equal(oidAES256CBC):
		return blockCipher{32, aes.NewCipher}, nil
	case oid.Equal(oidAES192CBC):
		return blockCipher{24, aes.NewCipher}, nil
	case oid.Equal(oidAES128CBC):
		return blockCipher{16, aes.NewCipher}, nil
	case oid.Equal(oidDESEDE3CBC):
		return blockCipher{24, des.NewTripleDESCipher}, nil
	}
	return blockCipher{}, fmt.Errorf("its cipher %v is not supported, only AES and triple DES in CBC mode are", oid)
}

// readKDF reads the parameters of a key derivation for a key of size octets.
func readKDF(oid encoding_asn1.ObjectIdentifier, params cryptobyte.String, size int) (kdf, error) {
	var body cryptobyte.String
	switch {
	case !oid.Equal(oidPBKDF2) && !oid.Equal(oidScrypt):
		return nil, fmt.Errorf("its key derivation %v is not supported, only PBKDF2 and scrypt are", oid)
	case !params.ReadASN1(&body, asn1.SEQUENCE) || !params.Empty():
		return nil, errEncrypted
	case oid.Equal(oidScrypt):
		return readScrypt(body, size)
	}
	return readPBKDF2(body, size)
}

// pbkdf2Params is RFC 8018, Appendix A.2, with a specified salt.
type pbkdf2Params struct {
	salt       []byte
	iterations int
	hash       func() hash.Hash
}

func readPBKDF2(body cryptobyte.String, size int) (kdf, error) {
	p := pbkdf2Params{hash: sha1.New} // the DEFAULT
	var count uint64
	if !body.ReadASN1Bytes(&p.salt, asn1.OCTET_STRING) || !body.ReadASN1Integer(&count) ||
		!readKeyLength(&body, size) {
		return nil, errEncrypted
	}
	if count == 0 || count > maxIterations {
		return nil, fmt.Errorf("it asks for %d iterations of PBKDF2, and 1 to %d are accepted", count, maxIterations)
	}
	p.iterations = int(count)
	if body.Empty() {
		return p, nil
	}
	prf, prfParams, ok := readAlgorithm(&body)
	var null cryptobyte.String
	if !ok || !body.Empty() ||
		!prfParams.Empty() && (!prfParams.ReadASN1(&null, asn1.NULL) || !null.Empty() || !prfParams.Empty()) {
		return nil, errEncrypted
	}
	switch {
	case prf.Equal(oidHMACWithSHA1):
	case prf.Equal(oidHMACWithSHA256):
		p.hash = sha256.New
	case prf.Equal(oidHMACWithSHA384):
		p.hash = sha512.New384
	case prf.Equal(oidHMACWithSHA512):
		p.hash = sha512.New
	default:
		return nil, fmt.Errorf("its pseudorandom function %v is not supported, only HMAC with SHA-1, SHA-256, SHA-384 and SHA-512 are", prf)
	}
	return p, nil
}

func (p pbkdf2Params) cost() int { return p.iterations }

func (p pbkdf2Params) derive(passphrase []byte, size int) ([]byte, error) {
	return pbkdf2.Key(p.hash, string(passphrase), p.salt, p.iterations, size)
}

// scryptParams is RFC 7914, Section 7.1. The library checks that n is a power
// of two.
type scryptParams struct {
	salt    []byte
	n, r, p int
}

func readScrypt(body cryptobyte.String, size int) (kdf, error) {
	var s scryptParams
	var n, r, p uint64
	if !body.ReadASN1Bytes(&s.salt, asn1.OCTET_STRING) || !body.ReadASN1Integer(&n) ||
		!body.ReadASN1Integer(&r) || !body.ReadASN1Integer(&p) ||
		!readKeyLength(&body, size) || !body.Empty() {
		return nil, errEncrypted
	}
	// The product bounds both the memory, 128·r·(n+p), and the time. Each
	// factor is bounded first, so that the product does not overflow.
	const most = maxScryptMemory / 128
	if n < 2 || r < 1 || p < 1 || n > most || r > most/n || p > most/(n*r) {
		return nil, fmt.Errorf("it asks scrypt for N=%d, r=%d, p=%d, which is out of bounds or more than %d MiB",
			n, r, p, maxScryptMemory>>20)
	}
	s.n, s.r, s.p = int(n), int(r), int(p)
	return s, nil
}

func (s scryptParams) cost() int { return s.n * s.r * s.p }

func (s scryptParams) derive(passphrase []byte, size int) ([]byte, error) {
	return scrypt.Key(passphrase, s.salt, s.n, s.r, s.p, size)
}

// readKeyLength reads an optional keyLength, which must be the cipher's.
func readKeyLength(body *cryptobyte.String, size int) bool {
	if !body.PeekASN1Tag(asn1.INTEGER) {
		return true
	}
	var length uint64
	return body.ReadASN1Integer(&length) && length == uint64(size)
}
