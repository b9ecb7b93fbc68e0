// Package ui prints: text with meaning, tables, trees and JSON, each to one
// stream whose colour and width were decided when its printer was made. It is
// the only importer of lipgloss and fatih/color, asks the terminal nothing,
// and escapes whatever it is given to print.
package ui

import (
	"bufio"
	"fmt"
	"io"
	"strings"

	"github.com/charmbracelet/lipgloss"
	"github.com/muesli/termenv"
)

// Options say what a stream can show.
type Options struct {
	Terminal bool // a person is looking: tables have rules and are cut to Width
	Color    bool // ANSI sequences are wanted
	Width    int  // in columns; 0 is unlimited
}

// Printer prints to one stream. What it writes is buffered until Flush; the
// first failure to write is kept, and every later call returns it.
type Printer struct {
	to       io.Writer
	w        *bufio.Writer // to to
	failed   error
	options  Options
	renderer *lipgloss.Renderer
	styles   map[Style]lipgloss.Style
}

// NewPrinter returns a printer to w.
func NewPrinter(w io.Writer, o Options) *Printer {
	profile := termenv.Ascii
	if o.Color {
		profile = termenv.ANSI
	}
	r := lipgloss.NewRenderer(w, termenv.WithProfile(profile))
	r.SetColorProfile(profile)
	r.SetHasDarkBackground(true) // never asked for, and never asked of the terminal
	return &Printer{to: w, w: bufio.NewWriter(w), options: o, renderer: r, styles: styles(r)}
}

// Write writes b as it is: for a product such as PEM, never for text from a
// certificate.
func (p *Printer) Write(b []byte) (int, error) {
	if p.failed != nil {
		return 0, p.failed
	}
	n, err := p.w.Write(b)
	p.failed = err
	return n, err
}

// Discard drops what is buffered and not yet written out.
func (p *Printer) Discard() { p.w.Reset(p.to) }

// Flush writes out what is buffered and returns the first failure so far.
func (p *Printer) Flush() error {
	if p.failed == nil {
		p.failed = p.w.Flush()
	}
	return p.failed
}

// Printf prints as fmt.Fprintf does; the format is ours and taken as it is,
// and each argument that is a string, an error or a Stringer is escaped. A
// Span is printed with its style.
func (p *Printer) Printf(format string, args ...any) error {
	safe := make([]any, len(args))
	for i, arg := range args {
		safe[i] = p.safe(arg)
	}
	_, err := fmt.Fprintf(p, format, safe...)
	return err
}

func (p *Printer) safe(arg any) any {
	switch v := arg.(type) {
	case Span:
		return p.render(v)
	case string:
		return Escape(v)
	case error:
		return Escape(v.Error())
	case fmt.Stringer:
		return Escape(v.String())
	}
	return arg
}

// Line prints the spans, one after the other, as one line.
func (p *Printer) Line(spans ...Span) error {
	_, err := io.WriteString(p, p.join(spans)+"\n")
	return err
}

// Heading prints the title of a block.
func (p *Printer) Heading(text string) error { return p.Line(Heading.Of(text)) }

// Message prints "mutual: SEVERITY: text" as one line and flushes it.
func (p *Printer) Message(s Severity, text string) error {
	_, _ = fmt.Fprintf(p, "mutual: %s %s\n", s.word(p.options.Color), Escape(text)) // Flush returns the failure
	return p.Flush()
}

// render gives a span as it is written to the stream.
func (p *Printer) render(s Span) string {
	text := Escape(s.Text)
	if s.Style == Plain || !p.options.Color || text == "" {
		return text
	}
	return p.styles[s.Style].Render(text)
}

func (p *Printer) join(spans []Span) string {
	var b strings.Builder
	for _, s := range spans {
		b.WriteString(p.render(s))
	}
	return b.String()
}
