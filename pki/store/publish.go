package store

import (
	"bytes"
	"context"
	"crypto/sha256"
	"database/sql"
	"errors"
	"fmt"
	"io/fs"
	"math/big"
	"os"
	"path/filepath"
	"time"

	"mutual/pki"
	"mutual/pki/authority"
	"mutual/pki/crl"
	"mutual/pki/internal/durable"
	"mutual/pki/pemfile"
)

// Published is the newest CRL of a CA.
type Published struct {
	Issuer     pki.Kind // root or issuing
	Number     *big.Int
	ThisUpdate time.Time
	NextUpdate time.Time
	Entries    int
	Files      []string // where it lies: DER, PEM
	Made       bool     // by this act
	Overdue    bool     // it lacks what has been revoked or released since
	Skipped    error    // why no new one could be made; nil: made, or none is due

	epoch  int64
	sha256 []byte
	der    []byte
}

// Due gives the times from which a list should be replaced, and from which its
// being as old is worth a warning: half and two thirds of its life.
func (l *Published) Due() (refresh, warn time.Time) {
	life := l.NextUpdate.Sub(l.ThisUpdate)
	return l.ThisUpdate.Add(life / 2), l.ThisUpdate.Add(life * 2 / 3)
}

// publishRequest says which lists are to be made.
type publishRequest struct {
	force       bool     // whatever is out
	only        pki.Kind // empty: both
	rootKey     string   // file of a root's key that lies elsewhere
	acceptClock bool
	cas         map[pki.Kind]*authority.CA // whose keys are at hand
}

// RefreshRequest says which lists crl refresh makes.
type RefreshRequest struct {
	Only        pki.Kind // root or issuing; empty: both, the root's if its key is at hand
	RootKey     string   // file of the root's key
	AcceptClock bool     // sign although the clock is behind, once
}

// Refresh makes new lists, whatever the age of those that are out. A list that
// was asked for by name and cannot be made is an error; without a name, only
// the issuing CA's must be made.
func (p *PKI) Refresh(ctx context.Context, req RefreshRequest) ([]Published, error) {
	lists, err := p.publish(ctx, publishRequest{force: true, only: req.Only, rootKey: req.RootKey, acceptClock: req.AcceptClock})
	if err != nil {
		return nil, err
	}
	for _, l := range lists {
		must := l.Issuer == req.Only || req.Only == "" && (l.Issuer == pki.KindIssuing || req.RootKey != "" || !errors.Is(l.Skipped, ErrNoKey))
		if l.Skipped != nil && must {
			return lists, fmt.Errorf("making the %s CA's CRL: %w", l.Issuer, l.Skipped)
		}
	}
	return lists, nil
}

// Upkeep makes the lists that are past half of their life, overdue or missing,
// and says for each what it could not do.
func (p *PKI) Upkeep(ctx context.Context) ([]Published, error) {
	lists, err := p.CRLs(ctx)
	if err != nil {
		return nil, err
	}
	for _, l := range lists {
		if p.due(l) {
			return p.publish(ctx, publishRequest{})
		}
	}
	return lists, nil
}

// publishAct publishes what an act changed. What could not be made is an
// *OverdueError.
func (p *PKI) publishAct(ctx context.Context, o *Outcome) error {
	lists, err := p.publish(ctx, publishRequest{})
	if err != nil {
		return &OverdueError{Err: err}
	}
	o.CRLs = lists
	for _, l := range lists {
		if l.Overdue {
			return &OverdueError{Err: l.Skipped}
		}
	}
	return nil
}

// due reports whether a list must be made: it lacks something, its files are
// not there, or half of its life is over.
func (p *PKI) due(l Published) bool {
	refresh, _ := l.Due()
	return l.Number == nil || l.Overdue || p.now().After(refresh) || !p.filesStand(l)
}

// filesStand reports whether the list in the directory is the database's.
func (p *PKI) filesStand(l Published) bool {
	f, err := os.Open(p.Path(crlPath(l.Issuer, "crl")))
	if err != nil {
		return false
	}
	defer func() { _ = f.Close() }() // only read
	number, err := crl.PeekNumber(f)
	return err == nil && l.Number != nil && number.Cmp(l.Number) == 0
}

