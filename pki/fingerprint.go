package pki

import (
	"crypto/sha256"
	"encoding/hex"
)

// Fingerprint is the SHA-256 of a certificate's DER.
type Fingerprint [sha256.Size]byte

// FingerprintOf hashes a certificate's DER.
func FingerprintOf(der []byte) Fingerprint { return sha256.Sum256(der) }

// String gives 64 lower-case hexadecimal digits.
func (f Fingerprint) String() string { return hex.EncodeToString(f[:]) }

// MarshalText makes a Fingerprint a string in JSON.
func (f Fingerprint) MarshalText() ([]byte, error) { return []byte(f.String()), nil }
