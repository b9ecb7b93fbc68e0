package commands

import (
	"context"
	"fmt"
	"time"

	"github.com/urfave/cli/v2"

	"mutual/commands/ui"
	"mutual/pki"
	"mutual/pki/store"
)

func statusCommand() *cli.Command {
	return leaf(leafSpec{
		Name:     "status",
		Category: categoryLooking,
		Usage:    "show the PKI at a glance, and what is due",
		Long:     "Exits with 3 when something needs a person. With --quiet only that is printed, and nothing while nothing is due.",
		Example:  "mutual status\nmutual status --json",
		Action:   runStatus,
	})
}

// statusView is the PKI at a glance.
type statusView struct {
	PKI    string              `json:"pki"`
	CAs    []caStatusView      `json:"cas"`
	CRLs   []crlView           `json:"crls"`
	Counts map[store.State]int `json:"counts"`
	Soon   int                 `json:"expiringWithin30Days"`
	Epoch  int64               `json:"epoch"`
	Head   string              `json:"journalHead"`
	Due    []dueView           `json:"due"`
	now    time.Time
	quiet  bool // only what is due
}

type caStatusView struct {
	Role      pki.Kind  `json:"role"`
	Key       string    `json:"key"`
	Older     bool      `json:"older"`
	Subject   string    `json:"subject"`
	NotAfter  time.Time `json:"notAfter"`
	DaysLeft  int       `json:"daysLeft"`
	Revoked   bool      `json:"revoked"`
	KeyIsHere bool      `json:"keyIsHere"`
}

// dueView is something that needs a person, and what to do.
type dueView struct {
	What string `json:"what"`
	Do   string `json:"do"`
}

// Text implements view.
func (v *statusView) Text(p *ui.Printer) error {
	if !v.quiet {
		v.glance(p)
	}
	if len(v.Due) == 0 && !v.quiet {
		return p.Line(ui.Valid.Of("nothing is due"))
	}
	for _, d := range v.Due {
		_ = p.Line(ui.Warning.Of("due"), ui.Plain.Of("  "+d.What+": "+d.Do))
	}
	return p.Flush()
}

// glance prints all but what is due. The printer keeps a failure.
func (v *statusView) glance(p *ui.Printer) {
	fields := []ui.Field{ui.Plain.Field("PKI", v.PKI)}
	for _, ca := range v.CAs {
		state := stateStyle(store.Valid, ca.DaysLeft)
		text := fmt.Sprintf("%s, until %s (%d days)", ca.Subject, when(ca.NotAfter), ca.DaysLeft)
		if ca.Revoked {
			state, text = ui.Revoked, text+", REVOKED"
		}
		switch {
		case ca.KeyIsHere:
		case ca.Role == pki.KindIssuing:
			text += ", key MISSING"
		default:
			text += ", key elsewhere"
		}
		name := string(ca.Role) + " CA"
		if ca.Older {
			name = "older " + name
		}
		fields = append(fields, state.Field(name, text))
	}
	for _, l := range v.CRLs {
		fields = append(fields, ui.Field{Name: l.label(), Values: []ui.Span{
			{Text: "number " + l.Number + ", " + l.span(v.now).Text, Style: l.span(v.now).Style}}})
	}
	fields = append(fields, ui.Plain.Field("certificates", fmt.Sprintf("%d valid (%d end within 30 days), %d revoked, %d held, %d expired",
		v.Counts[store.Valid], v.Soon, v.Counts[store.Revoked], v.Counts[store.Held], v.Counts[store.Expired])))
	fields = append(fields, ui.Plain.Field("epoch", fmt.Sprint(v.Epoch)), ui.Serial.Field("journal", v.Head))
	_ = p.Fields(fields...)
}

func runStatus(ctx context.Context, r *run, c *cli.Context) error {
	due := 0
	err := r.withOldPKI(ctx, func(p *store.PKI) error {
		s, err := p.Status(ctx)
		if err != nil {
			return err
		}
		v := &statusView{PKI: p.Dir(), CRLs: newCRLViews(s.CRLs, r.now()), Counts: s.Counts, Soon: s.Soon,
			Epoch: s.Epoch, Head: s.Head.String(), Due: []dueView{}, now: r.now(), quiet: r.quiet}
		for _, ca := range s.CAs {
			v.CAs = append(v.CAs, caStatusView{ca.Role, ca.Key, ca.Older, ca.Subject, ca.NotAfter, daysLeft(ca.NotAfter, r.now()), ca.Revoked, ca.KeyIsHere})
		}
		for _, d := range p.Due(s) {
			v.Due = append(v.Due, dueView{What: d.What, Do: remedy(d, s.Publish)})
		}
		due = len(v.Due)
		return r.emit(v)
	})
	if err == nil && due > 0 {
		return bad(nil)
	}
	return err
}

// remedy is what to do about something that is due. published is the directory
// that servers read, or "".
func remedy(d store.Due, published string) string {
	switch d.Remedy {
	case store.RemedySign:
		return refreshCommand(*d.List)
	case store.RemedyWrite:
		if published == "" {
			return "mutual crl refresh"
		}
		return "mutual crl publish"
	case store.RemedyRestore:
		return "restore the newest backup; until then nothing is issued or revoked here"
	case store.RemedyRestoreKey:
		file := string(d.CA.Role)
		if d.CA.Older {
			file += "-" + d.CA.Key
		}
		return "put " + file + ".key back from a backup"
	case store.RemedyRetireCA:
		return "mutual ca retire " + d.CA.Key
	case store.RemedyRekeyCA:
		return "mutual ca renew " + string(d.CA.Role) + " --rekey"
	}
	return "mutual ca renew " + string(d.CA.Role)
}
