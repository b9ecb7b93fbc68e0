package store

import (
	"context"
	"database/sql"
	"errors"
	"fmt"
	"maps"
	"slices"
)

// RepairRequest says what a repair looks at and what it may change.
type RepairRequest struct {
	Check bool     // only look
	From  []string // directories with certificates that the inventory may lack
}

// Area is where something was found to be wrong.
type Area string

// The areas of a PKI.
const (
	AreaDatabase  Area = "database"  // SQLite's own structures
	AreaInventory Area = "inventory" // rows of certificates, identities, revocations and CAs
	AreaKept      Area = "kept"      // what is kept beside the rows and follows from them
	AreaCRL       Area = "crl"       // rows and contents of lists
	AreaJournal   Area = "journal"
	AreaFile      Area = "file"      // a file that is made of the database
	AreaKey       Area = "key"       // the file of a CA key
	AreaTemporary Area = "temporary" // what a killed command has left
	AreaFound     Area = "found"     // a certificate in a directory that was searched
)

// Finding is one thing that is not as it should be.
type Finding struct {
	Area    Area
	Subject string // a path, a serial number, a table
	Problem string
	Remedy  Remedy // RemedyRepair: a repair mends it
}

// Repaired is what a repair came to.
type Repaired struct {
	Wrong     int      // findings
	Mended    int      // of these, what the repair has mended
	Unchecked []string // CAs whose keys are encrypted, and there was no passphrase
	Ignored   int      // files that were searched and hold no certificate of this PKI
}

// Repair reads everything: SQLite's structures, every row against its digest
// and its certificate, what is kept beside the rows, the lists, the journal,
// the CA keys, every file of the PKI and of the directory that servers read. It
// calls found with each thing that is wrong.
//
// Unless it only checks, it mends what follows with certainty from what is
// whole: files from the database, what is kept beside the rows from the rows,
// rows from certificates that a CA of the PKI has signed. That is one
// transaction, journaled, and then the files: a Repair that fails before its
// commit has changed nothing. While a row, the journal or SQLite's structures
// are damaged nothing is mended: a list made of them might let somebody in.
func (p *PKI) Repair(ctx context.Context, req RepairRequest, found func(Finding) error) (*Repaired, error) {
	a := &audit{pki: p, req: req, tell: found, mended: map[Area]int{}}
	if req.Check {
		return &a.done, a.look(ctx)
	}
	return &a.done, a.repair(ctx)
}

// audit is one run through a PKI.
type audit struct {
	pki  *PKI
	q    querier
	tx   *Tx // in which something is mended; nil: only look
	req  RepairRequest
	tell func(Finding) error
	done Repaired

	damaged bool // something that nothing here can be made of again
	scale   bool // the database has what version 3 keeps

	mends  []func(*Tx) error // in the transaction
	files  bool              // files must be written
	sign   bool              // and the lists made anew
	remove []string          // files that go
	adopt  adopter
	mended map[Area]int // for the journal
	names  []string     // for the journal: the first subjects
}

// say reports a finding. While something is damaged a repair mends nothing.
func (a *audit) say(area Area, remedy Remedy, subject, format string, args ...any) error {
	if remedy == RemedyRepair && a.damaged {
		remedy = RemedyRestore
	}
	a.done.Wrong++
	if remedy == RemedyRepair {
		const most = 1000
		a.mended[area]++
		if len(a.names) < most {
			a.names = append(a.names, subject)
		}
	}
	return a.tell(Finding{area, subject, fmt.Sprintf(format, args...), remedy})
}

// damage reports what can only be restored.
func (a *audit) damage(area Area, subject, format string, args ...any) error {
	a.damaged = true
	return a.say(area, RemedyRestore, subject, format, args...)
}

