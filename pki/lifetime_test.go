package pki_test

import (
	"strings"
	"testing"
	"time"

	"mutual/pki"
)

// wantError fails unless err says want.
func wantError(t *testing.T, err error, want string) {
	t.Helper()
	if err == nil || !strings.Contains(err.Error(), want) {
		t.Errorf("error %v, want %q in it", err, want)
	}
}

func TestLifetime(t *testing.T) {
	const noon = "2026-11-01T12:00:00Z"
	for _, tt := range []struct{ text, from, until string }{
		{"90d", noon, "2027-01-30T12:00:00Z"},
		{"12h", noon, "2026-11-02T00:00:00Z"},
		{"45m", noon, "2026-11-01T12:45:00Z"},
		{"1s", noon, "2026-11-01T12:00:01Z"},
		{"2w", noon, "2026-11-15T12:00:00Z"},
		{"1y6mo", noon, "2028-05-01T12:00:00Z"},
		{"1y2mo3w4d5h6m7s", noon, "2028-01-26T17:06:07Z"},
		{"36h", noon, "2026-11-03T00:00:00Z"},
		{"1mo30m", noon, "2026-12-01T12:30:00Z"},
		{"00090d", noon, "2027-01-30T12:00:00Z"},
		{"0y1d", noon, "2026-11-02T12:00:00Z"},
		{"1mo", "2027-01-31T00:00:00Z", "2027-02-28T00:00:00Z"},
		{"1mo", "2028-01-31T00:00:00Z", "2028-02-29T00:00:00Z"},
		{"1mo1d", "2027-01-31T00:00:00Z", "2027-03-01T00:00:00Z"},
		{"2mo", "2027-01-31T00:00:00Z", "2027-03-31T00:00:00Z"},
		{"13mo", "2027-12-31T00:00:00Z", "2029-01-31T00:00:00Z"},
		{"1y", "2028-02-29T06:00:00Z", "2029-02-28T06:00:00Z"},
		{"4y", "2028-02-29T06:00:00Z", "2032-02-29T06:00:00Z"},
		{"1mo", "2027-01-31T00:30:00+01:00", "2027-02-28T23:30:00Z"}, // 30 January in UTC, of which February has none
		{"1000y", noon, "3026-11-01T12:00:00Z"},
		// Days and weeks past the 292 years of time.Duration, which once wrapped
		// around to minutes.
		{"213504d", noon, "2611-05-23T12:00:00Z"},
		{"30501w", noon, "2611-05-26T12:00:00Z"},
		{"999999h", noon, "2140-11-30T03:00:00Z"},
	} {
		t.Run(tt.text+" "+tt.from, func(t *testing.T) {
			l, err := pki.ParseLifetime(tt.text)
			if err != nil {
				t.Fatal(err)
			}
			from, err := time.Parse(time.RFC3339, tt.from)
			if err != nil {
				t.Fatal(err)
			}
			got := l.From(from)
			if got.Format(time.RFC3339) != tt.until || got.Location() != time.UTC {
				t.Errorf("From = %s, want %s", got, tt.until)
			}
			if l.String() != tt.text || l.IsZero() {
				t.Errorf("String = %q, IsZero = %v", l, l.IsZero())
			}
		})
	}
}

func TestLifetimeBefore(t *testing.T) {
	for _, tt := range []struct{ text, until, from string }{
		{"90d", "2027-01-30T12:00:00Z", "2026-11-01T12:00:00Z"},
		{"1mo", "2027-03-31T00:00:00Z", "2027-02-28T00:00:00Z"},
		{"1y", "2028-02-29T00:00:00Z", "2027-02-28T00:00:00Z"},
		{"1y6mo12h", "2028-05-01T12:00:00Z", "2026-11-01T00:00:00Z"},
	} {
		l, err := pki.ParseLifetime(tt.text)
		if err != nil {
			t.Fatal(err)
		}
		until, err := time.Parse(time.RFC3339, tt.until)
		if err != nil {
			t.Fatal(err)
		}
		if got := l.Before(until).Format(time.RFC3339); got != tt.from {
			t.Errorf("%s before %s = %s, want %s", tt.text, tt.until, got, tt.from)
		}
	}
}

func TestLifetimeRefused(t *testing.T) {
	const (
		form    = "is no lifetime: write it as 90d, 12h, 45m or 1y6mo"
		nothing = "is not longer than nothing"
		years   = "is over 1000 years"
	)
	for text, want := range map[string]string{
		"":                 nothing,
		"0d":               nothing,
		"0y0mo0w0d0h0m0s":  nothing,
		"-1d":              form,
		"+1d":              form,
		"90 dayz 1h":       form,
		"90 d":             form,
		" 90d":             form,
		"90d ":             form,
		"90":               form,
		"d":                form,
		"1d2":              form,
		"1h1d":             form,
		"1d1d":             form,
		"1m6mo":            form,
		"90days":           form,
		"90D":              form,
		"1.5h":             form,
		"1,5h":             form,
		"1e3d":             form,
		"0x10d":            form,
		"1M":               form,
		"1ms":              form,
		"٩٠d":              form,
		"1d\n":             form,
		"1d\x00":           form,
		"1000000s":         form,
		"9999999999999y":   form,
		"1001y":            years,
		"999999y":          years,
		"999999mo":         years,
		"999999d":          years,
		"999999w":          years,
		"600y400000d":      years,
		"999y12mo":         "",
		"forever":          form,
		"P90D":             form,
		"90d; rm -rf /":    form,
		"1y 6mo":           form,
		"90d90d90d90d90dx": form,
	} {
		l, err := pki.ParseLifetime(text)
		if want == "" {
			if err != nil {
				t.Errorf("%q: %v", text, err)
			}
			continue
		}
		t.Run(text, func(t *testing.T) { wantError(t, err, want) })
		if !l.IsZero() {
			t.Errorf("%q gives a lifetime beside its error", text)
		}
	}
}

// What is read is longer than nothing in both directions, and is read again
// as the same.
func FuzzLifetime(f *testing.F) {
	for _, s := range []string{"90d", "1y6mo", "1h1d", "213504d", "999y12mo", "0d", "90 dayz 1h", "1mo1m", "\xff"} {
		f.Add(s, int64(1793534400))
	}
	f.Fuzz(func(t *testing.T, s string, unix int64) {
		l, err := pki.ParseLifetime(s)
		if err != nil {
			if !l.IsZero() {
				t.Error("a lifetime beside an error")
			}
			return
		}
		at := time.Unix(unix%(1<<40), 0)
		if !l.From(at).After(at) || !l.Before(at).Before(at) {
			t.Errorf("%q from %s is %s, before it is %s", s, at, l.From(at), l.Before(at))
		}
		if years := l.From(at).Year() - at.UTC().Year(); years > 1010 {
			t.Errorf("%q lasts %d years", s, years)
		}
		if again, err := pki.ParseLifetime(l.String()); err != nil || again != l {
			t.Errorf("%q is read again as %v, %v", s, again, err)
		}
	})
}
