package chain

import (
	"bytes"
	"crypto/x509"
	"errors"
	"fmt"
	"time"

	"mutual/pki"
	"mutual/pki/crl"
)

// CRLs is what FromCRLs relies on.
type CRLs struct {
	Lists []*crl.List
	// Unsupported are lists that crl.Parse could not apply. One that the
	// issuer of a certificate signed means that nothing can be told of the
	// certificate, for the list may revoke it.
	Unsupported []*crl.UnsupportedError
	// Candidates may have signed a list though they are not in the chain: the
	// other certificates of a CA that changed its key. They are not trusted.
	Candidates []*x509.Certificate
	// MaxAge is how long after thisUpdate a list counts; 0: until nextUpdate.
	MaxAge time.Duration
	// AllowIncomplete accepts lists without a number or nextUpdate and so of
	// version 1, against RFC 5280, Sections 5.1.2.5 and 5.2.3: without a
	// number nobody sees an older list take the place of a newer one, and
	// without nextUpdate no list ever is too old. Other CAs make such lists.
	AllowIncomplete bool
}

// Add parses a list in DER and adds it. Only a malformed list is an error.
func (c *CRLs) Add(der []byte) error {
	list, err := crl.Parse(der)
	var unsupported *crl.UnsupportedError
	switch {
	case errors.As(err, &unsupported):
		c.Unsupported = append(c.Unsupported, unsupported)
	case err != nil:
		return err
	default:
		c.Lists = append(c.Lists, list)
	}
	return nil
}

// FromCRLs answers from revocation lists. A list counts for a certificate if
// its issuer is the certificate's, it is signed by the CA of that name with
// any of its keys of which the path ends in the same anchor, the key
// identifiers agree, it covers the certificate, and its time has come and is
// not over. Any such list that has the serial revokes the certificate;
// without one, the newest says that it is good; without a list, nothing can
// be told.
func FromCRLs(c CRLs) RevocationFunc {
	c.Candidates = present(c.Candidates)
	return func(chain []*x509.Certificate, at time.Time) RevocationStatus {
		if len(chain) < 2 || at.IsZero() {
			return RevocationStatus{Detail: "no chain or no time was given"}
		}
		return c.status(chain, at, nil)
	}
}

// status answers for chain[0]. busy are the candidates whose own status is
// being asked for: they cannot vouch for themselves.
func (c *CRLs) status(chain []*x509.Certificate, at time.Time, busy []*x509.Certificate) RevocationStatus {
	points, err := pointsOf(chain[0])
	if err != nil {
		return RevocationStatus{Detail: err.Error()}
	}
	search := &search{CRLs: c, chain: chain, at: at, busy: busy, points: points}
	search.missing = fmt.Sprintf("no revocation list of %s was given", nameText(chain[0].Issuer))
	serial := pki.NewSerial(chain[0].SerialNumber)
	var newest *crl.List
	var revoked *crl.Entry
	for _, list := range c.Lists {
		if !search.authentic(list) || !search.covers(list) || !search.current(list) {
			continue
		}
		if e, ok := list.Lookup(serial); ok && (revoked == nil || e.RevocationDate.Before(revoked.RevocationDate)) {
			revoked = &e
		}
		if search.complete(list) && (newest == nil || newer(list, newest)) {
			newest = list
		}
	}
	if revoked != nil {
		return RevocationStatus{Outcome: Bad, Revoked: true, Reason: revoked.Reason, At: revoked.RevocationDate,
			Detail: fmt.Sprintf("revoked on %s (%s)", timeText(revoked.RevocationDate), revoked.Reason)}
	}
	return search.unlisted(newest)
}

// unlisted answers where no list has the certificate.
func (s *search) unlisted(newest *crl.List) RevocationStatus {
	for _, u := range s.Unsupported {
		if s.authentic(u.List) {
			return RevocationStatus{Detail: "a revocation list of " + nameText(s.chain[0].Issuer) + " cannot be applied: " + u.Feature}
		}
	}
	if newest == nil {
		return RevocationStatus{Detail: s.missing}
	}
	return RevocationStatus{Outcome: Good, Detail: "not in " + listText(newest)}
}

func listText(l *crl.List) string {
	text := "the list of " + timeText(l.ThisUpdate())
	if n := l.Number(); n != nil {
		text = fmt.Sprintf("list %s of %s", n, timeText(l.ThisUpdate()))
	}
	if l.NextUpdate().IsZero() {
		return text
	}
	return text + ", which is valid until " + timeText(l.NextUpdate())
}

// newer reports whether a is the newer list: thisUpdate decides, then the
// number (RFC 5280, Section 5.2.3).
func newer(a, b *crl.List) bool {
	if !a.ThisUpdate().Equal(b.ThisUpdate()) {
		return a.ThisUpdate().After(b.ThisUpdate())
	}
	n, m := a.Number(), b.Number()
	return n != nil && (m == nil || n.Cmp(m) > 0)
}

