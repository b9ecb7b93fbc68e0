package store

import (
	"cmp"
	"context"
	"fmt"
	"math"
	"slices"
	"strings"
	"time"
	"unicode/utf8"

	"mutual/pki"
)

// Filter chooses certificates; the zero value chooses everything that has not
// expired. Several conditions must all hold.
type Filter struct {
	All      bool         // the expired, too
	Expired  bool         // only the expired
	Revoked  bool         // only the revoked and held, expired or not
	Blocked  bool         // only those of blocked identities, expired or not
	Expiring pki.Lifetime // only valid ones, not replaced, that end within this
	Glob     string       // * and ? in the identity's name
	Label    string
	Kind     pki.Kind // probes are left out unless asked for
}

// where is a condition in SQL with its arguments.
type where struct {
	terms []string
	args  []any
}

// add adds a term that must also hold; ? stands for a value.
func (w *where) add(term string, values ...any) {
	for _, v := range values {
		w.args = append(w.args, v)
		term = strings.Replace(term, "?", fmt.Sprintf("$%d", len(w.args)), 1)
	}
	w.terms = append(w.terms, term)
}

func (w *where) text() string { return strings.Join(w.terms, " AND ") }

// position is where a certificate stands in the order of a list. Neither ever
// changes, so that who goes on after one misses none and meets none twice.
type position struct{ notAfter, id int64 }

func (a position) compare(b position) int {
	return cmp.Or(cmp.Compare(a.notAfter, b.notAfter), cmp.Compare(a.id, b.id))
}

// first is the place after which the filter's certificates stand.
func (f Filter) first(now time.Time) position {
	if f.All || f.Revoked || f.Blocked || f.Expired {
		return position{math.MinInt64, 0}
	}
	return position{now.Unix(), math.MaxInt64}
}

// where gives what is asked of the certificates after a place. Each term that
// says again what another says is that of a partial index.
func (p *PKI) where(f Filter, after position, now time.Time) *where {
	w := &where{}
	w.add("(c.not_after, c.id) > (?, ?)", after.notAfter, after.id)
	if f.Expired {
		w.add("c.not_after <= ?", now.Unix())
	}
	if !f.Expiring.IsZero() {
		w.add("c.not_after > ? AND c.not_after <= ? AND c.not_before <= ? AND c.replaced_by IS NULL",
			now.Unix(), f.Expiring.From(now).Unix(), now.Unix())
		w.terms = append(w.terms, p.standsAs(false))
	}
	if f.Revoked {
		w.terms = append(w.terms, p.standsAs(true))
	}
	if f.Label != "" {
		w.add("c.label = ? AND c.label <> ''", f.Label)
	}
	switch f.Kind {
	case "":
		w.add("c.kind <> 'probe'")
	case pki.KindClient:
		w.add("c.kind = ?", string(f.Kind))
	default:
		w.add("c.kind = ? AND c.kind <> 'client'", string(f.Kind))
	}
	return w
}

// standsAs gives the condition for what is revoked or held, and for what is
// not. A database that nobody has written to since version 2 does not say so in
// the row.
func (p *PKI) standsAs(revoked bool) string {
	switch {
	case p.schema.Load() < versionScale && revoked:
		return "r.reason IS NOT NULL"
	case p.schema.Load() < versionScale:
		return "r.reason IS NULL"
	case revoked:
		return "c.revoked = 1"
	}
	return "c.revoked = 0"
}

// identities gives what is asked of the identities, or nil. In a list in the
// order of expiry, inOrder, it is written so that no index of the identities
// answers it: the order would be lost.
func (f Filter) identities(w *where, inOrder bool) (asked bool) {
	name, blocked := "i.name", "i.blocked IS NOT NULL"
	if inOrder {
		name, blocked = "COALESCE(i.name, '')", "COALESCE(i.blocked, -1) >= 0"
	}
	from, to := globRange(f.Glob)
	if from != "" {
		w.add(name+" >= ?", from)
	}
	if to != "" {
		w.add(name+" < ?", to)
	}
	if f.Blocked {
		w.add(blocked)
	}
	return from != "" || f.Blocked
}

// The certificates of few identities are looked up by identity and sorted; for
// many, the list in the order of expiry soon meets some.
const (
	fewIdentities   = 1000
	fewCertificates = 10_000
)

// Pages of a list: the first is small, for whoever waits.
const (
	firstPage = 128
	nextPage  = 1024
)

