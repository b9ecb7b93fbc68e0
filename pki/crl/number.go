package crl

import (
	"math/big"
	"time"
)

// The margins around the clocks of those who read a list: most are less than
// ten minutes slow, and one a minute slow must not see a list from the future,
// for OpenSSL refuses everyone on such a list.
const (
	backdate  = 10 * time.Minute
	clockSlip = time.Minute
)

// NextNumber returns the number of the list after the previous one, of which
// the number is nil if there is none: max(previous + 1, thisUpdate in
// nanoseconds since 1970). It grows (RFC 5280, Section 5.2.3) even after a
// backup was restored that does not know the last numbers.
func NextNumber(previous *big.Int, thisUpdate time.Time) *big.Int {
	next := big.NewInt(thisUpdate.UnixNano())
	if previous != nil {
		if after := new(big.Int).Add(previous, big.NewInt(1)); after.Cmp(next) > 0 {
			return after
		}
	}
	return next
}

// NextThisUpdate returns the thisUpdate of the list after one of last, in UTC
// and whole seconds: a second later or ten minutes ago, whichever is newer,
// but not within the last minute. In a burst it repeats the last value: it is
// never smaller, whatever the clock says, and only the number grows.
func NextThisUpdate(last, now time.Time) time.Time {
	last, now = last.UTC().Truncate(time.Second), now.UTC().Truncate(time.Second)
	next := now.Add(-backdate)
	if after := last.Add(time.Second); after.After(next) {
		next = after
	}
	if latest := now.Add(-clockSlip); next.After(latest) {
		next = latest
	}
	if next.Before(last) {
		return last
	}
	return next
}

// NewestThisUpdate returns the newest thisUpdate that a list made by now can
// have, whichever lists came before: NextThisUpdate gives none after it while
// the clock goes forward. In nanoseconds it bounds the numbers, too, but for
// one for each list made without a second between them.
func NewestThisUpdate(now time.Time) time.Time {
	return now.UTC().Truncate(time.Second).Add(-clockSlip)
}
