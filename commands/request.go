package commands

import (
	"crypto/x509"
	"errors"
	"fmt"
	"path/filepath"
	"slices"
	"time"

	"github.com/urfave/cli/v2"

	"mutual/pki"
	"mutual/pki/pemfile"
	"mutual/pki/profile"
	"mutual/pki/store"
)

// issueRequest reads the flags that issue and sign share. Whatever is wrong in
// them is wrong usage.
func issueRequest(c *cli.Context, kind pki.Kind, name pki.Name) (store.IssueRequest, error) {
	req := store.IssueRequest{
		Kind: kind, Name: name, Label: c.String("label"),
		Subject: profile.Subject{
			Organization: c.String("org"), OrganizationalUnit: c.String("unit"),
			Country: c.String("country"), State: c.String("state"), Locality: c.String("locality"),
		},
	}
	if err := pki.CheckLabel(req.Label); err != nil {
		return req, usagef("--label: %w", err)
	}
	if err := req.Subject.Check(); err != nil {
		return req, usage(err)
	}
	for _, names := range []struct {
		flag string
		add  func(string) error
	}{{"dns", req.SAN.AddDNS}, {"ip", req.SAN.AddIP}, {"email", req.SAN.AddEmail}, {"uri", req.SAN.AddURI}} {
		for _, value := range c.StringSlice(names.flag) {
			if err := names.add(value); err != nil {
				return req, usagef("--%s: %w", names.flag, err)
			}
		}
	}
	if out := c.String("out"); slices.Contains([]string{".crt", ".key", ".pem", ".p12"}, filepath.Ext(out)) {
		return req, usagef("--out %q looks like a file, and names the directory that the files are written into", out)
	}
	var err error
	req.Window, err = window(c)
	return req, err
}

// window reads the lifetime.
func window(c *cli.Context) (profile.Window, error) {
	w := profile.Window{AllowExpired: c.Bool("allow-expired")}
	if c.IsSet("ttl") && c.IsSet("not-after") {
		return w, usagef("--ttl and --not-after exclude each other")
	}
	var err error
	if c.IsSet("ttl") {
		if w.TTL, err = pki.ParseLifetime(c.String("ttl")); err != nil {
			return w, usagef("--ttl: %w", err)
		}
	}
	for flag, into := range map[string]*time.Time{"not-before": &w.NotBefore, "not-after": &w.NotAfter} {
		if !c.IsSet(flag) {
			continue
		}
		if *into, err = parseTime(c.String(flag)); err != nil {
			return w, usagef("--%s: %w", flag, err)
		}
	}
	return w, nil
}

// parseTime reads RFC 3339, or a date, which begins at midnight UTC.
func parseTime(s string) (time.Time, error) {
	for _, layout := range []string{time.RFC3339, time.DateOnly} {
		if t, err := time.Parse(layout, s); err == nil {
			t = t.UTC().Truncate(time.Second)
			if t.Year() < 1950 || t.Year() > 9999 { // the zero time means none
				return time.Time{}, errors.New("\"" + s + "\" does not fit into a certificate, which knows the years 1950 to 9999")
			}
			return t, nil
		}
	}
	return time.Time{}, errors.New("\"" + s + "\" is no time: write it as 2027-01-31T12:00:00Z or 2027-01-31")
}

// usageIfRequest makes an error that the command line alone explains wrong
// usage.
func usageIfRequest(err error) error {
	if as[*profile.RequestError](err) {
		return usage(err)
	}
	return err
}

// takeKeyAndNames takes the key of a request, and its names where they were
// accepted.
func takeKeyAndNames(csr *x509.CertificateRequest, acceptNames bool, req *store.IssueRequest) error {
	req.PublicKey = csr.PublicKey
	if !acceptNames {
		return nil
	}
	names, err := profile.NamesOf(csr)
	if err != nil {
		return fmt.Errorf("the names in the request: %w", err)
	}
	return req.SAN.Merge(&names)
}

func (r *run) readCSR(file string) (*x509.CertificateRequest, error) {
	data, err := r.readInput(file)
	if err != nil {
		return nil, err
	}
	csr, err := pemfile.Request(data)
	if err != nil {
		return nil, fmt.Errorf("reading the request %s: %w", sourceOf(file), err)
	}
	if err := profile.CheckCSR(csr); err != nil {
		return nil, fmt.Errorf("the request %s is refused: %w", sourceOf(file), err)
	}
	return csr, nil
}

// readInput reads a file, or standard input for "-", bounded.
func (r *run) readInput(file string) ([]byte, error) {
	if file == "-" {
		return r.readStdin(pemfile.MaxFile)
	}
	return pemfile.ReadFile(file, pemfile.MaxFile)
}

// readStdin reads standard input, bounded.
func (r *run) readStdin(limit int64) ([]byte, error) {
	data, err := pemfile.Read(r.env.Stdin, limit)
	if err != nil {
		return nil, fmt.Errorf("reading standard input: %w", err)
	}
	return data, nil
}
