package ui

import (
	"bytes"
	"encoding/json"
	"errors"
	"flag"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"unicode/utf8"

	"github.com/charmbracelet/lipgloss"
)

var update = flag.Bool("update", false, "rewrite the golden files")

// shown gives what print prints to a stream with the options.
func shown(t *testing.T, o Options, print func(p *Printer) error) string {
	t.Helper()
	var b bytes.Buffer
	p := NewPrinter(&b, o)
	if err := print(p); err != nil {
		t.Fatal(err)
	}
	if err := p.Flush(); err != nil {
		t.Fatal(err)
	}
	return b.String()
}

func golden(t *testing.T, name, text string) {
	t.Helper()
	path := filepath.Join("testdata", name)
	if *update {
		if err := os.WriteFile(path, []byte(text), 0o644); err != nil {
			t.Fatal(err)
		}
		return
	}
	want, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	if want := strings.ReplaceAll(string(want), "\r\n", "\n"); text != want {
		t.Errorf("%s differs (-update rewrites it); now it is:\n%s", path, text)
	}
}

// streams are the kinds of stream that everything is drawn for.
func streams() map[string]Options {
	return map[string]Options{
		"file":   {},
		"none":   {Terminal: true},
		"40":     {Terminal: true, Width: 40},
		"80":     {Terminal: true, Width: 80},
		"colour": {Terminal: true, Width: 80, Color: true},
	}
}

func exampleTable() *Table {
	t := NewTable(Column{Title: "NAME", Flexible: true}, Column{Title: "SERIAL"}, Column{Title: "DAYS", Right: true},
		Column{Title: "STATE"}, Column{Title: "LABEL", Flexible: true})
	t.Row(Name.Of("alice@example.com"), Serial.Of("4c8a01"), Plain.Of("89"), Valid.Of("valid"))
	t.Row(Name.Of("build server of the whole department"), Serial.Of("77"), Plain.Of("-3"), Expired.Of("expired"), Plain.Of("Pixel 8"))
	t.Row(Name.Of("日本語の名前"), Serial.Of("1"), Plain.Of("1000"), Revoked.Of("revoked"), Plain.Of("phone"))
	t.Row(Name.Of("ali\x1b[31mce\u202e\n"), Serial.Of("2"), Plain.Of("7"), Held.Of("held"), Plain.Of("café"))
	return t
}

func TestTable(t *testing.T) {
	for name, o := range streams() {
		text := shown(t, o, func(p *Printer) error { return p.Table(exampleTable()) })
		golden(t, "table-"+name+".txt", text)
		checkLines(t, "table-"+name, text, o)
		empty := shown(t, o, func(p *Printer) error { return p.Table(NewTable(Column{Title: "NAME"})) })
		if !strings.Contains(empty, "NAME") {
			t.Errorf("%s: an empty table is shown as %q", name, empty)
		}
	}
}

// In a file every row has as many words as titles where no cell has a space.
func TestTableIsForAwk(t *testing.T) {
	table := NewTable(Column{Title: "NAME"}, Column{Title: "SERIAL"}, Column{Title: "LABEL"})
	table.Row(Plain.Of("a"), Serial.Of(""), Plain.Of("x"))
	table.Row(Plain.Of("b"))
	text := shown(t, Options{}, func(p *Printer) error { return p.Table(table) })
	if want := "NAME  SERIAL  LABEL\na     -       x\nb     -       -\n"; text != want {
		t.Errorf("%q, want %q", text, want)
	}
}

func TestTree(t *testing.T) {
	root := Node{Spans: []Span{Name.Of("Acme Dev Root"), Plain.Of("  "), Muted.Of("3650 days left")}, Children: []Node{
		{Spans: []Span{Name.Of("Acme Dev Issuing")}, Children: []Node{
			{Spans: []Span{Name.Of("alice@example.com"), Plain.Of("  "), Valid.Of("valid"), Plain.Of(" until 2026-10-11")}},
			{Spans: []Span{Name.Of("evil\n├── fake\x1b[0m"), Plain.Of("  "), Revoked.Of("revoked")}},
		}},
		{Spans: []Span{Name.Of("an older issuing CA")}},
		{Children: []Node{{Spans: []Span{Plain.Of("below a node without a name")}}}},
	}}
	for name, o := range streams() {
		text := shown(t, o, func(p *Printer) error { return p.Tree(root) })
		golden(t, "tree-"+name+".txt", text)
		checkLines(t, "tree-"+name, text, o)
	}
}

