package store

import (
	"context"
	"errors"
	"fmt"
	"math/big"
	"slices"
	"time"

	"mutual/pki"
	"mutual/pki/authority"
	"mutual/pki/profile"
)

// Published is the newest CRL of a CA.
type Published struct {
	Issuer     pki.Kind  // root or issuing
	Key        string    // which of the role's keys, in short
	KeyID      string    // the whole key identifier, in hex
	Older      bool      // the CA issues no more, and others of its role do
	Ends       time.Time // when the CA's certificate does
	Number     *big.Int
	ThisUpdate time.Time
	NextUpdate time.Time
	Entries    int
	Files      []string // where it lies: DER, PEM
	Incomplete []string // directories whose files do not hold it: the PKI's, the one that servers read
	AtHand     bool     // its bytes are known: writing its files needs no key
	Made       bool     // by this act
	Overdue    bool     // it lacks what has been revoked or released since
	InPlace    bool     // its files are there, and so is its copy where it is published
	Skipped    error    // why no new one could be made; nil: made, or none is due

	ca      int64
	base    string   // how the names of its files begin
	alone   bool     // its role never had another key
	subject []byte   // of the CA, as its lists name it
	dirs    []string // that should hold it, the PKI's first
	epoch   int64
	sha256  []byte
	der     []byte // as it was signed; empty where only the file has it
}

// Due gives the times from which a list should be replaced, and from which its
// being as old is worth a warning: half and two thirds of its life.
func (l *Published) Due() (refresh, warn time.Time) {
	born := l.ThisUpdate.Add(profile.Backdate) // which thisUpdate is before the list was made, at most
	return born.Add(max(0, l.NextUpdate.Sub(born)) / 2), pki.TwoThirds(born, l.NextUpdate)
}

// CA names the CA of the list.
func (l *Published) CA() string {
	if l.Older {
		return fmt.Sprintf("older %s CA %s", l.Issuer, l.Key)
	}
	return string(l.Issuer) + " CA"
}

// over reports whether nobody needs the list any more: the CA issues no more,
// and has expired with everything that it issued.
func (l *Published) over(now time.Time) bool { return l.Older && !now.Before(l.Ends) }

// publishRequest says which lists are to be made.
type publishRequest struct {
	force       bool     // whatever is out
	only        pki.Kind // empty: both
	rootKey     string   // file of a root's key that lies elsewhere
	acceptClock bool
	private     bool // not into the directory that servers read
	anew        bool // of the database alone: the last list is not what it should be
}

// forces reports whether a CA's list is made whatever the age of the last one.
func (r publishRequest) forces(issuer pki.Kind) bool {
	return r.force && (r.only == "" || r.only == issuer)
}

// failure says whether it is an error that a list cannot be made, and wraps
// it. The root's key may be elsewhere where nobody asked for the root's list,
// and of several roots a file has the key of one; see served.
func (r publishRequest) failure(l *Published, err error) error {
	elsewhere := errors.Is(err, ErrNoKey) && l.Issuer == pki.KindRoot && (r.only == "" && r.rootKey == "" || !l.alone)
	if isFatal(err) || r.forces(l.Issuer) && !elsewhere {
		return fmt.Errorf("making the %s's CRL: %w", l.CA(), err)
	}
	return nil
}

// served: where the root's list was asked for, one of the roots must make one.
func (r publishRequest) served(lists []Published, signers []*authority.CA) error {
	if !r.forces(pki.KindRoot) || r.only == "" && r.rootKey == "" {
		return nil
	}
	var missing error
	for i, l := range lists {
		switch {
		case l.Issuer == pki.KindRoot && signers[i] != nil:
			return nil
		case l.Issuer == pki.KindRoot && missing == nil:
			missing = fmt.Errorf("making the %s's CRL: %w", l.CA(), l.Skipped)
		}
	}
	return missing
}

// RefreshRequest says which lists crl refresh makes.
type RefreshRequest struct {
	Only        pki.Kind // root or issuing; empty: both, the root's if its key is at hand
	RootKey     string   // file of the root's key
	AcceptClock bool     // sign although the clock is behind, once
}

// Refresh makes new lists, whatever the age of those that are out. A list that
// was asked for by name and cannot be made is an error, and then none is made;
// without a name, only the issuing CA's must be made.
func (p *PKI) Refresh(ctx context.Context, req RefreshRequest) ([]Published, error) {
	if err := p.Settle(ctx); err != nil {
		return nil, err
	}
	return p.publish(ctx, publishRequest{force: true, only: req.Only, rootKey: req.RootKey, acceptClock: req.AcceptClock})
}

// Upkeep settles renewals, makes the lists that are past half of their life or
// overdue, writes the files that are missing or of an older list, and says for
// each what it could not do.
func (p *PKI) Upkeep(ctx context.Context) ([]Published, error) {
	if err := p.Settle(ctx); err != nil {
		return nil, err
	}
	lists, err := p.CRLs(ctx)
	if err != nil {
		return nil, err
	}
	settled, err := p.certificatesInPlace(ctx)
	if err != nil {
		return nil, err
	}
	for _, l := range lists {
		if p.due(l) || !l.InPlace || !settled {
			return p.publish(ctx, publishRequest{})
		}
	}
	return lists, nil
}

