package pki

import (
	"errors"
	"fmt"
	"unicode/utf8"
)

// maxLabel bounds a label, in characters.
const maxLabel = 128

// CheckLabel says whether a text can stand beside a certificate in the
// inventory: it is UTF-8 and nothing in it is invisible.
func CheckLabel(s string) error {
	if !utf8.ValidString(s) {
		return errors.New("it is not valid UTF-8")
	}
	if n := utf8.RuneCountInString(s); n > maxLabel {
		return fmt.Errorf("it has %d characters, and at most %d are allowed", n, maxLabel)
	}
	for _, r := range s {
		if Invisible(r) {
			return fmt.Errorf("%q holds the character %U, which cannot be seen", s, r)
		}
	}
	return nil
}
