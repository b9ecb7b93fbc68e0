package commands

import (
	"errors"
	"fmt"
	"strconv"
	"time"

	"mutual/commands/ui"
	"mutual/pki/crl"
)

// crlContents is what stands in a CRL, with its first entries.
type crlContents struct {
	Issuer         string      `json:"issuer"`
	Number         string      `json:"crlNumber,omitempty"`
	ThisUpdate     time.Time   `json:"thisUpdate"`
	NextUpdate     *time.Time  `json:"nextUpdate,omitempty"`
	DaysLeft       *int        `json:"daysLeft,omitempty"`
	AuthorityKeyID string      `json:"authorityKeyIdentifier,omitempty"`
	Unsupported    string      `json:"unsupported,omitempty"` // why it cannot be applied
	Entries        int         `json:"entries"`
	First          []entryView `json:"firstRevokedCertificates"`
	expired        bool
}

// maxShownEntries is how many entries of a CRL are shown.
const maxShownEntries = 20

// newCRLContents describes a CRL, one that we cannot apply, too.
func (r *run) newCRLContents(der []byte) (*crlContents, error) {
	list, err := crl.Parse(der)
	v := &crlContents{}
	unsupported, isUnsupported := errors.AsType[*crl.UnsupportedError](err)
	switch {
	case isUnsupported:
		list, v.Unsupported = unsupported.List, unsupported.Feature
	case err != nil:
		return nil, err
	}
	v.Issuer, v.ThisUpdate = nameText(list.Issuer()), list.ThisUpdate()
	v.AuthorityKeyID, v.Entries = hexText(list.AuthorityKeyID()), list.Len()
	v.First = []entryView{}
	if n := list.Number(); n != nil {
		v.Number = n.String()
	}
	if next := list.NextUpdate(); !next.IsZero() {
		days := daysLeft(next, r.now())
		v.NextUpdate, v.DaysLeft, v.expired = &next, &days, !r.now().Before(next)
	}
	for e := range list.Entries() {
		if len(v.First) == maxShownEntries {
			break
		}
		v.First = append(v.First, entryView{Serial: e.Serial, RevocationDate: e.RevocationDate, Reason: e.Reason})
	}
	return v, nil
}

func (v *crlContents) text(p *ui.Printer) error {
	next, style := "never: it says nothing", ui.Warning
	if v.NextUpdate != nil {
		next, style = fmt.Sprintf("%s (%d days)", when(*v.NextUpdate), *v.DaysLeft), ui.Valid
	}
	if v.expired {
		next, style = next+", EXPIRED", ui.Revoked
	}
	_ = p.Fields(
		field("issuer", orEmpty(v.Issuer)),
		styled(ui.Serial, "CRL number", v.Number),
		field("thisUpdate", when(v.ThisUpdate)),
		style.Field("nextUpdate", next),
		styled(ui.Serial, "authority key identifier", v.AuthorityKeyID),
		styled(ui.Warning, "cannot be applied", v.Unsupported),
		field("entries", strconv.Itoa(v.Entries)),
	)
	if len(v.First) == 0 {
		return p.Flush()
	}
	t := ui.NewTable(ui.Column{Title: "SERIAL", Flexible: true}, ui.Column{Title: "REVOKED"}, ui.Column{Title: "REASON"})
	for _, e := range v.First {
		t.Row(ui.Serial.Of(bounded(e.Serial.String())), ui.Plain.Of(when(e.RevocationDate)), ui.Revoked.Of(e.Reason.String()))
	}
	_ = p.Table(t)
	if more := v.Entries - len(v.First); more > 0 {
		return p.Printf("… and %d more: mutual crl show FILE\n", more)
	}
	return p.Flush()
}
