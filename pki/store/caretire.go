package store

import (
	"context"
	"encoding/hex"
	"errors"
	"fmt"
	"strings"

	"mutual/pki"
)

// What a CA that is to be retired can be refused for, beside ErrLive.
var (
	ErrNewestCA = errors.New("it is the newest of its role: only one that another has followed can be retired")
	ErrWhichCA  = errors.New("several CAs could be meant")
	ErrNoCA     = errors.New("it is no CA in use")
)

// CARetired is a CA that is out of use.
type CARetired struct {
	Role    pki.Kind
	Key     string // in short
	Subject string
	Live    int // leaves that depended on it
	CRLs    []Published
}

// RetireCA takes a CA out of use: out of the files that servers trust and out
// of the CRLs that are made. which is root or issuing, which means the only
// older one of the role, or a key identifier, in short or whole. While live
// leaves depend on it, it is ErrLive unless it is revoked for good, with which
// they are, too, or forced. Its key stays where it is.
func (p *PKI) RetireCA(ctx context.Context, which string, force bool) (*CARetired, error) {
	release, err := p.queueForCAs(ctx)
	if err != nil {
		return nil, err
	}
	defer release()
	var done *CARetired
	err = p.update(ctx, p.signerAtHand(ctx), func(t *Tx) error {
		row, err := t.olderCA(which)
		if err != nil {
			return err
		}
		done = &CARetired{Role: row.role, Key: shortID(row.keyID), Subject: row.cert.Subject.String()}
		if done.Live, err = t.dependents(row); err != nil {
			return err
		}
		dead, err := isRevokedCA(t.ctx, t.tx, row.keyID, false)
		if err != nil {
			return err
		}
		if done.Live > 0 && !dead && !force {
			return fmt.Errorf("%s cannot be retired: %w: %d", row.cert.Subject, ErrLive, done.Live)
		}
		if err := t.exec("retiring the CA", `UPDATE ca SET retired = $1 WHERE id = $2`, t.now.Unix(), row.id); err != nil {
			return err
		}
		return t.recordCA("ca retire", row.role, map[string]any{"key": done.Key, "live": done.Live, "force": force})
	})
	if err != nil {
		return nil, err
	}
	done.CRLs, err = p.publishCA(ctx)
	return done, err
}

// olderCA finds the CA to retire.
func (t *Tx) olderCA(which string) (caRow, error) {
	cas, err := caRows(t.ctx, t.tx)
	if err != nil {
		return caRow{}, err
	}
	byRole := which == string(pki.KindRoot) || which == string(pki.KindIssuing)
	var older []caRow
	newest := false
	for _, r := range cas {
		named := len(which) >= 8 && strings.HasPrefix(hex.EncodeToString(r.keyID), strings.ToLower(which)) || byRole && string(r.role) == which
		switch {
		case named && r.newest:
			newest = true
		case named:
			older = append(older, r)
		}
	}
	switch {
	case len(older) == 1:
		return older[0], nil
	case len(older) > 1:
		return caRow{}, fmt.Errorf("%w: %s and %s", ErrWhichCA, shortID(older[0].keyID), shortID(older[1].keyID))
	case newest:
		return caRow{}, fmt.Errorf("%q: %w", which, ErrNewestCA)
	}
	return caRow{}, fmt.Errorf("%q: %w", which, ErrNoCA)
}

// dependents counts the live leaves that need a CA: of an issuing CA those that
// it has issued; of a root those whose holders have a chain that leads to it,
// because it had signed the newest certificate that their issuing CA had when
// it issued them.
func (t *Tx) dependents(row caRow) (int, error) {
	if row.role == pki.KindIssuing {
		return t.countLive(row.id, 0, 0)
	}
	rows, err := t.tx.QueryContext(t.ctx, `SELECT c.subject_ca, c.id, c.issuer FROM certificate c JOIN ca ON ca.id = c.subject_ca
		WHERE c.kind = 'issuing' AND ca.retired IS NULL ORDER BY c.subject_ca, c.id`)
	if err != nil {
		return 0, wrap("reading the CAs", err)
	}
	defer func() { _ = rows.Close() }() // Err below reports what matters
	type span struct{ ca, from, signedBy int64 }
	var spans []span
	for rows.Next() {
		var s span
		if err := rows.Scan(&s.ca, &s.from, &s.signedBy); err != nil {
			return 0, wrap("reading the CAs", err)
		}
		spans = append(spans, s)
	}
	if err := rows.Err(); err != nil {
		return 0, wrap("reading the CAs", err)
	}
	total := 0
	for i, s := range spans {
		if s.signedBy != row.id {
			continue
		}
		to := int64(0)
		if i+1 < len(spans) && spans[i+1].ca == s.ca {
			to = spans[i+1].from
		}
		n, err := t.countLive(s.ca, s.from, to)
		if err != nil {
			return 0, err
		}
		total += n
	}
	return total, nil
}

// countLive counts the live leaves of an issuing CA that were recorded between
// two certificates; to 0 is no end.
func (t *Tx) countLive(issuer, from, to int64) (int, error) {
	var n int
	err := t.tx.QueryRowContext(t.ctx, `SELECT COUNT(*) FROM certificate c LEFT JOIN revocation r ON r.certificate = c.id
		WHERE `+live+` AND c.issuer = $2 AND c.id > $3 AND ($4 = 0 OR c.id < $4)`, t.now.Unix(), issuer, from, to).Scan(&n)
	return n, wrap("counting the live certificates", err)
}
