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
	RemedyRestore    Remedy = "restore"    // put the newest backup of the PKI back
	RemedyRestoreKey Remedy = "restoreKey" // put the CA's key back
	RemedyNewPKI     Remedy = "newPKI"     // begin a new PKI
)

// Due is something that needs a person.
type Due struct {
	What   string
	Remedy Remedy
	List   *Published // the list that must be signed, or nil
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
	name := "the CRL of the " + string(l.Issuer) + " CA "
	refresh, warn := l.Due()
	what, remedy := "", RemedySign
	switch {
	case l.Number == nil:
		what = "has never been made"
	case !now.Before(l.NextUpdate):
		what = "has expired, and servers refuse everyone"
	case l.Overdue:
		what = "lacks a revocation"
	case now.After(warn), now.After(refresh) && !s.keyIsHere(l.Issuer):
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

func (s *Status) keyIsHere(role pki.Kind) bool {
	return !slices.ContainsFunc(s.CAs, func(ca CAStatus) bool { return ca.Role == role && !ca.KeyIsHere })
}

// casDue says what is due about the CAs. The root's key may be elsewhere.
func (s *Status) casDue(now time.Time) []Due {
	var out []Due
	for _, ca := range s.CAs {
		name := "the " + string(ca.Role) + " CA"
		switch {
		case ca.Revoked:
			out = append(out, Due{What: name + " is revoked", Remedy: RemedyNewPKI})
		case !now.Before(ca.NotAfter):
			out = append(out, Due{What: name + " has expired", Remedy: RemedyNewPKI})
		case ca.NotAfter.Sub(now) < caWarning:
			out = append(out, Due{What: name + " ends at " + ca.NotAfter.UTC().Format(time.RFC3339), Remedy: RemedyNewPKI})
		}
		if ca.Role == pki.KindIssuing && !ca.KeyIsHere {
			out = append(out, Due{What: name + "'s key is not here: nothing can be issued, and no CRL can be made", Remedy: RemedyRestoreKey})
		}
	}
	return out
}
