package renew

import (
	"context"
	"encoding/binary"
	"errors"
	"time"

	"mutual/pki"
	"mutual/pki/store"
)

// The pace of a Watch.
const (
	longestRest  = time.Minute     // between two looks
	longestNap   = 5 * time.Second // a machine that slept catches up after this at the latest
	firstBackOff = time.Minute     // after a failure; doubled with each further one
	mostBackOff  = time.Hour
	mostJitter   = time.Hour // and at most a twentieth of the certificate's life
)

// ErrNothingLeft says that there is nothing to watch any more.
var ErrNothingLeft = errors.New("nothing is left to renew: the PKI knows no files, or whose they are is revoked")

// Watch renews what becomes due, until there is nothing left or the context
// ends. It goes by the wall clock: it rests a minute at most and then looks.
type Watch struct {
	Rule    Rule
	Options Options
	Now     func() time.Time
	Sleep   func(context.Context, time.Duration) error

	// Open opens the PKI for one look at it, so that one that is restored or
	// moved meanwhile is noticed.
	Open func(ctx context.Context, do func(*Renewer) error) error
	// Each is told what came of a certificate that was due.
	Each func(Outcome) error
	// Stopped is told of a certificate that was watched and is revoked now.
	Stopped func(store.Placed) error
	// Failed is told of a look that failed; the watch goes on.
	Failed func(error)

	known map[pki.Fingerprint]*watched
}

// watched is what a Watch remembers of a certificate.
type watched struct {
	stopped  bool
	failures int
	retry    time.Time
}

// Run watches. It returns nil when the context ends, and ErrNothingLeft. What
// cannot be opened at the beginning is an error.
func (w *Watch) Run(ctx context.Context) error {
	w.known = map[pki.Fingerprint]*watched{}
	for first := true; ; first = false {
		var next time.Time
		err := w.Open(ctx, func(r *Renewer) (err error) {
			next, err = w.look(ctx, r)
			return err
		})
		switch {
		case ctx.Err() != nil:
			return nil
		case err != nil && (first || errors.Is(err, ErrNothingLeft)):
			return err
		case err != nil:
			w.Failed(err)
		}
		if w.rest(ctx, w.pause(next)) != nil {
			return nil
		}
	}
}

// rest sleeps so long by the wall clock, in naps: a timer stands still while
// the machine sleeps. It also ends when the clock is set back.
func (w *Watch) rest(ctx context.Context, long time.Duration) error {
	end := w.Now().Add(long)
	for left := long; left > 0 && left <= long; left = end.Sub(w.Now()) {
		if err := w.Sleep(ctx, min(left, longestNap)); err != nil {
			return err
		}
	}
	return nil
}

// pause is how long to rest before the next look.
func (w *Watch) pause(next time.Time) time.Duration {
	if next.IsZero() {
		return longestRest
	}
	return min(longestRest, max(time.Second, next.Sub(w.Now())))
}

// look renews what is due now, and says when something will be.
func (w *Watch) look(ctx context.Context, r *Renewer) (next time.Time, err error) {
	placed, err := r.PKI.Placed(ctx)
	if err != nil {
		return next, err
	}
	dead, err := r.PKI.RevokedCAs(ctx)
	if err != nil {
		return next, err
	}
	left := 0
	for _, p := range placed {
		if ctx.Err() != nil {
			return next, nil
		}
		if !w.Options.canRenew(p) {
			continue
		}
		k := w.known[p.Fingerprint]
		if k == nil {
			k = &watched{}
			w.known[p.Fingerprint] = k
		}
		if isOut(p) {
			if err := w.stop(k, p); err != nil {
				return next, err
			}
			continue
		}
		left++
		k.stopped = false
		at, err := w.tend(ctx, r, k, p, p.Pending || dead[string(p.IssuerKeyID)])
		if err != nil {
			return next, err
		}
		if next.IsZero() || at.Before(next) {
			next = at
		}
	}
	if left == 0 {
		return next, ErrNothingLeft
	}
	return next, nil
}

// isOut reports whether a certificate is not renewed for good. A hold may end.
func isOut(p store.Placed) bool {
	return p.Revocation != nil && p.Revocation.Reason != pki.CertificateHold || p.Revocation == nil && p.NameBlocked
}

func (w *Watch) stop(k *watched, p store.Placed) error {
	if k.stopped {
		return nil
	}
	k.stopped = true
	return w.Stopped(p)
}

// tend renews a certificate if it is due, or to be renewed at once, and says when it
// wants to be looked at again.
func (w *Watch) tend(ctx context.Context, r *Renewer, k *watched, p store.Placed, atOnce bool) (time.Time, error) {
	now := w.Now()
	due := w.due(p)
	if atOnce {
		due = now
	}
	switch {
	case p.Revocation != nil: // held
		return now.Add(longestRest), nil
	case now.Before(k.retry):
		return k.retry, nil
	case now.Before(due):
		return due, nil
	}
	out, counts := r.one(ctx, p, w.Options)
	switch {
	case out.interrupted(ctx): // it is not tried again: the watch ends
		return now, nil
	case !counts:
		k.retry = now.Add(longestRest)
		return k.retry, nil
	case out.Err == nil: // the next look finds its successor
		delete(w.known, p.Fingerprint)
		return now, w.Each(out)
	}
	k.retry = now.Add(backOff(k.failures, p.Fingerprint))
	k.failures++
	return k.retry, w.Each(out)
}

// due is when the rule says, and a while later that differs from certificate
// to certificate, so that many that were issued together are not renewed
// together. It is always the same for one: a restart does not change it.
func (w *Watch) due(p store.Placed) time.Time {
	most := min(mostJitter, p.NotAfter.Sub(p.Issued)/20)
	return w.Rule.Due(p.Certificate).Add(spread(p.Fingerprint, most))
}

// backOff is how long to wait after so many failures: twice as long each time,
// and up to a quarter more.
func backOff(failures int, f pki.Fingerprint) time.Duration {
	d := mostBackOff
	if failures < 6 {
		d = firstBackOff << failures
	}
	f[0] += byte(failures)
	return d + spread(f, d/4)
}

// spread gives a time between zero and most that the fingerprint decides.
func spread(f pki.Fingerprint, most time.Duration) time.Duration {
	if most <= 0 {
		return 0
	}
	return time.Duration(binary.BigEndian.Uint64(f[:8]) % uint64(most))
}
