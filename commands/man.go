package commands

import (
	"context"
	"fmt"
	"strings"

	"github.com/urfave/cli/v2"

	"mutual/commands/ui"
)

// manCommand is the hidden "mutual man", which prints the manual page. It is
// made from the same tree as the help. (urfave/cli can make one, too, but
// leaves out the arguments and the examples.)
func manCommand() *cli.Command {
	return leaf(leafSpec{
		Name:    "man",
		Usage:   "print the manual page in roff",
		Example: "mutual man > mutual.1",
		Hidden:  true,
		Action: func(_ context.Context, r *run, _ *cli.Context) error {
			return r.emit(manView{Page: manPage(r.root, r.env.Version)})
		},
	})
}

// manView is the manual page, in roff.
type manView struct {
	Page string `json:"page"`
}

// Text prints the page and nothing else, for man.
func (v manView) Text(p *ui.Printer) error {
	_, err := p.Write([]byte(v.Page))
	return err
}

// roff is a manual page in the making.
type roff struct{ strings.Builder }

// macro writes a request with its arguments, each quoted.
func (w *roff) macro(name string, args ...string) {
	w.WriteString("." + name)
	for _, arg := range args {
		fmt.Fprintf(w, ` "%s"`, strings.ReplaceAll(roffEscape(arg), `"`, `\(dq`))
	}
	w.WriteString("\n")
}

// text writes a line of text.
func (w *roff) text(s string) {
	s = roffEscape(s)
	if strings.HasPrefix(s, ".") {
		s = `\&` + s
	}
	w.WriteString(s + "\n")
}

// roffEscape writes s so that roff prints it as it is, whatever encoding it
// expects: outside ASCII as \[u2026].
func roffEscape(s string) string {
	s = strings.NewReplacer(`\`, `\e`, "-", `\-`, "'", `\(aq`, "`", `\(ga`, "^", `\(ha`, "~", `\(ti`).Replace(s)
	var b strings.Builder
	for _, r := range s {
		if r > 0x7e {
			fmt.Fprintf(&b, `\[u%04X]`, r)
		} else {
			b.WriteRune(r)
		}
	}
	return b.String()
}

// manPage is the manual page of the whole program.
func manPage(root *cli.Command, version string) string {
	w := &roff{}
	w.macro("TH", strings.ToUpper(root.Name), "1", "", root.Name+" "+version, "User Commands")
	w.macro("SH", "NAME")
	w.text(root.Name + " - " + root.Usage)
	w.macro("SH", "SYNOPSIS")
	w.macro("B", root.Name)
	w.text("COMMAND [flags] [arguments]")
	w.macro("SH", "DESCRIPTION")
	w.text(rootRemarks)
	w.macro("SH", "COMMANDS")
	w.commands(root, root.Name)
	w.macro("SH", "COMMON FLAGS")
	w.text("Every command has these; they may also stand before it.")
	w.items(flagItems(commonFlags()))
	w.macro("SH", "ENVIRONMENT")
	w.items([]helpItem{
		{envPKI, "the directory of the PKI, where --" + flagPKI + " is not given"},
		{envPassphrase, "the passphrase of the CA keys; removed from the environment at once"},
		{envNewPassphrase, "the next passphrase of the CA keys, for ca passphrase; removed likewise"},
		{envExportPassword, "the password of a file that is exported or imported; removed likewise"},
		{"NO_COLOR", "if not empty, no colours are used unless --" + flagColor + " asks for them"},
	})
	return w.String()
}

// commands writes a subsection for each leaf command below c.
func (w *roff) commands(c *cli.Command, name string) {
	for _, sub := range c.VisibleCommands() {
		full := name + " " + sub.Name
		if onlyHolds(sub) {
			w.commands(sub, full)
			continue
		}
		w.macro("SS", synopsis(full, sub))
		w.text(strings.ToUpper(sub.Usage[:1]) + sub.Usage[1:] + ".")
		for paragraph := range paragraphs(sub.Description) {
			w.macro("PP")
			w.text(strings.Join(strings.Fields(paragraph), " "))
		}
		var own []cli.Flag
		for _, f := range sub.VisibleFlags() {
			if !isCommon(f) {
				own = append(own, f)
			}
		}
		w.items(flagItems(own))
		if lines := examples(sub); len(lines) > 0 {
			w.macro("PP")
			w.macro("EX")
			for _, line := range lines {
				w.text("  " + line)
			}
			w.macro("EE")
		}
		w.commands(sub, full)
	}
}

// items writes a list of terms.
func (w *roff) items(items []helpItem) {
	for _, item := range items {
		w.macro("TP")
		w.macro("B", item.term)
		w.text(item.text)
	}
}
