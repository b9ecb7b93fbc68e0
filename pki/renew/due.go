package renew

import (
	"context"
	"errors"
	"fmt"
	"strconv"
	"strings"
	"time"

	"mutual/pki"
	"mutual/pki/store"
)

// Rule says when a certificate is due.
type Rule struct {
	within   pki.Lifetime
	num, den int64
}

// DefaultRule is two thirds of the life.
func DefaultRule() Rule { return Rule{num: 2, den: 3} }

// RuleWithin makes certificates due this long before their end, but never in
// the first half of their life: one that lives shorter than that would be
// renewed again and again.
func RuleWithin(l pki.Lifetime) Rule { return Rule{within: l} }

// RuleAt reads a part of the life, such as 2/3.
func RuleAt(s string) (Rule, error) {
	first, second, ok := strings.Cut(s, "/")
	num, err1 := strconv.ParseInt(first, 10, 32)
	den, err2 := strconv.ParseInt(second, 10, 32)
	if !ok || err1 != nil || err2 != nil || num < 1 || den <= num || den > 1000 {
		return Rule{}, fmt.Errorf("%q is no part of a life: write it as 2/3", s)
	}
	return Rule{num: num, den: den}, nil
}

// Due gives the time from which a certificate is due.
func (r Rule) Due(c store.Certificate) time.Time {
	life := c.NotAfter.Sub(c.Issued)
	if r.den > 0 {
		return c.Issued.Add(life / time.Duration(r.den) * time.Duration(r.num))
	}
	due, half := r.within.Before(c.NotAfter), c.Issued.Add(life/2)
	if due.Before(half) {
		return half
	}
	return due
}

// Outcome is what came of one certificate that was due: a Result or an error.
type Outcome struct {
	Old    store.Placed
	Result *Result
	Err    error
}

// interrupted reports whether nothing came of it because the context ended.
func (o Outcome) interrupted(ctx context.Context) bool {
	return ctx.Err() != nil && errors.Is(o.Err, ctx.Err())
}

// Due gives the certificates that are due among those whose files the PKI
// knows, and when the next one will be (zero: none). Those of a killed renewal
// are due at once, and so are those of a CA that is revoked. Who is revoked, held
// or blocked is not renewed, nor whose key is elsewhere, unless the key stays.
func (r *Renewer) Due(ctx context.Context, rule Rule, o Options) (due []store.Placed, next time.Time, err error) {
	placed, err := r.PKI.Placed(ctx)
	if err != nil {
		return nil, time.Time{}, err
	}
	dead, err := r.PKI.RevokedCAs(ctx)
	if err != nil {
		return nil, time.Time{}, err
	}
	now := r.Now()
	for _, p := range placed {
		at := rule.Due(p.Certificate)
		switch {
		case p.Revocation != nil || p.NameBlocked || !o.canRenew(p):
		case p.Pending || !now.Before(at) || dead[string(p.IssuerKeyID)]:
			due = append(due, p)
		case next.IsZero() || at.Before(next):
			next = at
		}
	}
	return due, next, nil
}

// canRenew reports whether what a renewal needs is here: the key, and how long
// the new certificate shall live. One that had expired when it was issued, as
// tests want them, is left as it is.
func (o Options) canRenew(p store.Placed) bool {
	return (o.SameKey || p.Place.Key != "" || p.Place.Combined != "") && p.NotAfter.After(p.Issued)
}

// All renews every certificate that is due, calls each with what came of it,
// and goes on after a failure. One that has expired and whose files are gone is
// passed over: nobody misses it. It gives how many there were, and when the
// next one is due.
func (r *Renewer) All(ctx context.Context, rule Rule, o Options, each func(Outcome) error) (count int, next time.Time, err error) {
	due, next, err := r.Due(ctx, rule, o)
	if err != nil {
		return 0, next, err
	}
	for _, p := range due {
		if err := ctx.Err(); err != nil {
			return count, next, err
		}
		out, counts := r.one(ctx, p, o)
		if out.interrupted(ctx) {
			return count, next, out.Err
		}
		if !counts {
			continue
		}
		count++
		if err := each(out); err != nil {
			return count, next, err
		}
	}
	return count, next, nil
}

// one renews a certificate whose place is known. counts is false where there
// was nothing to do.
func (r *Renewer) one(ctx context.Context, p store.Placed, o Options) (out Outcome, counts bool) {
	done, err := r.One(ctx, p.Fingerprint, o)
	switch {
	case errors.Is(err, store.ErrReplaced): // another process was faster
		return Outcome{}, false
	case errors.Is(err, ErrMoved) && !r.Now().Before(p.NotAfter):
		return Outcome{}, false
	}
	return Outcome{Old: p, Result: done, Err: err}, true
}