// publish makes the lists that are due, while nobody else does: who waits here
// and then finds that a list with its revocation is out makes no other.
func (p *PKI) publish(ctx context.Context, req publishRequest) ([]Published, error) {
	if err := checkOwner(p.dir); err != nil {
		return nil, err
	}
	release, err := p.queue(ctx, publishLock, "another process that publishes the CRL")
	if err != nil {
		return nil, err
	}
	defer release()
	lists, err := p.CRLs(ctx)
	if err != nil {
		return nil, err
	}
	for i := range lists {
		l := &lists[i]
		wanted := req.only == "" || req.only == l.Issuer
		if !wanted || !req.force && !p.due(*l) {
			continue
		}
		if err := p.makeList(ctx, l, req); err != nil {
			if isFatal(err) {
				return nil, err
			}
			l.Skipped = err
		}
	}
	if err := p.writeLists(lists); err != nil {
		return nil, err
	}
	return lists, p.publishCopy(ctx)
}

// isFatal reports whether an error is of the database or the context, so that
// going on with the next list makes no sense.
func isFatal(err error) bool {
	return errors.Is(err, ErrDamaged) || errors.Is(err, context.Canceled) || errors.Is(err, context.DeadlineExceeded)
}

// makeList signs the CRL that follows, and records it before any file of it
// appears: two different lists never share a number.
func (p *PKI) makeList(ctx context.Context, l *Published, req publishRequest) error {
	row, err := p.caRow(ctx, l.Issuer)
	if err != nil {
		return err
	}
	ca := req.cas[l.Issuer]
	if ca == nil {
		if ca, err = p.caFor(ctx, l.Issuer, req.rootKey); err != nil {
			return err
		}
	}
	settings, err := p.Settings(ctx)
	if err != nil {
		return err
	}
	lifetime := settings.CRLTTL
	if l.Issuer == pki.KindRoot {
		lifetime = settings.RootCRLTTL
	}
	if err := p.checkClock(ctx); err != nil && !req.acceptClock {
		return err
	}
	revoked, epoch, err := p.revokedBy(ctx, row.id)
	if err != nil {
		return err
	}
	last := authority.LastCRL{Number: l.Number, ThisUpdate: l.ThisUpdate}
	if req.acceptClock && last.ThisUpdate.After(p.now()) {
		last.ThisUpdate = time.Time{}
	}
	made, err := ca.IssueCRL(revoked, last, lifetime, p.now())
	if err != nil {
		return err
	}
	if err := p.recordList(ctx, row, l.Issuer, made, epoch, req); err != nil {
		return err
	}
	sum := sha256.Sum256(made.DER)
	*l = Published{Issuer: l.Issuer, Number: made.Number, ThisUpdate: made.ThisUpdate, NextUpdate: made.NextUpdate,
		Entries: made.Entries, Files: l.Files, Made: true, epoch: epoch, sha256: sum[:], der: made.DER}
	return nil
}

// revokedBy reads, in one snapshot, what a CA has revoked and the epoch up to
// which that is so.
func (p *PKI) revokedBy(ctx context.Context, issuer int64) (out []authority.Revoked, epoch int64, err error) {
	tx, err := p.db.BeginTx(ctx, &sql.TxOptions{ReadOnly: true})
	if err != nil {
		return nil, 0, wrap("reading the revocations", err)
	}
	defer func() { _ = tx.Rollback() }() // nothing was written
	if err := tx.QueryRowContext(ctx, `SELECT value FROM counters WHERE name = 'epoch'`).Scan(&epoch); err != nil {
		return nil, 0, wrap("reading the epoch", err)
	}
	err = p.each(ctx, tx, "r.reason IS NOT NULL AND c.issuer = $1", []any{issuer}, func(c Certificate) error {
		out = append(out, authority.Revoked{Serial: c.Serial, NotAfter: c.NotAfter, Revocation: *c.Revocation})
		return nil
	})
	return out, epoch, err
}

// recordList stores a signed list and fixes the dates of the entries that it
// carries for the first time.
func (p *PKI) recordList(ctx context.Context, row caRow, role pki.Kind, made *authority.CRL, epoch int64, req publishRequest) error {
	list, err := crl.Parse(made.DER)
	if err != nil {
		return err
	}
	sum := sha256.Sum256(made.DER)
	var der []byte
	if role == pki.KindRoot { // an offline root cannot be asked again
		der = made.DER
	}
	return p.update(ctx, p.issuingAtHand(ctx, req), func(t *Tx) error {
		if err := t.tickFor(req.acceptClock); err != nil {
			return err
		}
		number, err := t.append("crl", string(role), map[string]any{
			"number": made.Number.String(), "thisUpdate": made.ThisUpdate, "nextUpdate": made.NextUpdate, "entries": made.Entries,
			"sha256": fmt.Sprintf("%x", sum), "clockAccepted": req.acceptClock,
		})
		if err != nil {
			return err
		}
		if err := t.exec("recording the CRL", `INSERT INTO crl
			(issuer, number, this_update, next_update, entries, epoch, journal, signature, sha256, der)
			VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $9, $10)`,
			row.id, made.Number.Int64(), made.ThisUpdate.Unix(), made.NextUpdate.Unix(), made.Entries, epoch, number,
			list.Signature(), sum[:], der); err != nil {
			return err
		}
		return t.fixDates(row.id, epoch, made.ThisUpdate)
	})
}

