package store

import (
	"context"
	"errors"
	"strings"
	"testing"
	"time"

	"mutual/pki"
)

// chained makes a journal of nine lines: create root, create issuing, init,
// crl issuing, crl root, issue alice, issue bob, revoke alice, crl issuing.
func chained(t *testing.T) *fixture {
	f := newFixture(t)
	f.issue("alice", "")
	f.issue("bob", "")
	f.revoke("alice")
	return f
}

// rechain makes the hashes right again from a line on, as somebody does who
// lacks the issuing key.
func (f *fixture) rechain(from int64) {
	f.t.Helper()
	var previous []byte
	if from > 1 {
		f.must(f.db.QueryRow(`SELECT hash FROM journal WHERE number = $1`, from-1).Scan(&previous))
	}
	for number := from; ; number++ {
		var line []byte
		if f.db.QueryRow(`SELECT line FROM journal WHERE number = $1`, number).Scan(&line) != nil {
			return
		}
		previous = chain(previous, line)
		f.sql(`UPDATE journal SET hash = $1 WHERE number = $2`, previous, number)
	}
}

func TestVerifyJournal(t *testing.T) {
	const edit = `UPDATE journal SET line = CAST(replace(CAST(line AS TEXT), 'bob', 'eve') AS BLOB) WHERE number = 7`
	for _, row := range []struct {
		name    string
		sql     []string
		rechain int64
		err     string
	}{
		{name: "as written"},
		{name: "an edited line", sql: []string{edit},
			err: "line 7: its hash is not that of its content and the line before it"},
		{name: "an edited line, hashed again", sql: []string{edit}, rechain: 7,
			err: "line 7: its signature is not the issuing CA's"},
		{name: "an edited line that is not signed, hashed again", rechain: 8,
			sql: []string{`UPDATE journal SET signature = NULL, line = CAST(replace(CAST(line AS TEXT), 'alice', 'eve') AS BLOB) WHERE number = 8`},
			err: "line 9: its signature is not the issuing CA's"},
		{name: "a flipped hash", sql: []string{`UPDATE journal SET hash = x'00' || substr(hash, 2) WHERE number = 3`},
			err: "line 3: its hash is not"},
		{name: "a line cut out", sql: []string{`DELETE FROM journal WHERE number = 6`}, err: "line 6: the line is missing"},
		{name: "a line cut out, numbered and hashed again", rechain: 6,
			sql: []string{`DELETE FROM journal WHERE number = 6`, `UPDATE journal SET number = number - 1 WHERE number > 6`},
			err: "line 6: it cannot be read"},
		{name: "the first line cut off", sql: []string{`DELETE FROM journal WHERE number = 1`}, err: "line 1: the line is missing"},
		{name: "the end cut off", sql: []string{`DELETE FROM journal WHERE number > 8`},
			err: "line 8: it ends here, but a CRL was recorded at line 9"},
		{name: "more of the end cut off", sql: []string{`DELETE FROM journal WHERE number > 6`, `DELETE FROM crl WHERE journal > 6`},
			err: "line 6: it ends here, but a certificate was recorded at line 7"},
		{name: "the change cut off",
			sql: []string{`DELETE FROM journal WHERE number > 7`, `DELETE FROM crl WHERE journal > 7`},
			err: "line 7: it ends here, but a change was recorded at line 8"},
		{name: "the last act cut off",
			sql: []string{`DELETE FROM journal WHERE number > 8`, `DELETE FROM crl WHERE journal > 8`},
			err: "line 8: it ends here, but the last act was recorded at line 9"},
		{name: "all of it cut off", sql: []string{`DELETE FROM journal`}, err: "line 0: it ends here, but"},
		{name: "the signature of an issue stripped", sql: []string{`UPDATE journal SET signature = NULL WHERE number = 6`},
			err: "line 6: the signature that issue leaves is missing"},
		{name: "the signature of init stripped", sql: []string{`UPDATE journal SET signature = NULL WHERE number = 3`},
			err: "line 3: the signature that init leaves is missing"},
		{name: "the signature of a list stripped", sql: []string{`UPDATE journal SET signature = NULL WHERE number = 9`},
			err: "line 9: the signature that crl leaves is missing"},
		{name: "another line's signature", sql: []string{`UPDATE journal SET signature = (SELECT signature FROM journal WHERE number = 6) WHERE number = 7`},
			err: "line 7: its signature is not the issuing CA's"},
		{name: "a signature that is none", sql: []string{`UPDATE journal SET signature = x'3003020101' WHERE number = 7`},
			err: "line 7: its signature is not the issuing CA's"},
		{name: "no JSON", sql: []string{`UPDATE journal SET line = 'x' WHERE number = 1`}, rechain: 1, err: "line 1: it cannot be read"},
	} {
		t.Run(row.name, func(t *testing.T) {
			t.Parallel()
			f := chained(t)
			for _, statement := range row.sql {
				f.sql(statement)
			}
			if row.rechain > 0 {
				f.rechain(row.rechain)
			}
			head, signed, err := f.VerifyJournal(t.Context(), nil)
			if row.err == "" {
				if err != nil || head.Number != 9 || signed != 7 {
					t.Errorf("the head is %v, %d are signed, %v", head, signed, err)
				}
				return
			}
			wantChainError(t, err, row.err)
		})
	}
}

