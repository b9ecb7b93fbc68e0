package store

import (
	"context"
	"errors"
	"flag"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"mutual/pki"
	"mutual/pki/keys"
)

var update = flag.Bool("update", false, "rewrite the golden files")

// start is when the PKIs of these tests are made.
func start() time.Time { return time.Date(2026, 3, 4, 5, 6, 7, 0, time.UTC) }

// fixture is an open PKI whose clock stands until it is moved.
type fixture struct {
	*PKI
	t          *testing.T
	dir        string
	now        time.Time
	passphrase []byte
	damaged    bool // behind the PKI's back, by the test
}

func (f *fixture) options() Options {
	return Options{
		Now:        func() time.Time { return f.now },
		Actor:      Actor{User: "tester", Host: "host", Process: 7},
		Passphrase: func() ([]byte, error) { return f.passphrase, nil },
	}
}

func lifetime(s string) pki.Lifetime {
	l, err := pki.ParseLifetime(s)
	if err != nil {
		panic(err)
	}
	return l
}

func request() InitRequest {
	return InitRequest{
		Name: "Acme", RootTTL: lifetime("10y"), IssuingTTL: lifetime("5y"), KeyType: keys.P256,
		Settings: Settings{TTL: lifetime("90d"), CRLTTL: lifetime("30d"), RootCRLTTL: lifetime("1y"), KeyType: keys.P256, Test: true},
	}
}

// newFixture makes a PKI of the request with the changes.
func newFixture(t *testing.T, changes ...func(*InitRequest)) *fixture {
	t.Helper()
	return newFixtureAt(t, start(), changes...)
}

func newFixtureAt(t *testing.T, now time.Time, changes ...func(*InitRequest)) *fixture {
	t.Helper()
	f := &fixture{t: t, dir: filepath.Join(t.TempDir(), "pki"), now: now}
	req := request()
	for _, change := range changes {
		change(&req)
	}
	f.passphrase = req.Passphrase
	var err error
	if f.PKI, err = Init(t.Context(), f.dir, req, f.options()); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		f.checkNumbers()
		_ = f.Close() // a test may have closed it
	})
	return f
}

// checkNumbers holds the numbers that are kept beside the rows against the rows,
// where the database is open and the test has not damaged it.
func (f *fixture) checkNumbers() {
	f.t.Helper()
	wrong, err := wrongNumbers(context.Background(), f.db)
	if err == nil && wrong != "" && !f.damaged {
		f.t.Error(wrong)
	}
}

// open opens the PKI anew.
func (f *fixture) open() error {
	f.t.Helper()
	_ = f.Close() // it may be closed
	p, err := Open(f.t.Context(), f.dir, f.options())
	if err == nil {
		f.PKI = p
	}
	return err
}

func (f *fixture) reopen() {
	f.t.Helper()
	f.must(f.open())
}

func (f *fixture) must(err error) {
	f.t.Helper()
	if err != nil {
		f.t.Fatal(err)
	}
}

// sql changes the database behind the PKI's back.
func (f *fixture) sql(statement string, args ...any) {
	f.t.Helper()
	f.damaged = true
	result, err := f.db.ExecContext(f.t.Context(), statement, args...)
	f.must(err)
	if n, err := result.RowsAffected(); err == nil && n == 0 && strings.HasPrefix(statement, "UPDATE") {
		f.t.Fatalf("%s changed nothing", statement)
	}
}

func name(s string) pki.Name {
	n, err := pki.ParseAnyName(s)
	if err != nil {
		panic(err)
	}
	return n
}

// tryIssue issues to a client with a new key.
func (f *fixture) tryIssue(who, label string, changes ...func(*IssueRequest)) (*Issued, error) {
	f.t.Helper()
	key, err := keys.Generate(keys.P256)
	f.must(err)
	req := IssueRequest{Kind: pki.KindClient, Name: name(who), PublicKey: key.Public(), Label: label}
	for _, change := range changes {
		change(&req)
	}
	return f.Issue(f.t.Context(), req)
}

func (f *fixture) issue(who, label string, changes ...func(*IssueRequest)) Certificate {
	f.t.Helper()
	issued, err := f.tryIssue(who, label, changes...)
	f.must(err)
	c, err := f.Lookup(f.t.Context(), pki.FingerprintOf(issued.Certificate.Raw))
	f.must(err)
	return c
}

// revoke revokes names.
func (f *fixture) revoke(names ...string) *Outcome {
	f.t.Helper()
	var s Selection
	for _, n := range names {
		s.Names = append(s.Names, name(n))
	}
	o, err := f.Revoke(f.t.Context(), s, pki.Unspecified, false)
	f.must(err)
	return o
}

func (f *fixture) crls() (issuing, root Published) {
	f.t.Helper()
	lists, err := f.CRLs(f.t.Context())
	f.must(err)
	if len(lists) != 2 {
		f.t.Fatalf("there are %d lists", len(lists))
	}
	return lists[0], lists[1]
}

func (f *fixture) list(filter Filter) []string {
	f.t.Helper()
	var out []string
	f.must(f.List(f.t.Context(), filter, func(c Certificate) error {
		out = append(out, subjectOf(c.Name, c.Kind))
		return nil
	}))
	return out
}

// files lists everything below a directory.
func files(t *testing.T, dir string) []string {
	t.Helper()
	var out []string
	err := filepath.WalkDir(dir, func(path string, _ os.DirEntry, err error) error {
		out = append(out, strings.TrimPrefix(path, dir))
		return err
	})
	if err != nil {
		t.Fatal(err)
	}
	return out
}

func read(t *testing.T, path string) []byte {
	t.Helper()
	b, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	return b
}

func write(t *testing.T, path string, data []byte) {
	t.Helper()
	if err := os.WriteFile(path, data, 0o600); err != nil {
		t.Fatal(err)
	}
}

// wantError wants an error that is target, where there is one, and says text.
func wantError(t *testing.T, err, target error, text string) {
	t.Helper()
	switch {
	case err == nil:
		t.Errorf("there is no error, want %q", text)
	case target != nil && !errors.Is(err, target):
		t.Errorf("the error %q is not %q", err, target)
	case !strings.Contains(err.Error(), text):
		t.Errorf("the error is %q, want %q", err, text)
	}
}
