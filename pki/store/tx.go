package store

import (
	"cmp"
	"context"
	"crypto/sha1" // #nosec: only to find a certificate by a SHA-1 fingerprint that somebody has
	"crypto/sha256"
	"database/sql"
	"encoding/binary"
	"errors"
	"fmt"
	"time"

	"mutual/pki"
	"mutual/pki/authority"
)

// clockTolerance is how far the clock may be behind the newest signature.
const clockTolerance = 5 * time.Minute

// Tx is one writing transaction. It implements authority.Ledger.
type Tx struct {
	pki    *PKI
	ctx    context.Context
	tx     *sql.Tx
	now    time.Time
	signer *authority.CA // the issuing CA, where its key is at hand

	epoch       int64                   // of the last change of who is let in that it makes; 0: none
	newest      Head                    // of the journal, where this has written to it
	revocations int64                   // how many more there are than before
	expiry      map[expiryHour]standing // how many more stand so; see count
	reserved    reservation             // the last one
}

// update queues, and runs do in a transaction that is committed when it
// returns nil and otherwise rolled back. signer signs the journal's head and
// may be nil.
func (p *PKI) update(ctx context.Context, signer *authority.CA, do func(*Tx) error) error {
	return p.updateOn(ctx, p.db, signer, do)
}

// beginner is a database or one connection to it.
type beginner interface {
	BeginTx(ctx context.Context, opts *sql.TxOptions) (*sql.Tx, error)
}

// updateOn is update on a connection of the caller's.
func (p *PKI) updateOn(ctx context.Context, db beginner, signer *authority.CA, do func(*Tx) error) error {
	if err := p.checkMayWrite(); err != nil {
		return err
	}
	release, err := p.queue(ctx, lockFile, "the other writers of the PKI")
	if err != nil {
		return err
	}
	defer release()
	if err := p.migrate(ctx); err != nil {
		return err
	}
	tx, err := db.BeginTx(ctx, nil)
	if err != nil {
		return wrap("beginning a transaction", err)
	}
	t := &Tx{pki: p, ctx: unwatched{ctx}, tx: tx, now: p.now(), signer: signer}
	if err = do(t); err == nil {
		err = t.keepNumbers()
	}
	if err != nil {
		_ = tx.Rollback() // the first error is the one to report
		return cmp.Or(ctx.Err(), err)
	}
	if err := tx.Commit(); err != nil {
		return wrapCommit(err)
	}
	p.keepHead(t.newest)
	if t.epoch > 0 && p.opts.Changed != nil {
		p.opts.Changed(t.epoch)
	}
	return nil
}

// exec runs a statement.
func (t *Tx) exec(doing, query string, args ...any) error {
	_, err := t.tx.ExecContext(t.ctx, query, args...)
	return wrap(doing, err)
}

// queryRow asks for one row.
func (t *Tx) queryRow(query string, args ...any) *sql.Row {
	return t.tx.QueryRowContext(t.ctx, query, args...)
}

func (t *Tx) counter(name string) (int64, error) {
	var v int64
	err := t.queryRow(`SELECT value FROM counters WHERE name = $1`, name).Scan(&v)
	return v, wrap("reading the counter "+name, err)
}

func (t *Tx) setCounter(name string, v int64) error {
	return t.exec("writing the counter "+name, `UPDATE counters SET value = $1 WHERE name = $2`, v, name)
}

// tick refuses to sign with a clock behind what was signed before, and
// remembers the time.
func (t *Tx) tick() error {
	newest, err := t.counter("clock")
	if err != nil {
		return err
	}
	now := t.now.Unix()
	if time.Duration(newest-now)*time.Second > clockTolerance {
		return &ClockError{Now: t.now, Newest: time.Unix(newest, 0)}
	}
	if now <= newest {
		return nil
	}
	return t.setCounter("clock", now)
}

