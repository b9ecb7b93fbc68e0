package crl

import (
	"cmp"
	"encoding/binary"
	"slices"
	"time"

	"mutual/pki"
)

// reasonPrefix is crlEntryExtensions with a reason code and nothing else, up to
// the code (RFC 5280, Section 5.3.1): SEQUENCE OF, Extension, OBJECT
// IDENTIFIER, OCTET STRING, ENUMERATED.
const reasonPrefix = "\x30\x0c\x30\x0a\x06\x03" + idReasonCode + "\x04\x03\x0a\x01"

const (
	utcTimeSize = 2 + len("060102150405Z") // with tag and length
	reasonSize  = len(reasonPrefix) + 1
)

// canonicalEntry recognizes, where in begins, an entry as Create writes those
// dated before 2050, and gives its length and the content octets of its serial.
// Of anything else, well formed or not, the length is 0: readEntry judges it.
// What is recognized here readEntry accepts, with nothing unsupported in it.
func canonicalEntry(in []byte) (length int, serial []byte) {
	if len(in) < 4 || in[0] != 0x30 || in[2] != 0x02 || in[1] >= 0x80 || in[3] >= 0x80 {
		return 0, nil
	}
	length = 2 + int(in[1])
	date := 4 + int(in[3])
	reason := date + utcTimeSize
	if len(in) < length || length != reason && length != reason+reasonSize || !isMinimal(in[4:date]) || !isUTCTime(in[date:reason]) {
		return 0, nil
	}
	if length > reason && (string(in[reason:length-1]) != reasonPrefix || !isWritten(pki.Reason(in[length-1]))) {
		return 0, nil
	}
	return length, in[4:date]
}

// isWritten reports whether Create writes the reason code. It leaves out the
// one for unspecified.
func isWritten(r pki.Reason) bool {
	return r.Valid() && r != pki.Unspecified && r != pki.RemoveFromCRL
}

// isMinimal reports whether an INTEGER has as few content octets as it can.
func isMinimal(b []byte) bool {
	return len(b) == 1 || len(b) > 1 && (b[0] != 0 || b[1] >= 0x80) && (b[0] != 0xff || b[1] < 0x80)
}

// isUTCTime recognizes a UTCTime in seconds and GMT.
func isUTCTime(b []byte) bool {
	if b[0] != 0x17 || b[1] != byte(utcTimeSize-2) || b[14] != 'Z' {
		return false
	}
	if !areDigits(binary.LittleEndian.Uint64(b[2:])) || !areDigits(binary.LittleEndian.Uint64(b[6:])) {
		return false
	}
	month := twoDigits(b[4:])
	return 1 <= month && month <= 12 && 1 <= twoDigits(b[6:]) && twoDigits(b[6:]) <= daysOf(month, twoDigits(b[2:])) &&
		twoDigits(b[8:]) < 24 && twoDigits(b[10:]) < 60 && twoDigits(b[12:]) < 60
}

// areDigits reports whether all eight octets are digits: 0x30 to 0x39, so that
// six more do not reach 0x40.
func areDigits(octets uint64) bool {
	const high, threes, sixes = 0xf0f0f0f0f0f0f0f0, 0x3030303030303030, 0x0606060606060606
	return octets&high == threes && (octets+sixes)&high == threes
}

func twoDigits(b []byte) int { return int(b[0]-'0')*10 + int(b[1]-'0') }

// daysOf gives the days of a month in a year that is given by its last two
// digits: between 1950 and 2049 every fourth is a leap year.
func daysOf(month, year int) int {
	switch month {
	case 2:
		if year%4 == 0 {
			return 29
		}
		return 28
	case 4, 6, 9, 11:
		return 30
	}
	return 31
}

// decodeCanonical reads date and reason of an entry that canonicalEntry has
// recognized.
func decodeCanonical(entry []byte, serial []byte) (date time.Time, reason pki.Reason) {
	b := entry[4+len(serial):]
	year := 1900 + twoDigits(b[2:])
	if year < 1950 { // RFC 5280, Section 4.1.2.5.1
		year += 100
	}
	date = time.Date(year, time.Month(twoDigits(b[4:])), twoDigits(b[6:]), twoDigits(b[8:]), twoDigits(b[10:]), twoDigits(b[12:]), 0, time.UTC)
	if len(b) > utcTimeSize {
		reason = pki.Reason(b[len(b)-1])
	}
	return date, reason
}

// serialOf gives the content octets of the serial of the entry with which in
// begins, and which has been accepted.
func serialOf(in []byte) []byte {
	if in[1] < 0x80 { // else the serial has more than a hundred octets
		return in[4 : 4+int(in[3])]
	}
	return serialOfLong(in)
}

// keyed is where an entry begins, with a number that is in the order of the
// serials.
type keyed struct {
	key    uint64
	offset uint32
}

// sortBySerial sorts the offsets of entries by their serials; what has the same
// serial stays in its order. serial gives the one of the entry at an offset.
func sortBySerial(offsets []uint32, serial func(offset uint32) []byte) {
	sorted := make([]keyed, len(offsets))
	for i, o := range offsets {
		sorted[i] = keyed{sortKey(serial(o)), o}
	}
	slices.SortFunc(sorted, func(a, b keyed) int {
		if a.key != b.key {
			return cmp.Compare(a.key, b.key)
		}
		if c := compareIntegers(serial(a.offset), serial(b.offset)); c != 0 {
			return c
		}
		return cmp.Compare(a.offset, b.offset)
	})
	for i, k := range sorted {
		offsets[i] = k.offset
	}
}

// sortKey is a number that is never greater for a smaller serial: of a positive
// one its length and first octets, of a negative one 0.
func sortKey(serial []byte) uint64 {
	if len(serial) == 0 || serial[0] >= 0x80 {
		return 0
	}
	var first [8]byte
	first[0] = byte(min(len(serial), 0xff))
	if len(serial) < 0xff { // longer ones are compared as a whole
		copy(first[1:], serial)
	}
	return binary.BigEndian.Uint64(first[:])
}
