package pki_test

import (
	"encoding/json"
	"strings"
	"testing"
	"unicode/utf8"

	"golang.org/x/text/unicode/norm"

	"mutual/pki"
)

func TestName(t *testing.T) {
	for _, tt := range []struct {
		text string
		kind pki.Kind
		want string // "": as it is
		file string // "": as the name
	}{
		{text: "a", kind: pki.KindClient},
		{text: "alice@example.com", kind: pki.KindClient},
		{text: "Alice Müller", kind: pki.KindClient},
		{text: "日本語の名前", kind: pki.KindClient},
		{text: "u\u0308ber", want: "über", kind: pki.KindClient},
		{text: "h", kind: pki.KindClient},
		{text: "help", kind: pki.KindClient},
		{text: "client", kind: pki.KindClient},
		{text: "a.b-c_d", kind: pki.KindClient},
		{text: "con sole", kind: pki.KindClient},
		{text: "com", kind: pki.KindClient},
		{text: "com10", kind: pki.KindClient},
		{text: "console.example.com", kind: pki.KindClient},
		{text: "a;b&c$d'e`f", kind: pki.KindClient},
		{text: strings.Repeat("x", 64), kind: pki.KindClient},
		{text: strings.Repeat("é", 64), kind: pki.KindClient},
		{text: strings.Repeat("e\u0301", 64), want: strings.Repeat("é", 64), kind: pki.KindClient},
		{text: strings.Repeat("x", 253), kind: pki.KindServer},
		{text: "api.example.com", kind: pki.KindServer},
		{text: "*.example.com", kind: pki.KindServer, file: "_wildcard.example.com"},
		{text: "192.0.2.7", kind: pki.KindServer},
		{text: "2001:db8::7", kind: pki.KindServer, file: "2001_db8__7"},
		{text: "::1", kind: pki.KindClient, file: "__1"},
		{text: "spiffe://example.com/a/b", kind: pki.KindClient, file: "spiffe___example.com_a_b"},
		{text: "https://example.com:8443/x/../../y", kind: pki.KindClient, file: "https___example.com_8443_x_.._.._y"},
	} {
		t.Run(tt.text, func(t *testing.T) {
			n, err := pki.ParseName(tt.text, tt.kind)
			if err != nil {
				t.Fatal(err)
			}
			want := or(tt.want, tt.text)
			if n.String() != want || n.FileBase() != or(tt.file, want) {
				t.Errorf("%q, file %q; want %q, %q", n, n.FileBase(), want, or(tt.file, want))
			}
			if any, err := pki.ParseAnyName(tt.text); err != nil || any != n {
				t.Errorf("looked up as %q, %v", any, err)
			}
		})
	}
}

func or(s, otherwise string) string {
	if s == "" {
		return otherwise
	}
	return s
}

