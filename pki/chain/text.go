package chain

import (
	"crypto/x509"
	"crypto/x509/pkix"
	"fmt"
	"strings"
	"time"
	"unicode"

	"mutual/pki"
)

// having says whose property follows: "it has", or "its issuer CN=X has".
func having(path []*x509.Certificate, i int) string {
	if i == 0 {
		return "it has"
	}
	return fmt.Sprintf("its issuer %s has", subjectText(path[i]))
}

func subjectText(c *x509.Certificate) string { return nameText(c.Subject) }

// nameText gives a name for a line of text, whoever wrote it.
func nameText(n pkix.Name) string {
	if s := clip(pki.DistinguishedName(n)); s != "" {
		return s
	}
	return "without a name"
}

// pathText gives the names of a path, leaf first.
func pathText(path []*x509.Certificate) string {
	var names []string
	for _, c := range path {
		names = append(names, subjectText(c))
	}
	return strings.Join(names, " ← ")
}

// maxText bounds, in characters, what a certificate can put into a line.
const maxText = 128

// clip makes foreign text fit for a terminal: no control or format
// characters, and not too long.
func clip(s string) string {
	s = oneLine(s)
	if r := []rune(s); len(r) > maxText {
		return string(r[:maxText]) + "…"
	}
	return s
}

// oneLine replaces every character that cannot be seen.
func oneLine(s string) string {
	return strings.Map(func(r rune) rune {
		if !unicode.IsGraphic(r) || unicode.In(r, unicode.Cf, unicode.Zl, unicode.Zp) {
			return unicode.ReplacementChar
		}
		return r
	}, s)
}

func timeText(t time.Time) string { return t.UTC().Format(time.RFC3339) }

// span gives a duration in its largest unit that says enough.
func span(d time.Duration) string {
	for _, unit := range []struct {
		size time.Duration
		name string
	}{{24 * time.Hour, "day"}, {time.Hour, "hour"}, {time.Minute, "minute"}} {
		switch n := d / unit.size; {
		case n == 1:
			return "1 " + unit.name
		case n > 1:
			return fmt.Sprintf("%d %ss", n, unit.name)
		}
	}
	if n := d / time.Second; n > 1 {
		return fmt.Sprintf("%d seconds", n)
	}
	return "1 second"
}