func TestFields(t *testing.T) {
	for name, o := range streams() {
		text := shown(t, o, func(p *Printer) error {
			return p.Fields(Plain.Field("subject", "CN=alice\r"), Plain.Field("names", "DNS:a", "DNS:b"),
				Plain.Field("nothing"), Serial.Field("serial number", "4c8a01"))
		})
		golden(t, "fields-"+name+".txt", text)
		checkLines(t, "fields-"+name, text, o)
	}
}

// checkLines checks what holds for everything that is drawn: no line is wider
// than the terminal or ends with a space, and only a stream with colours gets
// an escape sequence.
func checkLines(t *testing.T, name, text string, o Options) {
	t.Helper()
	if !o.Color && strings.Contains(text, "\x1b") {
		t.Errorf("%s: an escape sequence in %q", name, text)
	}
	if !strings.HasSuffix(text, "\n") {
		t.Errorf("%s: does not end with a newline", name)
	}
	for line := range strings.Lines(text) {
		line = strings.TrimSuffix(line, "\n")
		if w := lipgloss.Width(line); o.Width > 0 && w > o.Width {
			t.Errorf("%s: a line of %d columns: %q", name, w, line)
		}
		if strings.TrimRight(line, " ") != line {
			t.Errorf("%s: a space at the end of %q", name, line)
		}
	}
}

func TestEscape(t *testing.T) {
	for in, want := range map[string]string{
		"":                      "",
		"plain é 日本 €":          "plain é 日本 €",
		`back\slash`:            `back\slash`,
		"a\nb\r\tc":             `a\nb\r\tc`,
		"\x00\x07\x1b[31m\x7f":  `\x00\x07\x1b[31m\x7f`,
		"\u0085\u009b31m":       `\u0085\u009b31m`,
		"a\u202eb\u2066c\u200b": `a\u202eb\u2066c\u200b`,
		"\u2028\u2029\ufeff":    `\u2028\u2029\ufeff`,
		"bad \xff\xc3 utf-8":    `bad \xff\xc3 utf-8`,
		"\ufffd":                `\ufffd`,
		"\U000e0041":            `\U000e0041`,
		"\ue000\U0010fffd":      `\ue000\U0010fffd`,
		"no\u00a0break":         "no\u00a0break",
	} {
		if got := Escape(in); got != want {
			t.Errorf("Escape(%q) = %s, want %s", in, got, want)
		}
	}
}

func FuzzEscape(f *testing.F) {
	for _, s := range []string{"alice", "a\nb", "\x1b]0;x\x07", "\u202e", "\xff", "\U000e0041"} {
		f.Add(s)
	}
	f.Fuzz(func(t *testing.T, s string) {
		got := Escape(s)
		if !utf8.ValidString(got) || strings.ContainsFunc(got, mustEscape) {
			t.Errorf("Escape(%q) = %q", s, got)
		}
		if Escape(got) != got {
			t.Errorf("Escape(%q) is escaped again: %q", s, Escape(got))
		}
		b, err := encodeJSON(s, "")
		if err != nil {
			t.Fatal(err)
		}
		if text := strings.TrimSuffix(string(b), "\n"); strings.ContainsFunc(strings.ReplaceAll(text, "\ufffd", ""), mustEscape) {
			t.Errorf("JSON of %q is %q", s, text)
		}
		var back string
		if err := json.Unmarshal(b, &back); err != nil || back != strings.ToValidUTF8(s, "\ufffd") && utf8.ValidString(s) {
			t.Errorf("JSON of %q comes back as %q, %v", s, back, err)
		}
	})
}

func TestPrintf(t *testing.T) {
	text := shown(t, Options{}, func(p *Printer) error {
		return p.Printf("%s %s %v %d %q\n", "a\n", Serial.Of("\x1b"), errors.New("e\r"), 7, []string{"x\n"})
	})
	if want := `a\n \x1b e\r 7 ["x\n"]` + "\n"; text != want {
		t.Errorf("%q, want %q", text, want)
	}
	text = shown(t, Options{Color: true}, func(p *Printer) error { return p.Printf("%s", Revoked.Of("no\x1b")) })
	if want := "\x1b[31mno\\x1b\x1b[0m"; text != want {
		t.Errorf("%q, want %q", text, want)
	}
}

