package store

import (
	"bytes"
	"context"
	"crypto/sha256"
	"database/sql"
	"errors"
	"fmt"
	"math/big"
	"time"

	"mutual/pki"
	"mutual/pki/authority"
	"mutual/pki/crl"
)

// restoredCounter keeps when the PKI was restored, in seconds since 1970.
const restoredCounter = "restored"

// adoptedCounter keeps, for a CA, the number of the list that a restore found
// to be newer than the backup and to hold serials that the inventory lacks.
func adoptedCounter(ca int64) string { return fmt.Sprintf("adopted-%d", ca) }

// lastList is what the next list of a CA must come after. After a restore this
// is more than the database knows: any list that may have been published
// between the backup and the restore. All of those have a smaller number than
// the time of the restore in nanoseconds, and no later thisUpdate than one made
// at that time. It does not follow from the rule for numbers alone: shortly
// after a backup thisUpdate, and the number with it, is that of the backup's
// list and a second, whether or not the lost PKI has used it.
func (p *PKI) lastList(ctx context.Context, l *Published) (authority.LastCRL, error) {
	last := authority.LastCRL{Number: l.Number, ThisUpdate: l.ThisUpdate}
	var seconds int64
	err := p.db.QueryRowContext(ctx, `SELECT value FROM counters WHERE name = $1`, restoredCounter).Scan(&seconds)
	if errors.Is(err, sql.ErrNoRows) {
		return last, nil
	}
	if err != nil {
		return last, wrap("reading when the PKI was restored", err)
	}
	restored := fromUnix(seconds)
	if least := big.NewInt(restored.UnixNano()); last.Number == nil || last.Number.Cmp(least) < 0 {
		last.Number = least
	}
	if least := crl.NewestThisUpdate(restored); last.ThisUpdate.Before(least) {
		last.ThisUpdate, last.Known = least, l.ThisUpdate
	}
	return last, nil
}

// carried puts the entries that a CA goes on listing although the inventory
// does not know their certificates: those of the list that a restore adopted.
// They stay while the CA lives, for nobody knows when they expire.
func (s *snapshot) carried(put func(authority.Revoked) error) error {
	issuer := s.list.ca
	der, err := adoptedList(s.ctx, s.tx, issuer)
	if err != nil || der == nil {
		return err
	}
	var ca []byte
	if err := s.tx.QueryRowContext(s.ctx, `SELECT der FROM certificate WHERE subject_ca = $1 ORDER BY not_after DESC LIMIT 1`, issuer).Scan(&ca); err != nil {
		return wrap("reading the CAs", err)
	}
	list, err := crl.Parse(der)
	if err != nil {
		return fmt.Errorf("%w: reading the list that was adopted: %v", ErrDamaged, err)
	}
	notAfter, err := notAfterOf(ca)
	if err != nil {
		return err
	}
	for e := range list.Entries() {
		known, err := isKnown(s.ctx, s.tx, issuer, e.Serial)
		if err != nil {
			return err
		}
		if known { // then the inventory says whether it is revoked
			continue
		}
		if err := put(authority.Revoked{Serial: e.Serial, NotAfter: notAfter,
			Revocation: authority.Revocation{Reason: e.Reason, Done: e.RevocationDate, ListedFrom: e.RevocationDate}}); err != nil {
			return err
		}
	}
	return nil
}

// adoptedList gives the list that a restore found to hold serials that the
// inventory lacks, or nil.
func adoptedList(ctx context.Context, q querier, issuer int64) ([]byte, error) {
	var der, sum []byte
	err := q.QueryRowContext(ctx, `SELECT l.der, l.sha256 FROM counters k
		JOIN crl l ON l.issuer = $1 AND l.number = k.value WHERE k.name = $2`, issuer, adoptedCounter(issuer)).Scan(&der, &sum)
	if errors.Is(err, sql.ErrNoRows) {
		return nil, nil
	}
	if err != nil {
		return nil, wrap("reading the list that was adopted", err)
	}
	if got := sha256.Sum256(der); !bytes.Equal(got[:], sum) {
		return nil, errNeedsDigest
	}
	return der, nil
}

func notAfterOf(der []byte) (time.Time, error) {
	f := pki.FingerprintOf(der)
	cert, err := parseStored(der, f[:])
	if err != nil {
		return time.Time{}, err
	}
	return cert.NotAfter, nil
}

// isKnown reports whether the inventory has a certificate of an issuer.
func isKnown(ctx context.Context, q querier, issuer int64, serial pki.Serial) (bool, error) {
	var n int
	err := q.QueryRowContext(ctx, `SELECT COUNT(*) FROM certificate WHERE issuer = $1 AND serial = $2`, issuer, serial.Octets()).Scan(&n)
	return n > 0, wrap("looking a serial number up", err)
}