// look only checks. The rows are read at one moment; the files while nobody
// publishes, where there is a lock to wait for.
func (a *audit) look(ctx context.Context) error {
	p := a.pki
	if p.rolledBack != nil {
		if err := a.damage(AreaDatabase, p.Path(dbFile), "%v", p.rolledBack); err != nil {
			return err
		}
	}
	tx, err := p.db.BeginTx(ctx, &sql.TxOptions{ReadOnly: true})
	if err != nil {
		return wrap("reading the database", err)
	}
	defer func() { _ = tx.Rollback() }() // nothing was written
	a.q = tx
	if err := a.database(ctx); err != nil {
		return err
	}
	if err := a.searched(ctx); err != nil {
		return err
	}
	_ = tx.Rollback() // the files are held against what is in the database then
	a.q = p.db
	release, err := a.alone(ctx)
	if err != nil {
		return err
	}
	defer release()
	return a.everyFile(ctx)
}

// repairQueues are where others queue who write files into the PKI, in the order
// in which they are taken.
func repairQueues() map[string]string {
	return map[string]string{
		backupLock:  "another process that makes a backup",
		caQueue:     "another act on the CAs",
		publishLock: "another process that publishes the CRL",
	}
}

// alone waits for whoever writes files, so that none is taken for wrong that is
// being replaced.
func (a *audit) alone(ctx context.Context) (release func(), err error) {
	queues := repairQueues()
	var releases []func()
	release = func() {
		for _, r := range slices.Backward(releases) {
			r()
		}
	}
	for _, name := range slices.Sorted(maps.Keys(queues)) { // .backup.lock, ca.lock, crl/.lock: as those who take two do
		if a.req.Check && !a.isThere(a.pki.Path(name)) {
			continue // a check makes no file, and nobody has queued there
		}
		r, err := a.pki.queue(ctx, name, queues[name])
		switch {
		case err == nil:
			releases = append(releases, r)
		case a.req.Check && ctx.Err() == nil: // as on a disk that cannot be written: nobody writes
		default:
			release()
			return nil, err
		}
	}
	return release, nil
}

// errNothingMended ends the transaction of a repair that has nothing to write.
var errNothingMended = errors.New("nothing is mended")

// repair looks and mends, alone: nobody publishes, acts on the CAs or writes
// meanwhile.
func (a *audit) repair(ctx context.Context) error {
	p := a.pki
	if err := p.checkMayWrite(); err != nil {
		return err
	}
	release, err := a.alone(ctx)
	if err != nil {
		return err
	}
	defer release()
	err = p.update(ctx, p.signerAtHand(ctx), func(t *Tx) error {
		a.q, a.tx = t.tx, t
		for _, step := range []func(context.Context) error{a.database, a.everyFile, a.searched} {
			if err := step(ctx); err != nil {
				return err
			}
		}
		if a.damaged || len(a.mended) == 0 {
			return errNothingMended
		}
		return a.mend(t)
	})
	if errors.Is(err, errNothingMended) {
		return nil
	}
	if err != nil {
		return err
	}
	if err := a.mendFiles(ctx); err != nil {
		return fmt.Errorf("%w: %w", ErrNotInFiles, err)
	}
	for _, n := range a.mended {
		a.done.Mended += n
	}
	return nil
}

// mend writes the journal and what is mended in the database.
func (a *audit) mend(t *Tx) error {
	for _, do := range a.mends {
		if err := do(t); err != nil {
			return err
		}
	}
	number, err := t.append("repair", "", map[string]any{"mended": a.mended, "what": a.names})
	if err != nil {
		return err
	}
	return a.adopt.finish(t, number)
}

// database checks all that is in the database.
func (a *audit) database(ctx context.Context) error {
	version, err := a.pki.version(ctx)
	if err != nil {
		return err
	}
	a.scale = version >= 3
	for _, step := range []func(context.Context) error{
		a.structure, a.rows, a.stored, a.identities, a.journal, a.listRows, a.kept,
	} {
		if err := a.tolerate(step(ctx)); err != nil {
			return err
		}
	}
	return nil
}

// tolerate makes a finding of damage, so that the rest is looked at, too.
func (a *audit) tolerate(err error) error {
	if errors.Is(err, ErrDamaged) {
		return a.damage(AreaDatabase, a.pki.Path(dbFile), "%v", err)
	}
	return err
}
