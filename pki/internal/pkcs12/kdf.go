package pkcs12

import (
	"hash"
	"unicode/utf16"
)

// The purposes for which derive makes octets (RFC 7292, Appendix B.3).
const (
	forKey byte = 1
	forIV  byte = 2
	forMAC byte = 3
)

// derive is the key derivation of RFC 7292, Appendix B.2. The password is a
// BMPString with its terminator. iterations and size are at least 1.
func derive(newHash func() hash.Hash, purpose byte, password, salt []byte, iterations, size int) []byte {
	h := newHash()
	v := h.BlockSize()
	diversifier := fill([]byte{purpose}, v)
	input := append(repeat(salt, v), repeat(password, v)...)
	var out []byte
	for {
		h.Reset()
		_, _ = h.Write(diversifier) // a hash never fails, here and below
		_, _ = h.Write(input)
		a := h.Sum(nil)
		for range iterations - 1 {
			h.Reset()
			_, _ = h.Write(a)
			a = h.Sum(a[:0])
		}
		if out = append(out, a...); len(out) >= size {
			return out[:size]
		}
		b := fill(a, v)
		for i := 0; i < len(input); i += v {
			addOneMore(input[i:i+v], b)
		}
	}
}

// repeat returns copies of data, the last one cut, up to the next multiple of
// v.
func repeat(data []byte, v int) []byte {
	return fill(data, (len(data)+v-1)/v*v)
}

// fill returns copies of data, the last one cut, of n octets. n is 0 if data
// is empty.
func fill(data []byte, n int) []byte {
	out := make([]byte, n)
	for i := range out {
		out[i] = data[i%len(data)]
	}
	return out
}

// addOneMore sets a to a + b + 1, modulo its size.
func addOneMore(a, b []byte) {
	carry := 1
	for i := len(a) - 1; i >= 0; i-- {
		sum := int(a[i]) + int(b[i]) + carry
		a[i], carry = byte(sum), sum>>8
	}
}

// bmpString encodes a text as BMPString, in UTF-16 where a character needs two
// units, as OpenSSL and Java do.
func bmpString(s string) []byte {
	out := []byte{}
	for _, unit := range utf16.Encode([]rune(s)) {
		out = append(out, byte(unit>>8), byte(unit))
	}
	return out
}

// bmpText is the text of a BMPString.
func bmpText(data []byte) (string, bool) {
	if len(data)%2 != 0 {
		return "", false
	}
	var units []uint16
	for i := 0; i < len(data); i += 2 {
		units = append(units, uint16(data[i])<<8|uint16(data[i+1]))
	}
	return string(utf16.Decode(units)), true
}

// terminated is a password as the key derivation takes it (RFC 7292,
// Appendix B.1).
func terminated(password string) []byte { return append(bmpString(password), 0, 0) }