// search looks for the lists that speak for chain[0].
type search struct {
	*CRLs
	chain  []*x509.Certificate
	at     time.Time
	busy   []*x509.Certificate
	points pointSet
	// missing is why there is no list: the objection to the list that came
	// closest.
	missing string
	closest int
}

// object notes why a list does not count; of several objections the one of
// the later step is kept.
func (s *search) object(step int, format string, args ...any) bool {
	if step > s.closest {
		s.closest, s.missing = step, fmt.Sprintf(format, args...)
	}
	return false
}

// authentic reports whether the issuer of the certificate signed the list: in
// the chain, or outside with a key of the same name. A name that is spelled
// otherwise counts only with the very key that signed the certificate.
func (s *search) authentic(list *crl.List) bool {
	issuer := s.chain[0].RawIssuer
	if !bytes.Equal(list.Issuer(), issuer) {
		return sameName(list.Issuer(), issuer) && s.signed(list, s.chain[1])
	}
	for _, ca := range s.chain[1:] {
		if bytes.Equal(ca.RawSubject, issuer) && s.signed(list, ca) {
			return true
		}
	}
	for _, ca := range s.Candidates {
		if bytes.Equal(ca.RawSubject, issuer) && ca.IsCA && s.signed(list, ca) && s.trusted(ca) {
			return true
		}
	}
	return false
}

// signed reports whether the CA signed the list. The key identifiers must
// agree where both are given (RFC 5280, Section 6.3.3 (c) and (f)).
func (s *search) signed(list *crl.List, ca *x509.Certificate) bool {
	who := nameText(s.chain[0].Issuer)
	if id := list.AuthorityKeyID(); len(id) > 0 && len(ca.SubjectKeyId) > 0 && !bytes.Equal(id, ca.SubjectKeyId) {
		return s.object(1, "the revocation list of %s is of another key (%x) than that of its certificate (%x)", who, clipID(id), clipID(ca.SubjectKeyId))
	}
	if err := list.CheckSignature(ca); err != nil {
		return s.object(2, "the revocation list of %s is not signed by it: %s", who, oneLine(err.Error()))
	}
	return true
}

func clipID(id []byte) []byte { return id[:min(len(id), 20)] }

// maxBusy bounds how far a list of one candidate may rest on another's.
const maxBusy = 3

// trusted reports whether a candidate outside the chain may speak in it: a
// path of its own ends in the same anchor, nothing on it is wrong, and
// nothing on it is revoked or unknown.
func (s *search) trusted(ca *x509.Certificate) bool {
	if contains(s.busy, ca) || len(s.busy) >= maxBusy {
		return false
	}
	busy := append(append([]*x509.Certificate{}, s.busy...), ca)
	paths, err := ca.Verify(x509.VerifyOptions{
		Roots:         pool(s.chain[len(s.chain)-1:]),
		Intermediates: pool(append(append([]*x509.Certificate{}, s.Candidates...), s.chain[1:]...)),
		CurrentTime:   s.at,
		KeyUsages:     []x509.ExtKeyUsage{x509.ExtKeyUsageAny},
	})
	if err != nil {
		return s.object(3, "who signed the revocation list of %s leads to another trust anchor or to none: %s", nameText(s.chain[0].Issuer), oneLine(err.Error()))
	}
	for _, path := range paths {
		if s.unobjectionable(path, busy) {
			return true
		}
	}
	return s.object(3, "who signed the revocation list of %s is itself revoked, weak, or not known to be good", nameText(s.chain[0].Issuer))
}

func (s *search) unobjectionable(path, busy []*x509.Certificate) bool {
	r := newResult(path)
	judgeChain(r, path)
	judgeValidity(r, path, s.at)
	if r.conclude(); r.Outcome != Good {
		return false
	}
	for i := range path[:len(path)-1] {
		if s.status(path[i:], s.at, busy).Outcome != Good {
			return false
		}
	}
	return true
}

// current reports whether thisUpdate ≤ t ≤ nextUpdate. A list without
// nextUpdate ends never; see complete.
func (s *search) current(list *crl.List) bool {
	who := nameText(s.chain[0].Issuer)
	switch this, next := list.ThisUpdate(), list.NextUpdate(); {
	case this.After(s.at):
		return s.object(6, "the revocation list of %s is from the future (%s)", who, timeText(this))
	case !next.IsZero() && s.at.After(next):
		return s.object(7, "the revocation list of %s expired %s ago (%s)", who, span(s.at.Sub(next)), timeText(next))
	case s.MaxAge > 0 && s.at.Sub(this) > s.MaxAge:
		return s.object(7, "the revocation list of %s is %s old (%s)", who, span(s.at.Sub(this)), timeText(this))
	}
	return true
}

// complete reports whether a list is fit to say that a certificate is good.
func (s *search) complete(list *crl.List) bool {
	who := nameText(s.chain[0].Issuer)
	switch {
	case s.AllowIncomplete:
		return true
	case list.NextUpdate().IsZero():
		return s.object(8, "the revocation list of %s does not say until when it is valid (no nextUpdate)", who)
	case list.Number() == nil:
		return s.object(8, "the revocation list of %s has no CRL number", who)
	}
	return true
}
