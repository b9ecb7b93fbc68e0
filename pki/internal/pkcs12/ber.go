package pkcs12

import (
	"errors"
	"math"
)

// maxDepth bounds the nesting of BER. NSS, which writes it, needs 9.
const maxDepth = 32

var errBER = errors.New("its encoding is damaged or cut off")

const (
	tagConstructed       = 0x20
	tagOctetString       = 0x04
	lengthIndefinite     = 0x80
	constructedOctetTag  = tagOctetString | tagConstructed
	tagNumberInMoreBytes = 0x1f
)

// toDER returns the one element of BER (X.690, Section 8) that data is, with
// definite lengths and with octet strings in one piece. What is DER already
// comes back as it is. Other ways in which BER differs are left to the parser.
func toDER(data []byte) ([]byte, error) {
	out, rest, err := convert(nil, data, maxDepth)
	if err != nil {
		return nil, err
	}
	if len(rest) > 0 {
		return nil, errors.New("it has data after its end")
	}
	return out, nil
}

// convert appends the first element of in to out, and returns what follows it.
func convert(out, in []byte, depth int) (_, rest []byte, err error) {
	if depth == 0 {
		return nil, nil, errors.New("it is nested too deeply")
	}
	tag, body, rest, err := readHeader(in)
	if err != nil {
		return nil, nil, err
	}
	if tag&tagConstructed == 0 {
		return appendElement(out, tag, body), rest, nil
	}
	indefinite := in[1] == lengthIndefinite
	var children []byte
	for {
		if !indefinite && len(body) == 0 {
			break
		}
		if indefinite && len(body) >= 2 && body[0] == 0 && body[1] == 0 {
			rest = body[2:]
			break
		}
		start := len(children)
		if children, body, err = convert(children, body, depth-1); err != nil {
			return nil, nil, err
		}
		if tag == constructedOctetTag {
			if children, err = unwrapOctets(children, start); err != nil {
				return nil, nil, err
			}
		}
	}
	if tag == constructedOctetTag {
		tag = tagOctetString
	}
	return appendElement(out, tag, children), rest, nil
}

// unwrapOctets replaces the octet string that begins at start by its content.
func unwrapOctets(data []byte, start int) ([]byte, error) {
	tag, body, _, err := readHeader(data[start:])
	if err != nil || tag != tagOctetString {
		return nil, errBER
	}
	return append(data[:start], body...), nil
}

// readHeader takes an element apart. The body of one of indefinite length goes
// on to the end of in, and rest is empty.
func readHeader(in []byte) (tag byte, body, rest []byte, err error) {
	if len(in) < 2 || in[0]&tagNumberInMoreBytes == tagNumberInMoreBytes {
		return 0, nil, nil, errBER
	}
	tag, first := in[0], in[1]
	in = in[2:]
	switch {
	case first == lengthIndefinite && tag&tagConstructed != 0:
		return tag, in, nil, nil
	case first < lengthIndefinite:
		if int(first) > len(in) {
			return 0, nil, nil, errBER
		}
		return tag, in[:first], in[first:], nil
	}
	count := int(first & 0x7f)
	if count == 0 || count > 4 || count > len(in) {
		return 0, nil, nil, errBER
	}
	length := int64(0)
	for _, b := range in[:count] {
		length = length<<8 | int64(b)
	}
	in = in[count:]
	if length > int64(len(in)) || length > math.MaxInt32 {
		return 0, nil, nil, errBER
	}
	return tag, in[:length], in[length:], nil
}

func appendElement(out []byte, tag byte, body []byte) []byte {
	out = append(out, tag)
	n := len(body)
	switch {
	case n < 1<<7:
		out = append(out, byte(n))
	case n < 1<<8:
		out = append(out, 0x81, byte(n))
	case n < 1<<16:
		out = append(out, 0x82, byte(n>>8), byte(n))
	case n < 1<<24:
		out = append(out, 0x83, byte(n>>16), byte(n>>8), byte(n))
	default:
		out = append(out, 0x84, byte(n>>24), byte(n>>16), byte(n>>8), byte(n))
	}
	return append(out, body...)
}
