package ui

import (
	"github.com/charmbracelet/lipgloss"
	"github.com/fatih/color"
)

// Style says what a piece of text means; the printer decides how it looks.
type Style int

// The meanings that text can have.
const (
	Plain    Style = iota
	Heading        // the title of a block or column
	Muted          // what may be passed over
	Name           // an identity
	Serial         // a serial number, a fingerprint, a CRL number
	Valid          // good, in force, accepted
	Expiring       // good, and due soon
	Expired        // past its notAfter, or not yet valid
	Revoked        // revoked, refused, bad
	Held           // on hold
	Warning        // needs a person's attention
	Unknown        // could not be told
)

// Span is a text with its meaning. Its text may come from anywhere: whatever
// prints it escapes it.
type Span struct {
	Text  string
	Style Style
}

// Of gives text the meaning s.
func (s Style) Of(text string) Span { return Span{Text: text, Style: s} }

// String is the text without its meaning.
func (s Span) String() string { return s.Text }

// styles holds how each meaning looks on one stream. The colours are the
// terminal's own sixteen, which its user has chosen to be readable.
func styles(r *lipgloss.Renderer) map[Style]lipgloss.Style {
	fg := func(c string) lipgloss.Style { return r.NewStyle().Foreground(lipgloss.Color(c)) }
	return map[Style]lipgloss.Style{
		Plain:    r.NewStyle(),
		Heading:  r.NewStyle().Bold(true),
		Muted:    r.NewStyle().Faint(true),
		Name:     r.NewStyle().Bold(true),
		Serial:   fg("6"),
		Valid:    fg("2"),
		Expiring: fg("3"),
		Expired:  r.NewStyle().Faint(true),
		Revoked:  fg("1"),
		Held:     fg("5"),
		Warning:  fg("3").Bold(true),
		Unknown:  fg("3"),
	}
}

// Severity is the first word of a message to the person at the terminal.
type Severity string

// The severities of a message.
const (
	SeverityError   Severity = "error"
	SeverityWarning Severity = "warning"
	SeverityHint    Severity = "hint"
	SeverityNote    Severity = "note"
)

// word gives the severity as it is printed. The colour is told whether it is
// on, because fatih/color by itself asks about the standard output.
func (s Severity) word(enabled bool) string {
	var c *color.Color
	switch s {
	case SeverityError:
		c = color.New(color.FgRed, color.Bold)
	case SeverityWarning:
		c = color.New(color.FgYellow, color.Bold)
	case SeverityHint:
		c = color.New(color.FgCyan)
	default:
		c = color.New(color.Faint)
	}
	if enabled {
		c.EnableColor()
	} else {
		c.DisableColor()
	}
	return c.Sprint(string(s) + ":")
}