// nextEpoch counts a change of who is allowed in. issuers are the CAs whose
// list it changes.
func (t *Tx) nextEpoch(what string, journal int64, issuers ...int64) (int64, error) {
	epoch, err := t.counter("epoch")
	if err != nil {
		return 0, err
	}
	epoch++
	if err := t.setCounter("epoch", epoch); err != nil {
		return 0, err
	}
	for _, issuer := range issuers {
		if err := t.exec("marking the CRL as overdue", `UPDATE ca SET changed = $1 WHERE id = $2`, epoch, issuer); err != nil {
			return 0, err
		}
	}
	t.epoch = epoch
	return epoch, t.exec("recording the change", `INSERT INTO change (epoch, at, what, journal) VALUES ($1, $2, $3, $4)`,
		epoch, t.now.Unix(), what, journal)
}

// Reserve implements authority.Ledger.
func (t *Tx) Reserve(r authority.Record) error {
	if err := t.tick(); err != nil {
		return err
	}
	var identity sql.NullInt64
	if !r.Name.IsZero() {
		id, err := t.identity(r.Name)
		if err != nil {
			return err
		}
		identity = sql.NullInt64{Int64: id, Valid: true}
	}
	issuer, err := t.caByKey(r.IssuerKeyID)
	if err != nil {
		return err
	}
	if err := t.checkNotRevoked(issuer); err != nil {
		return err
	}
	if err := t.forgetProbes(r.Kind); err != nil {
		return err
	}
	var used bool
	if err := t.queryRow(`SELECT EXISTS (SELECT 1 FROM certificate WHERE issuer = $1 AND serial = $2)`, issuer, r.Serial.Octets()).Scan(&used); err != nil {
		return wrap("looking for the serial number", err)
	}
	if used {
		return fmt.Errorf("the issuer has used the serial number %s", r.Serial)
	}
	t.reserved = reservation{serial: r.Serial, issuer: issuer, identity: identity}
	return nil
}

// reservation is what Reserve has found out for Complete. Nobody else writes
// while the transaction lasts: the row is written once, with the certificate.
type reservation struct {
	serial   pki.Serial
	issuer   int64
	identity sql.NullInt64
}

// checkNotRevoked refuses an issuer that was revoked while its certificate was
// being prepared.
func (t *Tx) checkNotRevoked(issuer int64) error {
	var n int
	err := t.tx.QueryRowContext(t.ctx, `SELECT COUNT(*) FROM revocation r JOIN certificate c ON c.id = r.certificate
		WHERE c.subject_ca = $1`, issuer).Scan(&n)
	if err != nil {
		return wrap("looking for the issuer's revocation", err)
	}
	if n > 0 {
		return ErrRevokedCA
	}
	return nil
}

// probeMemory is how long a probe's certificate stays in the inventory after
// it has expired. Its line in the journal stays for good.
const probeMemory = 30 * 24 * time.Hour

// forgetProbes drops, when another probe comes, those that nobody needs any
// more.
func (t *Tx) forgetProbes(coming pki.Kind) error {
	if coming != pki.KindProbe {
		return nil
	}
	return t.exec("forgetting old probes", `DELETE FROM certificate WHERE kind = 'probe' AND kind <> 'client' AND not_after < $1
		AND revoked = 0`, t.now.Add(-probeMemory).Unix())
}

// identity gives the row of a name that may be issued to, and creates it.
func (t *Tx) identity(name pki.Name) (int64, error) {
	id, err := mayHave(t.ctx, t.tx, name)
	if !errors.Is(err, ErrNotFound) {
		return id, err
	}
	err = t.tx.QueryRowContext(t.ctx, `INSERT INTO identity (name, folded, created) VALUES ($1, $2, $3) RETURNING id`,
		name.String(), name.Folded(), t.now.Unix()).Scan(&id)
	return id, wrap("recording the identity", err)
}

// mayHave gives the row of an identity if certificates may be issued for it:
// it is not blocked, and no other has its name in another spelling.
func mayHave(ctx context.Context, q querier, name pki.Name) (id int64, err error) {
	known, err := scanIdentity(q.QueryRowContext(ctx, identityQuery, name.Folded()), name)
	if err != nil {
		return 0, err
	}
	return known.id, known.mayHave(name)
}

// identityQuery gives what scanIdentity scans, for a folded name.
const identityQuery = `SELECT id, name, blocked FROM identity WHERE folded = $1`

