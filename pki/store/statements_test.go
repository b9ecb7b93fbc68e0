package store

import (
	"context"
	"database/sql"
	"database/sql/driver"
	"maps"
	"regexp"
	"slices"
	"strings"
	"sync"
	"testing"

	"mutual/pki"
	"mutual/pki/keys"
)

// statements remembers what a database was asked.
type statements struct {
	driver driver.Driver
	dsn    string
	mu     sync.Mutex
	all    map[string]bool
}

func (s *statements) Driver() driver.Driver { return s.driver }

func (s *statements) Connect(context.Context) (driver.Conn, error) {
	c, err := s.driver.Open(s.dsn)
	return watchedConn{c, s}, err
}

func (s *statements) asked(query string) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.all[query] = true
}

// watchedConn has what database/sql uses of a connection of the driver.
type watchedConn struct {
	driver.Conn
	s *statements
}

func (c watchedConn) QueryContext(ctx context.Context, query string, args []driver.NamedValue) (driver.Rows, error) {
	c.s.asked(query)
	return c.Conn.(driver.QueryerContext).QueryContext(ctx, query, args)
}

func (c watchedConn) ExecContext(ctx context.Context, query string, args []driver.NamedValue) (driver.Result, error) {
	c.s.asked(query)
	return c.Conn.(driver.ExecerContext).ExecContext(ctx, query, args)
}

func (c watchedConn) PrepareContext(ctx context.Context, query string) (driver.Stmt, error) {
	c.s.asked(query)
	return c.Conn.(driver.ConnPrepareContext).PrepareContext(ctx, query)
}

func (c watchedConn) BeginTx(ctx context.Context, o driver.TxOptions) (driver.Tx, error) {
	return c.Conn.(driver.ConnBeginTx).BeginTx(ctx, o)
}

// watch makes the fixture's PKI remember what it asks its database from now on.
func (f *fixture) watch() *statements {
	f.t.Helper()
	s := &statements{driver: f.db.Driver(), dsn: dsn(f.Path(dbFile)), all: map[string]bool{}}
	f.must(f.db.Close())
	f.db = database{sql.OpenDB(s)}
	return s
}

// costly gives the steps of the plans of what was asked that read a whole table
// or sort, with the statement. There are few CAs, and few certificates of theirs;
// of the journal only the end is read, and of the renewals whether there is one. A
// list that is made counts the revocations.
func (f *fixture) costly(s *statements) []string {
	f.t.Helper()
	large := regexp.MustCompile(`^SCAN|TEMP B-TREE`)
	small := regexp.MustCompile(`^SCAN (ca|o|above|below|counters|setting|expiry|CONSTANT ROW)\b|USING INDEX certificate_subject_ca$|^SCAN journal$|^SCAN revocation USING COVERING INDEX|^SCAN replacement USING COVERING INDEX replacement_due$`)
	sortsFew := regexp.MustCompile(`FROM (ca|replacement)\b|c\.serial = |c\.kind = 'cross'|c\.subject_ca = `)
	var out []string
	for _, query := range slices.Sorted(maps.Keys(s.all)) {
		if !regexp.MustCompile(`^\s*(SELECT|INSERT|UPDATE|DELETE)`).MatchString(query) {
			continue
		}
		for _, step := range f.plan(query) {
			if large.MatchString(step) && !small.MatchString(step) && !(strings.Contains(step, "B-TREE") && sortsFew.MatchString(query)) {
				out = append(out, step+": "+strings.Join(strings.Fields(query), " "))
			}
		}
	}
	return out
}

func (f *fixture) plan(query string) []string {
	f.t.Helper()
	args := make([]any, strings.Count(query, "$"))
	rows, err := f.db.QueryContext(f.t.Context(), "EXPLAIN QUERY PLAN "+query, args...)
	f.must(err)
	defer func() { _ = rows.Close() }() // Err below reports what matters
	var out []string
	for rows.Next() {
		var id, parent, unused int
		var detail string
		f.must(rows.Scan(&id, &parent, &unused, &detail))
		out = append(out, detail)
	}
	f.must(rows.Err())
	return out
}

// What every day asks of the database costs the same in an inventory of a
// million certificates as in this one: nothing reads a whole table or sorts.
func TestNothingScans(t *testing.T) {
	f := newFixture(t)
	ctx := t.Context()
	alice := f.issue("alice", "Pixel 8")
	s := f.watch()
	for _, row := range []struct {
		what string
		do   func()
	}{
		{"issue", func() { f.issue("bob", "") }},
		{"probe", func() {
			f.issue("alice", "", func(r *IssueRequest) { r.Kind, r.Window.TTL = pki.KindProbe, lifetime("5m") })
		}},
		{"check", func() {
			key, err := keys.Generate(keys.P256)
			f.must(err)
			f.must(f.CheckIssue(ctx, IssueRequest{Kind: pki.KindClient, Name: name("alice"), PublicKey: key.Public()}))
		}},
		{"renew", func() { f.renewed(alice) }},
		{"place", func() { _, err := f.PlaceOf(ctx, alice.Fingerprint); f.must(err) }},
		{"upkeep", func() { _, err := f.Upkeep(ctx); f.must(err) }},
		{"show", func() { _, err := f.Resolve(ctx, "alice"); f.must(err) }},
		{"serial", func() { _, err := f.Resolve(ctx, "serial:"+alice.Serial.String()); f.must(err) }},
		{"sha256", func() { _, err := f.Resolve(ctx, alice.Fingerprint.String()); f.must(err) }},
		{"chain", func() { _, err := f.IssuerChain(ctx, alice); f.must(err) }},
		{"names", func() { _, err := f.Names(ctx, "al", 200); f.must(err) }},
		{"crls", func() { _, err := f.CRLs(ctx); f.must(err) }},
		{"head", func() { _, err := f.Head(ctx); f.must(err) }},
		{"tree", func() {
			roots, err := f.Tree(ctx)
			f.must(err)
			f.leaves(roots[0].Issued[0])
		}},
		{"due", func() { _, err := f.Renewable(ctx, name("alice")); f.must(err) }},
		{"revoke", func() {
			f.revoke("bob")
			_, err := f.Revoke(ctx, Selection{Glob: "al*"}, pki.CertificateHold, false)
			f.must(err)
			_, err = f.Unhold(ctx, Selection{Label: "Pixel 8"}, false)
			f.must(err)
			_, err = f.Unhold(ctx, Selection{Names: []pki.Name{name("alice")}}, false)
			f.must(err)
			_, err = f.Allow(ctx, []pki.Name{name("bob")}, false)
			f.must(err)
		}},
		{"status", func() { _, err := f.Status(ctx); f.must(err) }},
	} {
		clear(s.all)
		row.do()
		if len(s.all) == 0 {
			t.Errorf("%s asks the database nothing", row.what)
		}
		for _, step := range f.costly(s) {
			t.Errorf("%s: %s", row.what, step)
		}
	}
}

