package store

import (
	"cmp"
	"context"
	"database/sql"
	"errors"
	"fmt"
	"maps"
	"slices"

	"mutual/pki"
)

// standing is how many leaves of an issuer end in an hour, by where they stand,
// and in a transaction how many more than before it. Replaced ones are in force,
// too.
type standing struct{ inForce, replaced, held, revoked int64 }

// expiryHour is a row of the table expiry.
type expiryHour struct{ issuer, hour int64 }

func (a expiryHour) compare(b expiryHour) int {
	return cmp.Or(cmp.Compare(a.issuer, b.issuer), cmp.Compare(a.hour, b.hour))
}

// hourOf is the hour in which a second lies.
func hourOf(unix int64) int64 { return unix / 3600 }

// count adds a certificate, as it stands, to the kept numbers (by 1), or takes
// it out of them (by -1). Who changes where it stands takes it out before and
// adds it after.
func (t *Tx) count(c Certificate, by int64) {
	if c.Kind != pki.KindClient && c.Kind != pki.KindServer {
		return
	}
	if t.expiry == nil {
		t.expiry = map[expiryHour]standing{}
	}
	at := expiryHour{c.issuer, hourOf(c.NotAfter.Unix())}
	n := t.expiry[at]
	switch {
	case c.stays():
		n.revoked += by
	case c.Revocation != nil:
		n.held += by
	default:
		n.inForce += by
		if c.Replaced {
			n.replaced += by
		}
	}
	t.expiry[at] = n
}

// putRevocation records a certificate's revocation: a new one, or what has
// become of the one that it has. It never ends one; endHold does.
func (t *Tx) putRevocation(c Certificate) error {
	before := c
	var reason int64
	err := t.queryRow(`SELECT reason FROM revocation WHERE certificate = $1`, c.id).Scan(&reason)
	fresh := errors.Is(err, sql.ErrNoRows)
	switch {
	case fresh:
		before.Revocation = nil
	case err != nil:
		return wrap("reading the revocation", err)
	default:
		was := *c.Revocation
		was.Reason = pki.Reason(reason)
		before.Revocation = &was
	}
	t.count(before, -1)
	t.count(c, +1)
	var listed any
	if !c.Revocation.ListedFrom.IsZero() {
		listed = c.Revocation.ListedFrom.Unix()
	}
	args := []any{c.id, int64(c.Revocation.Reason), c.Revocation.Done.Unix(), listed, c.epoch,
		revocationDigest(c.Fingerprint[:], *c.Revocation, c.epoch)}
	if !fresh {
		return t.exec("recording the revocation", `UPDATE revocation SET reason = $2, done = $3, listed_from = $4, epoch = $5, digest = $6
			WHERE certificate = $1`, args...)
	}
	t.revocations++
	if err := t.exec("recording the revocation", `INSERT INTO revocation (certificate, reason, done, listed_from, epoch, digest)
		VALUES ($1, $2, $3, $4, $5, $6)`, args...); err != nil {
		return err
	}
	return t.exec("recording the revocation", `UPDATE certificate SET revoked = 1 WHERE id = $1`, c.id)
}

// endHold takes back the hold of a certificate. The next list is made of the
// last one: it learns from released that the certificate is out of it.
func (t *Tx) endHold(c Certificate, epoch int64) error {
	t.count(c, -1)
	t.revocations--
	if err := t.exec("ending the hold", `DELETE FROM revocation WHERE certificate = $1`, c.id); err != nil {
		return err
	}
	if err := t.exec("ending the hold", `UPDATE certificate SET revoked = 0 WHERE id = $1`, c.id); err != nil {
		return err
	}
	c.Revocation = nil
	t.count(c, +1)
	return t.exec("ending the hold", `INSERT INTO released (issuer, serial, epoch) VALUES ($1, $2, $3)
		ON CONFLICT (issuer, serial) DO UPDATE SET epoch = $3`, c.issuer, c.Serial.Octets(), epoch)
}

