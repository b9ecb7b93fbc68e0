package batch

import (
	"bytes"
	"errors"
	"fmt"
	"strings"
)

// csvState is where in a row of CSV (RFC 4180) a reader is. encoding/csv reads
// fields of any length into memory, so the rows are found here.
type csvState int

const (
	csvStart  csvState = iota // of a field
	csvPlain                  // in a field without quotes
	csvQuoted                 // in a quoted field
	csvQuote                  // after a quote in a quoted field: its end, or half of one
)

func (s csvState) inQuotes() bool { return s == csvQuoted }

// after gives the state behind a piece of the input.
func (s csvState) after(piece []byte) csvState {
	if (s == csvStart || s == csvPlain) && bytes.IndexByte(piece, '"') < 0 { // as nearly always
		piece = piece[max(0, len(piece)-1):]
	}
	for _, c := range piece {
		switch {
		case s == csvQuoted && c == '"':
			s = csvQuote
		case s == csvQuoted:
		case c == '"' && s != csvPlain:
			s = csvQuoted
		case c == ',' || c == '\n':
			s = csvStart
		default:
			s = csvPlain
		}
	}
	return s
}

var (
	errBareQuote  = errors.New(`a quote stands in a field that does not begin with one (a field with quotes is written "a ""b""")`)
	errAfterQuote = errors.New("something other than a comma follows the end of a quoted field")
)

// csvFields takes a row apart.
func csvFields(row []byte) ([]string, error) {
	rest := strings.TrimSuffix(strings.TrimSuffix(string(row), "\n"), "\r")
	var fields []string
	for {
		var field string
		var err error
		if field, rest, err = csvField(rest); err != nil {
			return nil, err
		}
		fields = append(fields, field)
		if rest == "" {
			return fields, nil
		}
		rest = rest[1:] // the comma
	}
}

// csvField takes the first field, up to its comma or the end.
func csvField(s string) (field, rest string, err error) {
	if !strings.HasPrefix(s, `"`) {
		end := strings.IndexByte(s, ',')
		if end < 0 {
			end = len(s)
		}
		if strings.Contains(s[:end], `"`) {
			return "", "", errBareQuote
		}
		return s[:end], s[end:], nil
	}
	var b strings.Builder
	s = s[1:]
	for {
		before, after, ok := strings.Cut(s, `"`)
		if !ok {
			return "", "", errors.New("a quoted field does not end")
		}
		b.WriteString(before)
		if !strings.HasPrefix(after, `"`) {
			if after != "" && after[0] != ',' {
				return "", "", errAfterQuote
			}
			return b.String(), after, nil
		}
		b.WriteByte('"')
		s = after[1:]
	}
}

// csvParser reads the names of the columns and gives what reads the rows.
func csvParser(header []byte) (func([]byte) (Row, error), error) {
	columns, err := csvFields(header)
	if err != nil {
		return nil, err
	}
	seen := map[string]bool{}
	for i, column := range columns {
		columns[i] = strings.TrimSpace(column)
		switch column = columns[i]; {
		case new(Row).field(column) == nil:
			return nil, fmt.Errorf("%q is no column: %s", column, strings.Join(fieldNames, ", "))
		case seen[column]:
			return nil, fmt.Errorf("the column %q is there twice", column)
		}
		seen[column] = true
	}
	if !seen["name"] {
		return nil, errors.New("the column name is missing")
	}
	return func(row []byte) (Row, error) { return parseCSV(columns, row) }, nil
}

func parseCSV(columns []string, row []byte) (Row, error) {
	var out Row
	fields, err := csvFields(row)
	if err != nil {
		return out, err
	}
	if len(fields) != len(columns) {
		return out, fmt.Errorf("it has %d fields, and the first line names %d columns", len(fields), len(columns))
	}
	for i, column := range columns {
		if err := out.field(column)(fields[i]); err != nil {
			return out, fmt.Errorf("%s: %w", column, err)
		}
	}
	return out, nil
}
