package crl_test

import (
	"math/big"
	"testing"
	"time"

	"mutual/pki/crl"
)

func TestNextNumber(t *testing.T) {
	at := time.Date(2026, 11, 1, 12, 0, 0, 0, time.UTC)
	nanos := big.NewInt(at.UnixNano())
	far := new(big.Int).Lsh(big.NewInt(1), 100)
	plus := func(n *big.Int) *big.Int { return new(big.Int).Add(n, big.NewInt(1)) }
	for _, tt := range []struct {
		name           string
		previous, want *big.Int
	}{
		{"first", nil, nanos},
		{"after a small one", big.NewInt(41), nanos},
		{"after the same instant", nanos, plus(nanos)},
		{"after one from the future", far, plus(far)},
	} {
		t.Run(tt.name, func(t *testing.T) {
			var before *big.Int
			if tt.previous != nil {
				before = new(big.Int).Set(tt.previous)
			}
			if got := crl.NextNumber(tt.previous, at); got.Cmp(tt.want) != 0 {
				t.Errorf("NextNumber = %s, want %s", got, tt.want)
			}
			if tt.previous != nil && tt.previous.Cmp(before) != 0 {
				t.Error("NextNumber changed the previous number")
			}
		})
	}
}

func TestNextThisUpdate(t *testing.T) {
	now := time.Date(2026, 11, 1, 12, 0, 0, 0, time.UTC)
	for _, tt := range []struct {
		name            string
		last, now, want time.Time
	}{
		{"first", time.Time{}, now, now.Add(-10 * time.Minute)},
		{"long after the last", now.Add(-time.Hour), now, now.Add(-10 * time.Minute)},
		{"soon after the last", now.Add(-5 * time.Minute), now, now.Add(-5*time.Minute + time.Second)},
		{"at the bound", now.Add(-61 * time.Second), now, now.Add(-time.Minute)},
		{"past the bound", now.Add(-time.Minute), now, now.Add(-time.Minute)},
		{"within the last minute", now.Add(-10 * time.Second), now, now.Add(-10 * time.Second)},
		{"the clock went back", now.Add(time.Hour), now, now.Add(time.Hour)},
		{"fractions and zones", now.Add(-5*time.Minute + 7), now.Add(9).In(time.FixedZone("", 3600)), now.Add(-5*time.Minute + time.Second)},
	} {
		t.Run(tt.name, func(t *testing.T) {
			got := crl.NextThisUpdate(tt.last, tt.now)
			if got != tt.want {
				t.Errorf("NextThisUpdate = %s, want %s", got, tt.want)
			}
		})
	}
}

// Seven hundred revocations, three in each second: no list may be from the
// future, none older than the one before, and every number larger.
func TestBurst(t *testing.T) {
	start := time.Date(2026, 11, 1, 12, 0, 0, 0, time.UTC)
	for _, perSecond := range []int{1, 3, 1000} {
		var last time.Time
		var number *big.Int
		for i := range 700 {
			now := start.Add(time.Duration(i) * time.Second / time.Duration(perSecond))
			next := crl.NextThisUpdate(last, now)
			if next.Before(last) {
				t.Fatalf("%d a second, list %d: thisUpdate went from %s to %s", perSecond, i, last, next)
			}
			if next.After(now.Add(-59 * time.Second)) {
				t.Fatalf("%d a second, list %d: thisUpdate %s is too close to now %s", perSecond, i, next, now)
			}
			following := crl.NextNumber(number, next)
			if number != nil && following.Cmp(number) <= 0 {
				t.Fatalf("%d a second, list %d: number %s follows %s", perSecond, i, following, number)
			}
			last, number = next, following
		}
	}
}
