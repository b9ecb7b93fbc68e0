package ui

import (
	"strings"

	"github.com/charmbracelet/lipgloss/tree"
	"github.com/charmbracelet/x/ansi"
)

// Node is a line of a tree with what hangs below it.
type Node struct {
	Spans    []Span
	Children []Node
}

// Tree prints the tree below root. On a terminal each line is cut to the
// width.
func (p *Printer) Tree(root Node) error {
	text := p.branch(root).String()
	if p.options.Terminal && p.options.Width > 0 {
		text = cutLines(text, p.options.Width)
	}
	_, err := p.Write([]byte(trimLines(text) + "\n"))
	return err
}

func (p *Printer) branch(n Node) *tree.Tree {
	t := tree.Root(p.label(n))
	for _, child := range n.Children {
		if len(child.Children) == 0 {
			t.Child(p.label(child))
		} else {
			t.Child(p.branch(child))
		}
	}
	return t
}

// label is the text of a node, which the library must not find empty: it
// would hang the node's children below its sibling.
func (p *Printer) label(n Node) string {
	if text := p.join(n.Spans); text != "" {
		return text
	}
	return p.render(Muted.Of(emptyCell))
}

func cutLines(s string, width int) string {
	lines := strings.Split(s, "\n")
	for i := range lines {
		lines[i] = ansi.Truncate(lines[i], width, "…")
	}
	return strings.Join(lines, "\n")
}

// trimLines removes the spaces at the ends of lines.
func trimLines(s string) string {
	lines := strings.Split(strings.TrimRight(s, "\n"), "\n")
	for i := range lines {
		lines[i] = strings.TrimRight(lines[i], " ")
	}
	return strings.Join(lines, "\n")
}
