package pki

import (
	"encoding/hex"
	"errors"
	"fmt"
	"math/big"
	"strings"
)

// maxSerialDigits bounds what ParseSerialHex and ParseSerialDecimal read:
// 20 octets (RFC 5280, Section 4.1.2.2) are 49 decimal digits, and other CAs
// exceed them, so the bound is generous without being open.
const maxSerialDigits = 128

// Serial is the serial number of a certificate. Two are equal exactly when
// the INTEGERs in the certificates are (RFC 5280, Section 4.1.2.2), so it
// can be a map key. A serial means something only together with its issuer.
// The zero value is no serial.
type Serial struct {
	der string // the content octets of the DER INTEGER: minimal two's complement
}

// NewSerial makes a Serial of a number; zero and negative ones, which other
// CAs have issued, are kept as they are.
func NewSerial(n *big.Int) Serial {
	return Serial{der: string(integerOctets(n))}
}

// SerialFromOctets makes a Serial of the content octets of a DER INTEGER.
// It refuses what is no minimal encoding (X.690, Section 8.3.2).
func SerialFromOctets(der []byte) (Serial, error) {
	if len(der) == 0 {
		return Serial{}, errors.New("a serial number needs at least one octet")
	}
	if len(der) > 1 && (der[0] == 0 && der[1] < 0x80 || der[0] == 0xff && der[1] >= 0x80) {
		return Serial{}, errors.New("the serial number is not minimally encoded")
	}
	return Serial{der: string(der)}, nil
}

// ParseSerialHex reads a serial in hexadecimal: either case, with or without
// colons and a leading 0x.
func ParseSerialHex(s string) (Serial, error) {
	digits, ok := strings.CutPrefix(s, "0x")
	if !ok {
		digits = strings.TrimPrefix(s, "0X")
	}
	if strings.Contains(digits, ":") {
		for i, octet := range strings.Split(digits, ":") {
			if len(octet) != 2 && (i > 0 || len(octet) != 1) {
				return Serial{}, fmt.Errorf("%q is not a serial number in hexadecimal", s)
			}
		}
		digits = strings.ReplaceAll(digits, ":", "")
	}
	return parseSerial(s, digits, 16)
}

// ParseSerialDecimal reads a serial in decimal.
func ParseSerialDecimal(s string) (Serial, error) {
	return parseSerial(s, s, 10)
}

func parseSerial(whole, digits string, base int) (Serial, error) {
	if digits == "" || len(digits) > maxSerialDigits || strings.ContainsAny(digits, "+-_") {
		return Serial{}, fmt.Errorf("%q is not a serial number", whole)
	}
	n, ok := new(big.Int).SetString(digits, base)
	if !ok {
		return Serial{}, fmt.Errorf("%q is not a serial number", whole)
	}
	return NewSerial(n), nil
}

// IsZero reports whether s holds no serial at all (a serial of 0 is one).
func (s Serial) IsZero() bool { return s.der == "" }

// Octets returns the content octets of the DER INTEGER.
func (s Serial) Octets() []byte { return []byte(s.der) }

// Big returns the number.
func (s Serial) Big() *big.Int {
	n := new(big.Int).SetBytes([]byte(s.der))
	if s.der != "" && s.der[0] >= 0x80 {
		n.Sub(n, new(big.Int).Lsh(big.NewInt(1), uint(8*len(s.der))))
	}
	return n
}

// String gives the number in lower-case hexadecimal, two digits an octet and
// no colons, as the inventory, JSON and the command line spell it.
func (s Serial) String() string {
	if s.der == "" {
		return ""
	}
	n := s.Big()
	sign := ""
	if n.Sign() < 0 {
		sign = "-"
		n.Neg(n)
	}
	b := n.Bytes()
	if len(b) == 0 {
		b = []byte{0}
	}
	return sign + hex.EncodeToString(b)
}

// MarshalText makes a Serial a string in JSON.
func (s Serial) MarshalText() ([]byte, error) { return []byte(s.String()), nil }

// integerOctets is the minimal two's complement of n (X.690, Section 8.3).
func integerOctets(n *big.Int) []byte {
	switch n.Sign() {
	case 0:
		return []byte{0}
	case 1:
		b := n.Bytes()
		if b[0] >= 0x80 {
			b = append([]byte{0}, b...)
		}
		return b
	}
	// -n-1 has the inverted bits of n.
	b := new(big.Int).Not(n).Bytes()
	for i := range b {
		b[i] = ^b[i]
	}
	if len(b) == 0 || b[0] < 0x80 {
		b = append([]byte{0xff}, b...)
	}
	return b
}
