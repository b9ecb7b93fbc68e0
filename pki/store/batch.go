package store

import (
	"context"
	"crypto"
	"crypto/x509"
	"database/sql"
	"fmt"

	"mutual/pki"
	"mutual/pki/authority"
	"mutual/pki/profile"
)

// Batch issues many certificates: those of one call of Commit in one
// transaction. Prepare may be called by several goroutines at once.
type Batch struct {
	pki      *PKI
	conn     *sql.Conn
	ca       *authority.CA
	above    []*x509.Certificate
	settings Settings
}

// The pages of the database that the connection of a batch keeps, in KiB, and
// how many go to its log before they are put in their place. A certificate
// touches pages at random, those with its serial number and its fingerprint: in
// the log they cost one write each for a transaction, and in their place one for
// as many transactions as the log holds. A page in the cache takes twice its size.
const (
	batchCache = 16 << 10
	batchLog   = 16 << 10
)

// Batch begins a batch. It may ask for the passphrase of the issuing CA's key.
func (p *PKI) Batch(ctx context.Context) (*Batch, error) {
	ca, err := p.issuingInForce(ctx)
	if err != nil {
		return nil, err
	}
	if err := p.checkMayWrite(); err != nil {
		return nil, err
	}
	if err := p.checkClock(ctx); err != nil {
		return nil, err
	}
	b := &Batch{pki: p, ca: ca}
	if b.settings, err = p.Settings(ctx); err != nil {
		return nil, err
	}
	if b.above, err = p.chainAbove(ctx, ca.Certificate()); err != nil {
		return nil, err
	}
	if b.conn, err = p.db.Conn(ctx); err != nil {
		return nil, wrap("opening the database", err)
	}
	tune := fmt.Sprintf("PRAGMA cache_size = -%d; PRAGMA wal_autocheckpoint = %d", batchCache, batchLog)
	if _, err := b.conn.ExecContext(ctx, tune); err != nil {
		_ = b.conn.Close() // the first error is the one to report
		return nil, wrap("opening the database", err)
	}
	return b, nil
}

// Close ends the batch. What is committed stays.
func (b *Batch) Close() error { return wrap("closing the database", b.conn.Close()) }

// Settings are those of the PKI when the batch began.
func (b *Batch) Settings() Settings { return b.settings }

// Above is the chain that follows each certificate: see Issued.Chain.
func (b *Batch) Above() []*x509.Certificate { return b.above }

// Candidate is a certificate of a batch that has passed every check that needs
// no look into the inventory, and is signed; see authority.Prepared.SignAhead.
type Candidate struct {
	prepared *authority.Prepared
	place    Place
	cert     *x509.Certificate // nil until it is committed
	refused  error

	Name    pki.Name
	Serial  pki.Serial
	Clipped string // as in Issued
}

// Issued gives the certificate, or why there is none: the inventory refuses its
// name, or it was not committed.
func (c *Candidate) Issued() (*x509.Certificate, error) {
	if c.cert == nil && c.refused == nil {
		return nil, fmt.Errorf("%q: the certificate was not committed", c.Name)
	}
	return c.cert, c.refused
}

// Prepare makes all checks of a request for which nothing is looked up, has the
// key made and signs.
func (b *Batch) Prepare(req IssueRequest, newKey func() (crypto.PublicKey, error)) (*Candidate, error) {
	now := b.pki.now()
	asked, err := req.profile(b.settings, b.ca.Certificate(), b.pki)
	if err != nil {
		return nil, err
	}
	if err := profile.Check(asked, b.ca.Certificate()); err != nil {
		return nil, err
	}
	if asked.PublicKey, err = newKey(); err != nil {
		return nil, err
	}
	serial, err := authority.NewSerial(nil)
	if err != nil {
		return nil, err
	}
	prepared, err := b.ca.Prepare(asked, authority.Subject{Name: req.Name, Label: req.Label, Serial: serial}, now)
	if err != nil {
		return nil, err
	}
	if err := prepared.SignAhead(); err != nil {
		return nil, err
	}
	return &Candidate{prepared: prepared, place: req.Place, Name: req.Name, Serial: serial, Clipped: asked.Validity.Clipped}, nil
}

// Commit issues the candidates in one transaction, which is durable when it
// returns nil. It refuses, each with an error of its own, those whose names may
// have no certificate; keep is called with the others and makes their keys
// durable before anything is committed. An error of Commit is that none of them
// is issued.
func (b *Batch) Commit(ctx context.Context, candidates []*Candidate, keep func([]*Candidate) error) error {
	certs := make([]*x509.Certificate, len(candidates))
	err := b.pki.updateOn(ctx, b.conn, b.ca, func(t *Tx) error {
		ledger, err := t.batch(b.ca.Certificate().SubjectKeyId)
		if err != nil {
			return err
		}
		var accepted []*Candidate
		for i, c := range candidates {
			certs[i], err = c.prepared.Issue(ledger)
			if c.refused = asRefusal(err); c.refused != nil {
				continue
			}
			if err != nil {
				return err
			}
			ledger.place(c.place)
			accepted = append(accepted, c)
		}
		if len(accepted) == 0 {
			return nil
		}
		if err := keep(accepted); err != nil {
			return err
		}
		return ledger.store()
	})
	if err != nil {
		return err
	}
	for i, c := range candidates {
		c.cert = certs[i]
	}
	return nil
}
