package batch

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"strings"
)

// parseJSON reads a row that is a JSON object. encoding/json alone would take
// "Name" for name, and the last of two members with one name.
func parseJSON(row []byte) (Row, error) {
	var out Row
	d := json.NewDecoder(bytes.NewReader(row))
	if start, err := d.Token(); err != nil || start != json.Delim('{') {
		return out, errors.New("it is no JSON object")
	}
	seen := map[string]bool{}
	for d.More() {
		token, err := d.Token()
		member, ok := token.(string)
		if err != nil || !ok {
			return out, badJSON(err)
		}
		switch {
		case out.field(member) == nil:
			return out, fmt.Errorf("%q is no member: %s", member, strings.Join(fieldNames, ", "))
		case seen[member]:
			return out, fmt.Errorf("the member %q is there twice", member)
		}
		seen[member] = true
		if err := out.member(d, member); err != nil {
			return out, fmt.Errorf("%s: %w", member, err)
		}
	}
	if _, err := d.Token(); err != nil { // the closing brace
		return out, badJSON(err)
	}
	if _, err := d.Token(); !errors.Is(err, io.EOF) {
		return out, errors.New("something follows the JSON object")
	}
	return out, nil
}

func badJSON(err error) error {
	if err == nil {
		err = errors.New("a member has no name")
	}
	return fmt.Errorf("it is no JSON: %w", err)
}

// member reads the value of a member: a string, for some of them a list of
// strings, or null, which gives nothing.
func (r *Row) member(d *json.Decoder, name string) error {
	token, err := d.Token()
	if err != nil {
		return badJSON(err)
	}
	switch token := token.(type) {
	case nil:
		return nil
	case string:
		return r.field(name)(token)
	case json.Delim:
		if into := r.list(name); token == '[' && into != nil {
			return into.decode(d)
		}
	}
	if r.list(name) != nil {
		return errors.New("it is neither a string nor a list of strings")
	}
	return errors.New("it is no string")
}

// decode reads a list up to its end. Each element is one value, spaces and all.
func (v *values) decode(d *json.Decoder) error {
	var all []string
	for d.More() {
		token, err := d.Token()
		if err != nil {
			return badJSON(err)
		}
		text, ok := token.(string)
		if !ok {
			return errors.New("it is no list of strings")
		}
		all = append(all, text)
	}
	if _, err := d.Token(); err != nil {
		return badJSON(err)
	}
	return v.set(all)
}
