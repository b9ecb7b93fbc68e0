package commands

import (
	"context"
	"fmt"
	"slices"
	"strings"

	"github.com/urfave/cli/v2"

	"mutual/commands/ui"
)

// helpCommand is "mutual help COMMAND", the same as "mutual COMMAND --help".
func helpCommand() *cli.Command {
	return leaf(leafSpec{
		Name:      "help",
		Category:  categoryHelp,
		Usage:     "show the help of a command",
		ArgsUsage: "[COMMAND…]",
		Example:   "mutual help revoke",
		MaxArgs:   anyNumber,
		Complete: func(_ context.Context, r *run, c *cli.Context) []string {
			l, err := parseLine(r.root, c.Args().Slice())
			if err != nil {
				return nil
			}
			return visibleNames(l.command)
		},
		Action: func(_ context.Context, r *run, c *cli.Context) error {
			l, err := parseLine(r.root, append([]string{"--"}, c.Args().Slice()...))
			if err != nil {
				return err
			}
			if len(l.args) > 0 {
				return usagef("%q has no command %q", l.name(), l.args[0])
			}
			return r.showHelp(l)
		},
	})
}

// helpWidth is the width of the help. It is the same everywhere, so that what
// is read in a manual is what is seen in a terminal.
const helpWidth = 80

// helpItem is a line of a list in the help: what is typed, and what it does.
type helpItem struct{ term, text string }

// helpSection is a list with its title.
type helpSection struct {
	title string
	items []helpItem
}

// showHelp prints the help of the command that a line names. It is text with
// --json, too: help is for reading.
func (r *run) showHelp(l *line) error {
	p, c := r.out, l.command
	_ = p.Printf("%s - %s\n", ui.Name.Of(l.name()), c.Usage) // the printer keeps its failure, here and below
	_ = p.Printf("\n%s\n  %s\n", ui.Heading.Of("Usage"), synopsis(l.name(), c))
	for paragraph := range paragraphs(c.Description) {
		_ = p.Printf("\n")
		for _, text := range ui.Wrap(paragraph, helpWidth) {
			_ = p.Printf("%s\n", text)
		}
	}
	if c.UsageText != "" {
		_ = p.Printf("\n%s\n", ui.Heading.Of("Examples"))
	}
	for _, example := range examples(c) {
		_ = p.Printf("  %s\n", example)
	}
	for _, section := range helpSections(c) {
		printSection(p, section)
	}
	if c == r.root {
		_ = p.Printf("\n")
		for _, text := range ui.Wrap(rootRemarks, helpWidth) {
			_ = p.Printf("%s\n", ui.Muted.Of(text))
		}
	}
	return nil
}

const rootRemarks = `"mutual help COMMAND" says more about a command. Flags may stand before or ` +
	`after arguments; "--" ends them. Exit codes: 0 done or good, 1 failed, 2 wrong usage, ` +
	`3 checked and found bad, 4 could not tell, 130 interrupted.`

// synopsis is the usage line of a command.
func synopsis(name string, c *cli.Command) string {
	if onlyHolds(c) {
		return name + " COMMAND [flags]"
	}
	return strings.TrimSpace(fmt.Sprintf("%s [flags] %s", name, c.ArgsUsage))
}

// paragraphs gives the parts of a text that blank lines separate.
func paragraphs(text string) func(yield func(string) bool) {
	return func(yield func(string) bool) {
		for part := range strings.SplitSeq(text, "\n\n") {
			if part = strings.TrimSpace(part); part != "" && !yield(part) {
				return
			}
		}
	}
}

// examples gives the lines of a command's examples.
func examples(c *cli.Command) []string {
	var lines []string
	for text := range strings.Lines(c.UsageText) {
		if text = strings.TrimSpace(text); text != "" {
			lines = append(lines, text)
		}
	}
	return lines
}

// helpSections gives the lists in the help of a command: of the root all
// commands and what may stand before them, of a group its commands, of a leaf
// its flags.
func helpSections(c *cli.Command) []helpSection {
	var sections []helpSection
	for _, sub := range c.VisibleCommands() {
		i := slices.IndexFunc(sections, func(s helpSection) bool { return s.title == sub.Category })
		if i < 0 {
			i = len(sections)
			sections = append(sections, helpSection{title: sub.Category})
		}
		sections[i].items = append(sections[i].items, commandItems(sub)...)
	}
	for i := range sections {
		if sections[i].title == "" {
			sections[i].title = "Commands"
		}
	}
	if onlyHolds(c) {
		if lookup(c.Flags, flagVersion) != nil {
			sections = append(sections, helpSection{"Flags", flagItems(c.VisibleFlags())})
		}
		return sections
	}
	own, common := []cli.Flag{}, []cli.Flag{}
	for _, f := range c.VisibleFlags() {
		if isCommon(f) {
			common = append(common, f)
		} else {
			own = append(own, f)
		}
	}
	return append(sections, helpSection{"Flags", flagItems(own)}, helpSection{"Common flags", flagItems(common)})
}

// commandItems gives a command, if it does something, and the commands in it.
func commandItems(c *cli.Command) []helpItem {
	var items []helpItem
	if !onlyHolds(c) {
		items = append(items, helpItem{c.Name, c.Usage})
	}
	for _, sub := range c.VisibleCommands() {
		items = append(items, helpItem{c.Name + " " + sub.Name, sub.Usage})
	}
	return items
}

func flagItems(flags []cli.Flag) []helpItem {
	var items []helpItem
	for _, f := range flags {
		var names []string
		for _, n := range f.Names() {
			names = append(names, dashed(n))
		}
		value, text := placeholder(f)
		items = append(items, helpItem{strings.TrimSpace(strings.Join(names, ", ") + " " + value), text})
	}
	return items
}

// widestTerm is the width up to which a term pushes the texts to the right; a
// wider one stands on a line of its own.
const widestTerm = 24

func printSection(p *ui.Printer, s helpSection) {
	if len(s.items) == 0 {
		return
	}
	width := 0
	for _, item := range s.items {
		if len(item.term) <= widestTerm {
			width = max(width, len(item.term))
		}
	}
	_ = p.Printf("\n%s\n", ui.Heading.Of(s.title)) // the printer keeps its failure, here and below
	for _, item := range s.items {
		term := item.term
		if len(term) > width {
			_ = p.Printf("  %s\n", term)
			term = ""
		}
		for _, text := range ui.Wrap(item.text, helpWidth-width-4) {
			_ = p.Printf("  %-*s  %s\n", width, term, text)
			term = ""
		}
	}
}
