package store

import (
	"errors"
	"testing"
	"time"

	"mutual/pki"
)

// The numbers that are kept beside the rows follow every act; log --verify says
// where they are not those of the rows. Each fixture checks them, too, when its
// test ends.
func TestKeptNumbers(t *testing.T) {
	f := newFixture(t)
	old := f.issue("alice", "")
	f.issue("bob", "", func(r *IssueRequest) { r.Window.TTL = lifetime("1h") })
	f.renewed(old)
	f.revoke("bob")
	_, err := f.Revoke(t.Context(), Selection{Names: []pki.Name{name("alice")}}, pki.CertificateHold, false)
	f.must(err)
	kept := func(want standing) {
		t.Helper()
		f.checkNumbers()
		var got standing
		f.must(f.db.QueryRowContext(t.Context(), `SELECT SUM(in_force), SUM(replaced), SUM(held), SUM(revoked) FROM expiry`).
			Scan(&got.inForce, &got.replaced, &got.held, &got.revoked))
		if got != want {
			t.Errorf("kept is %+v, want %+v", got, want)
		}
	}
	kept(standing{held: 2, revoked: 1})
	f.reload(&old)
	errUndo := errors.New("undone")
	if err := f.update(t.Context(), nil, func(tx *Tx) error {
		f.must(tx.endHold(old, 98))
		f.must(tx.endHold(old, 99)) // held and released again before a list said so
		var epoch int64
		f.must(tx.queryRow(`SELECT epoch FROM released WHERE issuer = $1 AND serial = $2`, old.issuer, old.Serial.Octets()).Scan(&epoch))
		if epoch != 99 {
			t.Errorf("the end of the hold is noted for the list of epoch %d", epoch)
		}
		return errUndo
	}); err != errUndo {
		t.Error(err)
	}
	_, err = f.Unhold(t.Context(), Selection{Names: []pki.Name{name("alice")}}, false)
	f.must(err)
	kept(standing{inForce: 2, replaced: 1, revoked: 1})
	f.now = f.now.Add(48 * time.Hour)
	f.upkeep()
	kept(standing{inForce: 1, revoked: 2})

	for damage, want := range map[string]string{
		`UPDATE expiry SET revoked = revoked + 1 WHERE revoked = 1`:           "the numbers kept of certificates by expiry are not those",
		`UPDATE certificate SET revoked = 1 - revoked WHERE kind = 'issuing'`: "certificates are not marked as their revocations say",
	} {
		f.sql(damage)
		_, _, err := f.VerifyJournal(t.Context(), nil)
		wantError(t, err, nil, want)
		if !as[*ChainError](err) {
			t.Errorf("%s: %v", damage, err)
		}
		f.sql(`DELETE FROM expiry`)
		f.sql(`UPDATE certificate SET revoked = id IN (SELECT certificate FROM revocation)`)
		f.sql(`INSERT INTO expiry (issuer, hour, in_force, replaced, held, revoked) ` + standingQuery)
	}
}
