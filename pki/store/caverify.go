package store

import (
	"crypto/x509"
	"fmt"
	"runtime"
	"sync"
	"time"

	"mutual/pki"
)

// live is the condition for leaves that are or may become valid: they have not
// expired, and are not revoked for good.
const live = `c.kind IN ('client', 'server', 'probe') AND c.der IS NOT NULL AND c.not_after > $1 AND (r.reason IS NULL OR r.reason = 6)`

// verifyLeaves verifies every live leaf of the CAs in use against their
// certificates as they stand in the transaction, and gives their number. It
// holds other writers up, for a fifth of a second for each thousand on two
// cores; readers go on.
func (t *Tx) verifyLeaves() (int, error) {
	judge, err := t.leafJudge()
	if err != nil {
		return 0, err
	}
	rows, err := t.tx.QueryContext(t.ctx, `SELECT c.der, c.sha256 FROM certificate c JOIN ca ON ca.id = c.issuer
		LEFT JOIN revocation r ON r.certificate = c.id WHERE ca.retired IS NULL AND `+live, t.now.Unix())
	if err != nil {
		return 0, wrap("reading the live certificates", err)
	}
	defer func() { _ = rows.Close() }() // Err below reports what matters
	work := startJudges(judge)
	count := 0
	for rows.Next() {
		var der, sum []byte
		if err := rows.Scan(&der, &sum); err != nil {
			_ = work.wait() // the first error is the one to report
			return 0, wrap("reading the live certificates", err)
		}
		count++
		work.leaves <- storedDER{der, sum}
	}
	if err := work.wait(); err != nil {
		return 0, err
	}
	return count, wrap("reading the live certificates", rows.Err())
}

// leafJudge gives what says whether a leaf verifies: it chains to a root in
// use, at its first moment from now on, and no CA on the way ends before it.
func (t *Tx) leafJudge() (func(*x509.Certificate) error, error) {
	cas, err := caRows(t.ctx, t.tx)
	if err != nil {
		return nil, err
	}
	o := x509.VerifyOptions{Roots: x509.NewCertPool(), Intermediates: x509.NewCertPool(), KeyUsages: []x509.ExtKeyUsage{x509.ExtKeyUsageAny}}
	for _, r := range cas {
		if r.role == pki.KindRoot {
			o.Roots.AddCert(r.cert)
		} else {
			o.Intermediates.AddCert(r.cert)
		}
	}
	return func(leaf *x509.Certificate) error {
		at := o
		at.CurrentTime = t.now
		if leaf.NotBefore.After(t.now) {
			at.CurrentTime = leaf.NotBefore
		}
		chains, err := leaf.Verify(at)
		if err != nil {
			return fmt.Errorf("the certificate of %s, serial %s, would not verify any more: %w", leaf.Subject, pki.NewSerial(leaf.SerialNumber), err)
		}
		for _, chain := range chains {
			if !outlives(leaf, chain[1:]) {
				return nil
			}
		}
		return fmt.Errorf("the certificate of %s, serial %s, is valid until %s, and its CA would end before",
			leaf.Subject, pki.NewSerial(leaf.SerialNumber), leaf.NotAfter.UTC().Format(time.RFC3339))
	}, nil
}

func outlives(leaf *x509.Certificate, above []*x509.Certificate) bool {
	for _, ca := range above {
		if leaf.NotAfter.After(ca.NotAfter) {
			return true
		}
	}
	return false
}

// storedDER is a certificate as the database has it.
type storedDER struct{ der, sum []byte }

// judges are goroutines that judge leaves until one does not verify.
type judges struct {
	leaves chan storedDER
	done   sync.WaitGroup
	mu     sync.Mutex
	err    error
}

func startJudges(judge func(*x509.Certificate) error) *judges {
	j := &judges{leaves: make(chan storedDER, 64)}
	for range runtime.GOMAXPROCS(0) {
		j.done.Go(func() {
			for s := range j.leaves {
				if j.failed() != nil {
					continue
				}
				cert, err := parseStored(s.der, s.sum)
				if err == nil {
					err = judge(cert)
				}
				j.fail(err)
			}
		})
	}
	return j
}

func (j *judges) failed() error {
	j.mu.Lock()
	defer j.mu.Unlock()
	return j.err
}

func (j *judges) fail(err error) {
	j.mu.Lock()
	defer j.mu.Unlock()
	if j.err == nil {
		j.err = err
	}
}

func (j *judges) wait() error {
	close(j.leaves)
	j.done.Wait()
	return j.err
}
