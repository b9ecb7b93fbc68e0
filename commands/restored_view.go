package commands

import (
	"cmp"
	"fmt"
	"strconv"
	"time"

	"mutual/commands/ui"
	"mutual/pki"
	"mutual/pki/store"
)

// restoredView is a PKI that was restored, and what happened after its backup.
type restoredView struct {
	PKI       string                `json:"pki"`
	Created   time.Time             `json:"backupCreated"`
	Head      string                `json:"backupJournalHead"`
	Encrypted bool                  `json:"backupEncrypted"`
	Epoch     int64                 `json:"epoch"`
	CRLs      []crlView             `json:"crls"`
	NoKey     []string              `json:"keysMissing"`
	Unchecked []string              `json:"keysUnchecked"`
	Publish   string                `json:"publish,omitempty"`
	Compared  []comparedView        `json:"compared"`
	Issued    []laterView           `json:"issuedAfter"`
	Revoked   []laterRevocationView `json:"revokedAfter"`
	Blocked   []laterBlockView      `json:"blockedAfter"`
	Released  []laterView           `json:"releasedAfter"`
	Outcome   string                `json:"outcome"`
}

// comparedView is something that the backup was held against.
type comparedView struct {
	Path       string     `json:"path"`
	Issuer     pki.Kind   `json:"issuer,omitempty"`
	Number     string     `json:"number,omitempty"`
	ThisUpdate *time.Time `json:"thisUpdate,omitempty"`
	Head       string     `json:"journalHead,omitempty"`
	Epoch      *int64     `json:"epoch,omitempty"`
	Relation   string     `json:"relation"` // newer, known, forked, unknown
	Unreadable int        `json:"unreadableRows,omitempty"`
	Error      string     `json:"error,omitempty"`
}

type laterView struct {
	Issuer   pki.Kind        `json:"issuer"`
	Serial   pki.Serial      `json:"serial"`
	Kind     pki.Kind        `json:"kind"`
	Name     string          `json:"name"`
	Label    string          `json:"label"`
	NotAfter time.Time       `json:"notAfter"`
	SHA256   pki.Fingerprint `json:"sha256"`
}

type laterRevocationView struct {
	Issuer         pki.Kind   `json:"issuer"`
	Serial         pki.Serial `json:"serial"`
	Name           string     `json:"name"`
	Reason         pki.Reason `json:"reason"`
	RevocationDate time.Time  `json:"revocationDate"`
	Known          bool       `json:"inInventory"`
	Signed         bool       `json:"inCRL"`
	Taken          bool       `json:"inForce"`
	Source         string     `json:"source"`
}

type laterBlockView struct {
	Name   string     `json:"name"`
	Reason pki.Reason `json:"reason"`
	Taken  bool       `json:"inForce"`
}

func (r *run) newRestoredView(p *store.PKI, done *store.Restored) *restoredView {
	m := done.Manifest
	v := &restoredView{PKI: p.Dir(), Created: m.Created, Head: m.Head.String(), Encrypted: done.Encrypted, Epoch: done.Epoch,
		CRLs: newCRLViews(done.CRLs, r.now()), NoKey: append([]string{}, done.NoKey...), Unchecked: append([]string{}, done.Unchecked...),
		Publish: done.Publish, Compared: []comparedView{}, Issued: newLaterViews(done.Later.Issued),
		Revoked: []laterRevocationView{}, Blocked: []laterBlockView{}, Released: newLaterViews(done.Later.Released), Outcome: "good"}
	if done.Later.NeedsPerson() {
		v.Outcome = "bad"
	}
	for _, s := range done.Later.Sources {
		v.Compared = append(v.Compared, newComparedView(s))
	}
	for _, l := range done.Later.Revoked {
		v.Revoked = append(v.Revoked, laterRevocationView{l.Issuer, l.Serial, l.Name.String(), l.Reason, l.Date, l.Known, l.Signed, l.Taken, l.Source})
	}
	for _, b := range done.Later.Blocked {
		v.Blocked = append(v.Blocked, laterBlockView{b.Name.String(), b.Reason, b.Taken})
	}
	return v
}

func newLaterViews(certs []store.LaterCertificate) []laterView {
	views := []laterView{}
	for _, c := range certs {
		views = append(views, laterView{c.Issuer, c.Serial, c.Kind, certificateName(c.Name, c.Kind), c.Label, c.NotAfter, c.SHA256})
	}
	return views
}

