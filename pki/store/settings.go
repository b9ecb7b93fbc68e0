package store

import (
	"context"
	"crypto/x509"
	"errors"
	"fmt"
	"path/filepath"
	"strings"

	"mutual/pki"
	"mutual/pki/keys"
	"mutual/pki/profile"
)

// Settings are the defaults of a PKI, chosen at init and changed by config.
type Settings struct {
	TTL        pki.Lifetime   // of a leaf
	CRLTTL     pki.Lifetime   // of the issuing CA's CRL
	RootCRLTTL pki.Lifetime   // of the root's
	KeyType    keys.Algorithm // of a leaf's key
	CRLURL     string         // distribution point in leaves; empty: none
	Publish    string         // directory that servers read; empty: none
	Test       bool           // a PKI for tests, whose CA names say so
}

// settingNames are the settings in the order in which they are shown. What
// check does not allow is refused, with a reason.
var settingNames = []string{"ttl", "crl-ttl", "root-crl-ttl", "key-type", "crl-url", "publish", "test"}

// SettingNames lists the settings.
func SettingNames() []string { return append([]string(nil), settingNames...) }

func (s *Settings) get(name string) string {
	switch name {
	case "ttl":
		return s.TTL.String()
	case "crl-ttl":
		return s.CRLTTL.String()
	case "root-crl-ttl":
		return s.RootCRLTTL.String()
	case "key-type":
		return string(s.KeyType)
	case "crl-url":
		return s.CRLURL
	case "publish":
		return s.Publish
	case "test":
		if s.Test {
			return "true"
		}
		return "false"
	}
	return ""
}

// set checks and takes a value. A profile.RequestError says that the value can
// never be.
func (s *Settings) set(name, value string) (err error) {
	switch name {
	case "ttl":
		s.TTL, err = pki.ParseLifetime(value)
	case "crl-ttl":
		s.CRLTTL, err = pki.ParseLifetime(value)
	case "root-crl-ttl":
		s.RootCRLTTL, err = pki.ParseLifetime(value)
	case "key-type":
		s.KeyType, err = keys.ParseAlgorithm(value)
	case "crl-url":
		if value != "" {
			err = profile.CheckCRLURL(value)
		}
		s.CRLURL = value
	case "publish":
		if value != "" && (!filepath.IsAbs(value) || strings.ContainsAny(value, "\x00\n")) {
			err = fmt.Errorf("%q is no absolute path", value)
		}
		s.Publish = value
	case "test":
		s.Test = value == "true"
	default:
		return fmt.Errorf("%w: %q", ErrUnknownKey, name)
	}
	return err
}

// Settings reads the PKI's defaults.
func (p *PKI) Settings(ctx context.Context) (Settings, error) { return readSettings(ctx, p.db) }

func readSettings(ctx context.Context, q querier) (Settings, error) {
	var s Settings
	rows, err := q.QueryContext(ctx, `SELECT name, value FROM setting`)
	if err != nil {
		return s, wrap("reading the settings", err)
	}
	defer func() { _ = rows.Close() }() // Err below reports what matters
	for rows.Next() {
		var name, value string
		if err := rows.Scan(&name, &value); err != nil {
			return s, wrap("reading the settings", err)
		}
		if err := s.set(name, value); err != nil {
			return s, fmt.Errorf("%w: the setting %s: %v", ErrDamaged, name, err)
		}
	}
	return s, wrap("reading the settings", rows.Err())
}

// Setting is one of them as it is shown.
type Setting struct {
	Name  string `json:"name"`
	Value string `json:"value"`
}

// List gives every setting with its value.
func (s *Settings) List() []Setting {
	var out []Setting
	for _, name := range settingNames {
		out = append(out, Setting{Name: name, Value: s.get(name)})
	}
	return out
}

// CheckSetting says whether a setting can have a value: ErrUnknownKey,
// ErrBadValue.
func CheckSetting(name, value string) error {
	if name == "test" {
		return fmt.Errorf("%w: whether a PKI is for tests is decided at init, and its CA names say so", ErrBadValue)
	}
	var s Settings
	err := s.set(name, value)
	if err == nil || errors.Is(err, ErrUnknownKey) {
		return err
	}
	return fmt.Errorf("%w: %s: %w", ErrBadValue, name, err)
}

// tryPublish fills the directory that servers will read before anything relies
// on it. No list is made until release is called.
func (p *PKI) tryPublish(ctx context.Context, dir string) (release func(), err error) {
	rows, err := caRows(ctx, p.db)
	if err != nil {
		return nil, err
	}
	var cas []*x509.Certificate
	for _, r := range rows {
		cas = append(cas, r.cert)
	}
	if err := checkPublishDir(dir, p.dir, cas); err != nil {
		return nil, err
	}
	if release, err = p.queueToPublish(ctx); err != nil {
		return nil, err
	}
	lists, err := p.makeLists(ctx, publishRequest{})
	if err == nil {
		err = p.copyTo(ctx, dir, lists)
	}
	if err != nil {
		release()
		return nil, err
	}
	return release, nil
}

// Set changes a setting and writes the journal. It gives the settings as they
// are afterwards and whether anything changed. A directory to publish into is
// filled before.
func (p *PKI) Set(ctx context.Context, name, value string) (Settings, bool, error) {
	if err := CheckSetting(name, value); err != nil {
		return Settings{}, false, err
	}
	if name == "publish" && value != "" {
		release, err := p.tryPublish(ctx, value)
		if err != nil {
			return Settings{}, false, err
		}
		defer release()
	}
	var s Settings
	changed := false
	err := p.update(ctx, nil, func(t *Tx) (err error) {
		if s, err = readSettings(ctx, t.tx); err != nil {
			return err
		}
		before := s.get(name)
		if err := s.set(name, value); err != nil {
			return err
		}
		if s.get(name) == before {
			return nil
		}
		changed = true
		if _, err := t.append("config", name, map[string]string{"from": before, "to": s.get(name)}); err != nil {
			return err
		}
		return t.putSetting(name, s.get(name))
	})
	return s, changed, err
}

func (t *Tx) putSetting(name, value string) error {
	return t.exec("writing the setting "+name,
		`INSERT INTO setting (name, value) VALUES ($1, $2) ON CONFLICT (name) DO UPDATE SET value = $2`, name, value)
}
