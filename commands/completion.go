package commands

import (
	"context"
	"embed"
	"io"
	"slices"
	"strings"
	"unicode"

	"github.com/urfave/cli/v2"

	"mutual/commands/ui"
)

// scripts holds, for each shell, the script that asks "mutual __complete" for
// what can follow.
//
//go:embed completion
var scripts embed.FS

// shells are the shells with a script.
func shells() []string { return []string{"bash", "zsh", "fish", "powershell"} }

// completionCommand is "mutual completion SHELL".
func completionCommand() *cli.Command {
	return leaf(leafSpec{
		Name:      "completion",
		Category:  categoryHelp,
		Usage:     "print the completion script of a shell",
		ArgsUsage: "SHELL",
		Long: "SHELL is bash, zsh, fish or powershell. The script completes commands, flags, their " +
			"values, and the names of the identities in the PKI.",
		Example: `source <(mutual completion bash)
			mutual completion zsh > "${fpath[1]}/_mutual"
			mutual completion fish > ~/.config/fish/completions/mutual.fish
			mutual completion powershell | Out-String | Invoke-Expression`,
		MinArgs: 1,
		Complete: func(context.Context, *run, *cli.Context) []string {
			return shells()
		},
		Action: func(_ context.Context, r *run, c *cli.Context) error {
			shell := c.Args().First()
			if !slices.Contains(shells(), shell) {
				return withHint(usagef("there is no completion for the shell %q", shell),
					"one of "+strings.Join(shells(), ", "))
			}
			script, err := scripts.ReadFile("completion/mutual." + shell)
			if err != nil {
				return err
			}
			return r.emit(scriptView{Shell: shell, Script: string(script)})
		},
	})
}

// scriptView is the completion script of a shell.
type scriptView struct {
	Shell  string `json:"shell"`
	Script string `json:"script"`
}

// Text prints the script and nothing else, for the shell.
func (v scriptView) Text(p *ui.Printer) error {
	_, err := p.Write([]byte(v.Script))
	return err
}

// completeName is the hidden command that the scripts run:
//
//	mutual __complete -- WORD… =LAST
//
// prints what the last word of a line, as far as it is typed, can become: one
// candidate in each line, then a tab and what it is for. The "=" before the
// last word is there because some shells drop an empty argument.
const completeName = "__complete"

func completeCommand() *cli.Command {
	return leaf(leafSpec{
		Name:      completeName,
		Usage:     "print how a command line can go on",
		ArgsUsage: "WORD…",
		Hidden:    true,
		MaxArgs:   anyNumber,
	})
}

// wish is what a shell wants completed, and what the command found for it.
type wish struct {
	flag  string // the value of this flag; "" for an argument
	last  string // as far as it is typed
	found []string
}

// complete answers a wish instead of running the command.
func (s leafSpec) complete(c *cli.Context, r *run) {
	switch {
	case r.wish.flag == flagColor:
		r.wish.found = []string{colorAuto, colorAlways, colorNever}
	case r.wish.flag != "":
		r.wish.found = s.Values[r.wish.flag]
	case s.Complete != nil:
		r.wish.found = s.Complete(c.Context, r, c)
	}
}

// completeLine prints the candidates for the last of words. Nothing is said
// or asked besides: it would stand in the line that is being typed.
func (r *run) completeLine(ctx context.Context, words []string) error {
	if len(words) == 0 {
		return nil
	}
	r.talk = ui.NewPrinter(io.Discard, ui.Options{})
	r.env.Stdin.ReadSecret = nil
	last := strings.TrimPrefix(words[len(words)-1], "=")
	for _, item := range r.candidates(ctx, words[:len(words)-1], last) {
		if !strings.HasPrefix(item.term, last) || strings.ContainsFunc(item.term, unicode.IsControl) {
			continue
		}
		line := item.term
		if item.text != "" {
			line += "\t" + item.text
		}
		if _, err := io.WriteString(r.out, line+"\n"); err != nil {
			return err
		}
	}
	return nil
}

// candidates gives what can follow the words; last is the beginning of it.
func (r *run) candidates(ctx context.Context, words []string, last string) []helpItem {
	l, flag := wanted(r.root, words)
	switch {
	case l == nil:
		return nil
	case flag != "":
		return r.found(ctx, l, flag, "", last)
	case !l.ended && strings.HasPrefix(last, "-"):
		name, _, hasValue := strings.Cut(last, "=")
		if !hasValue {
			return flagCandidates(l)
		}
		if f := lookup(l.command.Flags, strings.TrimLeft(name, "-")); f != nil {
			return r.found(ctx, l, f.Names()[0], name+"=", last)
		}
		return nil
	case isGroup(l.command):
		var items []helpItem
		for _, sub := range l.command.VisibleCommands() {
			items = append(items, helpItem{sub.Name, sub.Usage})
		}
		return items
	}
	return r.found(ctx, l, "", "", last)
}

// wanted finds what follows the words: the value of a flag, or the next word
// of the line. It gives no line if the words make no sense.
func wanted(root *cli.Command, words []string) (l *line, flag string) {
	if l, err := parseLine(root, words); err == nil {
		return l, ""
	}
	words, name := words[:len(words)-1], words[len(words)-1]
	l, err := parseLine(root, words)
	if err != nil || l.ended || !looksLikeFlag(name) {
		return nil, ""
	}
	f := lookup(l.command.Flags, strings.TrimLeft(name, "-"))
	if f == nil || !takesValue(f) {
		return nil, ""
	}
	return l, f.Names()[0]
}

// found asks the command of the line for candidates that begin with last, each
// with prefix before it.
func (r *run) found(ctx context.Context, l *line, flag, prefix, last string) []helpItem {
	r.wish = &wish{flag: flag, last: strings.TrimPrefix(last, prefix)}
	if onlyHolds(l.command) { // a common flag before the command
		leafSpec{}.complete(nil, r)
	} else if err := r.runLine(ctx, l); err != nil {
		return nil
	}
	var items []helpItem
	for _, s := range r.wish.found {
		items = append(items, helpItem{term: prefix + s})
	}
	return items
}

// flagCandidates gives the flags that can still be given.
func flagCandidates(l *line) []helpItem {
	var items []helpItem
	for _, f := range l.command.Flags {
		name := f.Names()[0]
		if hidden, ok := f.(cli.VisibleFlag); ok && !hidden.IsVisible() || l.given(name) && !repeatable(f) {
			continue
		}
		_, text := placeholder(f)
		items = append(items, helpItem{dashed(name), text})
	}
	return items
}
