// Package pkcs12 encodes and decodes PKCS#12 files (RFC 7292) that hold one
// private key with its certificates, protected by a password.
//
// Written are two forms that every program in its field reads: AES-256 with
// HMAC-SHA256, and for old programs triple DES with HMAC-SHA1. Both carry the
// friendly name on the key and on its certificate.
//
// Read is what OpenSSL, NSS, GnuTLS, Java and Windows write, BER included. A
// file may be hostile and its password known to whoever made it, so the work
// that it asks for is counted before it is done, inside what is encrypted,
// too, and all sizes are bounded.
package pkcs12

import (
	"crypto"
	"crypto/x509"
	encoding_asn1 "encoding/asn1"
	"errors"
)

// The bounds on a file that is read.
const (
	MaxSize = 1 << 20 // octets
	MaxCost = 10_000_000

	maxSafes        = 32
	maxBags         = 256
	maxCertificates = 64
)

// ErrPassword is the error of Decode when the MAC does not agree. The password
// is wrong or the file is damaged: the two cannot be told apart.
var ErrPassword = errors.New("wrong password, or the file is damaged")

// errMalformed is the error of what is no PKCS#12 at some place.
var errMalformed = errors.New("it is damaged or cut off")

// Contents is what a file holds.
type Contents struct {
	FriendlyName string
	Key          crypto.Signer
	Certificates []*x509.Certificate // for Encode the key's own first; from Decode in the order of the file
}

// Scheme is how a file is protected.
type Scheme int

// The schemes. RC2 is read and never written.
const (
	Modern Scheme = iota // PBES2 with AES-256-CBC, HMAC-SHA256
	Legacy               // triple DES, HMAC-SHA1
)

// RFC 7292, Sections 4.1 and 4.2 and Appendix C; RFC 2985, Section 5.5.
var (
	oidData          = encoding_asn1.ObjectIdentifier{1, 2, 840, 113549, 1, 7, 1}
	oidEncryptedData = encoding_asn1.ObjectIdentifier{1, 2, 840, 113549, 1, 7, 6}

	oidKeyBag          = encoding_asn1.ObjectIdentifier{1, 2, 840, 113549, 1, 12, 10, 1, 1}
	oidShroudedKeyBag  = encoding_asn1.ObjectIdentifier{1, 2, 840, 113549, 1, 12, 10, 1, 2}
	oidCertBag         = encoding_asn1.ObjectIdentifier{1, 2, 840, 113549, 1, 12, 10, 1, 3}
	oidSafeContentsBag = encoding_asn1.ObjectIdentifier{1, 2, 840, 113549, 1, 12, 10, 1, 6}
	oidX509Certificate = encoding_asn1.ObjectIdentifier{1, 2, 840, 113549, 1, 9, 22, 1}

	oidFriendlyName = encoding_asn1.ObjectIdentifier{1, 2, 840, 113549, 1, 9, 20}
	oidLocalKeyID   = encoding_asn1.ObjectIdentifier{1, 2, 840, 113549, 1, 9, 21}

	oidTripleDES  = encoding_asn1.ObjectIdentifier{1, 2, 840, 113549, 1, 12, 1, 3}
	oidRC2With128 = encoding_asn1.ObjectIdentifier{1, 2, 840, 113549, 1, 12, 1, 5}
	oidRC2With40  = encoding_asn1.ObjectIdentifier{1, 2, 840, 113549, 1, 12, 1, 6}
	oidPBES2      = encoding_asn1.ObjectIdentifier{1, 2, 840, 113549, 1, 5, 13}

	oidSHA1   = encoding_asn1.ObjectIdentifier{1, 3, 14, 3, 2, 26}
	oidSHA256 = encoding_asn1.ObjectIdentifier{2, 16, 840, 1, 101, 3, 4, 2, 1}
	oidSHA384 = encoding_asn1.ObjectIdentifier{2, 16, 840, 1, 101, 3, 4, 2, 2}
	oidSHA512 = encoding_asn1.ObjectIdentifier{2, 16, 840, 1, 101, 3, 4, 2, 3}
)
