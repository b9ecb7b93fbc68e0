package store

import (
	"context"
	"database/sql"

	"mutual/pki"
)

// keptStanding is what the table expiry says; standingQuery is what it should.
const keptStanding = `SELECT issuer, hour, in_force, replaced, held, revoked FROM expiry WHERE in_force + held + revoked <> 0`

// kept holds what the transactions keep beside the rows against the rows.
func (a *audit) kept(ctx context.Context) error {
	for _, step := range []func(context.Context) error{a.keptRevocations, a.keptEpochs, a.keptJournal} {
		if err := step(ctx); err != nil {
			return err
		}
	}
	return nil
}

func (a *audit) number(ctx context.Context, query string, args ...any) (int64, error) {
	var n int64
	err := a.q.QueryRowContext(ctx, query, args...).Scan(&n)
	return n, wrap("reading what is kept", err)
}

// keptRevocations: the revocations are counted three times, by their number, in
// each certificate's row, and by the hour. What is wrong is made again from the
// rows, but for the number where it is higher and one of the others does not
// deny it: then revocations are lost.
func (a *audit) keptRevocations(ctx context.Context) error {
	missing, err := missingRevocations(ctx, a.q)
	if err != nil {
		return err
	}
	var unmarked, marked, tallied int64
	if a.scale {
		for query, n := range map[string]*int64{
			`SELECT COUNT(*) FROM certificate WHERE revoked = 0 AND id IN (SELECT certificate FROM revocation)`:      &unmarked,
			`SELECT COUNT(*) FROM certificate WHERE revoked <> 0 AND id NOT IN (SELECT certificate FROM revocation)`: &marked,
			`SELECT COUNT(*) FROM (SELECT issuer, hour FROM (` + keptStanding + ` EXCEPT ` + standingQuery + `) a
				UNION SELECT issuer, hour FROM (` + standingQuery + ` EXCEPT ` + keptStanding + `) b) c`: &tallied,
		} {
			if *n, err = a.number(ctx, query); err != nil {
				return err
			}
		}
	}
	if missing > 0 && (!a.scale || marked > 0 || tallied > 0) {
		if err := a.damage(AreaInventory, "revocation", "%d revocations that were recorded are not there", missing); err != nil {
			return err
		}
		return a.lostRevocations(ctx, marked)
	}
	if missing != 0 {
		a.mends = append(a.mends, (*Tx).recountRevocations)
		if err := a.say(AreaKept, RemedyRepair, "counters", "the number of revocations differs from that of their rows by %d", missing); err != nil {
			return err
		}
	}
	if unmarked+marked > 0 {
		a.mends = append(a.mends, (*Tx).remark)
		if err := a.say(AreaKept, RemedyRepair, "certificate", "%d rows do not say rightly whether the certificate is revoked", unmarked+marked); err != nil {
			return err
		}
	}
	if tallied > 0 {
		a.mends = append(a.mends, (*Tx).retally)
		return a.say(AreaKept, RemedyRepair, "expiry", "%d hours are not counted as their certificates are", tallied)
	}
	return nil
}

// lostRevocations names the certificates whose rows still say that they are
// revoked.
func (a *audit) lostRevocations(ctx context.Context, marked int64) error {
	if marked == 0 {
		return nil
	}
	return a.eachRow(ctx, "looking for lost revocations", `SELECT id, serial FROM certificate
		WHERE revoked <> 0 AND id NOT IN (SELECT certificate FROM revocation)`, func(rows *sql.Rows) error {
		var id int64
		var octets []byte
		if err := rows.Scan(&id, &octets); err != nil {
			return err
		}
		serial, _ := pki.SerialFromOctets(octets) // zero where that is damaged
		return a.damage(AreaInventory, describeRow(id, serial), "it was revoked, and the revocation is not there")
	})
}

// recountRevocations, and retally, count also what this transaction has done.
func (t *Tx) recountRevocations() error {
	t.revocations = 0
	return t.exec("counting the revocations", `UPDATE counters SET value = (SELECT COUNT(*) FROM revocation) WHERE name = 'revocations'`)
}

func (t *Tx) remark() error {
	if err := t.exec("marking what is revoked", `UPDATE certificate SET revoked = 1
		WHERE revoked <> 1 AND id IN (SELECT certificate FROM revocation)`); err != nil {
		return err
	}
	return t.exec("marking what is revoked", `UPDATE certificate SET revoked = 0
		WHERE revoked <> 0 AND id NOT IN (SELECT certificate FROM revocation)`)
}

func (t *Tx) retally() error {
	t.expiry = nil
	if err := t.exec("counting the certificates", `DELETE FROM expiry`); err != nil {
		return err
	}
	return t.exec("counting the certificates", `INSERT INTO expiry (issuer, hour, in_force, replaced, held, revoked) `+standingQuery)
}

// keptEpochs: the epoch is that of the last change, and each CA knows the last
// that its list must cover.
func (a *audit) keptEpochs(ctx context.Context) error {
	counter, err := a.number(ctx, `SELECT value FROM counters WHERE name = 'epoch'`)
	if err != nil {
		return err
	}
	last, err := a.number(ctx, `SELECT COALESCE(MAX(epoch), 0) FROM change`)
	if err != nil {
		return err
	}
	switch {
	case counter > last:
		if err := a.damage(AreaInventory, "change", "the epoch is %d, and the changes end at %d", counter, last); err != nil {
			return err
		}
	case counter < last:
		a.mends = append(a.mends, func(t *Tx) error { return t.setCounter("epoch", last) })
		if err := a.say(AreaKept, RemedyRepair, "counters", "the epoch is %d, and the changes end at %d", counter, last); err != nil {
			return err
		}
	}
	return a.eachRow(ctx, "reading the CAs", `SELECT ca.id, ca.role, ca.key_id, ca.changed, MAX(r.epoch) FROM ca
		JOIN certificate c ON c.issuer = ca.id JOIN revocation r ON r.certificate = c.id
		GROUP BY ca.id HAVING MAX(r.epoch) > ca.changed`, func(rows *sql.Rows) error {
		var id, changed, last int64
		var role string
		var keyID []byte
		if err := rows.Scan(&id, &role, &keyID, &changed, &last); err != nil {
			return err
		}
		a.mends = append(a.mends, func(t *Tx) error {
			return t.exec("marking the CRL as overdue", `UPDATE ca SET changed = $1 WHERE id = $2`, last, id)
		})
		a.files = true
		return a.say(AreaKept, RemedyRepair, byKey(pki.Kind(role), keyID), "its list changed at epoch %d, and the CA says %d", last, changed)
	})
}

// keptJournal: where it is too high, the journal was cut, which its check says.
func (a *audit) keptJournal(ctx context.Context) error {
	counter, err := a.number(ctx, `SELECT value FROM counters WHERE name = 'journal'`)
	if err != nil {
		return err
	}
	last, err := a.number(ctx, `SELECT COALESCE(MAX(number), 0) FROM journal`)
	if err != nil || counter >= last {
		return err
	}
	a.mends = append([]func(*Tx) error{func(t *Tx) error { return t.setCounter("journal", last) }}, a.mends...)
	return a.say(AreaKept, RemedyRepair, "counters", "the number of the journal's last line is %d, and it ends at %d", counter, last)
}
