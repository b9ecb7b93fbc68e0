package commands

import (
	"bytes"
	"strings"
	"testing"
	"time"
)

// FuzzParseTime: a time that is read is in UTC, fits into a certificate (RFC
// 5280, Section 4.1.2.5: whole seconds, years of four digits) and is read
// again as the same.
func FuzzParseTime(f *testing.F) {
	for _, seed := range []string{
		"2027-01-31", "2027-01-31T12:00:00Z", "2027-01-31T12:00:00+02:00", "2027-01-31T12:00:00-23:59", "1950-01-01", "1949-12-31T23:59:59Z",
		"1950-01-01T00:00:00+14:00", "9999-12-31T23:59:59Z", "9999-12-31T23:59:59-01:00", "2027-01-31T12:00:00.5Z", "2027-01-31T24:00:00Z",
		"2027-02-29", "2028-02-29", "2027-01-31 12:00:00", "2027-1-31", "20270131", "2027-01-31T12:00:60Z", "0001-01-01", "10000-01-01",
		"-2027-01-31", "now", "", " 2027-01-31", "2027-01-31\n", "2027-01-31t12:00:00z",
	} {
		f.Add(seed)
	}
	f.Fuzz(func(t *testing.T, s string) {
		got, err := parseTime(s)
		if err != nil {
			if !got.IsZero() || !strings.Contains(err.Error(), "\"") {
				t.Errorf("%q gives %v and %q", s, got, err)
			}
			return
		}
		if got.Location() != time.UTC || got.Year() < 1950 || got.Year() > 9999 || got.Nanosecond() != 0 {
			t.Errorf("%q gives %v, which does not fit into a certificate", s, got)
		}
		if again, err := parseTime(got.Format(time.RFC3339)); err != nil || !again.Equal(got) {
			t.Errorf("%q gives %v, and that %v, %v", s, got, again, err)
		}
	})
}

// FuzzPassphrase: of what a source gives, one end of a line is dropped and
// nothing else, and neither nothing nor too much is taken.
func FuzzPassphrase(f *testing.F) {
	for _, seed := range []string{"secret", "secret\n", "secret\r\n", "secret\r", "secret\n\n", "\n", "", "\r\n", " secret ", strings.Repeat("x", maxPassphrase), strings.Repeat("x", maxPassphrase+1), "\x00"} {
		f.Add([]byte(seed), false)
		f.Add([]byte(seed), true)
	}
	f.Fuzz(func(t *testing.T, raw []byte, mayBeEmpty bool) {
		p := &passphrase{name: "passphrase", mayBeEmpty: mayBeEmpty}
		got, err := p.check(bytes.Clone(raw))
		rest, ok := bytes.CutPrefix(raw, got)
		end := string(rest)
		switch {
		case err != nil:
			if nothing := string(raw) == "" || string(raw) == "\n" || string(raw) == "\r\n"; got != nil || nothing == (len(raw) > maxPassphrase) {
				t.Fatalf("%q gives %q and %v", raw, got, err)
			}
		case !ok || end != "" && end != "\n" && end != "\r\n":
			t.Fatalf("%q gives %q", raw, got)
		case len(got) > maxPassphrase || len(got) == 0 && !mayBeEmpty:
			t.Fatalf("%q gives %d octets", raw, len(got))
		}
	})
}
