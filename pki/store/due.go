package store

import (
	"slices"
	"time"

	"mutual/pki"
)

// Remedy is what something that is due asks for.
type Remedy string

// The remedies.
const (
	RemedySign       Remedy = "sign"       // make the list anew, which needs its CA's key
	RemedyWrite      Remedy = "write"      // write the files again, which needs no key
	RemedyRepair     Remedy = "repair"     // what follows from what is whole is made again
	RemedyRestore    Remedy = "restore"    // put the newest backup of the PKI back
	RemedyRestoreKey Remedy = "restoreKey" // put the CA's key back
	RemedyRenewCA    Remedy = "renewCA"    // give the CA a new certificate
	RemedyRekeyCA    Remedy = "rekeyCA"    // give the CA a successor with another key
	RemedyRetireCA   Remedy = "retireCA"   // take the older CA out of use
)

// Due is something that needs a person.
type Due struct {
	What   string
	Remedy Remedy
	List   *Published // the list that must be signed, or nil
	CA     *CAStatus  // the CA that it is about, or nil
}

// caWarning is how long before its end a CA needs somebody: whatever it issues
// is clipped to it.
const caWarning = 90 * 24 * time.Hour

// Due lists what needs a person: a database older than what is published;
// lists that lack something, that have lost two thirds of their life, or half
// of it where no command can make them because the key is elsewhere; files that
// are missing; a key of the issuing CA that is; and CAs that are revoked or end
// soon.
func (p *PKI) Due(s *Status) []Due {
	if p.rolledBack != nil { // what is here says nothing of what is out
		return append([]Due{{What: p.rolledBack.Error(), Remedy: RemedyRestore}}, s.casDue(p.now())...)
	}
	var out []Due
	for i := range s.CRLs {
		if d := s.listDue(&s.CRLs[i], p.dir, p.now()); d != nil {
			out = append(out, *d)
		}
	}
	if slices.ContainsFunc(s.CRLs, func(l Published) bool { return l.AtHand && slices.Contains(l.Incomplete, s.Publish) }) {
		out = append(out, Due{What: "the publish directory " + s.Publish + " is incomplete", Remedy: RemedyWrite})
	}
	return append(out, s.casDue(p.now())...)
}

// listDue says what is due about a list in the PKI at dir, or nil.
func (s *Status) listDue(l *Published, dir string, now time.Time) *Due {
	name := "the CRL of the " + l.CA() + " "
	refresh, warn := l.Due()
	what, remedy := "", RemedySign
	switch {
	case l.over(now): // what it would say has expired, too
		return nil
	case l.Number == nil:
		what = "has never been made"
	case !now.Before(l.NextUpdate):
		what = "has expired, and servers refuse everyone"
	case l.Overdue:
		what = "lacks a revocation"
	case now.After(warn), now.After(refresh) && !s.keyIsHere(l):
		what = "ends at " + l.NextUpdate.Format(time.RFC3339)
	case !l.AtHand:
		what = "is lost and must be signed again"
	case slices.Contains(l.Incomplete, dir):
		what, remedy = "is not in its files", RemedyWrite
	default:
		return nil
	}
	return &Due{What: name + what, Remedy: remedy, List: l}
}

func (s *Status) keyIsHere(l *Published) bool {
	return !slices.ContainsFunc(s.CAs, func(ca CAStatus) bool { return ca.Role == l.Issuer && ca.Key == l.Key && !ca.KeyIsHere })
}

// casDue says what is due about the CAs.
func (s *Status) casDue(now time.Time) []Due {
	var out []Due
	for i := range s.CAs {
		ca := &s.CAs[i]
		if what, remedy := ca.due(now); what != "" {
			out = append(out, Due{What: ca.text() + what, Remedy: remedy, CA: ca})
		}
		switch over := ca.Older && !now.Before(ca.NotAfter); {
		case ca.Role != pki.KindIssuing || ca.KeyIsHere || over: // the root's key may be elsewhere
		case ca.Older:
			out = append(out, Due{What: ca.text() + "'s key is not here: no CRL of it can be made", Remedy: RemedyRestoreKey, CA: ca})
		default:
			out = append(out, Due{What: ca.text() + "'s key is not here: nothing can be issued, and no CRL can be made", Remedy: RemedyRestoreKey, CA: ca})
		}
	}
	return out
}

func (ca *CAStatus) text() string {
	if ca.Older {
		return "the older " + string(ca.Role) + " CA " + ca.Key
	}
	return "the " + string(ca.Role) + " CA"
}

// due says what a CA needs somebody for, or nothing. One that another has
// followed only has to go once it has expired.
func (ca *CAStatus) due(now time.Time) (what string, remedy Remedy) {
	expired := !now.Before(ca.NotAfter)
	switch {
	case ca.Older && ca.Revoked && !ca.Held:
		return " is revoked, and nobody lets in what it has issued", RemedyRetireCA
	case ca.Older && expired:
		return " has expired", RemedyRetireCA
	case ca.Older:
		return "", ""
	case ca.Revoked:
		return " is revoked", RemedyRekeyCA
	case expired:
		return " has expired", RemedyRenewCA
	case ca.NotAfter.Sub(now) < caWarning:
		return " ends at " + ca.NotAfter.UTC().Format(time.RFC3339), RemedyRenewCA
	}
	return "", ""
}