func TestNameRefused(t *testing.T) {
	for _, tt := range []struct {
		text string
		kind pki.Kind
		want string
	}{
		{"", pki.KindClient, "the name is empty"},
		{strings.Repeat("x", 65), pki.KindClient, "has 65 characters, and at most 64 are allowed"},
		{strings.Repeat("é", 65), pki.KindClient, "has 65 characters, and at most 64 are allowed"},
		{strings.Repeat("x", 65), pki.KindProbe, "has 65 characters, and at most 64 are allowed"},
		{strings.Repeat("x", 254), pki.KindServer, "has 254 characters, and at most 253 are allowed"},
		{strings.Repeat("x", 1<<20), pki.KindServer, "the name has 1048576 octets, and at most 253 characters are allowed"},
		{"a\xff", pki.KindClient, "is not valid UTF-8"},
		{"a\x00b", pki.KindClient, "holds the character U+0000, which cannot be seen"},
		{"a\nb", pki.KindClient, "holds the character U+000A, which cannot be seen"},
		{"a\tb", pki.KindClient, "holds the character U+0009, which cannot be seen"},
		{"\x1b[31ma", pki.KindClient, "holds the character U+001B, which cannot be seen"},
		{"a\x7f", pki.KindClient, "holds the character U+007F, which cannot be seen"},
		{"a\u009b", pki.KindClient, "holds the character U+009B, which cannot be seen"},
		{"a\u202eb", pki.KindClient, "holds the character U+202E, which cannot be seen"},
		{"a\u200bb", pki.KindClient, "holds the character U+200B, which cannot be seen"},
		{"a\u2028b", pki.KindClient, "holds the character U+2028, which cannot be seen"},
		{"a\u2029b", pki.KindClient, "holds the character U+2029, which cannot be seen"},
		{"\ufeffa", pki.KindClient, "holds the character U+FEFF, which cannot be seen"},
		{"a\ue000", pki.KindClient, "holds the character U+E000, which cannot be seen"},
		{"a\U000e0041", pki.KindClient, "holds the character U+E0041, which cannot be seen"},
		{"-a", pki.KindClient, `begins with "-"`},
		{"--force", pki.KindClient, `begins with "-"`},
		{".a", pki.KindClient, `begins with "."`},
		{"..", pki.KindClient, `begins with "."`},
		{"a.", pki.KindClient, "ends with a dot"},
		{"a ", pki.KindClient, "begins or ends with a space"},
		{" a", pki.KindClient, "begins or ends with a space"},
		{"a\u00a0", pki.KindClient, "begins or ends with a space"},
		{"a/b", pki.KindClient, `holds "/", which a name may not`},
		{"../a", pki.KindClient, `begins with "."`},
		{"/etc/passwd", pki.KindClient, `holds "/"`},
		{`a\b`, pki.KindClient, `holds "\\"`},
		{"a*b", pki.KindClient, `holds "*"`},
		{"*.example.com", pki.KindClient, `holds "*"`},
		{"*", pki.KindServer, `holds "*"`},
		{"a.*.example.com", pki.KindServer, `holds "*"`},
		{"*.*.example.com", pki.KindServer, `holds "*"`},
		{"a?b", pki.KindClient, `holds "?"`},
		{`a"b`, pki.KindClient, `holds "\""`},
		{"a<b", pki.KindClient, `holds "<"`},
		{"a>b", pki.KindClient, `holds ">"`},
		{"a|b", pki.KindClient, `holds "|"`},
		{"a:b", pki.KindClient, `holds ":"`},
		{`C:\x`, pki.KindClient, `holds ":"`},
		{"mailto:a@example.com", pki.KindClient, `holds ":"`},
		{"https://example.com/?q", pki.KindClient, `holds "?"`},
		{"https:///x", pki.KindClient, `holds ":"`},
		{"::1%../../x", pki.KindClient, `holds "/"`},
		{"con", pki.KindClient, "is a device's on Windows"},
		{"NUL", pki.KindClient, "is a device's on Windows"},
		{"aux.txt", pki.KindClient, "is a device's on Windows"},
		{"prn .x", pki.KindClient, "is a device's on Windows"},
		{"Com1", pki.KindClient, "is a device's on Windows"},
		{"lpt9.key", pki.KindClient, "is a device's on Windows"},
		{"LPT³", pki.KindClient, "is a device's on Windows"},
		{"conin$", pki.KindClient, "is a device's on Windows"},
	} {
		t.Run(tt.text[:min(len(tt.text), 40)], func(t *testing.T) {
			n, err := pki.ParseName(tt.text, tt.kind)
			wantError(t, err, tt.want)
			if !n.IsZero() {
				t.Errorf("a name beside the error: %q", n)
			}
		})
	}
}

// Names are compared exactly, and those that differ only in case share their
// folded form.
func TestNameFolded(t *testing.T) {
	parse := func(s string) pki.Name {
		n, err := pki.ParseName(s, pki.KindClient)
		if err != nil {
			t.Fatal(err)
		}
		return n
	}
	for _, pair := range [][2]string{{"alice", "Alice"}, {"STRASSE", "straße"}, {"ÉTÉ", "e\u0301te\u0301"}, {"ΣΊΣΥΦΟΣ", "σίσυφος"}} {
		a, b := parse(pair[0]), parse(pair[1])
		if a == b || a.Folded() != b.Folded() {
			t.Errorf("%s and %s: folded %q and %q", a, b, a.Folded(), b.Folded())
		}
	}
	if a, b := parse("alice"), parse("alicé"); a.Folded() == b.Folded() {
		t.Errorf("%s and %s share %q", a, b, a.Folded())
	}
	if b, err := json.Marshal(parse("alice@example.com")); err != nil || string(b) != `"alice@example.com"` {
		t.Errorf("JSON %s, %v", b, err)
	}
}

// What is read is in normal form, short, safe in a file name, and read again
// as the same.
func FuzzName(f *testing.F) {
	for _, s := range []string{"alice@example.com", "*.example.com", "2001:db8::7", "spiffe://example.com/a", "u\u0308ber", "con.x", "a/b", "-a", "a\x00"} {
		f.Add(s, true)
		f.Add(s, false)
	}
	f.Fuzz(func(t *testing.T, s string, server bool) {
		kind, limit := pki.KindClient, pki.MaxClientName
		if server {
			kind, limit = pki.KindServer, pki.MaxServerName
		}
		n, err := pki.ParseName(s, kind)
		if err != nil {
			if !n.IsZero() {
				t.Error("a name beside an error")
			}
			return
		}
		text, file := n.String(), n.FileBase()
		if !norm.NFC.IsNormalString(text) || utf8.RuneCountInString(text) > limit || text == "" {
			t.Errorf("%q is the name %q", s, text)
		}
		if strings.ContainsAny(file, "/\\:*?\"<>|\x00\n") || strings.HasPrefix(file, ".") || strings.HasPrefix(file, "-") {
			t.Errorf("%q is the file %q", s, file)
		}
		if again, err := pki.ParseName(text, kind); err != nil || again != n {
			t.Errorf("%q is read again as %q, %v", text, again, err)
		}
		if anyName, err := pki.ParseAnyName(s); err != nil || anyName != n {
			t.Errorf("%q is looked up as %q, %v", s, anyName, err)
		}
	})
}
