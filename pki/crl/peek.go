package crl

import (
	"errors"
	"fmt"
	"io"
	"math/big"

	"golang.org/x/crypto/cryptobyte"
	"golang.org/x/crypto/cryptobyte/asn1"
)

// maxPeek bounds the crlExtensions that PeekNumber reads.
const maxPeek = 1 << 16

var errNoNumber = errors.New("the revocation list has no CRL number that can be found")

// PeekNumber reads the CRL number of a DER list without reading its entries:
// it steps over them by their length. It checks nothing else, so what it gives
// may only make its caller more careful.
func PeekNumber(r io.ReaderAt) (*big.Int, error) {
	list, _, err := peekHeader(r, 0)
	if err != nil {
		return nil, err
	}
	at, end, err := peekHeader(r, list)
	if err != nil {
		return nil, err
	}
	for at < end {
		var tag [1]byte
		if _, err := r.ReadAt(tag[:], at); err != nil {
			return nil, fmt.Errorf("reading the revocation list: %w", err)
		}
		content, next, err := peekHeader(r, at)
		if err != nil {
			return nil, err
		}
		if tag[0] == byte(asn1.Tag(0).ContextSpecific().Constructed()) {
			return peekExtensions(r, content, next-content)
		}
		at = next
	}
	return nil, errNoNumber
}

// PeekIssuer reads the DER of the issuer's name of a DER list and nothing after
// it. Like PeekNumber it checks nothing else.
func PeekIssuer(r io.ReaderAt) ([]byte, error) {
	list, _, err := peekHeader(r, 0)
	if err != nil {
		return nil, err
	}
	at, end, err := peekHeader(r, list)
	if err != nil {
		return nil, err
	}
	data := make([]byte, min(max(end-at, 0), maxPeek))
	n, err := r.ReadAt(data, at)
	if err != nil && err != io.EOF {
		return nil, fmt.Errorf("reading the revocation list: %w", err)
	}
	in := cryptobyte.String(data[:n])
	var issuer cryptobyte.String
	if !in.SkipOptionalASN1(asn1.INTEGER) || !in.SkipASN1(asn1.SEQUENCE) || !in.ReadASN1Element(&issuer, asn1.SEQUENCE) {
		return nil, errNoIssuer
	}
	return issuer, nil
}

var errNoIssuer = errors.New("the revocation list has no issuer that can be found")

// peekHeader reads tag and length at an offset, and gives where the content
// begins and ends.
func peekHeader(r io.ReaderAt, at int64) (content, end int64, err error) {
	var b [6]byte
	n, err := r.ReadAt(b[:], at)
	if n < 2 {
		return 0, 0, fmt.Errorf("reading the revocation list: %w", err)
	}
	length, octets := int64(b[1]), int64(0)
	if b[1] >= 0x80 {
		octets, length = int64(b[1]&0x7f), 0
		if octets < 1 || octets > 4 || int64(n) < 2+octets {
			return 0, 0, errNoNumber
		}
		for _, octet := range b[2 : 2+octets] {
			length = length<<8 | int64(octet)
		}
	}
	content = at + 2 + octets
	return content, content + length, nil
}

func peekExtensions(r io.ReaderAt, at, length int64) (*big.Int, error) {
	if length < 0 || length > maxPeek {
		return nil, errNoNumber
	}
	data := make([]byte, length)
	if _, err := r.ReadAt(data, at); err != nil {
		return nil, fmt.Errorf("reading the revocation list: %w", err)
	}
	in := cryptobyte.String(data)
	var extensions cryptobyte.String
	if !in.ReadASN1(&extensions, asn1.SEQUENCE) || !in.Empty() {
		return nil, errNoNumber
	}
	for !extensions.Empty() {
		x, err := readExtension(&extensions)
		if err != nil {
			return nil, err
		}
		if string(x.id) == idNumber {
			return readNumber(x.value)
		}
	}
	return nil, errNoNumber
}
