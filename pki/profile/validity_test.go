package profile_test

import (
	"crypto/x509"
	"errors"
	"strings"
	"testing"
	"time"

	"mutual/pki"
	"mutual/pki/pkitest"
	"mutual/pki/profile"
)

// wantError fails unless err says want, and is a RequestError or not.
func wantError(t *testing.T, err error, want string, request bool) {
	t.Helper()
	if err == nil || !strings.Contains(err.Error(), want) {
		t.Fatalf("error %v, want %q in it", err, want)
	}
	if _, is := errors.AsType[*profile.RequestError](err); is != request {
		t.Errorf("%v: the request alone is wrong: %v, want %v", err, is, request)
	}
}

// at reads a time; "" is none.
func at(t *testing.T, s string) time.Time {
	t.Helper()
	if s == "" {
		return time.Time{}
	}
	v, err := time.Parse(time.RFC3339, s)
	if err != nil {
		t.Fatal(err)
	}
	return v
}

// window makes a Window of texts, "" for what is not given.
func window(t *testing.T, ttl, notBefore, notAfter string, allowExpired bool) profile.Window {
	t.Helper()
	w := profile.Window{NotBefore: at(t, notBefore), NotAfter: at(t, notAfter), AllowExpired: allowExpired}
	if ttl != "" {
		w.TTL = pkitest.MustLifetime(t, ttl)
	}
	return w
}

// issuerFrom is an issuer with these times and nothing else.
func issuerFrom(t *testing.T, notBefore, notAfter string) *x509.Certificate {
	t.Helper()
	return &x509.Certificate{NotBefore: at(t, notBefore), NotAfter: at(t, notAfter)}
}

const (
	now       = "2026-11-01T12:00:00Z"
	caBegins  = "2026-11-01T11:40:00Z"
	caEnds    = "2031-11-01T12:00:00Z"
	backdated = "2026-11-01T11:50:00Z"
	serverEnd = "the 825 days that a server's certificate may last"
	issuerEnd = "the end of its issuer"
)

func TestResolve(t *testing.T) {
	client, server := pki.KindClient, pki.KindServer
	for _, tt := range []struct {
		name                     string
		kind                     pki.Kind
		ttl, notBefore, notAfter string
		allowExpired             bool
		from, until, clipped     string
	}{
		{name: "backdated by ten minutes", kind: client, ttl: "90d", from: backdated, until: "2027-01-30T12:00:00Z"},
		{name: "calendar", kind: client, ttl: "1y6mo", from: backdated, until: "2028-05-01T12:00:00Z"},
		{name: "shorter than the backdating", kind: client, ttl: "1s", from: backdated, until: "2026-11-01T12:00:01Z"},
		{name: "clipped to the issuer", kind: client, ttl: "10y", from: backdated, until: caEnds, clipped: issuerEnd},
		{name: "exactly the issuer's end", kind: client, notAfter: caEnds, from: backdated, until: caEnds},
		{name: "in the future", kind: client, ttl: "1mo", notBefore: "2027-01-31T00:00:00Z", from: "2027-01-31T00:00:00Z", until: "2027-02-28T00:00:00Z"},
		{name: "both ends given", kind: client, notBefore: "2026-12-01T00:00:00Z", notAfter: "2026-12-02T00:00:00+01:00",
			from: "2026-12-01T00:00:00Z", until: "2026-12-01T23:00:00Z"},
		{name: "whole seconds", kind: client, notAfter: "2026-12-01T00:00:00.9Z", from: backdated, until: "2026-12-01T00:00:00Z"},
		{name: "begins at the backdating", kind: client, ttl: "1d", notBefore: backdated, from: backdated, until: "2026-11-02T12:00:00Z"},
		{name: "not before the issuer", kind: client, ttl: "1d", notBefore: "2026-11-01T11:55:00Z", from: "2026-11-01T11:55:00Z", until: "2026-11-02T12:00:00Z"},
		{name: "expired on purpose", kind: client, notAfter: "2026-10-01T00:00:00Z", allowExpired: true, from: "2026-09-30T00:00:00Z", until: "2026-10-01T00:00:00Z"},
		{name: "the past on purpose", kind: client, notBefore: "2020-01-01T00:00:00Z", notAfter: "2020-02-01T00:00:00Z", allowExpired: true,
			from: "2020-01-01T00:00:00Z", until: "2020-02-01T00:00:00Z"},
		{name: "a server", kind: server, ttl: "90d", from: backdated, until: "2027-01-30T12:00:00Z"},
		{name: "a server of 825 days", kind: server, ttl: "825d", from: backdated, until: "2029-02-03T11:49:59Z", clipped: serverEnd},
		{name: "a server of 824 days", kind: server, ttl: "824d", from: backdated, until: "2029-02-02T12:00:00Z"},
		{name: "a client of 826 days", kind: client, ttl: "826d", from: backdated, until: "2029-02-04T12:00:00Z"},
		{name: "a probe", kind: pki.KindProbe, ttl: "5m", from: backdated, until: "2026-11-01T12:05:00Z"},
		{name: "an issuing CA", kind: pki.KindIssuing, ttl: "5y", from: backdated, until: caEnds},
	} {
		t.Run(tt.name, func(t *testing.T) {
			v, err := window(t, tt.ttl, tt.notBefore, tt.notAfter, tt.allowExpired).Resolve(tt.kind, issuerFrom(t, caBegins, caEnds), at(t, now))
			if err != nil {
				t.Fatal(err)
			}
			if !v.NotBefore.Equal(at(t, tt.from)) || !v.NotAfter.Equal(at(t, tt.until)) || v.Clipped != tt.clipped {
				t.Errorf("from %s until %s, clipped by %q; want %s, %s, %q", v.NotBefore, v.NotAfter, v.Clipped, tt.from, tt.until, tt.clipped)
			}
			if v.NotBefore.Location() != time.UTC || v.NotAfter.Location() != time.UTC || v.NotAfter.Nanosecond() != 0 {
				t.Error("the times are not whole seconds in UTC")
			}
		})
	}
}