func wantChainError(t *testing.T, err error, text string) {
	t.Helper()
	if _, ok := errors.AsType[*ChainError](err); !ok || !strings.HasPrefix(err.Error(), "the journal does not hold at "+text) {
		t.Errorf("the error is %v, want %q", err, text)
	}
}

// A head that was kept elsewhere shows a journal that its owner has written
// anew.
func TestKeptHead(t *testing.T) {
	f := newFixture(t)
	f.issue("alice", "")
	kept, err := f.Head(t.Context())
	f.must(err)
	f.issue("bob", "")
	if _, _, err := f.VerifyJournal(t.Context(), &kept); err != nil {
		t.Error(err)
	}
	again, err := ParseHead(kept.String())
	if err != nil || again != kept {
		t.Errorf("the head is read as %v, %v", again, err)
	}
	other := kept
	other.Hash = strings.Repeat("00", 32)
	_, _, err = f.VerifyJournal(t.Context(), &other)
	wantChainError(t, err, "line 6: it is not the line whose head was kept")
	later := kept
	later.Number = 8
	_, _, err = f.VerifyJournal(t.Context(), &later)
	wantChainError(t, err, "line 7: it ends here, and the head that was kept is line 8")
}

func TestParseHead(t *testing.T) {
	hash := strings.Repeat("ab", 32)
	for _, s := range []string{"", ":", "7", "7:", ":" + hash, "0:" + hash, "-1:" + hash, "x:" + hash, "7:" + hash[2:], "7:" + hash + "00", "7:" + hash[1:] + "g"} {
		_, err := ParseHead(s)
		wantError(t, err, nil, "is no head of a journal: it is written NUMBER:HASH, as log --head prints it")
	}
	if h, err := ParseHead("7:" + strings.ToUpper(hash)); err != nil || h.Hash != hash {
		t.Errorf("the head is %v, %v", h, err)
	}
}

// What an act does without the issuing key is in the journal unsigned, and the
// next signature covers it.
func TestUnsignedLines(t *testing.T) {
	f := newFixture(t)
	f.issue("alice", "")
	elsewhere := f.t.TempDir() + "/issuing.key"
	f.move(f.Path("issuing.key"), elsewhere)
	f.reopen()
	_, err := f.Revoke(t.Context(), Selection{Names: []pki.Name{name("alice")}}, pki.Unspecified, false)
	if _, ok := err.(*OverdueError); !ok {
		t.Fatal(err)
	}
	f.now = f.now.Add(time.Hour)
	_, err = f.Refresh(t.Context(), RefreshRequest{Only: pki.KindRoot})
	f.must(err)
	if _, _, err := f.VerifyJournal(t.Context(), nil); err != nil {
		t.Error(err)
	}
	var acts []string
	f.must(f.Journal(t.Context(), 7, func(l Line) error {
		acts = append(acts, l.Act+" "+l.Subject+map[bool]string{true: " signed"}[l.Signed])
		return nil
	}))
	if got := strings.Join(acts, ", "); got != "revoke alice, crl root" {
		t.Errorf("the acts are %s", got)
	}
	f.move(elsewhere, f.Path("issuing.key"))
	f.reopen()
	f.issue("bob", "")
	f.sql(`UPDATE journal SET line = CAST(replace(CAST(line AS TEXT), 'alice', 'eve') AS BLOB) WHERE number = 7`)
	f.rechain(7)
	_, _, err = f.VerifyJournal(t.Context(), nil)
	wantChainError(t, err, "line 9: its signature is not the issuing CA's")
}

// The journal is checked as of one moment while others write.
func TestVerifyWhileWriting(t *testing.T) {
	f := newFixture(t)
	ctx, stop := context.WithCancel(t.Context())
	done := make(chan error, 1)
	go func() {
		for ctx.Err() == nil {
			if _, err := f.tryIssue("alice", ""); err != nil {
				done <- err
				return
			}
		}
		done <- nil
	}()
	for range 40 {
		if _, _, err := f.VerifyJournal(t.Context(), nil); err != nil {
			t.Error(err)
			break
		}
	}
	stop()
	f.must(<-done)
}
