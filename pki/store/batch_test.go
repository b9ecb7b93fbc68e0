package store

import (
	"crypto"
	"encoding/json"
	"errors"
	"fmt"
	"strings"
	"testing"
	"time"

	"mutual/pki"
	"mutual/pki/keys"
)

// prepareAll makes a candidate for each name.
func (f *fixture) prepareAll(b *Batch, names ...string) []*Candidate {
	f.t.Helper()
	var out []*Candidate
	for _, who := range names {
		req := IssueRequest{Kind: pki.KindClient, Name: name(who), Label: "fleet",
			Place: Place{Key: "/x/" + who + ".key", Certificate: "/x/" + who + ".crt"}}
		c, err := b.Prepare(req, func() (crypto.PublicKey, error) {
			key, err := keys.Generate(keys.P256)
			if err != nil {
				return nil, err
			}
			return key.Public(), nil
		})
		if err != nil {
			f.t.Fatal(err)
		}
		out = append(out, c)
	}
	return out
}

func (f *fixture) batch() *Batch {
	f.t.Helper()
	b, err := f.Batch(f.t.Context())
	if err != nil {
		f.t.Fatal(err)
	}
	f.t.Cleanup(func() { _ = b.Close() }) // before the PKI; a test may have closed it
	return b
}

func keepAll([]*Candidate) error { return nil }

// scalar is what a query gives as a number.
func (f *fixture) scalar(query string) (n int64) {
	f.t.Helper()
	if err := f.db.QueryRowContext(f.t.Context(), query).Scan(&n); err != nil {
		f.t.Fatal(err)
	}
	return n
}

// A batch leaves the rows that single issues leave, and one line of the journal.
func TestBatchIsRecorded(t *testing.T) {
	f := newFixture(t)
	b := f.batch()
	candidates := f.prepareAll(b, "alice", "bob", "carol")
	if cert, err := candidates[0].Issued(); cert != nil || err == nil {
		t.Errorf("before the commit: %v, %v", cert, err)
	}
	lines := f.scalar(`SELECT COUNT(*) FROM journal`)
	if err := b.Commit(t.Context(), candidates, keepAll); err != nil {
		t.Fatal(err)
	}
	if n := f.scalar(`SELECT COUNT(*) FROM journal`) - lines; n != 1 {
		t.Errorf("%d lines were written", n)
	}
	var line Line
	if err := f.Journal(t.Context(), lines+1, func(l Line) error { line = l; return nil }); err != nil {
		t.Fatal(err)
	}
	var details struct {
		Count   int
		Serials []string
	}
	if err := json.Unmarshal(line.Details, &details); err != nil || line.Act != "issue" || !line.Signed || details.Count != 3 {
		t.Errorf("the line is %+v, %v", line, err)
	}
	for i, c := range candidates {
		cert, err := c.Issued()
		if err != nil {
			t.Fatal(err)
		}
		known, err := f.Resolve(t.Context(), "serial:"+c.Serial.String())
		if err != nil || len(known.Certificates) != 1 {
			t.Fatalf("%s: %+v, %v", c.Name, known, err)
		}
		row := known.Certificates[0]
		if row.Name != c.Name || row.Label != "fleet" || row.Fingerprint != pki.FingerprintOf(cert.Raw) || !row.NotAfter.Equal(cert.NotAfter) ||
			details.Serials[i] != c.Serial.String() {
			t.Errorf("the inventory has %+v, the journal %s", row, details.Serials[i])
		}
		place, err := f.PlaceOf(t.Context(), row.Fingerprint)
		if err != nil || place.Key != "/x/"+c.Name.String()+".key" {
			t.Errorf("its place is %+v, %v", place, err)
		}
	}
	if n := f.scalar(`SELECT SUM(in_force) FROM expiry`); n < 3 {
		t.Errorf("%d certificates are counted", n)
	}
	if _, _, err := f.VerifyJournal(t.Context(), nil); err != nil {
		t.Error(err)
	}
	again := f.prepareAll(b, "alice") // a second certificate of an identity
	if err := b.Commit(t.Context(), again, keepAll); err != nil {
		t.Fatal(err)
	}
	if n := f.scalar(`SELECT COUNT(*) FROM certificate c JOIN identity i ON i.id = c.identity WHERE i.name = 'alice'`); n != 2 {
		t.Errorf("alice has %d certificates", n)
	}
}

// What the inventory refuses is refused alone; its key is not kept.
func TestBatchRefusesNames(t *testing.T) {
	f := newFixture(t)
	f.issue("mallory", "")
	f.revoke("mallory")
	b := f.batch()
	candidates := f.prepareAll(b, "alice", "mallory", "Alice", "bob", "Mallory")
	kept := ""
	if err := b.Commit(t.Context(), candidates, func(accepted []*Candidate) error {
		for _, c := range accepted {
			kept += c.Name.String() + " "
		}
		return nil
	}); err != nil {
		t.Fatal(err)
	}
	if kept != "alice bob " {
		t.Errorf("the keys of %q are kept", kept)
	}
	for i, want := range []error{nil, ErrBlocked, ErrNameTaken, nil, ErrNameTaken} {
		cert, err := candidates[i].Issued()
		if !errors.Is(err, want) || (want == nil) != (cert != nil) {
			t.Errorf("%s: %v, %v; want %v", candidates[i].Name, cert != nil, err, want)
		}
	}
}

// Where a transaction fails, nothing of it is there, and nobody gets to see what
// was signed for it.
func TestBatchFailsWhole(t *testing.T) {
	disk := errors.New("the disk is full")
	for _, tt := range []struct {
		name string
		harm func(f *fixture)
		keep func([]*Candidate) error
		want error
	}{
		{"the keys cannot be kept", func(*fixture) {}, func([]*Candidate) error { return disk }, disk},
		{"the clock was set back", func(f *fixture) { f.now = f.now.Add(-time.Hour) }, keepAll, nil},
		{"the issuing CA is revoked", func(f *fixture) {
			f.sql(`INSERT INTO revocation SELECT id, 0, 0, NULL, 1, x'00' FROM certificate WHERE kind = 'issuing'`)
		}, keepAll, ErrRevokedCA},
		{"the issuing CA is retired", func(f *fixture) { f.sql(`UPDATE ca SET retired = 1 WHERE role = 'issuing'`) }, keepAll, ErrRetired},
	} {
		f := newFixture(t)
		b := f.batch()
		candidates := f.prepareAll(b, "alice", "bob")
		tt.harm(f)
		before := fmt.Sprint(f.scalar(`SELECT COUNT(*) FROM certificate`), f.scalar(`SELECT COUNT(*) FROM identity`), f.scalar(`SELECT COUNT(*) FROM journal`))
		err := b.Commit(t.Context(), candidates, tt.keep)
		if err == nil || tt.want != nil && !errors.Is(err, tt.want) {
			t.Errorf("%s: %v", tt.name, err)
		}
		after := fmt.Sprint(f.scalar(`SELECT COUNT(*) FROM certificate`), f.scalar(`SELECT COUNT(*) FROM identity`), f.scalar(`SELECT COUNT(*) FROM journal`))
		if before != after {
			t.Errorf("%s: %s rows became %s", tt.name, before, after)
		}
		for _, c := range candidates {
			if cert, err := c.Issued(); cert != nil || err == nil || !strings.Contains(err.Error(), "was not committed") {
				t.Errorf("%s: %v, %v", tt.name, cert, err)
			}
		}
	}
}