// A certificate never begins before a CA that was made a moment ago.
func TestResolveBeginsWithTheIssuer(t *testing.T) {
	v, err := window(t, "1d", "", "", false).Resolve(pki.KindClient, issuerFrom(t, "2026-11-01T11:58:00Z", caEnds), at(t, now))
	if err != nil || !v.NotBefore.Equal(at(t, "2026-11-01T11:58:00Z")) || v.Clipped != "" {
		t.Errorf("%v, %v", v, err)
	}
	v, err = window(t, "1d", "2026-01-01T00:00:00Z", "", true).Resolve(pki.KindClient, issuerFrom(t, caBegins, caEnds), at(t, now))
	if err != nil || !v.NotBefore.Equal(at(t, "2026-01-01T00:00:00Z")) {
		t.Errorf("with the past allowed: %v, %v", v, err)
	}
	v, err = window(t, "10y", "", "", false).Resolve(pki.KindRoot, nil, at(t, now))
	if err != nil || !v.NotBefore.Equal(at(t, backdated)) || !v.NotAfter.Equal(at(t, "2036-11-01T12:00:00Z")) || v.Clipped != "" {
		t.Errorf("a root: %v, %v", v, err)
	}
}

func TestResolveRefused(t *testing.T) {
	client, server := pki.KindClient, pki.KindServer
	for _, tt := range []struct {
		name                     string
		kind                     pki.Kind
		ttl, notBefore, notAfter string
		allowExpired             bool
		want                     string
	}{
		{name: "nothing given", kind: client, want: "neither a lifetime nor a notAfter was given"},
		{name: "both given", kind: client, ttl: "1d", notAfter: "2026-12-01T00:00:00Z", want: "a lifetime and a notAfter exclude each other"},
		{name: "notAfter in the past", kind: client, notAfter: "2026-10-01T00:00:00Z", want: "notAfter 2026-10-01T00:00:00Z lies in the past"},
		{name: "notAfter now", kind: client, notAfter: now, want: "lies in the past"},
		{name: "notBefore in the past", kind: client, ttl: "1d", notBefore: "2026-10-31T00:00:00Z", want: "notBefore 2026-10-31T00:00:00Z lies in the past"},
		{name: "the ends changed", kind: client, notBefore: "2027-01-02T00:00:00Z", notAfter: "2027-01-01T00:00:00Z",
			want: "would end (2027-01-01T00:00:00Z) before it begins (2027-01-02T00:00:00Z)"},
		{name: "no time at all", kind: client, notBefore: "2027-01-01T00:00:00Z", notAfter: "2027-01-01T00:00:00Z", want: "before it begins"},
		{name: "begins after the issuer's end", kind: client, ttl: "1d", notBefore: "2040-01-01T00:00:00Z", want: "before it begins"},
		{name: "a server of 826 days", kind: server, ttl: "826d", want: "may not last longer than 825 days"},
		{name: "a server of 3 years, clipped or not", kind: server, ttl: "10y", want: "may not last longer than 825 days"},
		{name: "a server later", kind: server, notBefore: "2027-01-01T00:00:00Z", notAfter: "2029-05-01T00:00:00Z", want: "may not last longer than 825 days"},
		{name: "before 1950", kind: client, notBefore: "1949-12-31T23:59:59Z", notAfter: "1951-01-01T00:00:00Z", allowExpired: true,
			want: "does not fit into a certificate"},
	} {
		t.Run(tt.name, func(t *testing.T) {
			_, err := window(t, tt.ttl, tt.notBefore, tt.notAfter, tt.allowExpired).Resolve(tt.kind, issuerFrom(t, caBegins, caEnds), at(t, now))
			wantError(t, err, tt.want, true)
		})
	}
}

// An issuer that has expired is not the request's fault, and --allow-expired
// does not change it.
func TestResolveExpiredIssuer(t *testing.T) {
	for _, allow := range []bool{false, true} {
		for _, kind := range []pki.Kind{pki.KindClient, pki.KindServer} {
			_, err := window(t, "90d", "", "", allow).Resolve(kind, issuerFrom(t, "2020-01-01T00:00:00Z", "2026-10-31T00:00:00Z"), at(t, now))
			wantError(t, err, "the issuing CA expired at 2026-10-31T00:00:00Z", false)
		}
	}
}
