package commands

import (
	"time"

	"mutual/commands/ui"
	"mutual/pki"
	"mutual/pki/renew"
	"mutual/pki/store"
)

// What can come of a certificate that was to be renewed.
const (
	resultRenewed    = "renewed"
	resultFailed     = "failed"
	resultStopped    = "stopped"
	resultNothingDue = "nothingDue"
)

// renewView is what came of one certificate.
type renewView struct {
	Result      string      `json:"result"`
	Name        string      `json:"name"`
	Kind        pki.Kind    `json:"kind"`
	Replaces    pki.Serial  `json:"replaces"` // the serial of the old one
	Serial      *pki.Serial `json:"serial,omitempty"`
	NotAfter    *time.Time  `json:"notAfter,omitempty"`
	Superseded  *time.Time  `json:"superseded,omitempty"`
	Key         string      `json:"keyFile,omitempty"`
	Certificate string      `json:"certificateFile,omitempty"`
	Bundle      string      `json:"bundleFile,omitempty"`
	Resumed     bool        `json:"resumed,omitempty"`
	Error       string      `json:"error,omitempty"`
	Hint        string      `json:"hint,omitempty"`
	ExecError   string      `json:"execError,omitempty"`
}

func newRenewView(out renew.Outcome) *renewView {
	v := &renewView{Result: resultRenewed, Name: out.Old.Name.String(), Kind: out.Old.Kind, Replaces: out.Old.Serial}
	if out.Err != nil {
		v.Result, v.Error, v.Hint = resultFailed, out.Err.Error(), hintOf(out.Err)
		return v
	}
	done := out.Result
	v.Serial, v.NotAfter, v.Resumed = &done.Issued.Serial, &done.Issued.Certificate.NotAfter, done.Finished
	v.Key, v.Certificate, v.Bundle = done.Files.Key, done.Files.Certificate, done.Files.Combined
	if !done.Superseded.IsZero() {
		v.Superseded = &done.Superseded
	}
	return v
}

func newStoppedView(p store.Placed) *renewView {
	return &renewView{Result: resultStopped, Name: p.Name.String(), Kind: p.Kind, Replaces: p.Serial,
		Error: "revoked: it is not renewed any more"}
}

// Text implements view.
func (v *renewView) Text(p *ui.Printer) error {
	name := ui.Name.Of(v.Name)
	switch v.Result {
	case resultStopped:
		return p.Line(ui.Revoked.Of("stopped"), ui.Plain.Of("  "), name, ui.Plain.Of("  serial "+v.Replaces.String()+", "+v.Error))
	case resultFailed:
		_ = p.Line(ui.Revoked.Of("failed"), ui.Plain.Of("  "), name, ui.Plain.Of("  "+v.Error)) // the printer keeps its failure
		if v.Hint != "" {
			_ = p.Line(ui.Muted.Of("        " + v.Hint))
		}
		return nil
	}
	line := "  serial " + v.Serial.String() + ", until " + when(*v.NotAfter) + ", " + v.file()
	if v.Superseded != nil {
		line += " (" + v.Replaces.String() + " is superseded at " + when(*v.Superseded) + ")"
	} else {
		line += " (replaces " + v.Replaces.String() + ")"
	}
	_ = p.Line(ui.Valid.Of("renewed"), ui.Plain.Of("  "), name, ui.Plain.Of(line))
	if v.ExecError != "" {
		_ = p.Line(ui.Revoked.Of("failed"), ui.Plain.Of("   "), name, ui.Plain.Of("  "+v.ExecError))
	}
	return nil
}

// file is the one with the certificate.
func (v *renewView) file() string {
	if v.Certificate != "" {
		return v.Certificate
	}
	return v.Bundle
}

// nothingDueView says that there was nothing to do, and until when.
type nothingDueView struct {
	Result string     `json:"result"`
	Next   *time.Time `json:"next,omitempty"`
}

func newNothingDueView(next time.Time) *nothingDueView {
	v := &nothingDueView{Result: resultNothingDue}
	if !next.IsZero() {
		v.Next = &next
	}
	return v
}

// Text implements view.
func (v *nothingDueView) Text(p *ui.Printer) error {
	if v.Next == nil {
		return p.Line(ui.Muted.Of("nothing is due, and nothing will be: no files are known"))
	}
	return p.Line(ui.Muted.Of("nothing is due until " + when(*v.Next)))
}

// forgetView says how many places were forgotten.
type forgetView struct {
	Forgotten int `json:"forgotten"`
}

// Text implements view.
func (v *forgetView) Text(p *ui.Printer) error {
	if v.Forgotten == 0 {
		return p.Line(ui.Muted.Of("nothing was known"))
	}
	return p.Printf("forgotten: where the files of %d are\n", v.Forgotten)
}
