package store

import (
	"bytes"
	"context"
	"database/sql"
	"errors"
	"time"

	"mutual/pki"
	"mutual/pki/authority"
)

// Certificate is what the inventory knows of a certificate beside its DER.
type Certificate struct {
	authority.Record
	Fingerprint pki.Fingerprint
	Revocation  *authority.Revocation // nil: not revoked
	NameBlocked bool                  // no certificate is issued for its identity
	Replaced    bool                  // by a newer one
	Retired     bool                  // the CA that issued it: no list speaks for it any more

	id, issuer int64
	epoch      int64 // of the revocation
}

// State is what a certificate is worth at a time.
type State string

// The states. A revoked certificate that has expired is still revoked.
const (
	Valid       State = "valid"
	Revoked     State = "revoked"
	Held        State = "held"
	Expired     State = "expired"
	NotYetValid State = "notYetValid"
)

// State gives the certificate's state at the given time.
func (c *Certificate) State(now time.Time) State {
	switch {
	case c.Revocation != nil && c.Revocation.Reason == pki.CertificateHold:
		return Held
	case c.Revocation != nil:
		return Revoked
	case !now.Before(c.NotAfter):
		return Expired
	case now.Before(c.NotBefore):
		return NotYetValid
	}
	return Valid
}

// certificateQuery reads certificates. Whatever the condition, the outermost
// loop is over them: an outer join keeps it so.
const certificateQuery = `SELECT c.id, c.issuer, ca.key_id, c.serial, c.kind, COALESCE(i.name, ''), c.label,
	c.not_before, c.not_after, c.issued, c.backdated, c.sha256, c.digest,
	r.reason, r.done, r.listed_from, r.epoch, r.digest, i.blocked, c.replaced_by, ca.retired
	FROM certificate c LEFT JOIN ca ON ca.id = c.issuer
	LEFT JOIN identity i ON i.id = c.identity
	LEFT JOIN revocation r ON r.certificate = c.id
	WHERE c.sha256 IS NOT NULL AND `

// each runs the query for certificates with a condition.
func (p *PKI) each(ctx context.Context, q querier, where string, args []any, do func(Certificate) error) error {
	rows, err := q.QueryContext(ctx, certificateQuery+where, args...)
	if err != nil {
		return wrap("reading the inventory", err)
	}
	return eachRow(rows, do)
}

func eachRow(rows *sql.Rows, do func(Certificate) error) error {
	defer func() { _ = rows.Close() }() // Err below reports what matters
	for rows.Next() {
		c, err := scanCertificate(rows)
		if err != nil {
			return err
		}
		if err := do(c); err != nil {
			return err
		}
	}
	return wrap("reading the inventory", rows.Err())
}

func (p *PKI) all(ctx context.Context, q querier, where string, args ...any) ([]Certificate, error) {
	var out []Certificate
	err := p.each(ctx, q, where, args, func(c Certificate) error {
		out = append(out, c)
		return nil
	})
	return out, err
}

// all is PKI.all in the transaction.
func (t *Tx) all(where string, args ...any) (out []Certificate, err error) {
	rows, err := t.tx.QueryContext(t.ctx, certificateQuery+where, args...)
	if err != nil {
		return nil, wrap("reading the inventory", err)
	}
	err = eachRow(rows, func(c Certificate) error {
		out = append(out, c)
		return nil
	})
	return out, err
}

// scanCertificate reads a row and checks that it is the one that was written.
func scanCertificate(rows *sql.Rows) (Certificate, error) {
	var c Certificate
	var serial, sum, digest, revocationSum []byte
	var kind, name string
	var notBefore, notAfter, issued int64
	var reason, done, listed, epoch, blockedAt, replaced, retired sql.NullInt64
	if err := rows.Scan(&c.id, &c.issuer, &c.IssuerKeyID, &serial, &kind, &name, &c.Label,
		&notBefore, &notAfter, &issued, &c.Backdated, &sum, &digest,
		&reason, &done, &listed, &epoch, &revocationSum, &blockedAt, &replaced, &retired); err != nil {
		return c, wrap("reading the inventory", err)
	}
	var err error
	if c.Serial, err = pki.SerialFromOctets(serial); err != nil {
		return c, errNeedsDigest
	}
	if name != "" {
		if c.Name, err = pki.ParseAnyName(name); err != nil {
			return c, errNeedsDigest
		}
	}
	c.Kind = pki.Kind(kind)
	c.NotBefore, c.NotAfter, c.Issued = fromUnix(notBefore), fromUnix(notAfter), fromUnix(issued)
	copy(c.Fingerprint[:], sum)
	c.NameBlocked, c.Replaced, c.Retired = blockedAt.Valid, replaced.Valid, retired.Valid
	if !bytes.Equal(recordDigest(c.Record, c.Fingerprint), digest) {
		return c, errNeedsDigest
	}
	if !reason.Valid {
		return c, nil
	}
	c.Revocation = &authority.Revocation{Reason: pki.Reason(reason.Int64), Done: fromUnix(done.Int64)}
	if listed.Valid {
		c.Revocation.ListedFrom = fromUnix(listed.Int64)
	}
	c.epoch = epoch.Int64
	if !bytes.Equal(revocationDigest(c.Fingerprint[:], *c.Revocation, c.epoch), revocationSum) {
		return c, errNeedsDigest
	}
	return c, nil
}

func fromUnix(s int64) time.Time { return time.Unix(s, 0).UTC() }

// DER returns a certificate of the inventory.
func (p *PKI) DER(ctx context.Context, f pki.Fingerprint) ([]byte, error) {
	var der []byte
	err := p.db.QueryRowContext(ctx, `SELECT der FROM certificate WHERE sha256 = $1`, f[:]).Scan(&der)
	if errors.Is(err, sql.ErrNoRows) {
		return nil, notFound(f.String())
	}
	if err != nil {
		return nil, wrap("reading the certificate", err)
	}
	if pki.FingerprintOf(der) != f {
		return nil, errNeedsDigest
	}
	return der, nil
}

// Lookup finds a certificate by the SHA-256 of its DER.
func (p *PKI) Lookup(ctx context.Context, f pki.Fingerprint) (Certificate, error) {
	found, err := p.all(ctx, p.db, "c.sha256 = $1", f[:])
	if err != nil {
		return Certificate{}, err
	}
	if len(found) == 0 {
		return Certificate{}, notFound(f.String())
	}
	return found[0], nil
}
