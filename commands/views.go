package commands

import (
	"fmt"
	"math"
	"strconv"
	"time"

	"mutual/commands/ui"
	"mutual/pki"
	"mutual/pki/store"
)

// when is how a time is written for people: RFC 3339 in UTC, whole seconds.
func when(t time.Time) string { return t.UTC().Format(time.RFC3339) }

// certificateView is a certificate of the inventory.
type certificateView struct {
	Name           string          `json:"name"`
	Kind           pki.Kind        `json:"kind"`
	Serial         pki.Serial      `json:"serial"`
	NotBefore      time.Time       `json:"notBefore"`
	NotAfter       time.Time       `json:"notAfter"`
	DaysLeft       int             `json:"daysLeft"`
	State          store.State     `json:"state"`
	Label          string          `json:"label"`
	SHA256         pki.Fingerprint `json:"sha256"`
	Reason         *pki.Reason     `json:"reason,omitempty"`
	RevocationDate *time.Time      `json:"revocationDate,omitempty"`
	Replaced       bool            `json:"replaced,omitempty"`
	Backdated      bool            `json:"backdated,omitempty"`
	NameBlocked    bool            `json:"nameBlocked,omitempty"`
}

func newCertificateView(c store.Certificate, now time.Time) certificateView {
	v := certificateView{
		Name: certificateName(c.Name, c.Kind), Kind: c.Kind, Serial: c.Serial, NotBefore: c.NotBefore, NotAfter: c.NotAfter,
		DaysLeft: daysLeft(c.NotAfter, now), State: c.State(now), Label: c.Label, SHA256: c.Fingerprint,
		Replaced: c.Replaced, Backdated: c.Backdated, NameBlocked: c.NameBlocked,
	}
	if c.Revocation != nil {
		v.Reason, v.RevocationDate = &c.Revocation.Reason, &c.Revocation.Done
	}
	return v
}

// certificateName is what a certificate is called: a CA has no NAME.
func certificateName(name pki.Name, kind pki.Kind) string {
	if name.IsZero() {
		return string(kind) + " CA"
	}
	return name.String()
}

// daysLeft counts whole days; what has expired has a negative number.
func daysLeft(end, now time.Time) int {
	return int(math.Floor(end.Sub(now).Hours() / 24))
}

// state gives the state with its meaning, and why a certificate is out.
func (v certificateView) state() ui.Span {
	text := string(v.State)
	switch {
	case v.Reason != nil && v.State == store.Revoked:
		text += " (" + v.Reason.String() + ")"
	case v.Replaced && v.State == store.Valid:
		text += " (replaced)"
	}
	return stateStyle(v.State, v.DaysLeft).Of(text)
}

func stateStyle(s store.State, days int) ui.Style {
	switch {
	case s == store.Revoked:
		return ui.Revoked
	case s == store.Held:
		return ui.Held
	case s == store.Expired, s == store.NotYetValid:
		return ui.Expired
	case days < 30:
		return ui.Expiring
	}
	return ui.Valid
}

// crlView is the newest CRL of a CA.
type crlView struct {
	Issuer     pki.Kind  `json:"issuer"`
	Key        string    `json:"key"`
	Older      bool      `json:"older"`
	Number     string    `json:"number"`
	ThisUpdate time.Time `json:"thisUpdate"`
	NextUpdate time.Time `json:"nextUpdate"`
	DaysLeft   int       `json:"daysLeft"`
	Entries    int       `json:"entries"`
	Files      []string  `json:"files"`
	Made       bool      `json:"made"`
	Overdue    bool      `json:"overdue"`
	ca         string
}

func newCRLView(l store.Published, now time.Time) crlView {
	v := crlView{Issuer: l.Issuer, Key: l.Key, Older: l.Older, ca: l.CA(), ThisUpdate: l.ThisUpdate, NextUpdate: l.NextUpdate, DaysLeft: daysLeft(l.NextUpdate, now),
		Entries: l.Entries, Files: l.Files, Made: l.Made, Overdue: l.Overdue}
	if l.Number != nil {
		v.Number = l.Number.String()
	}
	return v
}

// label is how a list is called among other fields.
func (v crlView) label() string {
	if v.Older {
		return "older " + string(v.Issuer) + " CRL"
	}
	return string(v.Issuer) + " CRL"
}

func newCRLViews(lists []store.Published, now time.Time) []crlView {
	views := []crlView{}
	for _, l := range lists {
		views = append(views, newCRLView(l, now))
	}
	return views
}

// size says how many entries there are.
func (v crlView) size() string {
	if v.Entries == 1 {
		return "1 entry"
	}
	return strconv.Itoa(v.Entries) + " entries"
}

// line says in one line which list it is and where.
func (v crlView) line() string {
	return fmt.Sprintf("%s, number %s, %s, nextUpdate %s, %s", v.ca, v.Number, v.size(), when(v.NextUpdate), v.Files[0])
}

// span says where a list stands.
func (v crlView) span(now time.Time) ui.Span {
	text := fmt.Sprintf("%s, nextUpdate %s (%d days)", v.size(), when(v.NextUpdate), v.DaysLeft)
	switch {
	case !now.Before(v.NextUpdate):
		return ui.Revoked.Of(text + ", EXPIRED")
	case v.Overdue:
		return ui.Warning.Of(text + ", overdue: a revocation is not in it")
	case now.After(pki.TwoThirds(v.ThisUpdate, v.NextUpdate)):
		return ui.Expiring.Of(text)
	}
	return ui.Valid.Of(text)
}

// refreshCommand is the command that makes a list anew.
func refreshCommand(l store.Published) string {
	if l.Issuer == pki.KindRoot {
		return "mutual crl refresh --ca root --root-key FILE"
	}
	return "mutual crl refresh"
}
