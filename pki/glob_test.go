package pki

import (
	"regexp"
	"strings"
	"testing"
	"time"
	"unicode/utf8"
)

func TestGlob(t *testing.T) {
	for _, row := range []struct {
		glob, name string
		want       bool
	}{
		{"*", "", true}, {"*", "a", true}, {"", "", true}, {"", "a", false}, {"?", "ß", true}, {"?", "ab", false},
		{"a*", "a", true}, {"*a", "ba", true}, {"a*c", "abc", true}, {"a*c", "abcd", false}, {"*b*", "abc", true},
		{"A", "a", false}, {"[a]", "a", false}, {"**a**", "xax", true}, {"?*", "", false},
		{strings.Repeat("a*", 30) + "b", strings.Repeat("a", 200), false},
	} {
		begin := time.Now()
		if got := MatchGlob(row.glob, row.name); got != row.want {
			t.Errorf("%q matches %q: %t", row.glob, row.name, got)
		}
		if d := time.Since(begin); d > time.Second {
			t.Errorf("%q took %s", row.glob, d)
		}
	}
}

// FuzzGlob holds MatchGlob against a regular expression.
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
		if got := MatchGlob(glob, name); got != want {
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
