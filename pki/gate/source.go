package gate

import (
	"context"
	"crypto/x509"
	"iter"
	"time"

	"mutual/pki"
	"mutual/pki/chain"
	"mutual/pki/store"
)

// Source says who is genuine and not revoked. Its methods may be called by
// several goroutines, Look by one at a time.
type Source interface {
	// Look reads what has changed since the last Look, and at first everything.
	// After an error that is not ErrRolledBack the source goes on with what it
	// has, and a later Look may succeed.
	Look(ctx context.Context) (Change, error)
	// Judge judges the chain that a client presented, leaf first, at a time. It
	// looks the leaf up now, whatever the last Look has seen.
	Judge(ctx context.Context, presented []*x509.Certificate, at time.Time) Judgement
	// Issuers gives the certificates of the CAs whose names a client is told
	// that the server asks for.
	Issuers() []*x509.Certificate
	// Warnings are what a person should know of the source: a list that is about
	// to end, a file that is broken. They are the same until something changes.
	Warnings() []string
	Close() error
}

// Change is what a Look has found new.
type Change struct {
	Epoch   Epoch                         // the newest change of who is let in; zero where the source does not count
	All     bool                          // everyone has to be judged anew
	Revoked iter.Seq2[store.Taken, error] // who is revoked since; nil: nobody
	Done    func() error                  // to be called when who is out has been cut; nil: nothing to do
}

// Epoch is a change of who is let in: its number and what tells it from another
// one of that number.
type Epoch struct {
	Number int64
	Hash   string
}

// Identity is who a certificate stands for.
type Identity struct {
	Name        string // in the inventory; empty where there is none
	Label       string // in the inventory
	Certificate *x509.Certificate
	Fingerprint pki.Fingerprint
	Serial      pki.Serial
}

// Judgement is what a source finds of a certificate.
type Judgement struct {
	Identity Identity
	Refusal  *Refusal  // nil: it is genuine and in force
	Until    time.Time // the earliest end in its chain
}

// maxPresented bounds how many certificates of a client are looked at.
const maxPresented = 16

// Identify says who a certificate stands for where no inventory is asked.
func Identify(leaf *x509.Certificate) Identity {
	return Identity{Certificate: leaf, Fingerprint: pki.FingerprintOf(leaf.Raw), Serial: pki.NewSerial(leaf.SerialNumber)}
}

// judgeChain verifies the leaf and notes what came of it.
func judgeChain(j *Judgement, presented []*x509.Certificate, o chain.Options) {
	if extra := presented[1:min(len(presented), maxPresented)]; len(extra) > 0 {
		o.Intermediates = append(append([]*x509.Certificate{}, o.Intermediates...), extra...)
	}
	o.Purpose = chain.Client
	r := chain.Verify(presented[0], o)
	if r.Outcome != chain.Good {
		j.Refusal = refusalOf(r, o.Anchors, o.At)
		return
	}
	j.Until = r.Chain[0].NotAfter
	for _, c := range r.Chain {
		if c.NotAfter.Before(j.Until) {
			j.Until = c.NotAfter
		}
	}
}