// publishAct publishes what an act changed. A list with it that could not be
// made is an *OverdueError.
func (p *PKI) publishAct(ctx context.Context, o *Outcome) error {
	lists, err := p.publish(ctx, publishRequest{})
	o.CRLs = lists // also where they were made and are not where servers read
	if err != nil {
		return &OverdueError{Err: err}
	}
	for _, l := range lists {
		if o.lacks(l) {
			return &OverdueError{Err: l.Skipped}
		}
	}
	return nil
}

// due reports whether a list must be made: there is none, it lacks something,
// or half of its life is over. A CA that issues no more and has expired makes
// none.
func (p *PKI) due(l Published) bool {
	if l.over(p.now()) {
		return false
	}
	refresh, _ := l.Due()
	return l.Number == nil || l.Overdue || p.now().After(refresh)
}

// Publish writes the files of the lists and the directory that servers read
// again, and makes the lists that are due.
func (p *PKI) Publish(ctx context.Context) error {
	_, err := p.publish(ctx, publishRequest{})
	return err
}

// publish makes the lists that are due, while nobody else does: who waits here
// and then finds that a list with its revocation is out makes no other.
func (p *PKI) publish(ctx context.Context, req publishRequest) ([]Published, error) {
	release, err := p.queueToPublish(ctx)
	if err != nil {
		return nil, err
	}
	defer release()
	return p.publishAlone(ctx, req)
}

// publishAlone is publish for who holds the publishers' lock.
func (p *PKI) publishAlone(ctx context.Context, req publishRequest) ([]Published, error) {
	for _, role := range []pki.Kind{pki.KindRoot, pki.KindIssuing} {
		if err := p.settleKeys(ctx, role); err != nil {
			return nil, err
		}
	}
	lists, err := p.makeLists(ctx, req)
	if err != nil {
		return nil, err
	}
	if err := p.writeCertificates(ctx, p.dir); err != nil {
		return nil, err
	}
	settings, err := p.Settings(ctx)
	if err != nil || settings.Publish == "" || req.private {
		return lists, err
	}
	return lists, p.copyTo(ctx, settings.Publish, lists)
}

func (p *PKI) queueToPublish(ctx context.Context) (release func(), err error) {
	if err := p.checkMayWrite(); err != nil {
		return nil, err
	}
	return p.queue(ctx, publishLock, "another process that publishes the CRL")
}

// makeLists makes the lists that are due or wanted, and those that only their
// files held and that are not in them, and writes the files.
func (p *PKI) makeLists(ctx context.Context, req publishRequest) ([]Published, error) {
	lists, err := p.CRLs(ctx)
	if err != nil {
		return nil, err
	}
	signers := make([]*authority.CA, len(lists))
	for i := range lists { // all keys first: nothing is made where another list must be and cannot
		l := &lists[i]
		l.der = l.bytes()
		switch {
		case l.over(p.now()):
			l.Skipped = authority.ErrIssuerExpired
			continue
		case !req.forces(l.Issuer) && !p.due(*l) && l.der != nil:
			continue
		}
		if signers[i], l.Skipped = p.listSigner(ctx, l, req); l.Skipped != nil {
			if err := req.failure(l, l.Skipped); err != nil {
				return nil, err
			}
		}
	}
	if err := req.served(lists, signers); err != nil {
		return nil, err
	}
	if slices.ContainsFunc(signers, func(ca *authority.CA) bool { return ca != nil }) {
		if err := p.migrateFirst(ctx); err != nil {
			return nil, err
		}
	}
	for i, ca := range signers {
		if ca == nil {
			continue
		}
		if lists[i].Skipped = p.makeList(ctx, &lists[i], ca, req); lists[i].Skipped != nil {
			if err := req.failure(&lists[i], lists[i].Skipped); err != nil {
				return nil, err
			}
		}
	}
	return lists, p.writeLists(ctx, lists)
}

// listSigner gives a CA that can sign a list now.
func (p *PKI) listSigner(ctx context.Context, l *Published, req publishRequest) (*authority.CA, error) {
	if err := p.checkClock(ctx); err != nil && !req.acceptClock {
		return nil, err
	}
	row, err := p.caRowByID(ctx, l.ca)
	if err != nil {
		return nil, err
	}
	ca, err := p.load(row, req.rootKey)
	if err != nil {
		return nil, err
	}
	if err := ca.CheckValid(p.now()); err != nil {
		return nil, err
	}
	return ca, nil
}

// isFatal reports whether an error is of the database or the context, so that
// going on with the next list makes no sense.
func isFatal(err error) bool {
	return errors.Is(err, ErrDamaged) || errors.Is(err, context.Canceled) || errors.Is(err, context.DeadlineExceeded)
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

// checkMaySign says why a CA may not sign now. To a clock that was set back the
// CA may not be valid yet: then the clock is what to tell of.
func (p *PKI) checkMaySign(ctx context.Context, ca *authority.CA) error {
	invalid := ca.CheckValid(p.now())
	if invalid == nil {
		return nil
	}
	if err := p.checkClock(ctx); err != nil {
		return err
	}
	return invalid
}

// caFor returns a CA with its key, the root's from another file where one is
// given.
func (p *PKI) caFor(ctx context.Context, role pki.Kind, rootKey string) (*authority.CA, error) {
	row, err := p.caRow(ctx, role)
	if err != nil {
		return nil, err
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
