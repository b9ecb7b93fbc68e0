package ui

import (
	"strings"

	"github.com/charmbracelet/lipgloss"
)

// Wrap breaks text at its spaces into lines of at most width columns. A word
// that is wider stands on a line of its own.
func Wrap(text string, width int) []string {
	var lines []string
	line := ""
	for word := range strings.FieldsSeq(text) {
		switch {
		case line == "":
			line = word
		case lipgloss.Width(line)+1+lipgloss.Width(word) > width:
			lines = append(lines, line)
			line = word
		default:
			line += " " + word
		}
	}
	return append(lines, line)
}
