package gate

import (
	"sync"
	"sync/atomic"
	"time"

	"golang.org/x/time/rate"
)

// Limits bound what clients can make a gate hold and do.
type Limits struct {
	Connections int           // in all
	PerIdentity int           // connections of one identity
	Requests    int           // of one identity that run at the same time
	Handshake   time.Duration // for TLS
	Header      time.Duration // for the header of a request
	HeaderBytes int           // of a request
	Idle        time.Duration // between requests
	Rate        float64       // requests a second of one identity; 0: any
}

// DefaultLimits are safe for a machine of any size.
func DefaultLimits() Limits {
	return Limits{Connections: 10_000, PerIdentity: 1000, Requests: 1000, Handshake: 10 * time.Second, Header: 10 * time.Second, HeaderBytes: 64 << 10, Idle: 2 * time.Minute}
}

// identities counts what each identity has and does, while it has connections.
type identities struct {
	limits Limits
	mu     sync.Mutex
	of     map[string]*usage
	sweep  int // how many there are when those are forgotten that may be
}

type usage struct {
	conns   int
	running atomic.Int64  // requests
	rate    *rate.Limiter // nil: any
}

func newIdentities(l Limits) *identities {
	return &identities{limits: l, of: map[string]*usage{}, sweep: leastSweep}
}

const leastSweep = 1024

// key tells identities apart: by name where the inventory has one.
func (id Identity) key() string {
	if id.Name != "" {
		return id.Name
	}
	return id.Fingerprint.String()
}

// enter counts a connection, and gives what its identity uses, and what ends it.
func (x *identities) enter(id Identity, now time.Time) (of *usage, leave func(), ok bool) {
	x.mu.Lock()
	defer x.mu.Unlock()
	key := id.key()
	u := x.of[key]
	if u == nil {
		x.forget(now)
		u = &usage{}
		if x.limits.Rate > 0 {
			u.rate = rate.NewLimiter(rate.Limit(x.limits.Rate), max(1, int(2*x.limits.Rate)))
		}
		x.of[key] = u
	}
	if u.conns >= x.limits.PerIdentity {
		return nil, nil, false
	}
	u.conns++
	return u, func() {
		x.mu.Lock()
		defer x.mu.Unlock()
		if u.conns--; u.conns == 0 && u.rate == nil { // a limiter that is forgotten forgives
			delete(x.of, key)
		}
	}, true
}

// forget drops, when there are many, those who have no connection and may send as
// many requests as at first.
func (x *identities) forget(now time.Time) {
	if len(x.of) < x.sweep {
		return
	}
	for key, u := range x.of {
		if u.conns == 0 && u.rate.TokensAt(now) >= float64(u.rate.Burst()) {
			delete(x.of, key)
		}
	}
	x.sweep = max(leastSweep, 2*len(x.of))
}

// begin counts a request that runs, and says why there are too many. What was
// begun is ended in any case.
func (u *usage) begin(l Limits, now time.Time) *Refusal {
	switch running := u.running.Add(1); {
	case running > int64(l.Requests):
		return &Refusal{CodeTooMany, "the identity has as many requests running as it may"}
	case u.rate != nil && !u.rate.AllowN(now, 1):
		return &Refusal{CodeTooMany, "the identity has sent as many requests as it may for now"}
	}
	return nil
}

func (u *usage) end() { u.running.Add(-1) }
