package pkcs12

import (
	"bytes"
	"crypto/sha1"
	encoding_asn1 "encoding/asn1"
	"errors"
	"fmt"
	"slices"

	"golang.org/x/crypto/cryptobyte"
	"golang.org/x/crypto/cryptobyte/asn1"

	"mutual/pki/keys"
)

// parameters are what a scheme consists of.
type parameters struct {
	macHash    encoding_asn1.ObjectIdentifier
	saltSize   int // of the MAC
	iterations int // of the MAC and of each encryption: a guess at the password takes the cheapest
	seal       func(plain []byte, password string, iterations int) (algorithm, sealed []byte, err error)
}

// parameters gives those of a scheme. Readers bound the iterations of a whole
// file, so Modern has fewer than a key in a file of its own; Legacy has
// OpenSSL's, and a password that cannot be guessed.
func (s Scheme) parameters() parameters {
	if s == Legacy {
		return parameters{macHash: oidSHA1, saltSize: 8, iterations: 2048, seal: sealTripleDES}
	}
	return parameters{macHash: oidSHA256, saltSize: 16, iterations: 100_000,
		seal: func(plain []byte, password string, iterations int) ([]byte, []byte, error) {
			return keys.SealPBES2(plain, []byte(password), iterations)
		}}
}

// Encode writes a file as OpenSSL does: one safe with the certificates,
// encrypted, and one with the key, encrypted in its bag. The password is not
// empty, and ASCII: programs do not agree on how anything else is encoded.
func Encode(c Contents, password string, s Scheme) ([]byte, error) {
	der, err := encode(c, password, s.parameters())
	if err != nil {
		return nil, fmt.Errorf("encoding PKCS#12: %w", err)
	}
	return der, nil
}

func encode(c Contents, password string, p parameters) ([]byte, error) {
	if err := check(c, password); err != nil {
		return nil, err
	}
	certificates, err := certificateSafe(c, password, p)
	if err != nil {
		return nil, err
	}
	key, err := keySafe(c, password, p)
	if err != nil {
		return nil, err
	}
	safe := sequence(certificates, key)
	var b cryptobyte.Builder
	b.AddASN1(asn1.SEQUENCE, func(b *cryptobyte.Builder) {
		b.AddASN1Uint64(3)
		b.AddBytes(contentInfo(oidData, octets(safe)))
		addMAC(b, p, safe, password)
	})
	return b.Bytes()
}

func check(c Contents, password string) error {
	if password == "" {
		return errors.New("the password is empty")
	}
	if len(c.Certificates) == 0 {
		return errors.New("there is no certificate")
	}
	for _, b := range []byte(password) {
		if b < ' ' || b > '~' {
			return errors.New("the password is not ASCII")
		}
	}
	if !keys.Equal(c.Key.Public(), c.Certificates[0].PublicKey) {
		return errors.New("the first certificate is not the key's")
	}
	return nil
}

// certificateSafe is an EncryptedData (RFC 5652, Section 8) with a bag for
// each certificate. The first is the key's and bears its attributes.
func certificateSafe(c Contents, password string, p parameters) ([]byte, error) {
	var bags [][]byte
	for i, cert := range c.Certificates {
		var attributes []byte
		if i == 0 {
			attributes = c.attributes()
		}
		bags = append(bags, bag(oidCertBag, sequence(oid(oidX509Certificate), explicit(octets(cert.Raw))), attributes))
	}
	algorithm, sealed, err := p.seal(sequence(bags...), password, p.iterations)
	if err != nil {
		return nil, err
	}
	content := sequence(oid(oidData), algorithm, element(asn1.Tag(0).ContextSpecific(), sealed))
	return contentInfo(oidEncryptedData, sequence(element(asn1.INTEGER, []byte{0}), content)), nil
}

// keySafe is a Data with the bag of the key.
func keySafe(c Contents, password string, p parameters) ([]byte, error) {
	plain, err := keys.MarshalPKCS8(c.Key)
	if err != nil {
		return nil, err
	}
	algorithm, sealed, err := p.seal(plain, password, p.iterations)
	if err != nil {
		return nil, err
	}
	return contentInfo(oidData, octets(sequence(bag(oidShroudedKeyBag, sequence(algorithm, octets(sealed)), c.attributes())))), nil
}

// attributes ties the key and its certificate together and gives both their
// name: localKeyId, for which OpenSSL takes the SHA-1 of the certificate, and
// friendlyName. They are a SET OF and so sorted (X.690, Section 11.6).
func (c Contents) attributes() []byte {
	id := sha1.Sum(c.Certificates[0].Raw)
	list := [][]byte{attribute(oidLocalKeyID, octets(id[:]))}
	if c.FriendlyName != "" {
		list = append(list, attribute(oidFriendlyName, element(bmpStringTag, bmpString(c.FriendlyName))))
	}
	slices.SortFunc(list, bytes.Compare)
	return element(asn1.SET, list...)
}

// bmpStringTag is the tag of a BMPString.
const bmpStringTag = asn1.Tag(30)

func attribute(id encoding_asn1.ObjectIdentifier, value []byte) []byte {
	return sequence(oid(id), element(asn1.SET, value))
}

// bag is a SafeBag (RFC 7292, Section 4.2); its attributes may be nil.
func bag(id encoding_asn1.ObjectIdentifier, value, attributes []byte) []byte {
	return sequence(oid(id), explicit(value), attributes)
}

func contentInfo(id encoding_asn1.ObjectIdentifier, content []byte) []byte {
	return sequence(oid(id), explicit(content))
}

func explicit(content []byte) []byte {
	return element(asn1.Tag(0).ContextSpecific().Constructed(), content)
}

func octets(content []byte) []byte { return element(asn1.OCTET_STRING, content) }

func sequence(elements ...[]byte) []byte { return element(asn1.SEQUENCE, elements...) }

// element is one element of DER.
func element(tag asn1.Tag, content ...[]byte) []byte {
	return appendElement(nil, byte(tag), bytes.Join(content, nil))
}

// oid is an OBJECT IDENTIFIER, one of those above.
func oid(id encoding_asn1.ObjectIdentifier) []byte {
	var b cryptobyte.Builder
	b.AddASN1ObjectIdentifier(id)
	return b.BytesOrPanic() // only one that is no identifier fails
}
