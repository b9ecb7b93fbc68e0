package commands

import (
	"context"
	"crypto/x509"
	"fmt"
	"strings"
	"time"

	"github.com/urfave/cli/v2"

	"mutual/commands/ui"
	"mutual/pki"
	"mutual/pki/store"
)

func caCommand() *cli.Command {
	return group("ca", categoryBootstrapping, "show, renew, replace and retire the CAs",
		caShowCommand(), caRenewCommand(), caRetireCommand(), caRequestCommand(), caInstallCommand(), caPassphraseCommand())
}

func caShowCommand() *cli.Command {
	return leaf(leafSpec{
		Name:  "show",
		Usage: "show every CA key that is or was in use",
		Long: "With its certificates, those by which one root vouches for the next included, where the key lies, and how many live certificates " +
			"depend on it. The short KEY is the one at the end of the CA's name and in the names of its files.",
		Example: "mutual ca show\nmutual ca show --json",
		Action: func(ctx context.Context, r *run, _ *cli.Context) error {
			return r.reading(ctx, func(p *store.PKI) error {
				cas, err := p.CAs(ctx)
				if err != nil {
					return err
				}
				return r.emit(newCAListView(cas, r.now()))
			})
		},
	})
}

// caListView is every CA key.
type caListView struct {
	CAs []caKeyView `json:"cas"`
}

type caKeyView struct {
	Role         pki.Kind            `json:"role"`
	Key          string              `json:"key"`
	KeyID        string              `json:"keyId"`
	KeyType      string              `json:"keyType"`
	State        store.CAState       `json:"state"`
	Created      *time.Time          `json:"created,omitempty"`
	Retired      *time.Time          `json:"retired,omitempty"`
	KeyFile      string              `json:"keyFile"`
	Encrypted    bool                `json:"keyEncrypted"`
	Live         int                 `json:"live"`
	Certificates []caCertificateView `json:"certificates"`
}

type caCertificateView struct {
	certificateView
	Subject string `json:"subject"`
	Issuer  string `json:"issuer"`
}

func newCAListView(cas []store.CAInfo, now time.Time) *caListView {
	v := &caListView{CAs: []caKeyView{}}
	for _, ca := range cas {
		one := caKeyView{Role: ca.Role, Key: ca.Key, KeyID: ca.KeyID, KeyType: ca.KeyType, State: ca.State, KeyFile: ca.KeyFile,
			Encrypted: ca.Encrypted, Live: ca.Live, Certificates: []caCertificateView{}}
		if !ca.Created.IsZero() {
			one.Created = &ca.Created
		}
		if !ca.Retired.IsZero() {
			one.Retired = &ca.Retired
		}
		for _, c := range ca.Certificates {
			one.Certificates = append(one.Certificates, caCertificateView{newCertificateView(c.Certificate, now), c.Subject, c.Issuer})
		}
		v.CAs = append(v.CAs, one)
	}
	return v
}

// Text implements view.
func (v *caListView) Text(p *ui.Printer) error {
	for i, ca := range v.CAs {
		if i > 0 {
			_ = p.Printf("\n")
		}
		_ = p.Line(ui.Heading.Of(string(ca.Role)+" CA "+ca.Key), ui.Plain.Of("  "), caStateStyle(ca.State).Of(string(ca.State)))
		if err := p.Fields(ca.fields()...); err != nil {
			return err
		}
	}
	return p.Flush()
}

func caStateStyle(s store.CAState) ui.Style {
	return map[store.CAState]ui.Style{store.CAActive: ui.Valid, store.CAOlder: ui.Expiring, store.CARevoked: ui.Revoked,
		store.CARequested: ui.Warning, store.CAOut: ui.Muted}[s]
}

func (v caKeyView) fields() []ui.Field {
	where := v.KeyFile
	switch {
	case where == "":
		where = "not in the PKI"
	case v.Encrypted:
		where += ", encrypted"
	}
	fields := []ui.Field{fieldUnlessEmpty("kind of key", v.KeyType), ui.Plain.Field("key", where)}
	for i, c := range v.Certificates {
		name := "certificate"
		switch {
		case c.Kind == pki.KindCross:
			name = "cross-certificate"
		case i > 0:
			name = "former certificate"
		}
		state := c.state()
		fields = append(fields, ui.Field{Name: name, Values: []ui.Span{
			{Text: fmt.Sprintf("%s, issued by %s, from %s until %s, serial %s, %s",
				c.Subject, c.Issuer, when(c.NotBefore), when(c.NotAfter), c.Serial, state.Text), Style: state.Style}}})
	}
	if v.Retired != nil {
		fields = append(fields, ui.Plain.Field("retired", when(*v.Retired)))
	}
	if v.State != store.CARequested && v.State != store.CAOut {
		fields = append(fields, ui.Plain.Field("live certificates", fmt.Sprint(v.Live)))
	}
	return fields
}

