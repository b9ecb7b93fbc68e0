package batch

import (
	"encoding/csv"
	"encoding/json"
	"errors"
	"io"
	"reflect"
	"strings"
	"testing"
	"testing/iotest"
)

// parsed is a row as a test wants it.
type parsed struct {
	Line int
	Row  Row
	Err  string
}

// all reads an input to its end.
func all(t *testing.T, r io.Reader) ([]parsed, error) {
	t.Helper()
	in, err := NewInput(r)
	if err != nil {
		return nil, err
	}
	var out []parsed
	for {
		rec, err := in.next()
		if errors.Is(err, io.EOF) {
			return out, nil
		}
		if err != nil {
			return out, err
		}
		if len(rec.text) > maxRow {
			t.Fatalf("line %d: %d octets are held", rec.line, len(rec.text))
		}
		p := parsed{Line: rec.line}
		if rec.err == nil {
			p.Row, rec.err = in.parse(rec.text)
		}
		if rec.err != nil {
			p = parsed{Line: rec.line, Err: rec.err.Error()}
		}
		out = append(out, p)
	}
}

func TestInput(t *testing.T) {
	alice, bob := Row{Name: "alice"}, Row{Name: "bob"}
	long := strings.Repeat("x", maxRow)
	for _, tt := range []struct {
		name, text string
		want       []parsed
	}{
		{"CSV", "name\nalice\nbob\n", []parsed{{2, alice, ""}, {3, bob, ""}}},
		{"no last line end", "name\nalice", []parsed{{2, alice, ""}}},
		{"CRLF, a mark, blank lines", "\xef\xbb\xbf\r\nname\r\n\r\nalice\r\n \r\nbob\r\n", []parsed{{4, alice, ""}, {6, bob, ""}}},
		{"only columns", "name\n", nil},
		{"every column", "label, uri,email,ip,dns,ttl,name\n\"a, \"\"b\"\"\",https://a/b spiffe://c/d,a@b.c,192.0.2.1  ::1,a.b c.d,12h,alice\n",
			[]parsed{{2, Row{Name: "alice", DNS: []string{"a.b", "c.d"}, IP: []string{"192.0.2.1", "::1"}, Email: []string{"a@b.c"},
				URI: []string{"https://a/b", "spiffe://c/d"}, TTL: "12h", Label: `a, "b"`}, ""}}},
		{"a line end in quotes", "name,label\n\"ali\nce\",\"x\r\ny\"\nbob,\n", []parsed{{2, Row{Name: "ali\nce", Label: "x\r\ny"}, ""}, {5, bob, ""}}},
		{"fields", "name,label\nalice\nbob,\nalice,x,y\n",
			[]parsed{{2, Row{}, "it has 1 fields, and the first line names 2 columns"}, {3, bob, ""}, {4, Row{}, "it has 3 fields, and the first line names 2 columns"}}},
		{"a bare quote", "name\nali\"ce\nbob\n", []parsed{{2, Row{}, errBareQuote.Error()}, {3, bob, ""}}},
		{"after a quote", "name\n\"ali\"ce\nbob\n", []parsed{{2, Row{}, errAfterQuote.Error()}, {3, bob, ""}}},
		{"a quote that does not end", "name\nbob\n\"alice\nx\ny\n", []parsed{{2, bob, ""}, {3, Row{}, "a quoted field that begins here does not end"}}},
		{"a long line", "name\n" + long + "x\nbob\n", []parsed{{2, Row{}, errRowTooLong.Error()}, {3, bob, ""}}},
		// What stands in a quoted field is no row, however long the field is.
		{"a long quoted field", "name,label\nalice,\"" + long + "\neve,\n\"\nbob,\n", []parsed{{2, Row{}, errRowTooLong.Error()}, {5, bob, ""}}},
		{"a quote after a long comma", "name,label\n" + long[:maxRow-1] + ",\"\neve,\n\"\nbob,\n", []parsed{{2, Row{}, errRowTooLong.Error()}, {5, bob, ""}}},
		{"values", "name,dns\nalice," + strings.Repeat("a.b ", 101) + "\n", []parsed{{2, Row{}, "dns: 101 values, and at most 100 are allowed"}}},

		{"JSON", " \n{\"name\":\"alice\"}\n\n{\"name\":\"bob\"}", []parsed{{2, alice, ""}, {4, bob, ""}}},
		{"lists", `{"name":"alice","dns":["a.b","c d"],"ip":"192.0.2.1 ::1","label":null}`,
			[]parsed{{1, Row{Name: "alice", DNS: []string{"a.b", "c d"}, IP: []string{"192.0.2.1", "::1"}}, ""}}},
		{"no object", "{\"name\":\"bob\"}\n[]\n1\n\"x\"\n", []parsed{{1, bob, ""}, {2, Row{}, "it is no JSON object"}, {3, Row{}, "it is no JSON object"}, {4, Row{}, "it is no JSON object"}}},
		{"members", "{\"Name\":\"x\"}\n{\"name\":\"x\",\"name\":\"y\"}\n{\"name\":1}\n{\"dns\":{}}\n{\"dns\":[1]}\n{\"name\":[\"x\"]}\n", []parsed{
			{1, Row{}, `"Name" is no member: name, dns, ip, email, uri, ttl, label`}, {2, Row{}, `the member "name" is there twice`},
			{3, Row{}, "name: it is no string"}, {4, Row{}, "dns: it is neither a string nor a list of strings"},
			{5, Row{}, "dns: it is no list of strings"}, {6, Row{}, "name: it is no string"}}},
		{"two on a line", `{"name":"a"} {"name":"b"}`, []parsed{{1, Row{}, "something follows the JSON object"}}},
		{"a long object", "{\"name\":\"" + long + "\"}\n{\"name\":\"bob\"}\n", []parsed{{1, Row{}, errRowTooLong.Error()}, {2, bob, ""}}},
	} {
		for how, r := range map[string]io.Reader{"whole": strings.NewReader(tt.text), "by octets": iotest.OneByteReader(strings.NewReader(tt.text))} {
			got, err := all(t, r)
			if err != nil || !reflect.DeepEqual(got, tt.want) {
				t.Errorf("%s, %s: %v\n got %.300v\nwant %.300v", tt.name, how, err, got, tt.want)
			}
		}
	}
}

