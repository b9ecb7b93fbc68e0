package commands

import (
	"fmt"
	"slices"
	"strconv"
	"strings"
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
	typeCRL         = "cRL"
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
	CRL         *crlContents     `json:"cRL,omitempty"`
	Key         *keyView         `json:"key,omitempty"`
	Inventory   *certificateView `json:"inventory,omitempty"`
}

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
	table := certificateTable()
	for _, c := range v.Certificates {
		addCertificate(table, c)
	}
	return p.Table(table)
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

func (v *x509View) fields() []ui.Field {
	return slices.Concat([]ui.Field{
		field("subject", orEmpty(v.Subject)),
		field("issuer", orEmpty(v.Issuer)),
		styled(ui.Serial, "serial", v.Serial.String()),
		v.validity("valid from", v.NotBefore),
		v.validity("valid until", v.NotAfter),
	}, v.Extensions.nameFields(), v.PublicKey.fields(), v.Extensions.fields(), []ui.Field{
		field("signature", v.SignatureAlgorithm),
		field("version", strconv.Itoa(v.Version)),
		styled(ui.Serial, "SHA-256", v.SHA256.String()),
		styled(ui.Serial, "SHA-1", v.SHA1),
	})
}

// validity shows an end of the validity, and how many days it is away.
func (v *x509View) validity(name string, t time.Time) ui.Field {
	style := ui.Plain
	switch {
	case name == "valid from" && v.now.Before(t):
		style = ui.Expired
	case name == "valid until" && !v.now.Before(t):
		style = ui.Expired
	}
	return style.Field(name, when(t)+" ("+daysAway(t, v.now)+")")
}

// daysAway says how many whole days lie between t and now.
func daysAway(t, now time.Time) string {
	days := int(t.Sub(now).Abs().Hours() / 24)
	text := strconv.Itoa(days) + " days"
	switch days {
	case 0:
		text = "less than a day"
	case 1:
		text = "1 day"
	}
	if t.After(now) {
		return "in " + text
	}
	return text + " ago"
}

func (v *requestView) fields() []ui.Field {
	signature := map[string]ui.Field{
		"good":         ui.Valid.Field("signature", "good: whoever made it has the key"),
		"bad":          styled(ui.Revoked, "signature", "BAD: "+v.SignatureDetail),
		"couldNotTell": styled(ui.Unknown, "signature", "not checked: "+v.SignatureDetail),
	}[v.Signature]
	return slices.Concat([]ui.Field{field("subject", orEmpty(v.Subject))}, v.Extensions.nameFields(), v.PublicKey.fields(),
		v.Extensions.fields(), []ui.Field{field("signed with", v.SignatureAlgorithm), signature})
}

func (v *keyView) fields() []ui.Field {
	var encrypted ui.Field
	algorithm := v.Algorithm
	if v.Encrypted != nil {
		encrypted = field("encrypted", map[bool]string{true: "yes", false: "no"}[*v.Encrypted])
		if algorithm == "" {
			algorithm = "not known without the passphrase"
		}
	}
	return []ui.Field{field("key", algorithm), encrypted, styled(ui.Serial, "key identifier", v.KeyID)}
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

func (v *extensionsView) nameFields() []ui.Field {
	return []ui.Field{field(v.title("names", "subjectAltName"), v.SubjectAltName...)}
}

func (v *extensionsView) fields() []ui.Field {
	fields := []ui.Field{
		field(v.title("key usage", "keyUsage"), strings.Join(v.KeyUsage, ", ")),
		field(v.title("extended key usage", "extKeyUsage"), strings.Join(v.ExtKeyUsage, ", ")),
		field(v.title("basic constraints", "basicConstraints"), v.BasicConstraints.words()),
	}
	if c := v.NameConstraints; c != nil {
		title := v.title("name constraints", "nameConstraints")
		fields = append(fields, field(title+", permitted", c.Permitted...), field(title+", excluded", c.Excluded...))
	}
	fields = append(fields,
		styled(ui.Serial, v.title("subject key identifier", "subjectKeyIdentifier"), v.SubjectKeyID),
		styled(ui.Serial, v.title("authority key identifier", "authorityKeyIdentifier"), v.AuthorityKeyID),
		field(v.title("CRL distribution points", "cRLDistributionPoints"), v.CRLDistributionPoints...),
		field(v.title("authority info access", "authorityInfoAccess"), v.AuthorityInfoAccess...),
		field(v.title("certificate policies", "certificatePolicies"), v.CertificatePolicies...),
	)
	var other []string
	for _, e := range v.Other {
		other = append(other, e.words())
	}
	return append(fields, field("other extensions", other...))
}

// title marks the extensions that are critical.
func (v *extensionsView) title(words, name string) string {
	if slices.Contains(v.Critical, name) {
		return words + " (critical)"
	}
	return words
}

func (b *basicConstraintsView) words() string {
	switch {
	case b == nil:
		return ""
	case !b.CA && b.PathLenConstraint == nil:
		return "no CA"
	case !b.CA:
		return fmt.Sprintf("no CA, with a path length of %d", *b.PathLenConstraint)
	case b.PathLenConstraint == nil:
		return "CA, any path length"
	}
	return fmt.Sprintf("CA, path length %d", *b.PathLenConstraint)
}

func (e *extensionView) words() string {
	text := fmt.Sprintf("%s, %d octets", e.OID, e.Octets)
	if e.Critical {
		text += " (critical)"
	}
	if e.Malformed {
		text += ", malformed"
	}
	return text
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
