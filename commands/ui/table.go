package ui

import (
	"io"
	"slices"
	"strings"

	"github.com/charmbracelet/lipgloss"
	"github.com/charmbracelet/x/ansi"
)

// Column is a column of a table.
type Column struct {
	Title string
	Right bool // numbers: aligned to the right
	// Flexible columns are shortened when the terminal is too narrow. A column
	// that only makes sense whole, such as a serial, is not.
	Flexible bool
}

// Table is a list of rows with a title for each column.
type Table struct {
	columns []Column
	rows    [][]Span
	widths  []int // of what was printed already, and of the titles
	printed int   // rows
	to      *Printer
}

// tableBlock is how many rows of a table are held: together they say how wide
// its columns are. Of those that follow, a wider one makes its column grow.
const tableBlock = 1000

const (
	columnGap    = 2 // spaces between two columns
	minimumWidth = 5 // a flexible column is not cut below this
	emptyCell    = "-"
)

// NewTable returns an empty table.
func NewTable(columns ...Column) *Table { return &Table{columns: columns} }

// LongTable begins a table that is printed as its rows come; Close ends it.
func (p *Printer) LongTable(columns ...Column) *Table { return &Table{columns: columns, to: p} }

// Row adds a row. An empty or missing cell is shown as "-", so that every row
// has as many words as columns.
func (t *Table) Row(cells ...Span) error {
	row := make([]Span, len(t.columns))
	copy(row, cells)
	for i := range row {
		if row[i].Text == "" {
			row[i] = Muted.Of(emptyCell)
		}
		row[i].Text = Escape(row[i].Text)
	}
	t.rows = append(t.rows, row)
	if t.to == nil || len(t.rows) < tableBlock {
		return nil
	}
	if err := t.release(); err != nil {
		return err
	}
	return t.to.Flush() // somebody may be waiting for the first screen
}

// release prints what is held of a LongTable.
func (t *Table) release() error {
	err := t.to.block(t)
	t.printed, t.rows = t.printed+len(t.rows), t.rows[:0]
	return err
}

// Len is the number of rows.
func (t *Table) Len() int { return t.printed + len(t.rows) }

// Close prints what is left of a LongTable.
func (t *Table) Close() error {
	if t.printed > 0 && len(t.rows) == 0 {
		return nil
	}
	return t.release()
}

// Table prints t. On a terminal it has a rule below the titles and fits the
// width; elsewhere it is plain columns, nothing cut, for awk and cut.
func (p *Printer) Table(t *Table) error { return p.block(t) }

// block prints the rows that are held, below the titles if they are the first.
func (p *Printer) block(t *Table) error {
	t.measure()
	widths := slices.Clone(t.widths)
	if p.options.Terminal {
		fit(t.columns, widths, p.options.Width)
	}
	var b strings.Builder
	if t.printed == 0 {
		p.row(&b, t, t.titles(), widths)
		if p.options.Terminal {
			p.rule(&b, widths)
		}
	}
	for _, row := range t.rows {
		p.row(&b, t, row, widths)
	}
	_, err := io.WriteString(p, b.String())
	return err
}

// measure widens the columns to what is held.
func (t *Table) measure() {
	if t.widths == nil {
		t.widths = make([]int, len(t.columns))
		for i, c := range t.columns {
			t.widths[i] = lipgloss.Width(c.Title)
		}
	}
	for _, row := range t.rows {
		for i, cell := range row {
			t.widths[i] = max(t.widths[i], lipgloss.Width(cell.Text))
		}
	}
}

// fit takes columns away from the widest flexible column until the table fits
// into width, or nothing more can be taken.
func fit(columns []Column, widths []int, width int) {
	if width <= 0 {
		return
	}
	total := columnGap * (len(widths) - 1)
	for _, w := range widths {
		total += w
	}
	for ; total > width; total-- {
		widest := -1
		for i, c := range columns {
			if c.Flexible && widths[i] > minimumWidth && (widest < 0 || widths[i] > widths[widest]) {
				widest = i
			}
		}
		if widest < 0 {
			return
		}
		widths[widest]--
	}
}

// row prints one line. Nothing stands at its end, and a cell that is wider than
// its column is cut.
func (p *Printer) row(b *strings.Builder, t *Table, cells []Span, widths []int) {
	spaces := 0
	for i, cell := range cells {
		pad := widths[i] - lipgloss.Width(cell.Text)
		if pad < 0 {
			cell.Text = ansi.Truncate(cell.Text, widths[i], "…")
			pad = widths[i] - lipgloss.Width(cell.Text)
		}
		if i == len(cells)-1 {
			cell.Text = strings.TrimRight(cell.Text, " ")
		}
		if t.columns[i].Right {
			spaces, pad = spaces+pad, 0
		}
		b.WriteString(strings.Repeat(" ", spaces) + p.render(cell))
		spaces = pad + columnGap
	}
	b.WriteString("\n")
}

// rule prints the line below the titles.
func (p *Printer) rule(b *strings.Builder, widths []int) {
	for i, w := range widths {
		if i < len(widths)-1 {
			w += columnGap
		}
		b.WriteString(p.render(Muted.Of(strings.Repeat("─", w))))
	}
	b.WriteString("\n")
}

func (t *Table) titles() []Span {
	titles := make([]Span, len(t.columns))
	for i, c := range t.columns {
		titles[i] = Heading.Of(c.Title)
	}
	return titles
}
