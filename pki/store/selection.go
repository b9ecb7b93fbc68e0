package store

import (
	"fmt"
	"slices"

	"mutual/pki"
)

// Selection is what an act of revoking takes.
type Selection struct {
	Names        []pki.Name        // identities: all their unexpired certificates
	Glob         string            // identities whose names match
	Certificates []pki.Fingerprint // these
	Label        string            // of the above, or of all, only those with the label
	CA           bool              // certificates of a CA may be among them
	RootKey      string            // file of a root's key that lies elsewhere, for CA
}

// blocks reports whether the selection means identities and not just some of
// their certificates.
func (s Selection) blocks() bool { return s.Label == "" }

// selected reads the certificates and identities of a selection. An identity
// or a certificate that is not there is ErrNotFound.
func (t *Tx) selected(s Selection) (certs []Certificate, ids []Identity, err error) {
	if ids, err = t.selectedIdentities(s); err != nil {
		return nil, nil, err
	}
	seen := map[int64]bool{}
	add := func(where string, args ...any) error {
		found, err := t.pki.all(t.ctx, t.tx, where, args...)
		for _, c := range found {
			if (s.Label == "" || c.Label == s.Label) && !seen[c.id] {
				seen[c.id] = true
				certs = append(certs, c)
			}
		}
		return err
	}
	for _, id := range ids {
		if err := add("c.identity = $1 AND c.not_after > $2 ORDER BY c.not_after, c.id", id.id, t.now.Unix()); err != nil {
			return nil, nil, err
		}
	}
	for _, f := range s.Certificates {
		if err := add("c.sha256 = $1", f[:]); err != nil {
			return nil, nil, err
		}
	}
	if s.Label != "" && len(ids)+len(s.Certificates) == 0 {
		if err := add("c.label = $1 AND c.not_after > $2 ORDER BY c.not_after, c.id", s.Label, t.now.Unix()); err != nil {
			return nil, nil, err
		}
	}
	if s.Label != "" && len(certs) == 0 {
		return nil, nil, fmt.Errorf("a certificate with the label %w", notFound(s.Label))
	}
	if err := checkCAs(certs, s.CA); err != nil {
		return nil, nil, err
	}
	if !s.blocks() {
		ids = nil
	}
	return certs, ids, nil
}

// checkCAs: revoking a CA takes everybody out, and is never done by accident.
func checkCAs(certs []Certificate, allowed bool) error {
	for _, c := range certs {
		switch {
		case c.Kind == pki.KindRoot:
			return fmt.Errorf("the root cannot be revoked: no list above it would say so; take it out of what your servers trust (%w)", ErrIsCA)
		case c.Kind == pki.KindIssuing && !allowed:
			return fmt.Errorf("serial %s is %w", c.Serial, ErrIsCA)
		}
	}
	return nil
}

func (t *Tx) selectedIdentities(s Selection) ([]Identity, error) {
	names := slices.Clone(s.Names)
	if s.Glob != "" {
		matching, err := t.matching(s.Glob)
		if err != nil {
			return nil, err
		}
		if len(matching) == 0 {
			return nil, fmt.Errorf("a name that matches %w", notFound(s.Glob))
		}
		names = append(names, matching...)
	}
	var ids []Identity
	seen := map[int64]bool{}
	for _, name := range names {
		id, err := identityNamed(t.ctx, t.tx, name)
		if err != nil {
			return nil, err
		}
		if !seen[id.id] {
			seen[id.id] = true
			ids = append(ids, id)
		}
	}
	return ids, nil
}

// matching gives the names that match a glob.
func (t *Tx) matching(glob string) ([]pki.Name, error) {
	rows, err := t.tx.QueryContext(t.ctx, `SELECT name FROM identity ORDER BY name`)
	if err != nil {
		return nil, wrap("reading the names", err)
	}
	defer func() { _ = rows.Close() }() // Err below reports what matters
	var out []pki.Name
	for rows.Next() {
		var s string
		if err := rows.Scan(&s); err != nil {
			return nil, wrap("reading the names", err)
		}
		if name, err := pki.ParseAnyName(s); err == nil && globMatch(glob, s) {
			out = append(out, name)
		}
	}
	return out, wrap("reading the names", rows.Err())
}