// caActView is what an act on a CA has done.
type caActView struct {
	Act         string        `json:"act"`
	Role        pki.Kind      `json:"role"`
	Rekeyed     bool          `json:"rekeyed"`
	Certificate *caBriefView  `json:"certificate,omitempty"`
	Cross       *caBriefView  `json:"cross,omitempty"`
	Reissued    []caBriefView `json:"reissued,omitempty"`
	KeyFile     string        `json:"keyFile,omitempty"`
	File        string        `json:"certificateFile,omitempty"`
	Verified    int           `json:"verified"`
	Taken       string        `json:"crlInstalled,omitempty"`
	CRLs        []crlView     `json:"crls"`
}

type caBriefView struct {
	Subject  string          `json:"subject"`
	Issuer   string          `json:"issuer"`
	Serial   pki.Serial      `json:"serial"`
	NotAfter time.Time       `json:"notAfter"`
	SHA256   pki.Fingerprint `json:"sha256"`
}

func newCABriefView(c *x509.Certificate) *caBriefView {
	if c == nil {
		return nil
	}
	return &caBriefView{c.Subject.String(), c.Issuer.String(), pki.NewSerial(c.SerialNumber), c.NotAfter, pki.FingerprintOf(c.Raw)}
}

func (r *run) newCAActView(act string, done *store.CARenewed) *caActView {
	if done.Clipped != "" {
		r.note("the lifetime was clipped to %s by %s", when(done.Certificate.NotAfter), done.Clipped)
	}
	v := &caActView{Act: act, Role: done.Role, Rekeyed: done.Rekeyed, Certificate: newCABriefView(done.Certificate),
		Cross: newCABriefView(done.Cross), KeyFile: done.KeyFile, Verified: done.Verified, CRLs: newCRLViews(done.CRLs, r.now())}
	if done.Taken != nil {
		v.Taken = done.Taken.String()
	}
	for _, c := range done.Reissued {
		v.Reissued = append(v.Reissued, *newCABriefView(c))
	}
	return v
}

// Text implements view.
func (v *caActView) Text(p *ui.Printer) error {
	line := func(word, name string, c *caBriefView) {
		_ = p.Line(ui.Valid.Of(word), ui.Plain.Of("  "+name+"  "), ui.Name.Of(c.Subject),
			ui.Plain.Of(fmt.Sprintf("  until %s, serial %s", when(c.NotAfter), c.Serial)))
	}
	if v.Certificate == nil && v.Taken == "" {
		return p.Line(ui.Muted.Of("nothing changed"))
	}
	if v.Certificate != nil {
		line(v.Act, string(v.Role)+" CA", v.Certificate)
	}
	if v.Cross != nil {
		line("signed", "the same by the root before it", v.Cross)
	}
	for _, c := range v.Reissued {
		line("signed", "issuing CA by the new root", &c)
	}
	if v.KeyFile != "" {
		_ = p.Line(ui.Plain.Of("key  " + v.KeyFile))
	}
	if v.File != "" {
		_ = p.Line(ui.Plain.Of("certificate  " + v.File))
	}
	if v.Certificate != nil && v.File == "" {
		_ = p.Line(ui.Valid.Of("verified"), ui.Plain.Of(fmt.Sprintf("  %d live %s", v.Verified, plural(v.Verified, "certificate"))))
	}
	if v.Taken != "" {
		_ = p.Line(ui.Valid.Of(v.Act), ui.Plain.Of("  the root's CRL, number "+v.Taken))
	}
	for _, l := range v.CRLs {
		if l.Made {
			_ = p.Line(ui.Heading.Of("CRL"), ui.Plain.Of("  "+l.line()))
		}
	}
	return p.Flush()
}

func plural(n int, noun string) string {
	if n == 1 {
		return noun
	}
	return noun + "s"
}

// parseRole reads root or issuing.
func parseRole(s string) (pki.Kind, error) {
	role := pki.Kind(strings.ToLower(s))
	if role != pki.KindRoot && role != pki.KindIssuing {
		return "", usagef("%q is neither root nor issuing", s)
	}
	return role, nil
}
