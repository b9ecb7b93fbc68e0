package gate

import (
	"context"
	"crypto/x509"
	"errors"
	"fmt"
	"runtime"
	"slices"
	"sync"
	"sync/atomic"
	"time"

	"mutual/pki"
	"mutual/pki/chain"
	"mutual/pki/store"
)

// ErrRolledBack means that a PKI is older than what was seen of it: a backup was
// restored, or its files were copied back. Who was revoked since would be let in.
var ErrRolledBack = errors.New("the PKI has gone backwards")

// PKISource follows a PKI on this machine. It reads the PKI's database and
// nothing else: it needs no key.
type PKISource struct {
	dir    string
	config PKIConfig
	state  atomic.Pointer[pkiState]
	slots  chan struct{} // who may ask the database: as many as there are cores
	mu     sync.Mutex    // of Look and Close
	closed bool
}

// PKIConfig says how a PKI is followed.
type PKIConfig struct {
	Options store.Options
	// AnyGenuine lets in certificates that the CAs of the PKI have signed and
	// that its inventory does not know. Nobody can revoke these.
	AnyGenuine bool
	// Memory is a directory outside the PKI that remembers the newest epoch that
	// was seen.
	Memory string
	// AcceptRollback takes a PKI that is older than what Memory has, once, and
	// forgets that.
	AcceptRollback bool
}

var _ Source = (*PKISource)(nil)

// pkiState is the PKI as the last Look found it.
type pkiState struct {
	pki     *store.PKI
	epoch   Epoch
	roots   []*x509.Certificate
	issuing []*x509.Certificate
	cas     map[pki.Fingerprint]store.Certificate // what the inventory says of their certificates
	memory  *memory
}

// NewPKISource follows the PKI in a directory. The first Look opens it.
func NewPKISource(dir string, c PKIConfig) *PKISource {
	return &PKISource{dir: dir, config: c, slots: make(chan struct{}, runtime.GOMAXPROCS(0))}
}

// Look implements Source.
func (s *PKISource) Look(ctx context.Context) (Change, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.closed {
		return Change{}, errors.New("the PKI is not followed any more")
	}
	before := s.state.Load()
	if before != nil {
		if same, err := before.pki.InPlace(); err != nil {
			return Change{}, fmt.Errorf("looking for the PKI: %w", err)
		} else if same {
			return s.lookAgain(ctx, before)
		}
	}
	p, err := store.Open(ctx, s.dir, s.config.Options)
	if errors.Is(err, store.ErrRolledBack) || errors.Is(err, store.ErrLost) {
		err = fmt.Errorf("%w: %w", ErrRolledBack, err)
	}
	if err != nil {
		return Change{}, err
	}
	next, err := s.enter(ctx, p)
	if err != nil {
		_ = p.Close() // the first error is the one to report
		return Change{}, err
	}
	s.state.Store(next)
	if before != nil {
		_ = before.pki.Close() // only read; lookups that still use it fail, and are refused
	}
	return Change{Epoch: next.epoch, All: true, Done: next.remembered}, nil
}

// enter reads a PKI that was just opened, and holds it against what is
// remembered of it.
func (s *PKISource) enter(ctx context.Context, p *store.PKI) (*pkiState, error) {
	next := &pkiState{pki: p}
	identity, err := p.Identity(ctx)
	if err != nil {
		return nil, err
	}
	if next.memory, err = openMemory(s.config.Memory, identity); err != nil {
		return nil, err
	}
	seen, err := next.memory.newest()
	if err != nil {
		return nil, err
	}
	if err := stillHas(ctx, p, seen); errors.Is(err, ErrRolledBack) && s.config.AcceptRollback {
		if err := next.memory.forget(); err != nil {
			return nil, err
		}
	} else if err != nil {
		return nil, err
	}
	s.config.AcceptRollback = false // it was for this PKI, now
	return next, next.read(ctx)
}

// stillHas is ErrRolledBack where the PKI does not have an epoch that was seen.
func stillHas(ctx context.Context, p *store.PKI, seen Epoch) error {
	has, err := p.HasEpoch(ctx, store.Epoch(seen))
	if err == nil && !has {
		err = fmt.Errorf("%w: epoch %d, which was in force, is not in it", ErrRolledBack, seen.Number)
	}
	return err
}

