package store

import (
	"context"
	"fmt"
	"os"

	"mutual/pki"
	"mutual/pki/authority"
	"mutual/pki/pemfile"
)

// Settle does what renewals have left to be done. One that was killed after its
// new files got their place is finished. What was replaced, and whose grace is
// over, is revoked as superseded, all in one transaction; the lists are then
// overdue. A certificate is never superseded while its successor is not in its
// place or is revoked itself (other than as superseded: then it has a successor,
// too), or while it is held.
func (p *PKI) Settle(ctx context.Context) error {
	if known, err := p.knowsPlaces(ctx); err != nil || !known {
		return err
	}
	var any bool
	if err := p.db.QueryRowContext(ctx, `SELECT EXISTS (SELECT 1 FROM replacement)`).Scan(&any); err != nil || !any {
		return wrap("looking for renewals", err)
	}
	arrived, err := p.arrived(ctx)
	if err != nil {
		return err
	}
	var due int
	if err := p.db.QueryRowContext(ctx, `SELECT COUNT(*) FROM replacement p JOIN certificate c ON c.id = p.old
		LEFT JOIN revocation r ON r.certificate = p.old LEFT JOIN revocation n ON n.certificate = p.new
		WHERE p.due <= $1 AND (c.not_after <= $1 OR r.reason <> $2 OR r.reason IS NULL AND COALESCE(n.reason, $3) = $3)`,
		p.now().Unix(), int64(pki.CertificateHold), int64(pki.Superseded)).Scan(&due); err != nil {
		return wrap("looking for what is superseded", err)
	}
	if due+len(arrived) == 0 {
		return nil
	}
	return p.update(ctx, p.signerAtHand(ctx), func(t *Tx) error {
		for _, id := range arrived {
			if _, err := t.finishReplacement(id); err != nil {
				return err
			}
		}
		return t.supersede()
	})
}

// arrived gives the new certificates of open renewals that lie in their place.
func (p *PKI) arrived(ctx context.Context) ([]int64, error) {
	rows, err := p.db.QueryContext(ctx, `SELECT DISTINCT r.new, n.sha256, r.key_file, r.certificate_file, r.combined_file
		FROM replacement r JOIN certificate n ON n.id = r.new WHERE r.due IS NULL`)
	if err != nil {
		return nil, wrap("looking for open renewals", err)
	}
	defer func() { _ = rows.Close() }() // Err below reports what matters
	var out []int64
	for rows.Next() {
		var id int64
		var sum []byte
		var at Place
		if err := rows.Scan(&id, &sum, &at.Key, &at.Certificate, &at.Combined); err != nil {
			return nil, wrap("looking for open renewals", err)
		}
		if at.holds(sum) {
			out = append(out, id)
		}
	}
	return out, wrap("looking for open renewals", rows.Err())
}

// holds reports whether the certificate with the SHA-256 lies at the place for
// good: as a plain file. A link there belongs to a swap that a loss of power may
// still undo.
func (p Place) holds(sum []byte) bool {
	info, err := os.Lstat(p.main())
	if err != nil || !info.Mode().IsRegular() {
		return false
	}
	data, err := pemfile.ReadFile(p.main(), pemfile.MaxFile)
	if err != nil {
		return false
	}
	certs, err := pemfile.Certificates(data)
	if err != nil {
		return false
	}
	got := pki.FingerprintOf(certs[0].Raw)
	return string(got[:]) == string(sum)
}

// supersede revokes what is due. What is revoked already or has expired needs
// nothing more.
func (t *Tx) supersede() error {
	if err := t.exec("dropping what needs no revocation", `DELETE FROM replacement WHERE due <= $1 AND EXISTS (
		SELECT 1 FROM certificate c LEFT JOIN revocation r ON r.certificate = c.id
		WHERE c.id = replacement.old AND (c.not_after <= $1 OR r.reason <> $2))`, t.now.Unix(), int64(pki.CertificateHold)); err != nil {
		return err
	}
	w, err := t.change("supersede")
	if err != nil {
		return err
	}
	for after := int64(0); ; {
		page, err := t.all(fmt.Sprintf(`r.reason IS NULL AND c.id > $3 AND c.id IN (SELECT old FROM replacement WHERE due <= $1) AND c.replaced_by IS NOT NULL
			AND NOT EXISTS (SELECT 1 FROM revocation n WHERE n.certificate = c.replaced_by AND n.reason <> $2) ORDER BY c.id LIMIT %d`, nextPage),
			t.now.Unix(), int64(pki.Superseded), after)
		if err != nil {
			return err
		}
		for _, c := range page {
			after = c.id
			next, _ := authority.Revoke(nil, pki.Superseded, t.now)
			if err := w.revocation(c, &next); err != nil {
				return err
			}
			if err := t.exec("settling the renewal", `DELETE FROM replacement WHERE old = $1`, c.id); err != nil {
				return err
			}
		}
		if len(page) < nextPage {
			return w.end()
		}
	}
}
