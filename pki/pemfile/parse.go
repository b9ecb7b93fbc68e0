package pemfile

import (
	"bytes"
	"encoding/base64"
	"errors"
	"fmt"
	"strings"

	"golang.org/x/crypto/cryptobyte"
	"golang.org/x/crypto/cryptobyte/asn1"
)

// The bounds on the blocks of one file, and on the label of one block.
const (
	maxBlocks = 10_000
	maxLabel  = 64
)

const (
	begin  = "-----BEGIN "
	end    = "-----END "
	dashes = "-----"
)

// Parse returns everything that the content of a file holds: each block of
// PEM in order, or the one structure of DER. Text may stand around the blocks.
// A file that holds nothing is an error.
func Parse(data []byte) ([]Item, error) {
	if isSequence(data) {
		item, err := identify(data)
		if err != nil {
			return nil, err
		}
		return []Item{item}, nil
	}
	data = bytes.TrimPrefix(data, []byte("\xef\xbb\xbf")) // editors on Windows write it
	s := scanner{rest: data}
	var items []Item
	for {
		item, ok, err := s.next()
		if err != nil {
			return nil, err
		}
		if !ok {
			break
		}
		if item.Type != "" {
			items = append(items, item)
		}
	}
	if s.block == 0 {
		return nil, describeNothing(data)
	}
	return items, nil
}

// describeNothing says why data without any block is no DER either.
func describeNothing(data []byte) error {
	switch {
	case len(bytes.TrimSpace(data)) == 0:
		return errors.New("it is empty")
	case data[0] == 0x30 && len(data) > 1 && data[1] >= 0x80: // a SEQUENCE in the long form
		return errors.New("it is DER that is cut off, or has data after its end")
	}
	return errors.New("it is neither PEM nor DER")
}

// isSequence reports whether data is one SEQUENCE and nothing else.
func isSequence(data []byte) bool {
	input := cryptobyte.String(data)
	return input.SkipASN1(asn1.SEQUENCE) && input.Empty()
}

// scanner walks over the lines of PEM.
type scanner struct {
	rest  []byte
	line  int // of the line last read
	block int // last begun
}

// readLine returns the next line without the white space at its end.
func (s *scanner) readLine() (line []byte, ok bool) {
	if len(s.rest) == 0 {
		return nil, false
	}
	s.line++
	line, s.rest, _ = bytes.Cut(s.rest, []byte("\n"))
	return bytes.TrimRight(line, " \t\r"), true
}

// next returns the next block, and false at the end. An item without a type
// is one to leave out.
func (s *scanner) next() (Item, bool, error) {
	for {
		line, ok := s.readLine()
		if !ok {
			return Item{}, false, nil
		}
		if bytes.Contains(line, []byte(begin)) {
			item, err := s.readBlock(line)
			return item, err == nil, err
		}
		if bytes.HasPrefix(line, []byte(end)) {
			return Item{}, false, fmt.Errorf("line %d: an END without a BEGIN", s.line)
		}
	}
}

// readBlock reads a block, of which the first line has been read.
func (s *scanner) readBlock(first []byte) (Item, error) {
	s.block++
	item := Item{Block: s.block, Line: s.line}
	if s.block > maxBlocks {
		return item, fmt.Errorf("line %d: more than %d blocks", s.line, maxBlocks)
	}
	label, hasBegin := strings.CutPrefix(string(first), begin)
	label, hasDashes := strings.CutSuffix(label, dashes)
	if !hasBegin || !hasDashes || strings.Contains(label, dashes) || len(label) > maxLabel {
		return item, item.errorf("the BEGIN line is damaged or does not stand alone")
	}
	item.label, item.Type = label, typeOfLabel(label)
	body, err := s.readBody(item)
	if err != nil {
		return item, err
	}
	if label == "EC PARAMETERS" { // openssl ecparam writes them before a key that repeats them
		return item, nil
	}
	if item.Type == "" {
		return item, item.errorf("%q is not known here", label)
	}
	if item.DER, err = body.end(); err != nil {
		return item, item.errorf("the base64 of the %s is damaged", item.Type)
	}
	if !isSequence(item.DER) {
		return item, item.errorf("the %s is cut off, or has data after its end", item.Type)
	}
	return item, nil
}

// readBody decodes the base64 of a block to its END line.
func (s *scanner) readBody(item Item) (decoder, error) {
	var body decoder
	if n := bytes.Index(s.rest, []byte(end)); n > 0 {
		body.out = make([]byte, 0, base64.StdEncoding.DecodedLen(n))
	}
	for {
		line, ok := s.readLine()
		switch {
		case !ok, bytes.Contains(line, []byte(begin)):
			return body, item.errorf("the block has no END")
		case bytes.HasPrefix(line, []byte(end)):
			if string(line) != end+item.label+dashes {
				return body, item.errorf("its END, in line %d, is another block's or damaged", s.line)
			}
			return body, nil
		case bytes.HasPrefix(line, []byte("Proc-Type:")): // RFC 1421, Section 4.6.1.1
			return body, item.errorf("it is traditional encrypted PEM, which is not read: convert it with openssl pkcs8 -topk8 -v2 aes-256-cbc")
		case bytes.IndexByte(line, ':') >= 0:
			// RFC 7468, Section 2: headers are not part of the format.
			return body, item.errorf("it has a header, in line %d, which is not allowed", s.line)
		}
		body.add(bytes.TrimLeft(line, " \t"))
	}
}

// decoder decodes base64 that comes line by line, as decoding it at once would:
// a list of a million entries has as many lines.
type decoder struct {
	out     []byte
	pending []byte // not decoded yet
	padded  bool   // nothing may follow
	err     error
}

func (d *decoder) add(line []byte) {
	const enough = 4096
	if bytes.IndexByte(line, '\r') >= 0 { // base64 leaves them out
		line = bytes.ReplaceAll(line, []byte("\r"), nil)
	}
	if d.pending = append(d.pending, line...); len(d.pending) >= enough {
		d.decode(len(d.pending) &^ 3)
	}
}

// decode decodes the first n of what is pending.
func (d *decoder) decode(n int) {
	chunk := d.pending[:n]
	if d.err == nil && n > 0 {
		if d.padded {
			d.err = base64.CorruptInputError(0)
			return
		}
		d.out, d.err = base64.StdEncoding.Strict().AppendDecode(d.out, chunk)
		d.padded = chunk[n-1] == '='
	}
	d.pending = d.pending[:copy(d.pending, d.pending[n:])]
}

// end gives what was decoded.
func (d *decoder) end() ([]byte, error) {
	d.decode(len(d.pending))
	return d.out, d.err
}
