package ui

import (
	"bytes"
	"encoding/json"
	"fmt"
	"io"
	"unicode/utf16"
	"unicode/utf8"
)

// JSON prints v as one document, indented by two spaces. Characters that
// Escape would not let through stand as \u escapes, which mean the same to
// every reader of JSON and nothing to a terminal.
func (p *Printer) JSON(v any) error {
	b, err := encodeJSON(v, "  ")
	if err != nil {
		return err
	}
	_, err = p.Write(b)
	return err
}

// JSONLine prints v as one line and flushes it.
func (p *Printer) JSONLine(v any) error {
	if err := p.JSONRow(v); err != nil {
		return err
	}
	return p.Flush()
}

// JSONRow prints v as one line.
func (p *Printer) JSONRow(v any) error {
	b, err := encodeJSON(v, "")
	if err != nil {
		return err
	}
	_, err = p.Write(b)
	return err
}

func encodeJSON(v any, indent string) ([]byte, error) {
	var b bytes.Buffer
	e := json.NewEncoder(&b)
	e.SetEscapeHTML(false)
	e.SetIndent("", indent)
	if err := e.Encode(v); err != nil {
		return nil, fmt.Errorf("encoding JSON: %w", err)
	}
	return escapeJSON(b.Bytes()), nil
}

// escapeJSON escapes the characters outside ASCII that a terminal should not
// get. In JSON such characters stand only inside strings.
func escapeJSON(b []byte) []byte {
	bad := func(r rune) bool { return r >= 0x7f && r != utf8.RuneError && mustEscape(r) }
	if !bytes.ContainsFunc(b, bad) {
		return b
	}
	var out bytes.Buffer
	for _, r := range string(b) {
		switch {
		case !bad(r):
			out.WriteRune(r)
		case r <= 0xffff:
			fmt.Fprintf(&out, `\u%04x`, r)
		default:
			high, low := utf16.EncodeRune(r)
			fmt.Fprintf(&out, `\u%04x\u%04x`, high, low)
		}
	}
	return out.Bytes()
}

// Array is a JSON array that is printed as it comes, so that a list of any
// length needs no memory.
type Array struct {
	p     *Printer
	count int
}

// Array begins a JSON array; Close ends it.
func (p *Printer) Array() *Array { return &Array{p: p} }

// Add prints v as the next element.
func (a *Array) Add(v any) error {
	b, err := encodeJSON(v, "  ")
	if err != nil {
		return err
	}
	before := ",\n  "
	if a.count == 0 {
		before = "[\n  "
	}
	a.count++
	if _, err := io.WriteString(a.p, before); err != nil {
		return err
	}
	_, err = a.p.Write(bytes.ReplaceAll(bytes.TrimSuffix(b, []byte("\n")), []byte("\n"), []byte("\n  ")))
	return err
}

// Close ends the array.
func (a *Array) Close() error {
	end := "\n]\n"
	if a.count == 0 {
		end = "[]\n"
	}
	_, err := io.WriteString(a.p, end)
	return err
}