// Each list comes in the order of an index that has little else than what is
// asked for.
func TestListPlans(t *testing.T) {
	f := newFixture(t)
	f.issue("alice", "Pixel 8")
	s := f.watch()
	for _, row := range []struct {
		what  string
		f     Filter
		index string
	}{
		{"", Filter{}, "certificate_not_after (not_after>?)"},
		{"all", Filter{All: true}, "certificate_not_after (not_after>?)"},
		{"expired", Filter{Expired: true}, "certificate_not_after (not_after>? AND not_after<?)"},
		{"expiring", Filter{Expiring: lifetime("30d")}, "certificate_in_force (not_after>? AND not_after<?)"},
		{"revoked", Filter{Revoked: true}, "certificate_revoked (not_after>?)"},
		{"revoked and expired", Filter{Revoked: true, Expired: true}, "certificate_revoked (not_after>? AND not_after<?)"},
		{"label", Filter{Label: "Pixel 8"}, "certificate_label (label=? AND not_after>?)"},
		{"label and revoked", Filter{Label: "Pixel 8", Revoked: true}, "certificate_label (label=? AND not_after>?)"},
		{"label and expiring", Filter{Label: "Pixel 8", Expiring: lifetime("30d")}, "certificate_label (label=? AND not_after>? AND not_after<?)"},
		{"kind server", Filter{Kind: pki.KindServer}, "certificate_kind (kind=? AND not_after>?)"},
		{"kind root, all", Filter{Kind: pki.KindRoot, All: true}, "certificate_kind (kind=? AND not_after>?)"},
		{"kind client", Filter{Kind: pki.KindClient}, "certificate_not_after (not_after>?)"},
		{"glob", Filter{Glob: "*e"}, "certificate_not_after (not_after>?)"},
		{"glob and revoked", Filter{Glob: "*e", Revoked: true}, "certificate_revoked (not_after>?)"},
	} {
		clear(s.all)
		f.must(f.List(t.Context(), row.f, func(Certificate) error { return nil }))
		f.wantPlan(s, row.what, "SEARCH c USING INDEX "+row.index)
	}
	for _, row := range []struct {
		what  string
		f     Filter
		index string
	}{
		{"glob", Filter{Glob: "dev-*"}, "SEARCH i USING COVERING INDEX sqlite_autoindex_identity_1 (name>? AND name<?)"},
		{"name", Filter{Glob: "alice"}, "SEARCH i USING COVERING INDEX sqlite_autoindex_identity_1 (name>? AND name<?)"},
		{"blocked", Filter{Blocked: true}, "SCAN i USING INDEX identity_blocked"},
		{"blocked glob", Filter{Blocked: true, Glob: "dev-*"}, "SEARCH i USING INDEX sqlite_autoindex_identity_1 (name>? AND name<?)"},
	} {
		w := f.where(row.f, row.f.first(f.now), f.now)
		row.f.identities(w, true)
		plan := f.plan(certificateQuery + w.text() + " ORDER BY c.not_after, c.id LIMIT 128")
		if !strings.HasPrefix(plan[0], "SEARCH c USING INDEX certificate_not_after") || strings.Contains(strings.Join(plan, "\n"), "TEMP B-TREE") {
			t.Errorf("%s of many: the plan is\n%s", row.what, strings.Join(plan, "\n"))
		}
		clear(s.all)
		f.must(f.List(t.Context(), row.f, func(Certificate) error { return nil }))
		f.wantPlan(s, row.what+" of few", row.index)
	}
}

// wantPlan wants of each statement that was asked and reads certificates or
// identities that its plan begins with a step, and does not sort.
func (f *fixture) wantPlan(s *statements, what, step string) {
	f.t.Helper()
	for _, query := range slices.Collect(maps.Keys(s.all)) {
		if strings.Contains(query, "c.id IN (") { // a page of those that were found already
			continue
		}
		plan := f.plan(query)
		if i := slices.IndexFunc(plan, func(s string) bool { return strings.HasPrefix(s, "SEARCH") || strings.HasPrefix(s, "SCAN") }); !strings.HasPrefix(plan[i], step) {
			f.t.Errorf("%s: the plan of %s is\n%s", what, query, strings.Join(plan, "\n"))
		}
		if strings.Contains(strings.Join(plan, "\n"), "TEMP B-TREE") {
			f.t.Errorf("%s: it sorts:\n%s", what, strings.Join(plan, "\n"))
		}
	}
}
