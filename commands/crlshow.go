package commands

import (
	"context"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/asn1"
	"encoding/hex"
	"errors"
	"fmt"
	"iter"
	"strconv"
	"time"

	"github.com/urfave/cli/v2"

	"mutual/commands/ui"
	"mutual/pki"
	"mutual/pki/crl"
	"mutual/pki/pemfile"
	"mutual/pki/store"
)

// maxCRL bounds the file of a CRL: ten million entries are about 500 MB of DER.
const maxCRL = 512 << 20

func crlShowCommand() *cli.Command {
	return leaf(leafSpec{
		Name:      "show",
		Usage:     "show a revocation list and who is in it",
		ArgsUsage: "[FILE]",
		Long:      "Without a FILE: the lists of the PKI.",
		Example:   "mutual crl show\nmutual crl show /etc/nginx/crl.pem --json",
		MaxArgs:   1,
		Action:    runCRLShow,
	})
}

// listView is a CRL. Its entries are read as they are printed: there may be a
// million.
type listView struct {
	listHead
	entries iter.Seq2[entryView, error]
	count   int
	expired bool
}

// After it stands the array revokedCertificates.
type listHead struct {
	File           string     `json:"file"`
	Issuer         string     `json:"issuer"`
	Number         string     `json:"crlNumber,omitempty"`
	ThisUpdate     time.Time  `json:"thisUpdate"`
	NextUpdate     *time.Time `json:"nextUpdate"`
	AuthorityKeyID string     `json:"authorityKeyIdentifier,omitempty"`
}

type entryView struct {
	Serial         pki.Serial `json:"serial"`
	RevocationDate time.Time  `json:"revocationDate"`
	Reason         pki.Reason `json:"reason"`
	Name           string     `json:"name,omitempty"`
}

// listsView is several of them.
type listsView []*listView

// JSON implements longView.
func (v listsView) JSON(p *ui.Printer) error {
	lists := p.Array()
	for _, l := range v {
		o, err := lists.Object()
		if err != nil {
			return err
		}
		if err := o.Members(l.listHead); err != nil {
			return err
		}
		if err := addArray(o, "revokedCertificates", l.entries); err != nil {
			return err
		}
		if err := o.Close(); err != nil {
			return err
		}
	}
	return lists.Close()
}

// Text implements view.
func (v listsView) Text(p *ui.Printer) error {
	for i, l := range v {
		if i > 0 {
			_ = p.Printf("\n")
		}
		if err := l.text(p); err != nil {
			return err
		}
	}
	return nil
}

func (v *listView) text(p *ui.Printer) error {
	next, style := "never", ui.Warning
	if v.NextUpdate != nil {
		next, style = when(*v.NextUpdate), ui.Valid
	}
	if v.expired {
		next, style = next+" (EXPIRED)", ui.Revoked
	}
	_ = p.Fields(
		ui.Plain.Field("file", v.File),
		ui.Plain.Field("issuer", v.Issuer),
		ui.Serial.Field("CRL number", v.Number),
		ui.Plain.Field("thisUpdate", when(v.ThisUpdate)),
		style.Field("nextUpdate", next),
		ui.Plain.Field("entries", strconv.Itoa(v.count)),
	)
	if v.count == 0 {
		return p.Flush()
	}
	t := p.LongTable(ui.Column{Title: "SERIAL"}, ui.Column{Title: "REVOKED"}, ui.Column{Title: "REASON"}, ui.Column{Title: "NAME", Flexible: true})
	for e, err := range v.entries {
		if err != nil {
			return err
		}
		if err := t.Row(ui.Serial.Of(e.Serial.String()), ui.Plain.Of(when(e.RevocationDate)), ui.Revoked.Of(e.Reason.String()), ui.Name.Of(e.Name)); err != nil {
			return err
		}
	}
	return t.Close()
}

