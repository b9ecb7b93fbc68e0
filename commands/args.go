package commands

import (
	"fmt"
	"slices"
	"strconv"
	"strings"

	"github.com/urfave/cli/v2"
)

// line is a command line, taken apart. The flag package stops at the first
// argument and would take what follows for arguments, so that "revoke alice
// --reason keyCompromise" loses its reason; here flags stand anywhere, and
// none is ever ignored.
type line struct {
	command *cli.Command // as far as it could be resolved; at first the root
	path    []string     // the names that led to it, without the root's
	args    []string
	flags   []flagValue
	ended   bool // after "--" nothing is a flag
}

// flagValue is a flag with its value, which is "true" or "false" for a flag
// that takes none.
type flagValue struct {
	flag  cli.Flag
	typed string // as it stood on the line, with its dashes
	value string
}

// parseLine takes words apart. An error is a usage error, and the line then
// holds what was understood before it.
func parseLine(root *cli.Command, words []string) (*line, error) {
	l := &line{command: root}
	for len(words) > 0 {
		word := words[0]
		words = words[1:]
		var err error
		switch {
		case !l.ended && word == "--":
			l.ended = true
		case !l.ended && looksLikeFlag(word):
			words, err = l.takeFlag(word, words)
		case isGroup(l.command):
			err = l.descend(word)
		default:
			l.args = append(l.args, word)
		}
		if err != nil {
			return l, err
		}
	}
	return l, l.checkEarlyFlags()
}

// looksLikeFlag reports whether a word is a flag: "-" alone is an argument.
func looksLikeFlag(word string) bool { return len(word) > 1 && word[0] == '-' }

// isGroup reports whether a command holds others.
func isGroup(c *cli.Command) bool { return len(c.Subcommands) > 0 }

// onlyHolds reports whether a command holds others and does nothing itself.
func onlyHolds(c *cli.Command) bool { return isGroup(c) && c.Action == nil }

// descend goes into the command called name.
func (l *line) descend(name string) error {
	next := l.command.Command(name)
	if next == nil {
		full := strings.Join(append(slices.Clone(l.path), name), " ")
		hint := l.helpHint("lists the commands")
		if near := closest(name, visibleNames(l.command)); near != "" {
			hint = fmt.Sprintf("did you mean %q?", strings.Join(append(slices.Clone(l.path), near), " "))
		} else if full == "version" {
			hint = "did you mean \"--version\"?"
		} else if l.command.Name == "issue" {
			hint = fmt.Sprintf("did you mean \"issue client %s\"?", name)
		}
		return withHint(usagef("unknown command %q", full), hint)
	}
	l.command = next
	l.path = append(l.path, next.Name)
	return nil
}

// takeFlag reads the flag in word, and its value from word or from the words
// that follow, which it returns without the value.
func (l *line) takeFlag(word string, rest []string) ([]string, error) {
	name, value, hasValue := strings.Cut(strings.TrimPrefix(strings.TrimPrefix(word, "-"), "-"), "=")
	f := lookup(l.command.Flags, name)
	if f == nil {
		return nil, l.unknownFlag(word, name)
	}
	typed := dashed(name)
	if takesRest(f) {
		if hasValue {
			rest = append([]string{value}, rest...)
		}
		return l.takeRest(f, typed, rest)
	}
	switch {
	case !takesValue(f):
		on := true
		if hasValue {
			var err error
			if on, err = strconv.ParseBool(value); err != nil {
				return nil, usagef("flag %s takes no value but true or false, and got %q", typed, value)
			}
		}
		value = strconv.FormatBool(on)
	case !hasValue:
		if len(rest) == 0 || l.isMissingValue(rest[0]) {
			return nil, withHint(usagef("flag %s needs a value", typed), l.helpHint("lists the flags"))
		}
		value, rest = rest[0], rest[1:]
	}
	if value == "" { // an unset variable of a script's, and never "as if it were not there"
		return nil, withHint(usagef("flag %s has an empty value", typed), "leave the flag out, or give it a value")
	}
	if !repeatable(f) && l.given(f.Names()[0]) {
		return nil, usagef("flag %s is given more than once", typed)
	}
	l.flags = append(l.flags, flagValue{flag: f, typed: typed, value: value})
	return rest, nil
}

// takeRest gives a flag all that follows. Nothing is left of the line then.
func (l *line) takeRest(f cli.Flag, typed string, rest []string) ([]string, error) {
	if len(rest) == 0 || rest[0] == "" {
		return nil, withHint(usagef("flag %s needs a command, which takes the rest of the line", typed), l.helpHint("lists the flags"))
	}
	for _, word := range rest {
		l.flags = append(l.flags, flagValue{flag: f, typed: typed, value: word})
	}
	return nil, nil
}