// fixDates gives the entries that were listed for the first time the date that
// they have in the list, for good.
func (t *Tx) fixDates(issuer, epoch int64, thisUpdate time.Time) error {
	fresh, err := t.pki.all(t.ctx, t.tx, "r.listed_from IS NULL AND r.epoch <= $1 AND c.issuer = $2", epoch, issuer)
	if err != nil {
		return err
	}
	for _, c := range fresh {
		c.Revocation.ListedFrom = c.Revocation.ListDate(thisUpdate)
		if err := t.putRevocation(c); err != nil {
			return err
		}
	}
	return nil
}

// tickFor is tick, or where the operator accepted the clock sets the newest
// time back to it.
func (t *Tx) tickFor(acceptClock bool) error {
	if acceptClock {
		return t.setCounter("clock", t.now.Unix())
	}
	return t.tick()
}

// checkClock is tick without remembering the time.
func (p *PKI) checkClock(ctx context.Context) error {
	var newest int64
	if err := p.db.QueryRowContext(ctx, `SELECT value FROM counters WHERE name = 'clock'`).Scan(&newest); err != nil {
		return wrap("reading the clock's counter", err)
	}
	if now := p.now(); time.Unix(newest, 0).Sub(now) > clockTolerance {
		return &ClockError{Now: now, Newest: time.Unix(newest, 0)}
	}
	return nil
}

// caFor returns a CA with its key, the root's from another file where one is
// given.
func (p *PKI) caFor(ctx context.Context, role pki.Kind, rootKey string) (*authority.CA, error) {
	row, err := p.caRow(ctx, role)
	if err != nil {
		return nil, err
	}
	if role != pki.KindRoot {
		rootKey = ""
	}
	return p.load(row, rootKey)
}

// signerAtHand returns the issuing CA where its key can be had, else nil:
// revoking does not need it.
func (p *PKI) signerAtHand(ctx context.Context) *authority.CA {
	ca, err := p.Issuing(ctx)
	if err != nil {
		return nil // the CRL says what is missing when it cannot be made
	}
	return ca
}

func (p *PKI) issuingAtHand(ctx context.Context, req publishRequest) *authority.CA {
	if ca := req.cas[pki.KindIssuing]; ca != nil {
		return ca
	}
	return p.signerAtHand(ctx)
}

// CRLs reads what is known of the newest list of each CA, the issuing CA's
// first.
func (p *PKI) CRLs(ctx context.Context) ([]Published, error) {
	rows, err := p.db.QueryContext(ctx, `SELECT ca.role, ca.changed, l.number, l.this_update, l.next_update, l.entries, l.epoch, l.sha256, l.der
		FROM ca LEFT JOIN crl l ON l.issuer = ca.id AND l.number = (SELECT MAX(number) FROM crl WHERE issuer = ca.id)
		WHERE ca.retired IS NULL ORDER BY ca.role, ca.id`)
	if err != nil {
		return nil, wrap("reading the CRLs", err)
	}
	defer func() { _ = rows.Close() }() // Err below reports what matters
	var out []Published
	for rows.Next() {
		var role string
		var changed int64
		var number, thisUpdate, nextUpdate, entries, epoch sql.NullInt64
		l := Published{}
		if err := rows.Scan(&role, &changed, &number, &thisUpdate, &nextUpdate, &entries, &epoch, &l.sha256, &l.der); err != nil {
			return nil, wrap("reading the CRLs", err)
		}
		l.Issuer = pki.Kind(role)
		l.Files = []string{p.Path(crlPath(l.Issuer, "crl")), p.Path(crlPath(l.Issuer, "pem"))}
		if number.Valid {
			l.Number = big.NewInt(number.Int64)
			l.ThisUpdate, l.NextUpdate = fromUnix(thisUpdate.Int64), fromUnix(nextUpdate.Int64)
			l.Entries, l.epoch = int(entries.Int64), epoch.Int64
		}
		l.Overdue = !number.Valid || changed > epoch.Int64
		out = append(out, l)
	}
	return out, wrap("reading the CRLs", rows.Err())
}

