package commands

import (
	"fmt"
	"slices"

	"mutual/commands/ui"
	"mutual/pki/probe"
)

// probesView is the result of a probe.
type probesView struct {
	SchemaVersion int             `json:"schemaVersion"`
	Targets       []*probe.Report `json:"targets"`
}

func newProbesView(reports []*probe.Report) *probesView {
	return &probesView{SchemaVersion: probe.SchemaVersion, Targets: reports}
}

// Text implements view: one target in full, several in a line each.
func (v *probesView) Text(p *ui.Printer) error {
	if len(v.Targets) == 1 {
		return (&targetView{v.Targets[0]}).Text(p)
	}
	table := p.LongTable(ui.Column{Title: "STATE"}, ui.Column{Title: "TARGET"}, ui.Column{Title: "MODE"}, ui.Column{Title: "WHERE"}, ui.Column{Title: "WHY", Flexible: true})
	for _, report := range v.Targets {
		t := &targetView{report}
		if err := table.Row(t.word(), ui.Name.Of(t.Target), ui.Plain.Of(string(t.Mode)), ui.Plain.Of(string(t.EnforcedAt)), ui.Plain.Of(t.Reason)); err != nil {
			return err
		}
	}
	if err := table.Close(); err != nil {
		return err
	}
	counts := map[string]int{}
	for _, report := range v.Targets {
		counts[(&targetView{report}).word().Text]++
	}
	_ = p.Printf("\n")
	spans := []ui.Span{ui.Plain.Of(fmt.Sprintf("%d targets:", len(v.Targets)))}
	for _, word := range []ui.Span{ui.Valid.Of(wordLocked), ui.Revoked.Of(wordOpen), ui.Revoked.Of(wordRefused), ui.Revoked.Of(wordForeign), ui.Unknown.Of(wordUnknown)} {
		if n := counts[word.Text]; n > 0 {
			spans = append(spans, ui.Plain.Of(fmt.Sprintf("  %d ", n)), word)
		}
	}
	return p.Line(spans...)
}

// targetView is the report of one target.
type targetView struct{ *probe.Report }

// The words that a person sees first.
const (
	wordLocked  = "LOCKED"      // who must be refused is
	wordOpen    = "OPEN"        // somebody gets in who has no certificate, or one that nobody has verified
	wordRefused = "REFUSED"     // locked, for your certificate, too
	wordForeign = "NOT TRUSTED" // the server itself
	wordUnknown = "COULD NOT TELL"
)

// word says it in one word: the worst of all pages and versions.
func (v *targetView) word() ui.Span {
	is := func(modes ...probe.Mode) bool {
		return slices.ContainsFunc(v.Children, func(c probe.Child) bool { return slices.Contains(modes, c.Mode) })
	}
	switch {
	case is(probe.NotRequested, probe.OptionalUnverified, probe.OptionalVerified, probe.RequiredUnverified):
		if v.Outcome == probe.OK {
			return ui.Plain.Of(wordOpen)
		}
		return ui.Revoked.Of(wordOpen)
	case v.Server != nil && v.Server.Trust == probe.Untrusted:
		return ui.Revoked.Of(wordForeign)
	case v.Mode == probe.Unreachable, v.Mode == probe.ModeInconclusive, is(probe.ModeInconclusive):
		return ui.Unknown.Of(wordUnknown)
	case is(probe.RejectsGood):
		return ui.Revoked.Of(wordRefused)
	case v.Outcome == probe.CouldNotTell:
		return ui.Unknown.Of(wordUnknown)
	}
	return ui.Valid.Of(wordLocked)
}

// Text implements view.
func (v *targetView) Text(p *ui.Printer) error {
	_ = p.Line(v.word(), ui.Plain.Of("  "), ui.Name.Of(v.Target), ui.Plain.Of("  "+string(v.Mode)))
	_ = p.Printf("%s\n", v.Reason)
	if len(v.Cases) > 0 {
		_ = p.Printf("\n")
		_ = p.Table(v.matrix())
	}
	if len(v.Children) > len(v.TLS) {
		_ = p.Printf("\n")
		_ = p.Table(v.pages())
	}
	v.printFindings(p)
	_ = p.Printf("\n")
	if err := p.Fields(v.fields()...); err != nil {
		return err
	}
	if v.Mode == probe.RequiredUnconfirmed {
		return p.Line(ui.Muted.Of("not tested: " + v.untested()))
	}
	return nil
}

// untested is what would confirm that a certificate is required.
func (v *targetView) untested() string {
	tried := func(id probe.CaseID) bool {
		return slices.ContainsFunc(v.Cases, func(c probe.Case) bool { return c.Case == id })
	}
	if !tried(probe.CaseStranger) && !tried(probe.CaseImpostor) {
		return "whether a self-made certificate is refused: go as far as --level check, with all cases"
	}
	return "whether a certificate that should be let in is: give --cert and --key, or --as NAME"
}