func runCRLShow(ctx context.Context, r *run, c *cli.Context) error {
	if c.NArg() == 1 {
		lists, err := r.readLists(c.Args().First())
		if err != nil {
			return err
		}
		var views listsView
		for _, l := range lists {
			views = append(views, r.newListView(c.Args().First(), l))
		}
		return r.emit(views)
	}
	return r.reading(ctx, func(p *store.PKI) error {
		published, err := p.CRLs(ctx)
		if err != nil {
			return err
		}
		var views listsView
		for _, known := range published {
			lists, err := r.readLists(known.Files[0])
			if err != nil {
				return withHint(err, "make it again with: "+refreshCommand(known))
			}
			v := r.newListView(known.Files[0], lists[0])
			v.entries = named(ctx, p, known, lists[0])
			views = append(views, v)
		}
		return r.emit(views)
	})
}

// readLists reads every CRL of a file, PEM or DER.
func (r *run) readLists(path string) ([]*crl.List, error) {
	var data []byte
	var err error
	if path == "-" {
		data, err = r.readStdin(maxCRL)
	} else {
		data, err = pemfile.ReadFile(path, maxCRL)
	}
	if err != nil {
		return nil, err
	}
	ders, err := pemfile.CRLs(data)
	if err != nil {
		return nil, fmt.Errorf("reading the CRL %s: %w", sourceOf(path), err)
	}
	var lists []*crl.List
	for _, der := range ders {
		l, err := crl.Parse(der)
		if err != nil {
			return nil, fmt.Errorf("reading the CRL %s: %w", sourceOf(path), err)
		}
		lists = append(lists, l)
	}
	return lists, nil
}

func (r *run) newListView(file string, l *crl.List) *listView {
	v := &listView{listHead: listHead{File: file, Issuer: nameText(l.Issuer()), ThisUpdate: l.ThisUpdate(), AuthorityKeyID: hex.EncodeToString(l.AuthorityKeyID())},
		count: l.Len()}
	if n := l.Number(); n != nil {
		v.Number = n.String()
	}
	if next := l.NextUpdate(); !next.IsZero() {
		v.NextUpdate, v.expired = &next, r.now().After(next)
	}
	v.entries = func(yield func(entryView, error) bool) {
		for e := range l.Entries() {
			if !yield(newEntryView(e), nil) {
				return
			}
		}
	}
	return v
}

func newEntryView(e crl.Entry) entryView {
	return entryView{Serial: e.Serial, RevocationDate: e.RevocationDate, Reason: e.Reason}
}

// nameText writes a DER name as RFC 4514 does.
func nameText(der []byte) string {
	var rdn pkix.RDNSequence
	if rest, err := asn1.Unmarshal(der, &rdn); err != nil || len(rest) > 0 {
		return hex.EncodeToString(der)
	}
	return pki.RDNSequenceText(rdn)
}

// named gives the entries with the names that the inventory has for the serials.
func named(ctx context.Context, p *store.PKI, known store.Published, l *crl.List) iter.Seq2[entryView, error] {
	return func(yield func(entryView, error) bool) {
		for e, err := range p.Named(ctx, known, l) {
			v := newEntryView(e.Entry)
			v.Name = e.Name.String()
			if !yield(v, err) {
				return
			}
		}
	}
}

func crlVerifyCommand() *cli.Command {
	return leaf(leafSpec{
		Name:      "verify",
		Usage:     "check the signature and the times of a revocation list",
		ArgsUsage: "[FILE]",
		Long: "Without a FILE: the lists of the PKI. Without --ca: against the CAs of the PKI.\n\n" +
			"Exits with 3 for a bad list and with 4 when it cannot be told (expired, not signed by a CA that is known).",
		Example: "mutual crl verify\nmutual crl verify crl.pem --ca ca.crt",
		Flags:   []cli.Flag{&cli.StringFlag{Name: "ca", Usage: "take the CA certificates in `FILE`"}},
		MaxArgs: 1,
		Action:  runCRLVerify,
	})
}

// listVerdict is what checking a list gave.
type listVerdict struct {
	File    string `json:"file"`
	Issuer  string `json:"issuer"`
	Number  string `json:"crlNumber,omitempty"`
	Outcome string `json:"outcome"`
	Reason  string `json:"reason"`
	code    int
}