func (p *PKI) current(ctx context.Context) ([]Published, error) { return p.CRLs(ctx) }

func crlPath(role pki.Kind, ext string) string { return crlDir + "/" + string(role) + "." + ext }

// ChainPath is the file with every CRL of the chain, relative to the PKI.
const ChainPath = crlDir + "/chain.pem"

// writeLists puts the lists into the directory by rename: DER and PEM of each,
// then all of them in one file, the issuing CA's first because some programs
// read only one.
func (p *PKI) writeLists(lists []Published) error {
	var chain bytes.Buffer
	changed := false
	for i := range lists {
		l := &lists[i]
		if l.Number == nil {
			return fmt.Errorf("there is no CRL of the %s CA: %w", l.Issuer, l.Skipped)
		}
		path := p.Path(crlPath(l.Issuer, "crl"))
		onDisk, err := os.ReadFile(path)
		if err != nil && !errors.Is(err, fs.ErrNotExist) {
			return fmt.Errorf("reading the CRL: %w", err)
		}
		if sum := sha256.Sum256(onDisk); !bytes.Equal(sum[:], l.sha256) {
			if l.der == nil { // not made now, and not stored: the key is missing
				return fmt.Errorf("the CRL of the %s CA is not in its file and cannot be made: %w", l.Issuer, l.Skipped)
			}
			onDisk = l.der
			if err := durable.WriteFile(path, onDisk, 0o644); err != nil {
				return err
			}
			changed = true
		}
		encoded := pemfile.EncodeCRL(onDisk)
		chain.Write(encoded)
		if err := writeIfOther(p.Path(crlPath(l.Issuer, "pem")), encoded, &changed); err != nil {
			return err
		}
	}
	return writeIfOther(p.Path(ChainPath), chain.Bytes(), &changed)
}

// writeIfOther replaces a file unless it holds the data already.
func writeIfOther(path string, data []byte, changed *bool) error {
	if have, err := os.ReadFile(path); err == nil && bytes.Equal(have, data) {
		return nil
	}
	*changed = true
	return durable.WriteFile(path, data, 0o644)
}

// publishCopy keeps the directory that servers read: certificates and lists,
// readable by everybody, each replaced by rename.
func (p *PKI) publishCopy(ctx context.Context) error {
	settings, err := p.Settings(ctx)
	if err != nil || settings.Publish == "" {
		return err
	}
	dir := settings.Publish
	for _, d := range []string{dir, filepath.Join(dir, crlDir)} {
		if err := os.MkdirAll(d, 0o755); err != nil {
			return fmt.Errorf("publishing: %w", err)
		}
	}
	if err := p.writeCertificates(dir, 0o644); err != nil {
		return fmt.Errorf("publishing: %w", err)
	}
	for _, name := range []string{
		crlPath(pki.KindRoot, "crl"), crlPath(pki.KindRoot, "pem"),
		crlPath(pki.KindIssuing, "crl"), crlPath(pki.KindIssuing, "pem"), ChainPath,
	} {
		data, err := os.ReadFile(p.Path(name))
		if err != nil {
			return fmt.Errorf("publishing: %w", err)
		}
		changed := false
		if err := writeIfOther(filepath.Join(dir, filepath.FromSlash(name)), data, &changed); err != nil {
			return fmt.Errorf("publishing: %w", err)
		}
	}
	return nil
}

// Publish writes the directory that servers read again.
func (p *PKI) Publish(ctx context.Context) error { return p.publishCopy(ctx) }

// checkPublished refuses a database that knows less than the list beside it:
// its next list would let revoked certificates back in.
func (p *PKI) checkPublished(ctx context.Context) error {
	lists, err := p.CRLs(ctx)
	if err != nil {
		return err
	}
	for _, l := range lists {
		f, err := os.Open(l.Files[0])
		if err != nil {
			continue // it will be written again
		}
		number, err := crl.PeekNumber(f)
		_ = f.Close() // only read
		if err == nil && (l.Number == nil || number.Cmp(l.Number) > 0) {
			return fmt.Errorf("%w: %s has number %s, and the newest in the database is %v", ErrRolledBack, l.Files[0], number, l.Number)
		}
	}
	return nil
}