// matrix has a row for each case. One that went the same way for every path is
// there once.
func (v *targetView) matrix() *ui.Table {
	paths := map[string]bool{}
	for _, c := range v.Children {
		paths[c.Path] = true
	}
	columns := []ui.Column{{Title: "TLS"}, {Title: "CASE"}, {Title: "VERDICT"}, {Title: "WHERE"}, {Title: "EVIDENCE"}, {Title: "WHAT WAS SEEN", Flexible: true}}
	if len(paths) > 1 {
		columns = slices.Insert(columns, 1, ui.Column{Title: "PATH", Flexible: true})
	}
	table := ui.NewTable(columns...)
	for _, c := range v.Cases {
		if v.notOffered(c.TLS) {
			_ = table.Row(ui.Plain.Of(c.TLS), ui.Muted.Of("not offered")) // it is held, so it cannot fail
			continue
		}
		name := string(c.Case)
		if c.Control {
			name += ", again"
		}
		row := []ui.Span{ui.Plain.Of(c.TLS), ui.Plain.Of(name), verdictStyle(c).Of(string(c.Verdict)), ui.Plain.Of(string(c.Layer)), ui.Muted.Of(string(c.Strength)), ui.Plain.Of(c.Detail)}
		if len(paths) > 1 {
			row = slices.Insert(row, 1, ui.Plain.Of(c.Path))
		}
		_ = table.Row(row...) // it is held, so it cannot fail
	}
	return table
}

func (v *targetView) notOffered(version string) bool {
	return slices.ContainsFunc(v.TLS, func(t probe.Version) bool { return t.Version == version && t.Offered == probe.No })
}

// verdictStyle is green where a case went as it should.
func verdictStyle(c probe.Case) ui.Style {
	wanted := probe.Rejected
	if c.Case == probe.CaseGood || c.Case == probe.CaseOther {
		wanted = probe.Accepted
	}
	switch c.Verdict {
	case wanted:
		return ui.Valid
	case probe.Accepted, probe.Rejected:
		return ui.Revoked
	}
	return ui.Unknown
}

func (v *targetView) pages() *ui.Table {
	table := ui.NewTable(ui.Column{Title: "TLS"}, ui.Column{Title: "PATH", Flexible: true}, ui.Column{Title: "MODE"}, ui.Column{Title: "WHERE"}, ui.Column{Title: "WHY", Flexible: true})
	for _, c := range v.Children {
		style := map[probe.Outcome]ui.Style{probe.OK: ui.Valid, probe.Violated: ui.Revoked, probe.CouldNotTell: ui.Unknown}[c.Outcome]
		_ = table.Row(ui.Plain.Of(c.TLS), ui.Plain.Of(c.Path), style.Of(string(c.Mode)), ui.Plain.Of(string(c.EnforcedAt)), ui.Plain.Of(c.Reason)) // it is held
	}
	return table
}

func (v *targetView) printFindings(p *ui.Printer) {
	for _, f := range v.Findings {
		style := ui.Muted
		switch f.Severity {
		case probe.Critical, probe.High:
			style = ui.Revoked
		case probe.Medium:
			style = ui.Unknown
		}
		_ = p.Printf("\n")
		_ = p.Line(style.Of(string(f.Severity)), ui.Plain.Of("  "), ui.Name.Of(f.ID), ui.Plain.Of("  "+f.Title), ui.Muted.Of("  ("+f.Where+")"))
		fields := []ui.Field{ui.Plain.Field("  meaning", f.Meaning), ui.Plain.Field("  to do", f.Fix)}
		if len(f.References) > 0 {
			fields = append(fields, ui.Muted.Field("  see", f.References...))
		}
		_ = p.Fields(fields...)
	}
}

func (v *targetView) fields() []ui.Field {
	fields := []ui.Field{
		fieldUnlessEmpty("address", v.Address),
		ui.Plain.Field("expected", string(v.Expected)),
		fieldUnlessEmpty("server", v.Stack),
	}
	for _, t := range v.TLS {
		if t.Offered != probe.Yes {
			said := map[probe.Answer]string{probe.No: "not offered", probe.Unknown: "whether it is offered could not be told: " + t.Reason}[t.Offered]
			fields = append(fields, ui.Muted.Field("TLS "+t.Version, said))
			continue
		}
		asked := map[probe.Answer]string{
			probe.Yes: "a certificate is asked for", probe.No: "no certificate is asked for", probe.Unknown: "whether a certificate is asked for was not seen",
		}[t.Requested]
		names := append([]string{asked}, t.AcceptableCAs...)
		if t.AcceptableCAsOmitted > 0 {
			names = append(names, fmt.Sprintf("… and %d more", t.AcceptableCAsOmitted))
		}
		fields = append(fields, ui.Plain.Field("TLS "+t.Version, names...))
	}
	if s := v.Senders; s != nil {
		fields = append(fields, ui.Plain.Field("would send it", fmt.Sprintf("Go %s, Java %s, browsers %s: %s", yesNo(s.Go), yesNo(s.Java), yesNo(s.Browsers), s.Reason)))
	}
	if s := v.Server; s != nil {
		for _, c := range s.Chain {
			fields = append(fields, ui.Plain.Field("its chain", fmt.Sprintf("%s, issued by %s, until %s, serial %s", c.Subject, c.Issuer, when(c.NotAfter), c.Serial)))
		}
		fields = append(fields, map[probe.Trust]ui.Field{
			probe.Trusted:    ui.Valid.Field("trust", "trusted"),
			probe.Untrusted:  ui.Revoked.Field("trust", "NOT trusted: "+s.TrustDetail),
			probe.NotChecked: ui.Muted.Field("trust", "not checked: give --ca FILE"),
		}[s.Trust])
	}
	return append(fields, ui.Muted.Field("times", fmt.Sprintf("DNS %.1f ms, TCP %.1f ms, TLS %.1f ms", v.Timings.DNS, v.Timings.TCP, v.Timings.TLS)))
}

func yesNo(yes bool) string {
	if yes {
		return "yes"
	}
	return "no"
}