func TestMessage(t *testing.T) {
	for _, s := range []Severity{SeverityError, SeverityWarning, SeverityHint, SeverityNote} {
		plain := shown(t, Options{Terminal: true}, func(p *Printer) error { return p.Message(s, "x\ny") })
		if want := fmt.Sprintf("mutual: %s: x\\ny\n", s); plain != want {
			t.Errorf("%q, want %q", plain, want)
		}
		coloured := shown(t, Options{Color: true}, func(p *Printer) error { return p.Message(s, "x") })
		if !strings.HasPrefix(coloured, "mutual: \x1b[") || !strings.HasSuffix(coloured, "m x\n") {
			t.Errorf("%q", coloured)
		}
	}
}

func TestJSON(t *testing.T) {
	value := map[string]any{"a": "<&>", "b": []int{1, 2}, "c": "\u009b\u202e\U000e0041é"}
	text := shown(t, Options{Color: true}, func(p *Printer) error { return p.JSON(value) })
	want := "{\n  \"a\": \"<&>\",\n  \"b\": [\n    1,\n    2\n  ],\n  \"c\": \"\\u009b\\u202e\\udb40\\udc41é\"\n}\n"
	if text != want {
		t.Errorf("%s, want %s", text, want)
	}
	var back map[string]any
	if err := json.Unmarshal([]byte(text), &back); err != nil || back["c"] != value["c"] {
		t.Errorf("comes back as %q, %v", back, err)
	}
	text = shown(t, Options{}, func(p *Printer) error { return p.JSONLine(value) })
	if strings.Count(text, "\n") != 1 {
		t.Errorf("a line is %q", text)
	}
	if err := NewPrinter(&bytes.Buffer{}, Options{}).JSON(func() {}); err == nil || !strings.HasPrefix(err.Error(), "encoding JSON: ") {
		t.Errorf("a function is encoded: %v", err)
	}
}

func TestArray(t *testing.T) {
	for n, want := range []string{
		"[]\n",
		"[\n  {\n    \"n\": 0\n  }\n]\n",
		"[\n  {\n    \"n\": 0\n  },\n  {\n    \"n\": 1\n  }\n]\n",
	} {
		values := []map[string]int{}
		text := shown(t, Options{}, func(p *Printer) error {
			a := p.Array()
			for i := range n {
				values = append(values, map[string]int{"n": i})
				if err := a.Add(values[i]); err != nil {
					return err
				}
			}
			return a.Close()
		})
		if text != want {
			t.Errorf("%d: %q, want %q", n, text, want)
		}
		if whole := shown(t, Options{}, func(p *Printer) error { return p.JSON(values) }); whole != text {
			t.Errorf("%d: at once it is %q, bit by bit %q", n, whole, text)
		}
	}
}

// A long table is printed as its rows come; a short one looks as if it was
// printed at once.
func TestLongTable(t *testing.T) {
	columns := []Column{{Title: "NAME", Flexible: true}, {Title: "N", Right: true}, {Title: "LABEL"}}
	for _, o := range streams() {
		for _, rows := range []int{0, 1, tableBlock - 1, tableBlock, tableBlock + 1, 3*tableBlock + 5} {
			var b bytes.Buffer
			p := NewPrinter(&b, o)
			whole := NewTable(columns...)
			long := p.LongTable(columns...)
			for i := range rows {
				row := []Span{Name.Of("client"), Plain.Of(fmt.Sprint(i % 1000)), Plain.Of("x")}
				if i == 2*tableBlock {
					row[0], row[1] = Name.Of(strings.Repeat("wider", 5)), Plain.Of("1000000")
				}
				whole.Row(row...)
				if err := long.Row(row...); err != nil {
					t.Fatal(err)
				}
				if lines := strings.Count(b.String(), "\n"); lines > 0 && lines < i/tableBlock*tableBlock {
					t.Fatalf("after %d rows %d lines are out", i, lines)
				}
			}
			if out := b.Len() > 0; out != (rows >= tableBlock) {
				t.Errorf("%d rows: something is printed before the end: %t", rows, out)
			}
			if err := long.Close(); err != nil || long.Len() != rows {
				t.Fatal(long.Len(), err)
			}
			if err := p.Flush(); err != nil {
				t.Fatal(err)
			}
			checkLines(t, fmt.Sprint(rows), b.String(), o)
			at := strings.Count(b.String(), "\n") - rows
			if heads := 1; at != heads && !(o.Terminal && at == 2) {
				t.Errorf("%d rows: %d lines beside", rows, at)
			}
			once := shown(t, o, func(p *Printer) error { return p.Table(whole) })
			if rows <= 2*tableBlock && b.String() != once {
				t.Errorf("%d rows look otherwise than at once", rows)
			}
		}
	}
}

