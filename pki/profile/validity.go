package profile

import (
	"crypto/x509"
	"fmt"
	"time"

	"mutual/pki"
)

const (
	// Backdate is how far before now a certificate begins, for clocks that
	// run behind.
	Backdate = 10 * time.Minute
	// maxServerLifetime is what Apple's systems accept of a server's
	// certificate under any root, one added by hand included.
	maxServerLifetime = 825 * 24 * time.Hour
)

// Window is the validity that somebody asks for. TTL counts from now and
// excludes NotAfter; a zero NotBefore is a little before now.
type Window struct {
	TTL                 pki.Lifetime
	NotBefore, NotAfter time.Time
	AllowExpired        bool // the past, and a beginning before the issuer's, for tests
}

// Validity is a window as it will stand in a certificate. Clipped names what
// cut it short, and is empty when nothing did.
type Validity struct {
	NotBefore, NotAfter time.Time
	Clipped             string
}

// Resolve fits a window between the issuer's own times (issuer nil: a root)
// and the limits of the kind. Times are UTC and whole seconds.
func (w Window) Resolve(kind pki.Kind, issuer *x509.Certificate, now time.Time) (Validity, error) {
	now = now.UTC().Truncate(time.Second)
	if err := w.check(now); err != nil {
		return Validity{}, err
	}
	if issuer != nil && now.After(issuer.NotAfter) { // not the request's fault
		return Validity{}, fmt.Errorf("the issuing CA expired at %s: it signs nothing any more", stamp(issuer.NotAfter))
	}
	v := Validity{NotBefore: w.NotBefore.UTC().Truncate(time.Second), NotAfter: w.NotAfter.UTC().Truncate(time.Second)}
	if w.NotBefore.IsZero() {
		v.NotBefore = now.Add(-Backdate)
		if !w.NotAfter.IsZero() && !v.NotAfter.After(v.NotBefore) { // expired on purpose
			v.NotBefore = v.NotAfter.Add(-24 * time.Hour)
		}
	}
	if w.NotAfter.IsZero() {
		from := now
		if w.NotBefore.After(now) {
			from = v.NotBefore
		}
		v.NotAfter = w.TTL.From(from)
	}
	if err := v.limitServer(kind, now); err != nil {
		return Validity{}, err
	}
	v.clip(issuer, w.AllowExpired)
	switch {
	case !v.NotAfter.After(v.NotBefore):
		return Validity{}, requestErrorf("the certificate would end (%s) before it begins (%s)", stamp(v.NotAfter), stamp(v.NotBefore))
	case !v.NotAfter.After(now) && !w.AllowExpired:
		return Validity{}, requestErrorf("the certificate would have expired at %s", stamp(v.NotAfter))
	case v.NotBefore.Year() < 1950 || v.NotAfter.Year() > 9999:
		return Validity{}, requestErrorf("the validity from %s to %s does not fit into a certificate", stamp(v.NotBefore), stamp(v.NotAfter))
	}
	return v, nil
}

func (w Window) check(now time.Time) error {
	switch {
	case !w.TTL.IsZero() && !w.NotAfter.IsZero():
		return requestErrorf("a lifetime and a notAfter exclude each other")
	case w.TTL.IsZero() && w.NotAfter.IsZero():
		return requestErrorf("neither a lifetime nor a notAfter was given")
	case !w.NotAfter.IsZero() && !w.NotAfter.After(now) && !w.AllowExpired:
		return requestErrorf("notAfter %s lies in the past", stamp(w.NotAfter))
	case !w.NotBefore.IsZero() && w.NotBefore.Before(now.Add(-Backdate)) && !w.AllowExpired:
		return requestErrorf("notBefore %s lies in the past", stamp(w.NotBefore))
	}
	return nil
}

// limitServer refuses a server's lifetime of more than 825 days, and cuts off
// the minutes by which backdating would exceed them.
func (v *Validity) limitServer(kind pki.Kind, now time.Time) error {
	if kind != pki.KindServer {
		return nil
	}
	from := v.NotBefore
	if now.After(from) && v.NotAfter.After(now) {
		from = now
	}
	if v.NotAfter.Sub(from) > maxServerLifetime {
		return requestErrorf("a server's certificate may not last longer than 825 days: Apple's systems refuse it")
	}
	// Both ends belong to the validity (RFC 5280, Section 4.1.2.5).
	if last := v.NotBefore.Add(maxServerLifetime - time.Second); v.NotAfter.After(last) {
		v.NotAfter, v.Clipped = last, "the 825 days that a server's certificate may last"
	}
	return nil
}

// clip keeps the validity within the issuer's: no verifier notices a leaf that
// outlives its CA until the CA has expired.
func (v *Validity) clip(issuer *x509.Certificate, allowExpired bool) {
	if issuer == nil {
		return
	}
	if v.NotBefore.Before(issuer.NotBefore) && !allowExpired {
		v.NotBefore = issuer.NotBefore
	}
	if v.NotAfter.After(issuer.NotAfter) {
		v.NotAfter, v.Clipped = issuer.NotAfter, "the end of its issuer"
	}
}

func stamp(t time.Time) string { return t.UTC().Format(time.RFC3339) }
