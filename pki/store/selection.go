package store

import (
	"database/sql"
	"fmt"
	"math"

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

// selecting goes through what is selected, page by page, and has each thing
// decided on and written before it reads the next.
type selecting struct {
	*change
	s     Selection
	v     verb
	named map[int64]bool // identities that were named
	seen  map[int64]bool // certificates that were named, or came with those
	cas   []Certificate  // of these, the CAs'
}

// selected takes the certificates and identities of a selection. An identity or
// a certificate that is not there is ErrNotFound.
func (w *change) selected(s Selection, v verb) error {
	g := &selecting{change: w, s: s, v: v, named: map[int64]bool{}, seen: map[int64]bool{}}
	for _, pass := range []func() error{g.names, g.glob, g.certificates, g.label, g.caKeys} {
		if err := pass(); err != nil {
			return err
		}
	}
	if s.Label != "" && w.o.Selected == 0 {
		return fmt.Errorf("a certificate with the label %w", notFound(s.Label))
	}
	return nil
}

// names takes the identities that were named, when all of them are known.
func (g *selecting) names() error {
	var ids []Identity
	for _, name := range g.s.Names {
		id, err := identityNamed(g.t.ctx, g.t.tx, name)
		if err != nil {
			return err
		}
		if !g.named[id.id] {
			g.named[id.id] = true
			ids = append(ids, id)
		}
	}
	for _, id := range ids {
		if err := g.identity(id, true); err != nil {
			return err
		}
	}
	return nil
}

// glob takes the identities whose names match, in the order of their names.
func (g *selecting) glob() error {
	if g.s.Glob == "" {
		return nil
	}
	matched := false
	after, to := globRange(g.s.Glob)
	for begin := ">="; ; begin = ">" {
		page, err := g.t.identities(begin, after, to)
		if err != nil {
			return err
		}
		for _, id := range page {
			after = id.Name.String()
			if !pki.MatchGlob(g.s.Glob, after) {
				continue
			}
			matched = true
			if g.named[id.id] {
				continue
			}
			if err := g.identity(id, false); err != nil {
				return err
			}
		}
		if len(page) < nextPage {
			break
		}
	}
	if !matched {
		return fmt.Errorf("a name that matches %w", notFound(g.s.Glob))
	}
	return nil
}

// identities reads a page of identities from a name on, or after it; to is the
// first that is not wanted, or empty.
func (t *Tx) identities(begin, from, to string) ([]Identity, error) {
	query, args := `SELECT id, name, blocked, block_reason FROM identity WHERE name `+begin+` $1`, []any{from}
	if to != "" {
		query, args = query+" AND name < $2", append(args, to)
	}
	rows, err := t.tx.QueryContext(t.ctx, fmt.Sprintf("%s ORDER BY name LIMIT %d", query, nextPage), args...)
	if err != nil {
		return nil, wrap("reading the names", err)
	}
	defer func() { _ = rows.Close() }() // Err below reports what matters
	var out []Identity
	for rows.Next() {
		var id Identity
		var name string
		var at, reason sql.NullInt64
		if err := rows.Scan(&id.id, &name, &at, &reason); err != nil {
			return nil, wrap("reading the names", err)
		}
		if id.Name, err = pki.ParseAnyName(name); err != nil {
			return nil, errNeedsDigest
		}
		id.block(at, reason)
		out = append(out, id)
	}
	return out, wrap("reading the names", rows.Err())
}

// identity takes an identity: its unexpired certificates and, where the
// selection means identities, itself.
func (g *selecting) identity(id Identity, chosen bool) error {
	changes := false
	if g.s.blocks() {
		var err error
		if changes, err = g.v.identity(id, chosen); err != nil {
			return err
		}
	}
	if g.v.certificate != nil {
		if err := g.pages("c.identity = $3", id.id, changes); err != nil {
			return err
		}
	}
	if !changes {
		return nil
	}
	return g.block(id, g.v.blocks, g.v.reason)
}

// pages takes the unexpired certificates for which a condition on $3 holds. Their
// identity changes, too, where named says so.
func (g *selecting) pages(condition string, arg any, named bool) error {
	query := fmt.Sprintf("(c.not_after, c.id) > ($1, $2) AND %s ORDER BY c.not_after, c.id LIMIT %d", condition, nextPage)
	after := position{g.t.now.Unix(), math.MaxInt64}
	for {
		page, err := g.t.all(query, after.notAfter, after.id, arg)
		if err != nil {
			return err
		}
		for _, c := range page {
			after = position{c.NotAfter.Unix(), c.id}
			if g.s.Label != "" && c.Label != g.s.Label {
				continue
			}
			if err := g.certificate(c, false, named); err != nil {
				return err
			}
		}
		if len(page) < nextPage {
			return nil
		}
	}
}

// certificate takes one certificate.
func (g *selecting) certificate(c Certificate, chosen, named bool) error {
	if err := checkCA(c, g.s.CA); err != nil {
		return err
	}
	next, changed, err := g.v.certificate(c, chosen)
	if err != nil {
		return err
	}
	g.o.take(c, changed, named)
	if !changed {
		return nil
	}
	return g.revocation(c, next)
}

// certificates takes those that were named themselves, unless they came with
// their identity.
func (g *selecting) certificates() error {
	for _, f := range g.s.Certificates {
		found, err := g.t.all("c.sha256 = $1", f[:])
		if err != nil {
			return err
		}
		for _, c := range found {
			if g.seen[c.id] || g.s.Label != "" && c.Label != g.s.Label {
				continue
			}
			g.seen[c.id] = true
			if c.Kind.IsCA() {
				g.cas = append(g.cas, c)
			}
			if came, err := g.cameAlong(c); err != nil || came {
				if err == nil {
					_, _, err = g.v.certificate(c, true) // it may be refused for being named
				}
				if err != nil {
					return err
				}
				continue
			}
			if err := g.certificate(c, true, false); err != nil {
				return err
			}
		}
	}
	return nil
}

// cameAlong reports whether a certificate was taken with its identity.
func (g *selecting) cameAlong(c Certificate) (bool, error) {
	if c.Name.IsZero() || !c.NotAfter.After(g.t.now) {
		return false, nil
	}
	if g.s.Glob != "" && pki.MatchGlob(g.s.Glob, c.Name.String()) {
		return true, nil
	}
	id, err := identityNamed(g.t.ctx, g.t.tx, c.Name)
	return g.named[id.id], err
}

// label takes what has the label, where nothing else is selected.
func (g *selecting) label() error {
	if s := g.s; s.Label == "" || s.Glob != "" || len(s.Names)+len(s.Certificates) > 0 {
		return nil
	}
	return g.pages("c.label = $3 AND c.label <> ''", g.s.Label, false)
}

// caKeys takes, for each certificate of a CA, those that other roots or renewals
// have given to the same key: what it has issued verifies under any.
func (g *selecting) caKeys() error {
	for _, ca := range g.cas {
		if !g.s.CA {
			break
		}
		found, err := g.t.all(`c.kind = $1 AND c.not_after > $2 AND c.subject_ca = (SELECT subject_ca FROM certificate WHERE sha256 = $3)`,
			string(ca.Kind), g.t.now.Unix(), ca.Fingerprint[:])
		if err != nil {
			return err
		}
		for _, c := range found {
			if g.seen[c.id] {
				continue
			}
			g.seen[c.id] = true
			if err := g.certificate(c, false, false); err != nil {
				return err
			}
		}
	}
	return nil
}

// checkCA: revoking a CA takes everybody out, and is never done by accident.
func checkCA(c Certificate, allowed bool) error {
	switch {
	case c.Kind == pki.KindRoot:
		return fmt.Errorf("the root cannot be revoked: no list above it would say so; take it out of what your servers trust (%w)", ErrIsCA)
	case c.Kind.IsCA() && !allowed:
		return fmt.Errorf("serial %s is %w", c.Serial, ErrIsCA)
	}
	return nil
}
