package batch

import (
	"bufio"
	"bytes"
	"errors"
	"fmt"
	"io"
)

// The bounds on an input. A row is over its bound where it is longer than any
// that could be issued.
const (
	maxRow    = 64 << 10 // octets
	maxValues = 100      // of one field
	maxRows   = 2_000_000
)

// Input is a file of rows: CSV whose first line names its columns, or JSON
// lines. What it is shows its first octet.
type Input struct {
	in     *bufio.Reader
	quotes bool // CSV: a quoted field may hold line ends
	parse  func(record []byte) (Row, error)

	line   int // of the last line that was read, from 1
	offset int64
	state  csvState
}

// record is a row as it was read, or why it could not be.
type record struct {
	line int // of its beginning
	text []byte
	end  int64 // octets of the input up to its end
	err  error
}

var errRowTooLong = fmt.Errorf("the row is longer than %d octets", maxRow)

// NewInput reads as far as the names of the columns: what is wrong with them is
// an error before anything is made.
func NewInput(r io.Reader) (*Input, error) {
	in := &Input{in: bufio.NewReaderSize(r, maxRow)}
	if err := in.skipSpace(); err != nil {
		return nil, err
	}
	first, err := in.in.Peek(1)
	if err != nil {
		return nil, fmt.Errorf("reading the batch: %w", noRows(err))
	}
	switch first[0] {
	case '{':
		in.parse = parseJSON
		return in, nil
	case '[':
		return nil, errors.New("the batch is a JSON array, and JSON lines are read: one object a line (jq -c '.[]' makes them)")
	}
	in.quotes = true
	rec, err := in.next()
	if err != nil {
		return nil, fmt.Errorf("reading the batch: %w", noRows(err))
	}
	if rec.err == nil {
		in.parse, rec.err = csvParser(rec.text)
	}
	if rec.err != nil {
		return nil, fmt.Errorf("the columns in line %d: %w", rec.line, rec.err)
	}
	return in, nil
}

func noRows(err error) error {
	if errors.Is(err, io.EOF) {
		return errors.New("it is empty")
	}
	return err
}

// skipSpace skips a byte order mark and what is blank before the first row.
func (in *Input) skipSpace() error {
	if mark, _ := in.in.Peek(3); string(mark) == "\xef\xbb\xbf" { // a failure shows below
		in.discard(3)
	}
	for {
		next, err := in.in.Peek(1)
		if errors.Is(err, io.EOF) {
			return nil
		}
		if err != nil {
			return fmt.Errorf("reading the batch: %w", err)
		}
		switch next[0] {
		case '\n':
			in.line++
		case ' ', '\t', '\r':
		default:
			return nil
		}
		in.discard(1)
	}
}

func (in *Input) discard(n int) {
	skipped, _ := in.in.Discard(n) // they were peeked at
	in.offset += int64(skipped)
}

// next reads the next row that is not blank, at most maxRow octets of it; io.EOF
// after the last.
func (in *Input) next() (record, error) {
	for {
		rec, err := in.read()
		if err != nil || rec.err != nil || len(bytes.TrimSpace(rec.text)) > 0 {
			return rec, err
		}
	}
}

func (in *Input) read() (record, error) {
	rec := record{line: in.line + 1}
	in.state = csvStart
	empty := true
	for {
		piece, err := in.in.ReadSlice('\n')
		in.offset += int64(len(piece))
		empty = empty && len(piece) == 0
		if in.quotes {
			in.state = in.state.after(piece)
		}
		switch {
		case len(rec.text)+len(piece) > maxRow:
			rec.text, rec.err = rec.text[:0], errRowTooLong
		case rec.err == nil:
			rec.text = append(rec.text, piece...)
		}
		switch {
		case errors.Is(err, bufio.ErrBufferFull):
			continue
		case errors.Is(err, io.EOF) && empty:
			return rec, io.EOF
		case errors.Is(err, io.EOF):
			if in.state.inQuotes() {
				rec.err = errors.New("a quoted field that begins here does not end")
			}
		case err != nil:
			return rec, fmt.Errorf("reading the batch, line %d: %w", in.line+1, err)
		}
		in.line++
		if err == nil && in.state.inQuotes() {
			continue
		}
		rec.end = in.offset
		return rec, nil
	}
}