type listVerdicts []listVerdict

// Text implements view.
func (v listVerdicts) Text(p *ui.Printer) error {
	for _, one := range v {
		style := map[int]ui.Style{exitDone: ui.Valid, exitBad: ui.Revoked, exitUnsure: ui.Unknown}[one.code]
		_ = p.Line(style.Of(one.Outcome), ui.Plain.Of("  "+one.File+"  "+one.Issuer+"  "+one.Reason))
	}
	return p.Flush()
}

func runCRLVerify(ctx context.Context, r *run, c *cli.Context) error {
	files, cas, err := r.listsAndCAs(ctx, c)
	if err != nil {
		return err
	}
	var verdicts listVerdicts
	worst := exitDone
	for _, file := range files {
		lists, err := r.readLists(file)
		if err != nil {
			return err
		}
		for _, l := range lists {
			v := judgeList(l, cas, r.now())
			v.File = file
			verdicts = append(verdicts, v)
			if v.code != exitDone && worst != exitBad {
				worst = v.code
			}
		}
	}
	if err := r.emit(verdicts); err != nil {
		return err
	}
	switch worst {
	case exitBad:
		return bad(nil)
	case exitUnsure:
		return unsure(nil, "")
	}
	return nil
}

func (r *run) listsAndCAs(ctx context.Context, c *cli.Context) (files []string, cas []*x509.Certificate, err error) {
	if c.NArg() == 1 {
		files = []string{c.Args().First()}
	}
	if ca := c.String("ca"); ca != "" {
		data, err := r.readInput(ca)
		if err != nil {
			return nil, nil, err
		}
		if cas, err = pemfile.Certificates(data); err != nil {
			return nil, nil, fmt.Errorf("reading the CA certificates %s: %w", sourceOf(ca), err)
		}
		if len(files) > 0 {
			return files, cas, nil
		}
	}
	err = r.reading(ctx, func(p *store.PKI) error {
		if len(files) == 0 {
			lists, err := p.CRLs(ctx)
			if err != nil {
				return err
			}
			for _, l := range lists {
				files = append(files, l.Files[0])
			}
		}
		for _, role := range []pki.Kind{pki.KindRoot, pki.KindIssuing} {
			if c.String("ca") != "" {
				break
			}
			certs, err := p.CACertificates(ctx, role)
			if err != nil {
				return err
			}
			cas = append(cas, certs...)
		}
		return nil
	})
	return files, cas, err
}

// judgeList checks a list against the CAs: the one of its issuer's name must
// have signed it.
func judgeList(l *crl.List, cas []*x509.Certificate, now time.Time) listVerdict {
	v := listVerdict{Issuer: nameText(l.Issuer())}
	if n := l.Number(); n != nil {
		v.Number = n.String()
	}
	err := errors.New("no CA with the issuer's name is known")
	known := false
	for _, ca := range cas {
		if string(ca.RawSubject) != string(l.Issuer()) {
			continue
		}
		known = true
		if err = l.CheckSignature(ca); err == nil {
			break
		}
	}
	switch {
	case !known:
		v.code, v.Reason = exitUnsure, err.Error()
	case err != nil:
		v.code, v.Reason = exitBad, err.Error()
	case l.ThisUpdate().After(now):
		v.code, v.Reason = exitUnsure, "it is not valid before "+when(l.ThisUpdate())
	case l.NextUpdate().IsZero():
		v.code, v.Reason = exitUnsure, "it does not say when the next one is out"
	case now.After(l.NextUpdate()):
		v.code, v.Reason = exitUnsure, "it expired at "+when(l.NextUpdate())
	default:
		v.Reason = fmt.Sprintf("signature good, %d entries, until %s", l.Len(), when(l.NextUpdate()))
	}
	v.Outcome = map[int]string{exitDone: "good", exitBad: "bad", exitUnsure: "couldNotTell"}[v.code]
	return v
}