func newComparedView(s store.Source) comparedView {
	v := comparedView{Path: s.Path, Issuer: s.Issuer, Relation: "known", Unreadable: s.Unreadable}
	switch {
	case s.Forked:
		v.Relation = "forked"
	case s.Newer:
		v.Relation = "newer"
	}
	switch {
	case s.Number != nil:
		v.Number, v.ThisUpdate = s.Number.String(), &s.ThisUpdate
	case s.Head.Number > 0:
		v.Head, v.Epoch = s.Head.String(), &s.Epoch
	default:
		v.Relation = "unknown"
	}
	if s.Incomplete != nil {
		v.Error = s.Incomplete.Error()
	}
	return v
}

// Text implements view.
func (v *restoredView) Text(p *ui.Printer) error {
	fields := []ui.Field{
		ui.Plain.Field("PKI", v.PKI),
		ui.Plain.Field("backup of", when(v.Created)),
		ui.Serial.Field("journal", v.Head),
		ui.Plain.Field("epoch", fmt.Sprint(v.Epoch)),
	}
	for _, l := range v.CRLs {
		style, what := ui.Valid, "made anew, number "
		if !l.Made {
			style, what = ui.Warning, "not made anew, number "
		}
		fields = append(fields, style.Field(l.label(), what+l.Number+", "+l.size()))
	}
	for _, c := range v.Compared {
		fields = append(fields, c.style().Field("compared with", c.Path, c.text()))
	}
	_ = p.Fields(fields...)
	if len(v.Issued)+len(v.Revoked)+len(v.Blocked)+len(v.Released) > 0 {
		_ = p.Printf("\n")
		_ = p.Heading("After the backup")
		v.after(p)
	}
	return p.Flush()
}

func (v comparedView) style() ui.Style {
	if v.Relation == "known" && v.Error == "" {
		return ui.Plain
	}
	return ui.Warning
}

func (v comparedView) text() string {
	text := map[string]string{
		"known": "nothing in it is newer than the backup", "newer": "newer than the backup",
		"forked": "its journal is not that of the backup", "unknown": "could not be read",
	}[v.Relation]
	if v.Number != "" {
		text = fmt.Sprintf("CRL of the %s CA, number %s: %s", v.Issuer, v.Number, text)
	}
	if v.Unreadable > 0 {
		text += fmt.Sprintf("; %d rows are damaged or of no CA of this PKI", v.Unreadable)
	}
	if v.Error != "" {
		text += ": " + v.Error
	}
	return text
}

// after prints the first of each kind; JSON has them all.
func (v *restoredView) after(p *ui.Printer) {
	const most = 100
	for _, c := range v.Issued[:min(most, len(v.Issued))] {
		_ = p.Line(ui.Warning.Of("issued"), ui.Plain.Of("  "), ui.Name.Of(c.Name),
			ui.Plain.Of(fmt.Sprintf("  %s, serial %s, until %s: not in the inventory", c.Kind, c.Serial, when(c.NotAfter))))
	}
	for _, l := range v.Revoked[:min(most, len(v.Revoked))] {
		_ = p.Line(l.style().Of("revoked"), ui.Plain.Of("  "), ui.Name.Of(cmp.Or(l.Name, "-")),
			ui.Plain.Of(fmt.Sprintf("  serial %s (%s, %s): %s", l.Serial, l.Reason, when(l.RevocationDate), l.fate())))
	}
	for _, b := range v.Blocked[:min(most, len(v.Blocked))] {
		fate := "not blocked now; run: mutual revoke NAME"
		if b.Taken {
			fate = "blocked again"
		}
		_ = p.Line(ui.Warning.Of("blocked"), ui.Plain.Of("  "), ui.Name.Of(b.Name), ui.Plain.Of("  "+fate))
	}
	for _, c := range v.Released[:min(most, len(v.Released))] {
		_ = p.Line(ui.Held.Of("released"), ui.Plain.Of("  "), ui.Name.Of(c.Name),
			ui.Plain.Of("  serial "+c.Serial.String()+": held again; run: mutual unhold NAME"))
	}
	if more := max(len(v.Issued), len(v.Revoked), len(v.Blocked), len(v.Released)); more > most {
		_ = p.Line(ui.Muted.Of("at most " + strconv.Itoa(most) + " of each are shown; --json lists all"))
	}
}

func (v laterRevocationView) style() ui.Style {
	if v.Taken && v.Known {
		return ui.Revoked
	}
	return ui.Warning
}

func (v laterRevocationView) fate() string {
	switch {
	case v.Taken && v.Known:
		return "revoked again"
	case v.Taken:
		return "not in the inventory; the CRL goes on listing it"
	case v.Known:
		return "NOT revoked now; run: mutual revoke serial:" + v.Serial.String()
	}
	return "not in the inventory, and in no CRL"
}