// keepNumbers writes, at the end of the transaction, the numbers that are kept
// beside the rows: of the revocations, so that a lost one is noticed, and of
// the leaves by where they stand and when they end.
func (t *Tx) keepNumbers() error {
	if t.revocations != 0 {
		if err := t.exec("counting the revocations", `UPDATE counters SET value = value + $1 WHERE name = 'revocations'`, t.revocations); err != nil {
			return err
		}
	}
	for _, at := range slices.SortedFunc(maps.Keys(t.expiry), expiryHour.compare) {
		n := t.expiry[at]
		if n == (standing{}) {
			continue
		}
		if err := t.exec("counting the certificates", `INSERT INTO expiry (issuer, hour, in_force, replaced, held, revoked)
			VALUES ($1, $2, $3, $4, $5, $6) ON CONFLICT (issuer, hour) DO UPDATE SET
			in_force = in_force + $3, replaced = replaced + $4, held = held + $5, revoked = revoked + $6`,
			at.issuer, at.hour, n.inForce, n.replaced, n.held, n.revoked); err != nil {
			return err
		}
	}
	return nil
}

// standingQuery counts, from the rows, what expiry keeps.
const standingQuery = `SELECT c.issuer, c.not_after / 3600 AS hour,
	SUM(CASE WHEN r.reason IS NULL THEN 1 ELSE 0 END) AS in_force,
	SUM(CASE WHEN r.reason IS NULL AND c.replaced_by IS NOT NULL THEN 1 ELSE 0 END) AS replaced,
	SUM(CASE WHEN r.reason = 6 THEN 1 ELSE 0 END) AS held,
	SUM(CASE WHEN r.reason <> 6 THEN 1 ELSE 0 END) AS revoked
	FROM certificate c LEFT JOIN revocation r ON r.certificate = c.id
	WHERE c.kind IN ('client', 'server') AND c.sha256 IS NOT NULL GROUP BY c.issuer, c.not_after / 3600`

// wrongNumbers says which of the kept numbers are not those of the rows, or "".
// A database that does not keep them yet has none that are wrong.
func wrongNumbers(ctx context.Context, q querier) (string, error) {
	var version, unmarked int64
	if err := q.QueryRowContext(ctx, "PRAGMA user_version").Scan(&version); err != nil || version < versionScale {
		return "", wrap("reading the version", err)
	}
	// As many marks as revocations, and none of those without one.
	if err := q.QueryRowContext(ctx, `SELECT (SELECT COUNT(*) FROM revocation r JOIN certificate c ON c.id = r.certificate WHERE c.revoked <> 1) +
		ABS((SELECT COUNT(*) FROM certificate WHERE revoked = 1) - (SELECT COUNT(*) FROM revocation))`).Scan(&unmarked); err != nil {
		return "", wrap("counting the revocations", err)
	}
	if unmarked != 0 {
		return fmt.Sprintf("%d certificates are not marked as their revocations say", unmarked), nil
	}
	kept, err := standings(ctx, q, `SELECT issuer, hour, in_force, replaced, held, revoked FROM expiry WHERE in_force + held + revoked <> 0`)
	if err != nil {
		return "", err
	}
	counted, err := standings(ctx, q, standingQuery)
	if err != nil || maps.Equal(kept, counted) {
		return "", err
	}
	return "the numbers kept of certificates by expiry are not those of the certificates", nil
}

func standings(ctx context.Context, q querier, query string) (map[expiryHour]standing, error) {
	rows, err := q.QueryContext(ctx, query)
	if err != nil {
		return nil, wrap("counting the certificates", err)
	}
	defer func() { _ = rows.Close() }() // Err below reports what matters
	out := map[expiryHour]standing{}
	for rows.Next() {
		var at expiryHour
		var n standing
		if err := rows.Scan(&at.issuer, &at.hour, &n.inForce, &n.replaced, &n.held, &n.revoked); err != nil {
			return nil, wrap("counting the certificates", err)
		}
		out[at] = n
	}
	return out, wrap("counting the certificates", rows.Err())
}
