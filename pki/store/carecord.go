package store

import (
	"context"
	"crypto/x509"
	"encoding/hex"
	"fmt"
	"strings"

	"mutual/pki"
	"mutual/pki/authority"
)

// addCA records a CA key.
func (t *Tx) addCA(role pki.Kind, keyID []byte) (id int64, err error) {
	err = t.tx.QueryRowContext(t.ctx, `INSERT INTO ca (role, key_id, created) VALUES ($1, $2, $3) RETURNING id`,
		string(role), keyID, t.now.Unix()).Scan(&id)
	return id, wrap("recording the CA", err)
}

// belongsTo says of which CA a certificate is.
func (t *Tx) belongsTo(cert *x509.Certificate, ca int64) error {
	f := pki.FingerprintOf(cert.Raw)
	return t.exec("recording the CA", `UPDATE certificate SET subject_ca = $1 WHERE sha256 = $2`, ca, f[:])
}

// replaces makes a certificate the one that counts for a CA, in the place of
// every other of its kind.
func (t *Tx) replaces(cert *x509.Certificate, ca int64) error {
	if err := t.belongsTo(cert, ca); err != nil {
		return err
	}
	f := pki.FingerprintOf(cert.Raw)
	return t.exec("replacing the CA's certificate", `UPDATE certificate
		SET replaced_by = (SELECT id FROM certificate WHERE sha256 = $1)
		WHERE subject_ca = $2 AND replaced_by IS NULL AND sha256 <> $1
		AND kind = (SELECT kind FROM certificate WHERE sha256 = $1)`, f[:], ca)
}

// recordCA writes an act on a CA into the journal and counts it: it may change
// who is let in.
func (t *Tx) recordCA(act string, subject pki.Kind, details map[string]any) error {
	number, err := t.append(act, string(subject), details)
	if err != nil {
		return err
	}
	_, err = t.nextEpoch(act, number)
	return err
}

// caName is unique for each CA key: CRLs are found by it, and NSS, GnuTLS and
// Java tell keys apart by it.
func caName(req InitRequest, role pki.Kind, keyID []byte) string {
	name := req.Name
	if req.Settings.Test {
		name += " TEST"
	}
	what := "Root"
	if role == pki.KindIssuing {
		what = "Issuing"
	}
	return fmt.Sprintf("%s %s CA %s", name, what, shortID(keyID))
}

// maxCommonName is the upper bound of RFC 5280, Appendix A.1.
const maxCommonName = 64

// nextCAName is the name of a CA with the key that stands at its end replaced.
// A name that ends otherwise is cut where it would become too long.
func nextCAName(of *x509.Certificate, keyID []byte) string {
	name := strings.TrimSuffix(of.Subject.CommonName, " "+hex.EncodeToString(of.SubjectKeyId[:min(4, len(of.SubjectKeyId))]))
	end := " " + shortID(keyID)
	if runes := []rune(name); len(runes)+len(end) > maxCommonName {
		name = strings.TrimSpace(string(runes[:maxCommonName-len(end)]))
	}
	return name + end
}

// IssuerChain gives the certificate of the CA that issued a leaf of the
// inventory. While the root of that CA follows another that is still in use,
// the certificate comes along by which the former root vouches for it: whoever
// trusts only that one needs it.
func (p *PKI) IssuerChain(ctx context.Context, c Certificate) ([]*x509.Certificate, error) {
	row, err := p.caRowByID(ctx, c.issuer)
	if err != nil {
		return nil, fmt.Errorf("finding the CA that issued %s: %w", c.Serial, err)
	}
	return p.chainAbove(ctx, row.cert)
}

func (p *PKI) chainAbove(ctx context.Context, issuing *x509.Certificate) ([]*x509.Certificate, error) {
	chain := []*x509.Certificate{issuing}
	var crossed bool
	if err := p.db.QueryRowContext(ctx, `SELECT EXISTS (SELECT 1 FROM certificate WHERE kind = 'cross' AND kind <> 'client')`).Scan(&crossed); err != nil || !crossed {
		return chain, wrap("reading the CAs", err)
	}
	rows, err := p.db.QueryContext(ctx, `SELECT c.der, c.sha256 FROM certificate c
		JOIN ca above ON above.id = c.issuer JOIN ca below ON below.id = c.subject_ca
		WHERE c.kind = 'cross' AND c.kind <> 'client' AND c.replaced_by IS NULL AND above.retired IS NULL AND below.retired IS NULL
		AND c.not_after > $1 AND NOT EXISTS (SELECT 1 FROM revocation r WHERE r.certificate = c.id) ORDER BY c.id DESC`, p.now().Unix())
	if err != nil {
		return nil, wrap("reading the CAs", err)
	}
	defer func() { _ = rows.Close() }() // Err below reports what matters
	for rows.Next() {
		var der, sum []byte
		if err := rows.Scan(&der, &sum); err != nil {
			return nil, wrap("reading the CAs", err)
		}
		cross, err := parseStored(der, sum)
		if err != nil {
			return nil, err
		}
		if string(cross.SubjectKeyId) == string(chain[len(chain)-1].AuthorityKeyId) {
			chain = append(chain, cross)
		}
	}
	return chain, wrap("reading the CAs", rows.Err())
}

// publishCA brings the files up to date after an act on a CA that is committed.
func (p *PKI) publishCA(ctx context.Context) ([]Published, error) {
	lists, err := p.publish(ctx, publishRequest{})
	if err != nil {
		return nil, fmt.Errorf("%w: %w", ErrNotInFiles, err)
	}
	for _, l := range lists {
		if l.Number == nil && l.Skipped != nil {
			return lists, fmt.Errorf("%w: making the CRL of the %s: %w", ErrNotInFiles, l.CA(), l.Skipped)
		}
	}
	return lists, nil
}

// newSerial is a Subject of a CA's certificate: a serial and no name.
func newSerial() (authority.Subject, error) {
	serial, err := authority.NewSerial(nil)
	return authority.Subject{Serial: serial}, err
}
