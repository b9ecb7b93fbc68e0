package pki

import (
	"errors"
	"fmt"
	"net/netip"
	"net/url"
	"strings"
	"unicode"
	"unicode/utf8"

	"golang.org/x/net/idna"
	"golang.org/x/text/cases"
	"golang.org/x/text/unicode/norm"
)

// Name is the name of an identity: the person, device or service that holds
// certificates. It is 1 to 64 characters for a client and up to 253 for a
// server, in Unicode normal form C, and safe in a terminal and, through
// FileBase, in a file name. The zero value is no name.
type Name struct{ s string }

// The bounds on a name, in characters: a commonName holds 64 (RFC 5280,
// Appendix A.1), a host name 253 (RFC 1035, Section 2.3.4).
const (
	MaxClientName = 64
	MaxServerName = 253
)

// ParseName checks the name of a client (or of a server, whose names may be
// longer and begin with "*.") and brings it into normal form C.
func ParseName(s string, kind Kind) (Name, error) {
	limit := MaxClientName
	if kind == KindServer {
		limit = MaxServerName
	}
	return parseName(s, limit, kind == KindServer)
}

// ParseAnyName checks a name of either kind, as for looking one up.
func ParseAnyName(s string) (Name, error) { return parseName(s, MaxServerName, true) }

func parseName(s string, limit int, wildcard bool) (Name, error) {
	if s == "" {
		return Name{}, errors.New("the name is empty")
	}
	if len(s) > 4*limit { // before anything that takes time in its length
		return Name{}, fmt.Errorf("the name has %d octets, and at most %d characters are allowed", len(s), limit)
	}
	if !utf8.ValidString(s) {
		return Name{}, fmt.Errorf("the name %q is not valid UTF-8", s)
	}
	s = norm.NFC.String(s)
	if a, err := netip.ParseAddr(s); err == nil && a.Zone() == "" {
		s = a.Unmap().String() // one spelling for one address
	}
	if n := utf8.RuneCountInString(s); n > limit {
		return Name{}, fmt.Errorf("the name %q has %d characters, and at most %d are allowed", s, n, limit)
	}
	for _, r := range s {
		if Invisible(r) {
			return Name{}, fmt.Errorf("the name %q holds the character %U, which cannot be seen", s, r)
		}
	}
	if err := checkNameCharacters(s, wildcard); err != nil {
		return Name{}, err
	}
	return Name{s: s}, nil
}

func checkNameCharacters(s string, wildcard bool) error {
	switch {
	case strings.HasPrefix(s, "-"), strings.HasPrefix(s, "."):
		return fmt.Errorf("the name %q begins with %q", s, s[:1])
	case strings.HasSuffix(s, "."), strings.TrimSpace(s) != s:
		return fmt.Errorf("the name %q ends with a dot, or begins or ends with a space", s)
	case isDeviceName(s):
		return fmt.Errorf("the name %q is a device's on Windows and cannot be a file there", s)
	}
	rest := s
	if wildcard {
		rest = strings.TrimPrefix(rest, "*.")
	}
	forbidden := `/\*?"<>|:`
	if _, err := netip.ParseAddr(s); err == nil {
		forbidden = `/\*?"<>|`
	} else if isURI(s) {
		forbidden = `\*?"<>|`
	}
	if i := strings.IndexAny(rest, forbidden); i >= 0 {
		return fmt.Errorf("the name %q holds %q, which a name may not", s, rest[i:i+1])
	}
	return nil
}

// Invisible reports whether a character shows nothing of its own, so that two
// texts which differ by it look the same: control and format characters,
// separators of lines, what fonts are told to ignore, blank letters.
func Invisible(r rune) bool {
	return unicode.In(r, unicode.Cc, unicode.Cf, unicode.Co, unicode.Cs, unicode.Zl, unicode.Zp,
		unicode.Other_Default_Ignorable_Code_Point, unicode.Variation_Selector) || r == '\u2800' || // braille pattern blank
		r == unicode.ReplacementChar // what a reader has made of something that is no text
}

// isURI reports whether s is an absolute URI with a host.
func isURI(s string) bool {
	u, err := url.Parse(s)
	return err == nil && u.Scheme != "" && u.Host != ""
}

// isDeviceName reports whether Windows takes s, with any extension, for a
// device.
func isDeviceName(s string) bool {
	base, _, _ := strings.Cut(strings.ToUpper(s), ".")
	base = strings.TrimRight(base, " ")
	switch base {
	case "CON", "PRN", "AUX", "NUL", "CONIN$", "CONOUT$":
		return true
	}
	if rest, ok := strings.CutPrefix(base, "COM"); ok {
		return isPortDigit(rest)
	}
	rest, ok := strings.CutPrefix(base, "LPT")
	return ok && isPortDigit(rest)
}

func isPortDigit(s string) bool {
	return len(s) == 1 && s[0] >= '0' && s[0] <= '9' || s == "¹" || s == "²" || s == "³"
}

// String gives the name as it is compared and shown.
func (n Name) String() string { return n.s }

// IsZero reports whether n is no name.
func (n Name) IsZero() bool { return n.s == "" }

// Folded gives the name without regard to case or, where it is a host name, to
// whether that is in Unicode or in A-labels: two names of a PKI never share it.
func (n Name) Folded() string {
	s := n.s
	if strings.Contains(strings.ToLower(s), "xn--") {
		if u, err := idna.Punycode.ToUnicode(s); err == nil {
			s = u
		}
	}
	return norm.NFC.String(cases.Fold().String(s))
}

// FileBase gives the name as the beginning of a file name: a leading "*."
// becomes "_wildcard.", and ":" and "/" become "_".
func (n Name) FileBase() string {
	s := n.s
	if rest, ok := strings.CutPrefix(s, "*."); ok {
		s = "_wildcard." + rest
	}
	return strings.NewReplacer(":", "_", "/", "_").Replace(s)
}

// MarshalText makes a Name a string in JSON.
func (n Name) MarshalText() ([]byte, error) { return []byte(n.s), nil }
