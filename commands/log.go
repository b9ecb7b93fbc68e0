package commands

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"strconv"
	"strings"
	"time"

	"github.com/urfave/cli/v2"

	"mutual/commands/ui"
	"mutual/pki/store"
)

func logCommand() *cli.Command {
	return leaf(leafSpec{
		Name:     "log",
		Category: categoryLooking,
		Usage:    "show or check the journal: every act on the PKI",
		Long: "The lines are chained by their hashes, and every act that signs also signs the head. That shows damage, edits and cuts by whoever " +
			"lacks the issuing key; against its owner only a head that is kept elsewhere helps.",
		Example: "mutual log\nmutual log --follow\nmutual log --head >head.txt\nmutual log --verify --head \"$(cat head.txt)\"",
		Flags: []cli.Flag{
			&cli.BoolFlag{Name: "follow", Usage: "go on with what comes"},
			&cli.BoolFlag{Name: "verify", Usage: "check the chain, its signatures and its end; exit with 3 where they do not hold"},
			&cli.BoolFlag{Name: "head", Usage: "print the newest place, to be kept elsewhere; with --verify its NUMBER:HASH follows"},
		},
		MaxArgs: 1,
		Action:  runLog,
	})
}

func runLog(ctx context.Context, r *run, c *cli.Context) error {
	verify, head, follow := c.Bool("verify"), c.Bool("head"), c.Bool("follow")
	if follow && (verify || head) {
		return usagef("--follow excludes --verify and --head")
	}
	if c.NArg() == 1 && !(verify && head) {
		return usagef("unexpected argument %q", c.Args().First())
	}
	var kept *store.Head
	if verify && head {
		if c.NArg() == 0 {
			return usagef("--verify --head needs the NUMBER:HASH that was kept")
		}
		h, err := store.ParseHead(c.Args().First())
		if err != nil {
			return usage(err)
		}
		kept = &h
	}
	if follow {
		return r.withPKI(ctx, func(p *store.PKI) error { return r.followLog(ctx, p) })
	}
	return r.looking(ctx, func(p *store.PKI) error {
		switch {
		case verify:
			return r.verifyLog(ctx, p, kept)
		case head:
			h, err := p.Head(ctx)
			if err != nil {
				return err
			}
			return r.emit(headView(h))
		}
		return r.printLog(ctx, p)
	})
}

// headView is a place in the journal.
type headView store.Head

// Text implements view.
func (v headView) Text(p *ui.Printer) error { return p.Printf("%s\n", store.Head(v).String()) }

// verifyView is what checking the journal gave.
type verifyView struct {
	Outcome string     `json:"outcome"`
	Reason  string     `json:"reason"`
	Head    store.Head `json:"head"`
	Signed  int        `json:"signed"`
}

// Text implements view.
func (v *verifyView) Text(p *ui.Printer) error {
	style := ui.Valid
	if v.Outcome != "good" {
		style = ui.Revoked
	}
	return p.Line(style.Of(v.Outcome), ui.Plain.Of("  "+v.Reason))
}

func (r *run) verifyLog(ctx context.Context, p *store.PKI, kept *store.Head) error {
	head, signed, err := p.VerifyJournal(ctx, kept)
	v := &verifyView{Outcome: "good", Head: head, Signed: signed,
		Reason: strconv.FormatInt(head.Number, 10) + " lines, " + strconv.Itoa(signed) + " of them signed, head " + head.String()}
	broken, isBroken := errors.AsType[*store.ChainError](err)
	if err != nil && !isBroken {
		return err
	}
	switch old := p.RolledBack(); {
	case isBroken:
		v.Outcome, v.Reason = "bad", broken.Error()
	case old != nil: // what is here holds, and what came after it is missing
		v.Outcome, v.Reason = "bad", old.Error()
	}
	if err := r.emit(v); err != nil {
		return err
	}
	if v.Outcome != "good" {
		return bad(nil)
	}
	return nil
}

// lineView is a line of the journal.
type lineView store.Line

// Text implements view.
func (v lineView) Text(p *ui.Printer) error {
	mark := ui.Muted.Of(" ")
	if v.Signed {
		mark = ui.Valid.Of("s")
	}
	return p.Line(ui.Muted.Of(strconv.FormatInt(v.Number, 10)), ui.Plain.Of(" "), mark, ui.Plain.Of(" "+when(v.Time)+"  "+v.Actor.User+"@"+v.Actor.Host+"  "),
		ui.Heading.Of(v.Act), ui.Plain.Of("  "), ui.Name.Of(v.Subject), ui.Muted.Of(details(v.Details)))
}

// maxDetail is how many characters of one detail a line shows.
const maxDetail = 200

// details writes the members of a line's JSON as key=value.
func details(raw json.RawMessage) string {
	d := json.NewDecoder(bytes.NewReader(raw))
	if start, err := d.Token(); err != nil || start != json.Delim('{') {
		return ""
	}
	var out strings.Builder
	for d.More() {
		key, err := d.Token()
		var value json.RawMessage
		if err != nil || d.Decode(&value) != nil {
			break
		}
		text := string(value)
		var plain string
		if json.Unmarshal(value, &plain) == nil {
			text = plain
		}
		if cut := []rune(text); len(cut) > maxDetail { // the serial numbers of a batch; --json has all
			text = string(cut[:maxDetail]) + "…"
		}
		if text != "" {
			fmt.Fprintf(&out, "  %s=%s", key, text)
		}
	}
	return out.String()
}

func (r *run) printLog(ctx context.Context, p *store.PKI) error {
	if !r.json {
		return p.Journal(ctx, 1, func(l store.Line) error { return r.emit(lineView(l)) })
	}
	out := r.out.Array()
	if err := p.Journal(ctx, 1, func(l store.Line) error { return out.Add(l) }); err != nil {
		return err
	}
	return out.Close()
}

// followLog prints what is there and then what comes, until it is interrupted.
func (r *run) followLog(ctx context.Context, p *store.PKI) error {
	const pause = 300 * time.Millisecond
	next := int64(1)
	for {
		err := p.Journal(ctx, next, func(l store.Line) error {
			next = l.Number + 1
			return r.emitRow(lineView(l))
		})
		if err != nil {
			return err
		}
		select {
		case <-ctx.Done():
			return ctx.Err()
		case <-time.After(pause):
		}
	}
}
