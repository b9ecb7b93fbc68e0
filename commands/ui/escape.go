package ui

import (
	"fmt"
	"strings"
	"unicode"
	"unicode/utf8"
)

// Escape gives s in a form that is safe on one line of a terminal: what moves
// the cursor, starts an escape sequence, changes the direction of the text or
// cannot be seen is written as \n, \x1b or \u202e, and octets that are not
// UTF-8 as \xff. A name from a certificate can then neither fake a line nor
// pass for another name. Everything else is left as it is.
func Escape(s string) string {
	if !strings.ContainsFunc(s, mustEscape) {
		return s
	}
	var b strings.Builder
	for i := 0; i < len(s); {
		r, size := utf8.DecodeRuneInString(s[i:])
		switch {
		case r == utf8.RuneError && size == 1:
			fmt.Fprintf(&b, `\x%02x`, s[i])
		case mustEscape(r):
			b.WriteString(escapeRune(r))
		default:
			b.WriteString(s[i : i+size])
		}
		i += size
	}
	return b.String()
}

func escapeRune(r rune) string {
	switch {
	case r == '\n':
		return `\n`
	case r == '\r':
		return `\r`
	case r == '\t':
		return `\t`
	case r < 0x80:
		return fmt.Sprintf(`\x%02x`, r)
	case r <= 0xffff:
		return fmt.Sprintf(`\u%04x`, r)
	}
	return fmt.Sprintf(`\U%08x`, r)
}

// mustEscape reports whether r is a control or format character (the
// bidirectional ones are format characters), a line or paragraph separator, in
// private use, the sign of an octet that is not UTF-8, or one that shows
// nothing of its own, so that two names would look the same.
func mustEscape(r rune) bool {
	return r == utf8.RuneError || r != ' ' && !unicode.IsGraphic(r) || r == '\u2800' ||
		unicode.In(r, unicode.Co, unicode.Other_Default_Ignorable_Code_Point, unicode.Variation_Selector)
}