// What is printed member by member is the document that encoding/json makes.
func TestObject(t *testing.T) {
	type head struct {
		Act string `json:"act"`
		In  []int  `json:"in"`
	}
	type inner struct {
		Name string `json:"name"`
		Of   []head `json:"of,omitempty"`
	}
	type whole struct {
		head
		Empty []int    `json:"empty"`
		Names []string `json:"names"`
		Inner []inner  `json:"inner"`
		Last  int      `json:"last"`
	}
	want := whole{head: head{"a\u202e<", []int{1, 2}}, Empty: []int{}, Names: []string{"x", "y"},
		Inner: []inner{{"p", []head{{"b", []int{3}}, {"c", []int{}}}}, {"q", nil}}, Last: 7}
	must := func(err error) {
		t.Helper()
		if err != nil {
			t.Fatal(err)
		}
	}
	text := shown(t, Options{}, func(p *Printer) error {
		o := p.Object()
		must(o.Members(want.head))
		must(o.Members(struct{}{}))
		empty, err := o.Array("empty")
		must(err)
		must(empty.Close())
		names, err := o.Array("names")
		must(err)
		for _, n := range want.Names {
			must(names.Add(n))
		}
		must(names.Close())
		array, err := o.Array("inner")
		must(err)
		for _, i := range want.Inner {
			child, err := array.Object()
			must(err)
			must(child.Members(inner{Name: i.Name}))
			if i.Of != nil {
				of, err := child.Array("of")
				must(err)
				for _, h := range i.Of {
					must(of.Add(h))
				}
				must(of.Close())
			}
			must(child.Close())
		}
		must(array.Close())
		must(o.Members(map[string]int{"last": want.Last}))
		return o.Close()
	})
	if once := shown(t, Options{}, func(p *Printer) error { return p.JSON(want) }); text != once {
		t.Errorf("bit by bit it is\n%s\nand at once\n%s", text, once)
	}
	if text := shown(t, Options{}, func(p *Printer) error { return p.Object().Close() }); text != "{}\n" {
		t.Errorf("an empty object is %q", text)
	}
}

// brokenWriter fails always.
type brokenWriter struct{ calls int }

var errBroken = errors.New("broken")

func (w *brokenWriter) Write([]byte) (int, error) { w.calls++; return 0, errBroken }

func TestFirstFailureIsKept(t *testing.T) {
	w := &brokenWriter{}
	p := NewPrinter(w, Options{})
	if err := p.JSONLine("x"); !errors.Is(err, errBroken) {
		t.Errorf("%v", err)
	}
	if err := p.Printf("x"); !errors.Is(err, errBroken) {
		t.Errorf("%v", err)
	}
	if err := p.Flush(); !errors.Is(err, errBroken) || w.calls != 1 {
		t.Errorf("%v after %d writes", err, w.calls)
	}
}

func TestDiscard(t *testing.T) {
	text := shown(t, Options{}, func(p *Printer) error {
		_ = p.Printf("gone\n")
		p.Discard()
		return p.Printf("here\n")
	})
	if text != "here\n" {
		t.Errorf("%q", text)
	}
}

func TestWrap(t *testing.T) {
	for _, tt := range []struct {
		text  string
		width int
		want  string
	}{
		{"", 10, ""},
		{"one", 2, "one"},
		{"one two  three", 7, "one two|three"},
		{"日本 日本 日本", 9, "日本 日本|日本"},
	} {
		if got := strings.Join(Wrap(tt.text, tt.width), "|"); got != tt.want {
			t.Errorf("%q: %q, want %q", tt.text, got, tt.want)
		}
	}
}

func BenchmarkTable(b *testing.B) {
	t := NewTable(Column{Title: "NAME", Flexible: true}, Column{Title: "SERIAL"}, Column{Title: "STATE"})
	for i := range 10_000 {
		t.Row(Name.Of(fmt.Sprintf("client-%d", i)), Serial.Of("4c8a01"), Valid.Of("valid"))
	}
	for name, o := range map[string]Options{"file": {}, "terminal": {Terminal: true, Width: 80, Color: true}} {
		b.Run(name, func(b *testing.B) {
			for b.Loop() {
				p := NewPrinter(&bytes.Buffer{}, o)
				_ = p.Table(t)
			}
		})
	}
}
