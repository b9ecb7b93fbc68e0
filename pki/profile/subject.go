package profile

import (
	"crypto/x509/pkix"
	"fmt"
	"strings"
	"unicode/utf8"

	"mutual/pki"
)

// Subject is a distinguished name in the attributes that a certificate of
// ours may carry. Empty ones are left out.
type Subject struct {
	CommonName         string
	Organization       string
	OrganizationalUnit string
	Country            string // two letters, ISO 3166
	State              string
	Locality           string
}

// The upper bounds of RFC 5280, Appendix A.1.
const (
	maxCommonName = 64
	maxAttribute  = 64
	maxLocality   = 128
)

func (s Subject) isEmpty() bool { return s == Subject{} }

// Check refuses an attribute that no certificate of ours may carry: a
// RequestError.
func (s Subject) Check() error {
	for _, a := range []struct {
		name, value string
		limit       int
	}{
		{"commonName", s.CommonName, maxCommonName},
		{"organization", s.Organization, maxAttribute},
		{"organizationalUnit", s.OrganizationalUnit, maxAttribute},
		{"state", s.State, maxLocality},
		{"locality", s.Locality, maxLocality},
	} {
		if err := checkAttribute(a.name, a.value, a.limit); err != nil {
			return err
		}
	}
	if c := s.Country; c != "" && (len(c) != 2 || strings.Trim(c, "ABCDEFGHIJKLMNOPQRSTUVWXYZ") != "") {
		return requestErrorf("the country %q is not two upper-case letters", c)
	}
	return nil
}

func checkAttribute(name, value string, limit int) error {
	if !utf8.ValidString(value) {
		return requestErrorf("the %s is not valid UTF-8", name)
	}
	if n := utf8.RuneCountInString(value); n > limit {
		return requestErrorf("the %s has %d characters, and at most %d are allowed", name, n, limit)
	}
	if strings.TrimSpace(value) != value {
		return requestErrorf("the %s %q begins or ends with a space", name, value)
	}
	for _, r := range value {
		if pki.Invisible(r) {
			return requestErrorf("the %s %q holds the character %U, which cannot be seen", name, value, r)
		}
	}
	return nil
}

// pkixName gives the name in the form that crypto/x509 encodes: each
// attribute a PrintableString where it fits, else a UTF8String (RFC 5280,
// Section 4.1.2.4).
func (s Subject) pkixName() pkix.Name {
	one := func(v string) []string {
		if v == "" {
			return nil
		}
		return []string{v}
	}
	return pkix.Name{
		CommonName:         s.CommonName,
		Organization:       one(s.Organization),
		OrganizationalUnit: one(s.OrganizationalUnit),
		Country:            one(s.Country),
		Province:           one(s.State),
		Locality:           one(s.Locality),
	}
}

// RequestError says that what was asked for can never be, whatever the PKI
// holds: the caller's input alone shows it.
type RequestError struct{ msg string }

func (e *RequestError) Error() string { return e.msg }

func requestErrorf(format string, args ...any) error {
	return &RequestError{msg: fmt.Sprintf(format, args...)}
}