// read reads epoch and CAs, in this order: a change in between is seen by the
// next Look.
func (s *pkiState) read(ctx context.Context) error {
	epoch, err := s.pki.Epoch(ctx)
	if err != nil {
		return err
	}
	if s.roots, s.issuing, err = s.pki.Trusted(ctx); err != nil {
		return err
	}
	s.cas = map[pki.Fingerprint]store.Certificate{}
	for _, ca := range slices.Concat(s.roots, s.issuing) {
		known, err := s.pki.Lookup(ctx, pki.FingerprintOf(ca.Raw))
		if err != nil {
			return err
		}
		s.cas[known.Fingerprint] = known
	}
	s.epoch = Epoch(epoch)
	return nil
}

// lookAgain reads what has changed in the PKI that is open.
func (s *PKISource) lookAgain(ctx context.Context, before *pkiState) (Change, error) {
	now, err := before.pki.Epoch(ctx)
	switch {
	case err != nil:
		return Change{}, err
	case Epoch(now) == before.epoch:
		return Change{Epoch: before.epoch, Done: before.remembered}, nil // it may have failed the last time
	}
	if now.Number <= before.epoch.Number {
		return Change{}, fmt.Errorf("%w: it is at epoch %d, and epoch %d was in force", ErrRolledBack, now.Number, before.epoch.Number)
	}
	if err := stillHas(ctx, before.pki, before.epoch); err != nil {
		return Change{}, err
	}
	next := *before
	if err := next.read(ctx); err != nil { // also where only holds have ended: one may have been a CA's
		return Change{}, err
	}
	// After the epoch was read: what comes in between is seen now and once more.
	revoked, onlyThat, err := before.pki.RevokedSince(ctx, before.epoch.Number)
	if err != nil {
		return Change{}, err
	}
	s.state.Store(&next)
	return Change{Epoch: next.epoch, All: !onlyThat, Revoked: revoked, Done: next.remembered}, nil
}

// remembered is what is left to do when everyone who is out has been cut.
func (s *pkiState) remembered() error { return s.memory.remember(s.epoch) }

// Judge implements Source.
func (s *PKISource) Judge(ctx context.Context, presented []*x509.Certificate, at time.Time) Judgement {
	j := Judgement{Identity: Identify(presented[0])}
	state := s.state.Load()
	if state == nil {
		j.Refusal = &Refusal{CodeSourceLost, "the PKI has not been read"}
		return j
	}
	known, err := s.lookup(ctx, state.pki, j.Identity.Fingerprint)
	if err == nil {
		j.Identity.Name, j.Identity.Label = known.Name.String(), known.Label
	}
	judgeChain(&j, presented[:1], chain.Options{
		At: at, Anchors: state.roots, Intermediates: state.issuing,
		Revocation: func(path []*x509.Certificate, _ time.Time) chain.RevocationStatus {
			if path[0] == presented[0] {
				return s.statusOf(known, err)
			}
			ca, ok := state.cas[pki.FingerprintOf(path[0].Raw)]
			if !ok {
				return chain.RevocationStatus{Detail: "the CA is not in the inventory"}
			}
			return s.statusOf(ca, nil)
		},
	})
	if j.Refusal != nil && j.Refusal.Code == CodeCouldNotTell && errors.Is(err, store.ErrNotFound) {
		j.Refusal.Code = CodeNotInInventory
	}
	return j
}

// lookup asks the inventory when there is a slot.
func (s *PKISource) lookup(ctx context.Context, p *store.PKI, f pki.Fingerprint) (store.Certificate, error) {
	select {
	case s.slots <- struct{}{}:
	case <-ctx.Done():
		return store.Certificate{}, ctx.Err()
	}
	defer func() { <-s.slots }()
	return p.Lookup(ctx, f)
}

// statusOf says what the inventory knows of a certificate.
func (s *PKISource) statusOf(known store.Certificate, err error) chain.RevocationStatus {
	if errors.Is(err, store.ErrNotFound) && s.config.AnyGenuine {
		return chain.RevocationStatus{Outcome: chain.Good, Detail: "any genuine certificate is let in"}
	}
	return InventoryStatus(known, err)
}

// Issuers implements Source.
func (s *PKISource) Issuers() []*x509.Certificate {
	state := s.state.Load()
	if state == nil {
		return nil
	}
	return slices.Concat(state.roots, state.issuing)
}

// Warnings implements Source.
func (s *PKISource) Warnings() []string { return nil }

// Close implements Source.
func (s *PKISource) Close() error {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.closed = true
	if state := s.state.Swap(nil); state != nil {
		return state.pki.Close()
	}
	return nil
}