func TestInputRefused(t *testing.T) {
	for text, want := range map[string]string{
		"":                            "reading the batch: it is empty",
		" \r\n\n":                     "reading the batch: it is empty",
		"[{}]":                        "the batch is a JSON array",
		"\nname,nmae\n":               `the columns in line 2: "nmae" is no column: name, dns, ip, email, uri, ttl, label`,
		"dns\n":                       "the columns in line 1: the column name is missing",
		"name,dns,name\n":             `the columns in line 1: the column "name" is there twice`,
		"name;dns\n":                  `"name;dns" is no column`,
		"\"name\n":                    "the columns in line 1: a quoted field that begins here does not end",
		"name,\n":                     `"" is no column`,
		"\xff\xfen\x00a\x00m\x00":     "is no column",
		strings.Repeat("n", maxRow+1): "the columns in line 1: the row is longer than 65536 octets",
	} {
		_, err := NewInput(strings.NewReader(text))
		if err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("%.20q: %v, want %q", text, err, want)
		}
	}
	broken := errors.New("the disk is broken")
	_, err := all(t, io.MultiReader(strings.NewReader("name\nalice\nbo"), iotest.ErrReader(broken)))
	if !errors.Is(err, broken) || !strings.Contains(err.Error(), "reading the batch, line 3") {
		t.Errorf("a failing reader: %v", err)
	}
}

// The rows are those of encoding/csv, where that finds nothing wrong, and the
// lines those in which it finds them.
func FuzzCSV(f *testing.F) {
	for _, seed := range []string{"alice,x\n", "\"a\"\"b\",\"c\nd\"\r\n\r\nbob,\n", "a\"b,c\n", "\"a\"b,c\n", ",\n\"\",\"\"", "\"a", "\r\r\n,"} {
		f.Add(seed)
	}
	f.Fuzz(func(t *testing.T, body string) {
		text := "name,label\n" + body
		got, err := all(t, strings.NewReader(text))
		if err != nil {
			t.Fatal(err)
		}
		r := csv.NewReader(strings.NewReader(text))
		r.FieldsPerRecord = -1
		var want []parsed
		for {
			fields, err := r.Read()
			if errors.Is(err, io.EOF) {
				break
			}
			if err != nil {
				return // we go on with the next row, and it does not
			}
			line, _ := r.FieldPos(0)
			if len(fields) == 1 && strings.TrimSpace(fields[0]) == "" || len(strings.Join(fields, "")) > maxRow/4 {
				return // blank for us
			}
			p := parsed{Line: line}
			if len(fields) == 2 {
				p.Row.Name, p.Row.Label = fields[0], fields[1]
			} else {
				p.Err = "fields"
			}
			want = append(want, p)
		}
		want = want[1:] // the columns
		if len(got) != len(want) {
			t.Fatalf("%q: %d rows, want %d", body, len(got), len(want))
		}
		for i, g := range got {
			w := want[i]
			g.Row.Name, g.Row.Label = strings.ReplaceAll(g.Row.Name, "\r\n", "\n"), strings.ReplaceAll(g.Row.Label, "\r\n", "\n")
			if g.Line != w.Line || (g.Err == "") != (w.Err == "") || w.Err == "" && !reflect.DeepEqual(g.Row, w.Row) {
				t.Errorf("%q, row %d: %+v, want %+v", body, i, g, w)
			}
		}
	})
}

// A row that is taken from JSON is what encoding/json finds there.
func FuzzJSON(f *testing.F) {
	for _, seed := range []string{`{"name":"alice"}`, `{"name":"a","dns":["x","y"],"ip":"1 2","ttl":null}`, `{"name":"\ud800"}`, `{"name":"a"}}`, `{"a":[[[[`} {
		f.Add(seed)
	}
	f.Fuzz(func(t *testing.T, text string) {
		got, err := parseJSON([]byte(text))
		if err != nil {
			return
		}
		var want map[string]any
		if err := json.Unmarshal([]byte(text), &want); err != nil {
			t.Fatalf("%q is taken, and is no JSON: %v", text, err)
		}
		for name, value := range map[string]string{"name": got.Name, "ttl": got.TTL, "label": got.Label} {
			if s, _ := want[name].(string); s != value {
				t.Errorf("%q: %s is %q, want %q", text, name, value, s)
			}
		}
		for name, values := range map[string][]string{"dns": got.DNS, "ip": got.IP, "email": got.Email, "uri": got.URI} {
			if list, ok := want[name].([]any); ok && len(list) != len(values) {
				t.Errorf("%q: %s is %q", text, name, values)
			}
		}
	})
}
