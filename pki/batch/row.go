package batch

import (
	"errors"
	"fmt"
	"strings"
	"time"

	"mutual/pki"
	"mutual/pki/store"
)

// Row is what the input says of one certificate. A field that is empty is not
// given.
type Row struct {
	Name                string
	DNS, IP, Email, URI []string
	TTL, Label          string
}

// fieldNames are the columns of CSV and the members of JSON.
var fieldNames = []string{"name", "dns", "ip", "email", "uri", "ttl", "label"}

// field gives what takes the text of a field, or nil.
func (r *Row) field(name string) func(text string) error {
	one := func(into *string) func(string) error {
		return func(text string) error { *into = text; return nil }
	}
	if into := r.list(name); into != nil {
		return func(text string) error { return into.set(strings.Fields(text)) }
	}
	switch name {
	case "name":
		return one(&r.Name)
	case "ttl":
		return one(&r.TTL)
	case "label":
		return one(&r.Label)
	}
	return nil
}

// values are those of a field that may have several.
type values []string

// list gives a field that may have several values, or nil.
func (r *Row) list(name string) *values {
	switch name {
	case "dns":
		return (*values)(&r.DNS)
	case "ip":
		return (*values)(&r.IP)
	case "email":
		return (*values)(&r.Email)
	case "uri":
		return (*values)(&r.URI)
	}
	return nil
}

func (v *values) set(all []string) error {
	if len(all) > maxValues {
		return fmt.Errorf("%d values, and at most %d are allowed", len(all), maxValues)
	}
	*v = all
	return nil
}

// request makes of a row what the store is asked for: what the row does not
// give is as in the defaults.
func (r *Row) request(defaults store.IssueRequest) (store.IssueRequest, error) {
	req := defaults
	if r.Name == "" {
		return req, errors.New("the name is missing")
	}
	var err error
	if req.Name, err = pki.ParseName(r.Name, req.Kind); err != nil {
		return req, err
	}
	if r.TTL != "" {
		if req.Window.TTL, err = pki.ParseLifetime(strings.TrimSpace(r.TTL)); err != nil {
			return req, fmt.Errorf("ttl: %w", err)
		}
		req.Window.NotAfter = time.Time{}
	}
	if r.Label != "" {
		req.Label = r.Label
		if err := pki.CheckLabel(r.Label); err != nil {
			return req, fmt.Errorf("label: %w", err)
		}
	}
	req.SAN, err = r.names(defaults.SAN)
	return req, err
}

// names gives the subject alternative names: of each type those of the row or,
// where it gives none, the default ones.
func (r *Row) names(defaults pki.SAN) (san pki.SAN, err error) {
	for _, of := range []struct {
		field    string
		given    []string
		defaults func() []string
		add      func(string) error
	}{
		{"dns", r.DNS, defaults.DNS, san.AddDNS}, {"ip", r.IP, func() []string { return ipStrings(defaults) }, san.AddIP},
		{"email", r.Email, defaults.Email, san.AddEmail}, {"uri", r.URI, defaults.URI, san.AddURI},
	} {
		given := of.given
		if len(given) == 0 {
			given = of.defaults()
		}
		for _, text := range given {
			if err := of.add(text); err != nil {
				return san, fmt.Errorf("%s: %w", of.field, err)
			}
		}
	}
	return san, nil
}

func ipStrings(s pki.SAN) (out []string) {
	for _, a := range s.IP() {
		out = append(out, a.String())
	}
	return out
}
