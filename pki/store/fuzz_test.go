package store

import (
	"regexp"
	"strings"
	"testing"
	"unicode/utf8"
)

// FuzzParseHead: a head that is read is written in one way, and read again as
// the same.
func FuzzParseHead(f *testing.F) {
	hash := strings.Repeat("0123456789abcdef", 4)
	for _, seed := range []string{
		"1:" + hash, "9223372036854775807:" + strings.ToUpper(hash), "007:" + hash, "+1:" + hash,
		"", ":", "1:", ":" + hash, "0:" + hash, "-1:" + hash, "9223372036854775808:" + hash,
		"1:" + hash[1:], "1:" + hash + "00", "1:" + hash[:62] + "zz", "1:" + hash + ":", " 1:" + hash, "1 :" + hash, "1:" + hash + "\n",
	} {
		f.Add(seed)
	}
	f.Fuzz(func(t *testing.T, s string) {
		head, err := ParseHead(s)
		if err != nil {
			if head != (Head{}) || !strings.Contains(err.Error(), "is no head of a journal") {
				t.Errorf("%q gives %+v and %q", s, head, err)
			}
			return
		}
		if head.Number < 1 || len(head.Hash) != 64 || head.Hash != strings.ToLower(head.Hash) {
			t.Errorf("%q gives %+v", s, head)
		}
		if again, err := ParseHead(head.String()); err != nil || again != head {
			t.Errorf("%q gives %+v, and that %+v, %v", s, head, again, err)
		}
	})
}

// FuzzGlob holds globMatch against a regular expression.
func FuzzGlob(f *testing.F) {
	for _, seed := range [][2]string{
		{"*", ""}, {"", ""}, {"", "a"}, {"?", "ß"}, {"?", ""}, {"a*c", "abc"}, {"*b*", "abc"}, {"[a]", "a"}, {"**a**", "xax"},
		{"a.c", "abc"}, {`\*`, "*"}, {"*@example.com", "alice@example.com"}, {"dev-?", "dev-10"}, {"*ab*ab", "ababab"},
	} {
		f.Add(seed[0], seed[1])
	}
	f.Fuzz(func(t *testing.T, glob, name string) {
		if !utf8.ValidString(glob) || !utf8.ValidString(name) || len(glob) > 64 || len(name) > 256 {
			t.Skip("neither a name nor a glob for one")
		}
		want := globExpression(glob).MatchString(name)
		if got := globMatch(glob, name); got != want {
			t.Errorf("%q matches %q: %t, want %t", glob, name, got, want)
		}
	})
}

func globExpression(glob string) *regexp.Regexp {
	var b strings.Builder
	for _, r := range glob {
		switch r {
		case '*':
			b.WriteString(`.*`)
		case '?':
			b.WriteString(`.`)
		default:
			b.WriteString(regexp.QuoteMeta(string(r)))
		}
	}
	return regexp.MustCompile(`(?s)\A` + b.String() + `\z`)
}
