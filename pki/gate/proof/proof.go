package proof

import (
	"context"
	"crypto/tls"
	"fmt"
	"slices"
	"time"
)

// Config says what is proved of which gate.
type Config struct {
	Client Client // with the certificate that will be revoked
	// Revoke has the certificate revoked, and returns when the gate has
	// acknowledged it.
	Revoke func(context.Context) error
	Now    func() time.Time
}

// Claim is one thing that must be so after a revocation.
type Claim struct {
	What   string        `json:"claim"`
	Holds  bool          `json:"holds"`
	Detail string        `json:"detail"`
	Took   time.Duration `json:"-"`
}

// Report is what was seen.
type Report struct {
	Claims []Claim
	Took   time.Duration // of Revoke
}

// Holds reports whether every claim does.
func (r *Report) Holds() bool {
	return !slices.ContainsFunc(r.Claims, func(c Claim) bool { return !c.Holds })
}

// Run opens an HTTP/1.1 stream, an HTTP/2 stream and a WebSocket, keeps the
// session that it may be given, has the certificate revoked, and looks. An error
// means that nothing could be proved.
func Run(ctx context.Context, c Config) (*Report, error) {
	sessions := &cache{ClientSessionCache: tls.NewLRUClientSessionCache(8)}
	client := c.Client
	client.Config = client.Config.Clone()
	client.Config.ClientSessionCache = sessions
	status, _, err := client.Hello(ctx)
	if ctx.Err() != nil {
		return nil, ctx.Err()
	}
	if err != nil || status != 200 {
		return nil, fmt.Errorf("calling the API before the revocation: %w", or(err, status))
	}
	var open []*live
	defer func() {
		for _, l := range open {
			l.stop()
		}
	}()
	for _, begin := range []func() (*live, error){
		func() (*live, error) { return c.Client.stream(ctx, false, c.Now) },
		func() (*live, error) { return c.Client.stream(ctx, true, c.Now) },
		func() (*live, error) { return c.Client.socket(ctx, c.Now) },
	} {
		l, err := begin()
		if ctx.Err() != nil {
			return nil, ctx.Err()
		}
		if err != nil {
			return nil, err
		}
		open = append(open, l)
	}
	began := c.Now()
	if err := c.Revoke(ctx); err != nil {
		return nil, fmt.Errorf("revoking the certificate: %w", err)
	}
	report := &Report{Took: c.Now().Sub(began)}
	done := c.Now()
	status, _, err = c.Client.Hello(ctx)
	report.Claims = append(report.Claims, refusal("the next handshake is refused", status, err))
	report.Claims = append(report.Claims, resumption(ctx, client, sessions))
	report.Claims = append(report.Claims, cuts(open, began, done))
	return report, ctx.Err()
}

func or(err error, status int) error {
	if err == nil {
		err = fmt.Errorf("the answer is %d", status)
	}
	return err
}

// refusal is a claim that a call was not answered. One that could not be made,
// because the gate does not answer at all, proves nothing.
func refusal(what string, status int, err error) Claim {
	c := Claim{What: what}
	switch {
	case err == nil && status == 403:
		c.Holds, c.Detail = true, "403 Forbidden"
	case err == nil:
		c.Detail = fmt.Sprintf("the API answered %d", status)
	case remoteError(err) != "":
		c.Holds, c.Detail = true, remoteError(err)
	default:
		c.Detail = "could not tell: " + err.Error()
	}
	return c
}

// resumption is the claim that the session of before does not help.
func resumption(ctx context.Context, client Client, sessions *cache) Claim {
	const what = "a resumed session is refused"
	given := sessions.count
	status, resumed, err := client.Hello(ctx)
	c := refusal(what, status, err)
	switch {
	case !c.Holds:
	case resumed:
		c.Holds, c.Detail = false, "the session was resumed before it was refused"
	case given == 0:
		c.Detail = "the gate gives no session to resume; " + c.Detail
	}
	return c
}

// cuts is the claim that everything that was open is cut, and says how long
// after the revocation began, and whether before it was reported done.
func cuts(open []*live, began, done time.Time) Claim {
	n := 0
	var slowest time.Duration
	late := ""
	for _, l := range open {
		select {
		case <-l.ended:
			if l.at.Before(began) {
				late = ": the " + l.what + " had ended before"
				continue
			}
			n++
			slowest = max(slowest, l.at.Sub(began))
		case <-time.After(time.Second):
			late = ": the " + l.what + " goes on"
		}
	}
	c := Claim{What: fmt.Sprintf("%d of %d live connections are cut", n, len(open)), Holds: n == len(open), Took: slowest}
	c.Detail = fmt.Sprintf("%.1f ms after the revocation began%s", float64(slowest.Microseconds())/1000, late)
	if lag := slowest - done.Sub(began); lag > 0 && c.Holds {
		c.Detail += fmt.Sprintf(", seen here %.1f ms after it was reported done", float64(lag.Microseconds())/1000)
	}
	return c
}

// cache counts the sessions that it is given.
type cache struct {
	tls.ClientSessionCache
	count int
}

// Put implements tls.ClientSessionCache.
func (c *cache) Put(key string, state *tls.ClientSessionState) {
	if state != nil {
		c.count++
	}
	c.ClientSessionCache.Put(key, state)
}