// isMissingValue reports whether the word after a flag shows that its value
// was forgotten. A value that really reads like a flag is written with "=".
func (l *line) isMissingValue(next string) bool {
	if next == "--" {
		return true
	}
	name, _, _ := strings.Cut(strings.TrimPrefix(next, "--"), "=")
	return strings.HasPrefix(next, "--") && lookup(l.command.Flags, name) != nil
}

func (l *line) unknownFlag(word, name string) error {
	typed, _, _ := strings.Cut(word, "=")
	err := usagef("unknown flag %q", typed)
	if len(l.path) > 0 {
		err = usagef("unknown flag %q of %q", typed, l.name())
	}
	if near := closest(name, flagNames(l.command.Flags)); near != "" {
		return withHint(err, fmt.Sprintf("did you mean %q?", dashed(near)))
	}
	if onlyHolds(l.command) {
		return withHint(err, "only the flags that every command has may stand before its name; "+l.helpHint("lists the commands"))
	}
	return withHint(err, l.helpHint("lists the flags")+`; "--" goes before an argument that begins with "-"`)
}

// checkEarlyFlags refuses a flag that stood before the command and that the
// command does not have.
func (l *line) checkEarlyFlags() error {
	for _, f := range l.flags {
		if lookup(l.command.Flags, f.flag.Names()[0]) == nil {
			return withHint(usagef("%q has no flag %s", l.name(), f.typed),
				l.helpHint("lists the flags"))
		}
	}
	return nil
}

// given reports whether the flag of that name stands on the line at all.
func (l *line) given(name string) bool {
	return slices.ContainsFunc(l.flags, func(f flagValue) bool { return slices.Contains(f.flag.Names(), name) })
}

// name is the command as it is typed, with the program's name.
func (l *line) name() string { return strings.Join(append([]string{"mutual"}, l.path...), " ") }

// has reports whether the flag of that name was given as true or with a value.
func (l *line) has(name string) bool {
	return slices.ContainsFunc(l.flags, func(f flagValue) bool {
		return slices.Contains(f.flag.Names(), name) && (takesValue(f.flag) || f.value == "true")
	})
}

// value is the value of the flag of that name, or "".
func (l *line) value(name string) string {
	for _, f := range l.flags {
		if slices.Contains(f.flag.Names(), name) {
			return f.value
		}
	}
	return ""
}

// normal gives the line in the one order that the flag package reads
// rightly: command, flags, "--", arguments.
func (l *line) normal(root string) []string {
	words := append([]string{root}, l.path...)
	for _, f := range l.flags {
		words = append(words, "--"+f.flag.Names()[0]+"="+f.value)
	}
	if isGroup(l.command) {
		return words // what follows would be a command
	}
	return append(append(words, "--"), l.args...)
}

// needed gives a command with the only one below it that the path names, and
// with the flags that the line has or that have a value without it.
func (l *line) needed(c *cli.Command, path []string) *cli.Command {
	out := *c
	out.Subcommands, out.Flags = nil, nil
	if len(path) > 0 {
		out.Subcommands = []*cli.Command{l.needed(c.Command(path[0]), path[1:])}
		return &out // flags stand after the whole path: see normal
	}
	for _, f := range c.Flags {
		if l.given(f.Names()[0]) || hasDefault(f) {
			out.Flags = append(out.Flags, f)
		}
	}
	return &out
}

// helpHint names the help of the command that was reached.
func (l *line) helpHint(what string) string {
	return fmt.Sprintf("%q %s", l.name()+" --help", what)
}

func visibleNames(c *cli.Command) []string {
	var names []string
	for _, sub := range c.VisibleCommands() {
		names = append(names, sub.Name)
	}
	return names
}

func flagNames(flags []cli.Flag) []string {
	var names []string
	for _, f := range flags {
		names = append(names, f.Names()...)
	}
	return names
}

// closest gives the candidate that word was most likely meant to be, or "" if
// none is near: one that begins with it, or is at most one edit away for every
// three characters.
func closest(word string, candidates []string) string {
	best, bestDistance := "", len(word)/3+1
	for _, c := range candidates {
		if len(c) < 2 || len(word) < 2 || len(word) > 64 {
			continue
		}
		if strings.HasPrefix(c, word) {
			return c
		}
		if d := editDistance(word, c); d < bestDistance {
			best, bestDistance = c, d
		}
	}
	return best
}

// editDistance counts the characters to insert, delete, replace or swap with
// their neighbour to make b of a.
func editDistance(a, b string) int {
	var before, last, row []int
	for j := range len(b) + 1 {
		row = append(row, j)
	}
	for i := range len(a) {
		before, last, row = last, row, append(make([]int, 0, len(b)+1), i+1)
		for j := range len(b) {
			cost := 1
			if a[i] == b[j] {
				cost = 0
			}
			d := min(last[j+1]+1, row[j]+1, last[j]+cost)
			if i > 0 && j > 0 && a[i] == b[j-1] && a[i-1] == b[j] {
				d = min(d, before[j-1]+1)
			}
			row = append(row, d)
		}
	}
	return row[len(b)]
}
