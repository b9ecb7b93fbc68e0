package pkcs12

import (
	"bytes"
	"crypto/cipher"
	"crypto/des"
	"crypto/rand"
	"crypto/sha1"
	encoding_asn1 "encoding/asn1"
	"errors"
	"fmt"

	"golang.org/x/crypto/cryptobyte"
	"golang.org/x/crypto/cryptobyte/asn1"

	"mutual/pki/keys"
)

var (
	errCost   = fmt.Errorf("it asks for more than %d iterations of key derivation", MaxCost)
	errSealed = errors.New("what is encrypted in it is damaged")
)

// opener decrypts the parts of a file with one password, as long as the sum of
// the work stays under MaxCost.
type opener struct {
	password []byte // UTF-8, for PBES2
	bmp      []byte // for the algorithms of PKCS#12
	left     int
}

// spend takes the work that is about to be done from what is left.
func (o *opener) spend(cost int) error {
	if cost > o.left {
		return errCost
	}
	o.left -= cost
	return nil
}

// open decrypts what was encrypted under an AlgorithmIdentifier: PBES2, or an
// algorithm of RFC 7292, Appendix C.
func (o *opener) open(algorithm, sealed []byte) ([]byte, error) {
	input := cryptobyte.String(algorithm)
	var body cryptobyte.String
	var oid encoding_asn1.ObjectIdentifier
	if !input.ReadASN1(&body, asn1.SEQUENCE) || !input.Empty() || !body.ReadASN1ObjectIdentifier(&oid) {
		return nil, errMalformed
	}
	if !oid.Equal(oidPBES2) {
		return o.openPBE(oid, body, sealed)
	}
	scheme, err := keys.ParsePBES2(algorithm)
	if err != nil {
		return nil, err
	}
	if err := o.spend(scheme.Cost()); err != nil {
		return nil, err
	}
	plain, err := scheme.Open(sealed, o.password)
	if errors.Is(err, keys.ErrPassphrase) { // the MAC has shown the password to be right
		return nil, errSealed
	}
	return plain, err
}

func (o *opener) openPBE(oid encoding_asn1.ObjectIdentifier, params cryptobyte.String, sealed []byte) ([]byte, error) {
	size := map[string]int{oidTripleDES.String(): 24, oidRC2With128.String(): 16, oidRC2With40.String(): 5}[oid.String()]
	if size == 0 {
		return nil, fmt.Errorf("its encryption %v is not supported, only AES, triple DES with three keys, and RC2 are", oid)
	}
	var body cryptobyte.String
	var salt []byte
	if !params.ReadASN1(&body, asn1.SEQUENCE) || !params.Empty() || !body.ReadASN1Bytes(&salt, asn1.OCTET_STRING) {
		return nil, errMalformed
	}
	iterations, err := readIterations(&body)
	if err != nil {
		return nil, err
	}
	if !body.Empty() || len(sealed) == 0 || len(sealed)%des.BlockSize != 0 {
		return nil, errMalformed
	}
	if err := o.spend(2 * iterations); err != nil { // a key and an IV
		return nil, err
	}
	key := derive(sha1.New, forKey, o.bmp, salt, iterations, size)
	iv := derive(sha1.New, forIV, o.bmp, salt, iterations, des.BlockSize)
	var padded []byte
	if oid.Equal(oidTripleDES) {
		block, err := des.NewTripleDESCipher(key)
		if err != nil {
			return nil, err
		}
		padded = make([]byte, len(sealed))
		cipher.NewCBCDecrypter(block, iv).CryptBlocks(padded, sealed)
	} else {
		padded = openRC2(key, iv, sealed)
	}
	return unpad(padded)
}

// unpad removes the padding of RFC 8018, Section 6.1.1.
func unpad(padded []byte) ([]byte, error) {
	n := int(padded[len(padded)-1])
	if n == 0 || n > des.BlockSize || !bytes.HasSuffix(padded, bytes.Repeat([]byte{byte(n)}, n)) {
		return nil, errSealed
	}
	return padded[:len(padded)-n], nil
}

// sealTripleDES encrypts with pbeWithSHAAnd3-KeyTripleDES-CBC.
func sealTripleDES(plain []byte, password string, iterations int) (algorithm, sealed []byte, err error) {
	salt, bmp := make([]byte, 8), terminated(password)
	_, _ = rand.Read(salt) // never fails: crypto/rand ends the program instead
	block, err := des.NewTripleDESCipher(derive(sha1.New, forKey, bmp, salt, iterations, 24))
	if err != nil {
		return nil, nil, err
	}
	n := des.BlockSize - len(plain)%des.BlockSize
	sealed = append(bytes.Clone(plain), bytes.Repeat([]byte{byte(n)}, n)...)
	iv := derive(sha1.New, forIV, bmp, salt, iterations, des.BlockSize)
	cipher.NewCBCEncrypter(block, iv).CryptBlocks(sealed, sealed)
	var b cryptobyte.Builder
	b.AddASN1(asn1.SEQUENCE, func(b *cryptobyte.Builder) {
		b.AddASN1ObjectIdentifier(oidTripleDES)
		b.AddASN1(asn1.SEQUENCE, func(b *cryptobyte.Builder) {
			b.AddASN1OctetString(salt)
			b.AddASN1Uint64(uint64(iterations))
		})
	})
	algorithm, err = b.Bytes()
	return algorithm, sealed, err
}
