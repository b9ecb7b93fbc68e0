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
	b, err := encodeJSON(v, "")
	if err != nil {
		return err
	}
	if _, err := p.Write(b); err != nil {
		return err
	}
	return p.Flush()
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

// container is what an object and an array have in common: each member is
// printed as it comes, so that a document of any length needs no memory.
type container struct {
	p      *Printer
	indent string // of the lines that begin and end it
	ends   string // what ends it
	count  int
}

// member prints what stands before the next member: "key": or nothing.
func (c *container) member(begins, key string) error {
	before := ",\n" + c.indent + "  "
	if c.count == 0 {
		before = begins + before[1:]
	}
	c.count++
	_, err := io.WriteString(c.p, before+key)
	return err
}

// value prints v as the next member.
func (c *container) value(begins, key string, v any) error {
	b, err := encodeJSON(v, "  ")
	if err != nil {
		return err
	}
	if err := c.member(begins, key); err != nil {
		return err
	}
	return c.write(bytes.TrimSuffix(b, []byte("\n")))
}

// write prints lines that stand in the container.
func (c *container) write(lines []byte) error {
	_, err := c.p.Write(bytes.ReplaceAll(lines, []byte("\n"), []byte("\n"+c.indent+"  ")))
	return err
}

func (c *container) close(begins string) error {
	end := "\n" + c.indent + c.ends
	if c.count == 0 {
		end = begins + c.ends
	}
	if c.indent == "" {
		end += "\n"
	}
	_, err := io.WriteString(c.p, end)
	return err
}

// Array is a JSON array that is printed as it comes.
type Array struct{ container }

// Array begins a JSON array; Close ends it.
func (p *Printer) Array() *Array { return &Array{container{p: p, ends: "]"}} }

// Add prints v as the next element.
func (a *Array) Add(v any) error { return a.value("[", "", v) }

// Object begins an object as the next element; its Close must come before the
// next one.
func (a *Array) Object() (*Object, error) {
	return &Object{container{p: a.p, indent: a.indent + "  ", ends: "}"}}, a.member("[", "")
}

// Close ends the array.
func (a *Array) Close() error { return a.close("[") }

// Object is a JSON object that is printed as it comes.
type Object struct{ container }

// Object begins a JSON object; Close ends it.
func (p *Printer) Object() *Object { return &Object{container{p: p, ends: "}"}} }

// Members prints the fields of a struct as the next members.
func (o *Object) Members(of any) error {
	b, err := encodeJSON(of, "  ")
	if err != nil {
		return err
	}
	inside, isObject := bytes.CutPrefix(bytes.TrimSuffix(b, []byte("\n}\n")), []byte("{\n  "))
	if !isObject { // it has none
		return nil
	}
	if err := o.member("{", ""); err != nil {
		return err
	}
	_, err = o.p.Write(bytes.ReplaceAll(inside, []byte("\n"), []byte("\n"+o.indent)))
	return err
}

// Array begins an array as the next member; its Close must come before the next
// one.
func (o *Object) Array(name string) (*Array, error) {
	return &Array{container{p: o.p, indent: o.indent + "  ", ends: "]"}}, o.member("{", `"`+name+`": `)
}

// Close ends the object.
func (o *Object) Close() error { return o.close("{") }
