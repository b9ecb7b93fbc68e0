package ui

import (
	"strings"

	"github.com/charmbracelet/lipgloss"
	"github.com/charmbracelet/lipgloss/table"
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
}

const (
	columnGap    = 2 // spaces between two columns
	minimumWidth = 5 // a flexible column is not cut below this
	emptyCell    = "-"
)

// NewTable returns an empty table.
func NewTable(columns ...Column) *Table { return &Table{columns: columns} }

// Row adds a row. An empty or missing cell is shown as "-", so that every row
// has as many words as columns.
func (t *Table) Row(cells ...Span) {
	row := make([]Span, len(t.columns))
	copy(row, cells)
	for i := range row {
		if row[i].Text == "" {
			row[i] = Muted.Of(emptyCell)
		}
		row[i].Text = Escape(row[i].Text)
	}
	t.rows = append(t.rows, row)
}

// Len is the number of rows.
func (t *Table) Len() int { return len(t.rows) }

// Table prints t. On a terminal it has a rule below the titles and fits the
// width; elsewhere it is plain columns, nothing cut, for awk and cut.
func (p *Printer) Table(t *Table) error {
	widths := t.widths()
	text := ""
	if p.options.Terminal {
		fit(t.columns, widths, p.options.Width)
		text = p.drawTable(t, widths)
	} else {
		text = p.plainTable(t, widths)
	}
	_, err := p.Write([]byte(text))
	return err
}

func (t *Table) widths() []int {
	widths := make([]int, len(t.columns))
	for i, c := range t.columns {
		widths[i] = lipgloss.Width(c.Title)
	}
	for _, row := range t.rows {
		for i, cell := range row {
			widths[i] = max(widths[i], lipgloss.Width(cell.Text))
		}
	}
	return widths
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

func (p *Printer) plainTable(t *Table, widths []int) string {
	var b strings.Builder
	line := func(cells []Span) {
		var row strings.Builder
		for i, cell := range cells {
			pad := strings.Repeat(" ", widths[i]-lipgloss.Width(cell.Text))
			if t.columns[i].Right {
				row.WriteString(pad + p.render(cell))
			} else {
				row.WriteString(p.render(cell) + pad)
			}
			row.WriteString(strings.Repeat(" ", columnGap))
		}
		b.WriteString(strings.TrimRight(row.String(), " ") + "\n")
	}
	line(t.titles())
	for _, row := range t.rows {
		line(row)
	}
	return b.String()
}

func (t *Table) titles() []Span {
	titles := make([]Span, len(t.columns))
	for i, c := range t.columns {
		titles[i] = Heading.Of(c.Title)
	}
	return titles
}

func (p *Printer) drawTable(t *Table, widths []int) string {
	cells := func(row []Span) []string {
		texts := make([]string, len(row))
		for i, cell := range row {
			texts[i] = ansi.Truncate(cell.Text, widths[i], "…")
		}
		return texts
	}
	drawn := table.New().Border(lipgloss.NormalBorder()).BorderStyle(p.styles[Muted]).
		BorderTop(false).BorderBottom(false).BorderLeft(false).BorderRight(false).
		BorderColumn(false).BorderHeader(true).Wrap(false).
		Headers(cells(t.titles())...).
		StyleFunc(func(row, col int) lipgloss.Style { return p.cellStyle(t, row, col) })
	for _, row := range t.rows {
		drawn.Row(cells(row)...)
	}
	return trimLines(drawn.Render()) + "\n"
}

func (p *Printer) cellStyle(t *Table, row, col int) lipgloss.Style {
	style := p.styles[Heading]
	if row != table.HeaderRow {
		style = p.styles[t.rows[row][col].Style]
	}
	if t.columns[col].Right {
		style = style.Align(lipgloss.Right)
	}
	if col < len(t.columns)-1 {
		style = style.PaddingRight(columnGap)
	}
	return style
}

// trimLines removes the spaces at the ends of lines.
func trimLines(s string) string {
	lines := strings.Split(strings.TrimRight(s, "\n"), "\n")
	for i := range lines {
		lines[i] = strings.TrimRight(lines[i], " ")
	}
	return strings.Join(lines, "\n")
}
