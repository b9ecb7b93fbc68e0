package bundle

import (
	"bytes"
	"crypto/x509"
	"errors"
	"fmt"
	"time"

	"github.com/pavlo-v-chernykh/keystore-go/v4"
	"golang.org/x/crypto/cryptobyte"
	"golang.org/x/crypto/cryptobyte/asn1"

	"mutual/pki/keys"
)

// The first octets of a JKS, and of the JCEKS, which is not read.
const (
	magicJKS   = "\xfe\xed\xfe\xed"
	magicJCEKS = "\xce\xce\xce\xce"
)

// The bounds on a JKS that is read.
const (
	maxJKSEntries      = 256
	maxJKSCertificates = 64
	digestSize         = 20 // SHA-1
)

var errJKS = errors.New("it is damaged or cut off")

// encodeJKS writes a key store with one entry. Store and key have the same
// password, as programs assume. Java looks aliases up in lower case.
func encodeJKS(id Identity, password []byte, created time.Time) ([]byte, error) {
	for _, r := range id.Name {
		if r > 0xffff { // Java encodes what lies beyond in a way of its own
			return nil, fmt.Errorf("the name %q holds a character that a JKS cannot hold: use p12", id.Name)
		}
	}
	der, err := keys.MarshalPKCS8(id.Key)
	if err != nil {
		return nil, err
	}
	entry := keystore.PrivateKeyEntry{CreationTime: created, PrivateKey: der}
	for _, cert := range id.Chain {
		entry.CertificateChain = append(entry.CertificateChain, keystore.Certificate{Type: "X.509", Content: cert.Raw})
	}
	store := keystore.New()
	if err := store.SetPrivateKeyEntry(id.Name, entry, password); err != nil {
		return nil, err
	}
	var b bytes.Buffer
	if err := store.Store(&b, password); err != nil {
		return nil, err
	}
	return b.Bytes(), nil
}

// decodeJKS reads a key store with one key. What others are trusted beside it
// is left out.
func decodeJKS(data, password []byte) (Identity, error) {
	if err := checkJKS(data); err != nil {
		return Identity{}, err
	}
	for _, b := range password {
		if b > '~' {
			return Identity{}, errors.New("a password of other characters than ASCII is not supported for a JKS")
		}
	}
	store := keystore.New(keystore.WithCaseExactAliases(), keystore.WithOrderedAliases())
	if err := store.Load(bytes.NewReader(data), password); err != nil {
		return Identity{}, ErrPassword // all but the digest has been checked
	}
	var aliases []string
	for _, alias := range store.Aliases() {
		if store.IsPrivateKeyEntry(alias) {
			aliases = append(aliases, alias)
		}
	}
	switch len(aliases) {
	case 0:
		return Identity{}, errors.New("it holds no private key")
	case 1:
		return jksEntry(store, aliases[0], password)
	}
	return Identity{}, fmt.Errorf("it holds %d private keys, and one is wanted: %q", len(aliases), aliases)
}

func jksEntry(store keystore.KeyStore, alias string, password []byte) (Identity, error) {
	id := Identity{Name: alias}
	entry, err := store.GetPrivateKeyEntry(alias, password)
	if err != nil {
		return id, fmt.Errorf("the key %q has another password than the store, or is damaged", alias)
	}
	if id.Key, err = keys.ParsePKCS8(entry.PrivateKey); err != nil {
		return id, err
	}
	for _, c := range entry.CertificateChain {
		cert, err := x509.ParseCertificate(c.Content)
		if err != nil {
			return id, fmt.Errorf("a certificate in it: %w", err)
		}
		id.Chain = append(id.Chain, cert)
	}
	return id, nil
}

// checkJKS checks the structure of a JKS, for the library reserves as much
// memory as a length in the file says, and takes the size of a key on trust.
func checkJKS(data []byte) error {
	s := cryptobyte.String(data)
	var version, entries uint32
	if !s.Skip(len(magicJKS)) || !s.ReadUint32(&version) || !s.ReadUint32(&entries) {
		return errJKS
	}
	if version != 1 && version != 2 {
		return fmt.Errorf("its version %d is unknown", version)
	}
	if entries > maxJKSEntries {
		return fmt.Errorf("it has %d entries, and at most %d are read", entries, maxJKSEntries)
	}
	for range entries {
		if err := checkJKSEntry(&s, version); err != nil {
			return err
		}
	}
	if len(s) != digestSize {
		return errJKS
	}
	return nil
}

func checkJKSEntry(s *cryptobyte.String, version uint32) error {
	var kind uint32
	var alias, key cryptobyte.String
	if !s.ReadUint32(&kind) || !s.ReadUint16LengthPrefixed(&alias) || !s.Skip(8) { // the date
		return errJKS
	}
	certificates := uint32(1)
	switch kind {
	case 1: // a private key with its chain
		if !readLong(s, &key) || !isJKSKey(key) || !s.ReadUint32(&certificates) {
			return errJKS
		}
		if certificates > maxJKSCertificates {
			return fmt.Errorf("a key in it has %d certificates, and at most %d are read", certificates, maxJKSCertificates)
		}
	case 2: // a certificate that is trusted
	default:
		return fmt.Errorf("it has an entry of the unknown type %d", kind)
	}
	for range certificates {
		var label, cert cryptobyte.String
		if version == 2 && !s.ReadUint16LengthPrefixed(&label) || !readLong(s, &cert) {
			return errJKS
		}
	}
	return nil
}

// readLong reads octets with their length before them, in four octets.
func readLong(s, out *cryptobyte.String) bool {
	var n uint32
	return s.ReadUint32(&n) && int64(n) <= int64(len(*s)) && s.ReadBytes((*[]byte)(out), int(n))
}

// isJKSKey reports whether an encrypted key is long enough to hold a salt and
// a digest.
func isJKSKey(der cryptobyte.String) bool {
	var body, algorithm, sealed cryptobyte.String
	return der.ReadASN1(&body, asn1.SEQUENCE) && der.Empty() &&
		body.ReadASN1(&algorithm, asn1.SEQUENCE) &&
		body.ReadASN1(&sealed, asn1.OCTET_STRING) && body.Empty() && len(sealed) > 2*digestSize
}
