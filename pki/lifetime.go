package pki

import (
	"errors"
	"fmt"
	"strconv"
	"strings"
	"time"
)

// Lifetime is how long something is valid: calendar years and months, days,
// and a span of time. The zero value is no lifetime.
type Lifetime struct {
	text                string
	years, months, days int
	span                time.Duration
}

// maxLifetimeYears keeps every notAfter in the four-digit years that
// GeneralizedTime can carry (RFC 5280, Section 4.1.2.5.2).
const maxLifetimeYears = 1000

type lifetimeUnit struct {
	name string
	add  func(*Lifetime, int64)
}

// lifetimeUnits stand in the order in which they must be written; "mo" is
// before "m" because the longer name is tried first.
var lifetimeUnits = []lifetimeUnit{
	{"y", func(l *Lifetime, n int64) { l.years = int(n) }},
	{"mo", func(l *Lifetime, n int64) { l.months = int(n) }},
	{"w", func(l *Lifetime, n int64) { l.days += 7 * int(n) }},
	{"d", func(l *Lifetime, n int64) { l.days += int(n) }},
	{"h", func(l *Lifetime, n int64) { l.span += time.Duration(n) * time.Hour }},
	{"m", func(l *Lifetime, n int64) { l.span += time.Duration(n) * time.Minute }},
	{"s", func(l *Lifetime, n int64) { l.span += time.Duration(n) * time.Second }},
}

var errLifetimeForm = errors.New("write it as 90d, 12h, 45m or 1y6mo (y, mo, w, d, h, m, s, largest first)")

// ParseLifetime reads one or more numbers with a unit, largest unit first:
// 90d, 12h, 1y6mo, 45m. Years and months are calendar ones; a day is 24
// hours; m is minutes. Zero, negative and unreadable lifetimes are errors.
func ParseLifetime(s string) (Lifetime, error) {
	l := Lifetime{text: s}
	rest, next := s, 0
	for rest != "" {
		digits := strings.IndexFunc(rest, func(r rune) bool { return r < '0' || r > '9' })
		// Six digits of hours, minutes and seconds are less than 116 years, and
		// time.Duration ends at 292; days, which would not fit, are counted.
		if digits <= 0 || digits > 6 {
			return Lifetime{}, fmt.Errorf("%q is no lifetime: %w", s, errLifetimeForm)
		}
		n, err := strconv.ParseInt(rest[:digits], 10, 64)
		if err != nil {
			return Lifetime{}, fmt.Errorf("%q is no lifetime: %w", s, errLifetimeForm)
		}
		rest = rest[digits:]
		i := unitIndex(rest, next)
		if i < 0 {
			return Lifetime{}, fmt.Errorf("%q is no lifetime: %w", s, errLifetimeForm)
		}
		lifetimeUnits[i].add(&l, n)
		rest, next = rest[len(lifetimeUnits[i].name):], i+1
	}
	if l.IsZero() {
		return Lifetime{}, fmt.Errorf("the lifetime %q is not longer than nothing: %w", s, errLifetimeForm)
	}
	if l.years+l.months/12+l.days/365+int(l.span/(365*24*time.Hour)) > maxLifetimeYears {
		return Lifetime{}, fmt.Errorf("the lifetime %q is over %d years", s, maxLifetimeYears)
	}
	return l, nil
}

// unitIndex finds the unit that rest begins with, not before the given one.
func unitIndex(rest string, from int) int {
	for i, u := range lifetimeUnits {
		if !strings.HasPrefix(rest, u.name) {
			continue
		}
		if i < from {
			return -1
		}
		return i
	}
	return -1
}

// IsZero reports whether l is no lifetime.
func (l Lifetime) IsZero() bool { return l.years == 0 && l.months == 0 && l.days == 0 && l.span == 0 }

// String gives the lifetime as it was written.
func (l Lifetime) String() string { return l.text }

// From gives the end of the lifetime that begins at t, in UTC. A month that
// has no such day ends on its last: 31 January and one month is 28 February.
func (l Lifetime) From(t time.Time) time.Time {
	return addMonths(t.UTC(), 12*l.years+l.months).AddDate(0, 0, l.days).Add(l.span)
}

// Before gives the beginning of the lifetime that ends at t, in UTC.
func (l Lifetime) Before(t time.Time) time.Time {
	return addMonths(t.UTC(), -12*l.years-l.months).AddDate(0, 0, -l.days).Add(-l.span)
}

// TwoThirds gives when two thirds of a life are over, which is when what ends
// should be replaced.
func TwoThirds(from, to time.Time) time.Time {
	return from.Add(max(0, to.Sub(from)) / 3 * 2) // a life may be as long as a Duration
}

func addMonths(t time.Time, n int) time.Time {
	moved := t.AddDate(0, n, 0)
	if moved.Day() != t.Day() { // time normalised 31 June to 1 July
		moved = moved.AddDate(0, 0, -moved.Day())
	}
	return moved
}
