package commands

import (
	"fmt"
	"time"
	"unicode/utf8"

	"mutual/commands/ui"
	"mutual/pki"
	"mutual/pki/store"
)

// The types of items, as JSON has them.
const (
	typeCertificate = "certificate"
	typeRequest     = "certificationRequest"
	typeCRL         = "crl"
	typePublicKey   = "publicKey"
	typePrivateKey  = "privateKey"
)

// showView is what WHAT names: certificates of the inventory, or the content
// of a file.
type showView struct {
	What         string            `json:"what"`
	As           string            `json:"as"` // name, serial, sha256, sha1 or file
	Identity     *identityView     `json:"identity,omitempty"`
	Certificates []certificateView `json:"certificates,omitempty"` // all of the identity
	Items        []itemView        `json:"items"`                  // in full
}

type identityView struct {
	Name        pki.Name    `json:"name"`
	Blocked     bool        `json:"blocked"`
	BlockReason *pki.Reason `json:"blockReason,omitempty"`
	BlockedAt   *time.Time  `json:"blockedAt,omitempty"`
}

// itemView is one thing in full: one of the pointers is set. Inventory is set
// for a certificate of ours.
type itemView struct {
	Type        string           `json:"type"`
	Line        int              `json:"line,omitempty"` // of a file in PEM
	Certificate *x509View        `json:"certificate,omitempty"`
	Request     *requestView     `json:"certificationRequest,omitempty"`
	CRL         *crlContents     `json:"crl,omitempty"`
	Key         *keyView         `json:"key,omitempty"`
	Inventory   *certificateView `json:"inventory,omitempty"`
}

func newIdentityView(id *store.Identity) *identityView {
	v := &identityView{Name: id.Name, Blocked: id.Blocked}
	if id.Blocked {
		v.BlockReason, v.BlockedAt = &id.BlockReason, &id.BlockedAt
	}
	return v
}

// Text implements view.
func (v *showView) Text(p *ui.Printer) error {
	if v.Identity != nil {
		if err := v.identityText(p); err != nil {
			return err
		}
	}
	for i, item := range v.Items {
		if i > 0 || v.Identity != nil {
			_ = p.Printf("\n")
		}
		if len(v.Items) > 1 {
			_ = p.Heading(fmt.Sprintf("%d of %d: %s", i+1, len(v.Items), item.words()))
		} else {
			_ = p.Heading(item.words())
		}
		if err := item.text(p); err != nil {
			return err
		}
	}
	return p.Flush()
}

func (v *showView) identityText(p *ui.Printer) error {
	blocked := ui.Valid.Field("blocked", "no")
	if v.Identity.Blocked {
		undo := "mutual allow " + v.Identity.Name.String()
		style := ui.Revoked
		if *v.Identity.BlockReason == pki.CertificateHold {
			undo, style = "mutual unhold "+v.Identity.Name.String(), ui.Held
		}
		blocked = style.Field("blocked", fmt.Sprintf("since %s (%s); undo it with: %s",
			when(*v.Identity.BlockedAt), v.Identity.BlockReason, undo))
	}
	_ = p.Fields(ui.Name.Field("identity", v.Identity.Name.String()), blocked)
	if len(v.Certificates) == 0 {
		return p.Flush()
	}
	_ = p.Printf("\n")
	table := p.LongTable(certificateColumns()...)
	for _, c := range v.Certificates {
		_ = addCertificate(table, c) // the printer keeps a failure
	}
	return table.Close()
}

// words says what the item is.
func (i *itemView) words() string {
	switch {
	case i.Request != nil:
		return "certificate request"
	case i.CRL != nil:
		return "CRL"
	case i.Type == typePublicKey:
		return "public key"
	case i.Key != nil:
		return "private key"
	}
	return "certificate"
}

func (i *itemView) text(p *ui.Printer) error {
	switch {
	case i.Request != nil:
		return p.Fields(i.Request.fields()...)
	case i.CRL != nil:
		return i.CRL.text(p)
	case i.Key != nil:
		return p.Fields(i.Key.fields()...)
	}
	fields := i.Certificate.fields()
	if i.Inventory != nil {
		fields = append(inventoryFields(i.Inventory), fields...)
	}
	return p.Fields(fields...)
}

// inventoryFields say what the PKI knows of a certificate beside what stands
// in it.
func inventoryFields(v *certificateView) []ui.Field {
	state := string(v.State)
	if v.Reason != nil {
		state = fmt.Sprintf("%s since %s (%s)", v.State, when(*v.RevocationDate), v.Reason)
	}
	fields := []ui.Field{
		ui.Name.Field("name", v.Name),
		field("kind", string(v.Kind)),
		stateStyle(v.State, v.DaysLeft).Field("state", state),
		field("label", v.Label),
	}
	if v.NameBlocked {
		fields = append(fields, ui.Warning.Field("name blocked", "yes: nothing is issued to "+v.Name))
	}
	if v.Replaced {
		fields = append(fields, field("replaced", "by a newer one"))
	}
	if v.Backdated {
		fields = append(fields, ui.Warning.Field("backdated", "begins before its issuer, or had expired when it was issued"))
	}
	return fields
}

// The bounds on what is shown for people; JSON has everything.
const (
	maxShownValues = 100
	maxShownOctets = 1024
)

// field is a field with the values that are not empty, bounded: whoever made a
// certificate has chosen how much stands in it.
func field(name string, values ...string) ui.Field { return styled(ui.Plain, name, values...) }

func styled(style ui.Style, name string, values ...string) ui.Field {
	var shown []string
	for i, v := range values {
		if i == maxShownValues {
			shown = append(shown, fmt.Sprintf("… and %d more: --%s has them", len(values)-i, flagJSON))
			break
		}
		if v != "" {
			shown = append(shown, bounded(v))
		}
	}
	return style.Field(name, shown...)
}

func bounded(s string) string {
	if len(s) <= maxShownOctets {
		return s
	}
	cut := maxShownOctets
	for cut > maxShownOctets-utf8.UTFMax && !utf8.RuneStart(s[cut]) {
		cut--
	}
	return fmt.Sprintf("%s… (%d octets)", s[:cut], len(s))
}

// orEmpty says so where a distinguished name has no attribute.
func orEmpty(s string) string {
	if s == "" {
		return "(empty)"
	}
	return s
}