// List calls each with every chosen certificate, the one that expires first
// first. It reads pages, and nothing of the database is held while each runs:
// whoever reads the list slowly keeps nobody from tidying the log of the
// database. What changes meanwhile is listed as it is when its page is read.
func (p *PKI) List(ctx context.Context, f Filter, each func(Certificate) error) error {
	now := p.now()
	matching := func(c Certificate) error {
		if f.Glob != "" && !pki.MatchGlob(f.Glob, c.Name.String()) {
			return nil
		}
		return each(c)
	}
	positions, few, err := p.ofFew(ctx, f, now)
	if err != nil {
		return err
	}
	if few {
		return p.eachOf(ctx, positions, matching)
	}
	after := f.first(now)
	for limit := firstPage; ; limit = nextPage {
		w := p.where(f, after, now)
		f.identities(w, true)
		page, err := p.all(ctx, p.db, fmt.Sprintf("%s ORDER BY c.not_after, c.id LIMIT %d", w.text(), limit), w.args...)
		if err != nil {
			return err
		}
		for _, c := range page {
			if err := matching(c); err != nil {
				return err
			}
			after = position{c.NotAfter.Unix(), c.id}
		}
		if len(page) < limit {
			return nil
		}
	}
}

// ofFew gives, in order, the positions of the certificates of the identities that
// the filter asks for, where those are few.
func (p *PKI) ofFew(ctx context.Context, f Filter, now time.Time) (positions []position, few bool, err error) {
	w := &where{}
	if asked := f.identities(w, false); !asked {
		return nil, false, nil
	}
	var many int
	if err := p.db.QueryRowContext(ctx, fmt.Sprintf(`SELECT COUNT(*) FROM (SELECT 1 FROM identity i WHERE %s LIMIT %d) few`,
		w.text(), fewIdentities+1), w.args...).Scan(&many); err != nil || many > fewIdentities {
		return nil, false, wrap("reading the names", err)
	}
	w = p.where(f, f.first(now), now)
	f.identities(w, false)
	rows, err := p.db.QueryContext(ctx, fmt.Sprintf(`SELECT c.not_after, c.id FROM identity i CROSS JOIN certificate c
		LEFT JOIN revocation r ON r.certificate = c.id
		WHERE c.identity = i.id AND c.sha256 IS NOT NULL AND %s LIMIT %d`, w.text(), fewCertificates+1), w.args...)
	if err != nil {
		return nil, false, wrap("reading the inventory", err)
	}
	defer func() { _ = rows.Close() }() // Err below reports what matters
	for rows.Next() {
		var at position
		if err := rows.Scan(&at.notAfter, &at.id); err != nil {
			return nil, false, wrap("reading the inventory", err)
		}
		positions = append(positions, at)
	}
	slices.SortFunc(positions, position.compare)
	return positions, len(positions) <= fewCertificates, wrap("reading the inventory", rows.Err())
}

// eachOf calls do with the certificates at the positions, in their order.
func (p *PKI) eachOf(ctx context.Context, positions []position, do func(Certificate) error) error {
	for page := range slices.Chunk(positions, firstPage) {
		ids := make([]int64, len(page))
		for i, at := range page {
			ids[i] = at.id
		}
		certs, err := p.byIDs(ctx, p.db, ids)
		if err != nil {
			return err
		}
		byID := make(map[int64]Certificate, len(certs))
		for _, c := range certs {
			byID[c.id] = c
		}
		for _, at := range page {
			c, known := byID[at.id]
			if !known { // a probe's that was forgotten meanwhile
				continue
			}
			if err := do(c); err != nil {
				return err
			}
		}
	}
	return nil
}

// byIDs reads certificates by their rows, in no order.
func (p *PKI) byIDs(ctx context.Context, q querier, ids []int64) ([]Certificate, error) {
	w := whereIn("c.id", ids)
	return p.all(ctx, q, w.text(), w.args...)
}

// whereIn is the condition that a column has one of some values.
func whereIn(column string, values []int64) *where {
	w := &where{}
	list := make([]any, len(values))
	for i, v := range values {
		list[i] = v
	}
	w.add(column+" IN (?"+strings.Repeat(", ?", len(values)-1)+")", list...)
	return w
}

// globRange gives the first name that may match a glob and the first one after
// it that cannot any more; empty: there is no such.
func globRange(glob string) (from, to string) {
	from = glob
	if i := strings.IndexAny(glob, "*?"); i >= 0 {
		from = glob[:i]
	}
	for before := from; before != ""; { // the next string after all that begin so
		last, size := utf8.DecodeLastRuneInString(before)
		before = before[:len(before)-size]
		switch next := last + 1; {
		case next == 0xd800:
			return from, before + "\ue000"
		case next <= utf8.MaxRune:
			return from, before + string(next)
		}
	}
	return from, ""
}