// identityRow is what decides whether a name may have certificates.
type identityRow struct {
	id      int64
	name    string
	blocked bool
}

// scanIdentity is ErrNotFound where there is none.
func scanIdentity(row *sql.Row, name pki.Name) (identityRow, error) {
	var known identityRow
	var blockedAt sql.NullInt64
	err := row.Scan(&known.id, &known.name, &blockedAt)
	if errors.Is(err, sql.ErrNoRows) {
		return identityRow{}, notFound(name.String())
	}
	known.blocked = blockedAt.Valid
	return known, wrap("looking the identity up", err)
}

func (i identityRow) mayHave(name pki.Name) error {
	switch {
	case i.name != name.String():
		return fmt.Errorf("%w: %q beside %q", ErrNameTaken, i.name, name)
	case i.blocked:
		return blocked(name)
	}
	return nil
}

func (t *Tx) caByKey(keyID []byte) (int64, error) {
	var id int64
	err := t.tx.QueryRowContext(t.ctx, `SELECT id FROM ca WHERE key_id = $1 AND retired IS NULL`, keyID).Scan(&id)
	if errors.Is(err, sql.ErrNoRows) {
		return 0, ErrRetired
	}
	return id, wrap("looking the issuer up", err)
}

// Complete implements authority.Ledger.
func (t *Tx) Complete(r authority.Record, der []byte) error {
	to := t.reserved
	if to.serial != r.Serial {
		return fmt.Errorf("the serial number %s was not reserved", r.Serial)
	}
	fingerprint := pki.FingerprintOf(der)
	act := "issue"
	if r.Kind.IsCA() {
		act = "create"
	}
	number, err := t.append(act, subjectOf(r.Name, r.Kind), map[string]any{
		"serial": r.Serial, "kind": r.Kind, "label": r.Label, "sha256": fingerprint,
		"notBefore": r.NotBefore, "notAfter": r.NotAfter,
	})
	if err != nil {
		return err
	}
	t.count(Certificate{Record: r, issuer: to.issuer}, +1)
	byOldHash := sha1.Sum(der)
	return t.exec("storing the certificate", `INSERT INTO certificate
		(issuer, serial, identity, kind, label, not_before, not_after, issued, backdated, der, sha256, sha1, journal, digest)
		VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $9, $10, $11, $12, $13, $14)`,
		to.issuer, r.Serial.Octets(), to.identity, string(r.Kind), r.Label,
		r.NotBefore.Unix(), r.NotAfter.Unix(), r.Issued.Unix(), r.Backdated,
		der, fingerprint[:], byOldHash[:], number, recordDigest(r, fingerprint))
}

// recordDigest is the SHA-256 of what a certificate's row says. It is checked
// when the row is read: SQLite does not notice a flipped bit.
func recordDigest(r authority.Record, fingerprint pki.Fingerprint) []byte {
	h := sha256.New()
	backdated := []byte{0}
	if r.Backdated {
		backdated[0] = 1
	}
	for _, field := range [][]byte{
		r.IssuerKeyID, r.Serial.Octets(), []byte(r.Kind), []byte(r.Name.String()), []byte(r.Label),
		seconds(r.NotBefore.Unix()), seconds(r.NotAfter.Unix()), seconds(r.Issued.Unix()), backdated, fingerprint[:],
	} {
		h.Write(seconds(int64(len(field))))
		h.Write(field)
	}
	return h.Sum(nil)
}

// revocationDigest is the same for a revocation's row.
func revocationDigest(fingerprint []byte, r authority.Revocation, epoch int64) []byte {
	h := sha256.New()
	h.Write(fingerprint)
	h.Write(seconds(int64(r.Reason)))
	h.Write(seconds(r.Done.Unix()))
	h.Write(seconds(unixOrZero(r.ListedFrom)))
	h.Write(seconds(epoch))
	return h.Sum(nil)
}

func seconds(n int64) []byte { return binary.BigEndian.AppendUint64(nil, uint64(n)) }

func unixOrZero(t time.Time) int64 {
	if t.IsZero() {
		return 0
	}
	return t.Unix()
}
