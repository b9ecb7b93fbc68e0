package ui

import (
	"strings"

	"github.com/charmbracelet/lipgloss"
)

// Field is a line of a block: what it is, and its values, one below the
// other.
type Field struct {
	Name   string
	Values []Span
}

// Field makes a field with values of meaning s.
func (s Style) Field(name string, values ...string) Field {
	f := Field{Name: name}
	for _, v := range values {
		f.Values = append(f.Values, s.Of(v))
	}
	return f
}

// Fields prints a block of fields with their values aligned. A field without
// a value is left out.
func (p *Printer) Fields(fields ...Field) error {
	width := 0
	for _, f := range fields {
		if len(f.Values) > 0 {
			width = max(width, lipgloss.Width(Escape(f.Name)))
		}
	}
	for _, f := range fields {
		name := Escape(f.Name)
		for _, v := range f.Values {
			pad := strings.Repeat(" ", width-lipgloss.Width(name)+columnGap)
			_ = p.Line(Muted.Of(name), Plain.Of(pad), v) // the printer keeps the failure
			name = ""
		}
	}
	return p.failed
}
