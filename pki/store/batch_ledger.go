package store

import (
	"crypto/sha1" // #nosec: as in tx.go
	"crypto/sha256"
	"errors"
	"fmt"

	"mutual/pki"
	"mutual/pki/authority"
)

// batchLedger is the ledger of many certificates in one transaction. It makes
// the checks of Tx, what all share once, and writes every row once, when store
// is called. The rows get their numbers here, which nobody else gives out while
// the transaction lasts.
type batchLedger struct {
	*Tx
	keyID           []byte
	issuer          int64
	identities      map[pki.Name]identityRow
	folded          map[string]pki.Name // of identities that come with this transaction
	created         []pki.Name
	lastIdentity    int64
	lastCertificate int64
	rows            []batchRow
}

type batchRow struct {
	authority.Record
	der         []byte
	fingerprint pki.Fingerprint
	at          Place
}

var _ authority.Ledger = (*batchLedger)(nil)

// refusal is why a name gets no certificate, while others in the same
// transaction do.
func asRefusal(err error) error {
	if errors.Is(err, ErrBlocked) || errors.Is(err, ErrNameTaken) {
		return err
	}
	return nil
}

// batch makes the checks that all certificates of an issuer share.
func (t *Tx) batch(keyID []byte) (*batchLedger, error) {
	l := &batchLedger{Tx: t, keyID: keyID, identities: map[pki.Name]identityRow{}, folded: map[string]pki.Name{}}
	if err := t.tick(); err != nil {
		return nil, err
	}
	var err error
	if l.issuer, err = t.caByKey(keyID); err != nil {
		return nil, err
	}
	if err := t.checkNotRevoked(l.issuer); err != nil {
		return nil, err
	}
	for table, last := range map[string]*int64{"identity": &l.lastIdentity, "certificate": &l.lastCertificate} {
		if err := t.tx.QueryRowContext(t.ctx, `SELECT COALESCE(MAX(id), 0) FROM `+table).Scan(last); err != nil {
			return nil, wrap("numbering the rows", err)
		}
	}
	return l, nil
}

// Reserve implements authority.Ledger. That the serial number is unique shows
// when the rows are stored.
func (l *batchLedger) Reserve(r authority.Record) error {
	if string(r.IssuerKeyID) != string(l.keyID) || r.Name.IsZero() {
		return errors.New("a batch is of one issuer's leaves")
	}
	if known, ok := l.identities[r.Name]; ok {
		return known.mayHave(r.Name)
	}
	known, err := scanIdentity(l.queryRow(identityQuery, r.Name.Folded()), r.Name)
	if errors.Is(err, ErrNotFound) {
		return l.create(r.Name)
	}
	if err != nil {
		return err
	}
	l.identities[r.Name] = known
	return known.mayHave(r.Name)
}

// create gives a name an identity, unless one that differs only in its spelling
// just got one.
func (l *batchLedger) create(name pki.Name) error {
	if other, ok := l.folded[name.Folded()]; ok {
		return l.identities[other].mayHave(name)
	}
	l.lastIdentity++
	l.identities[name] = identityRow{id: l.lastIdentity, name: name.String()}
	l.folded[name.Folded()] = name
	l.created = append(l.created, name)
	return nil
}

// Complete implements authority.Ledger: the row is written by store.
func (l *batchLedger) Complete(r authority.Record, der []byte) error {
	l.rows = append(l.rows, batchRow{Record: r, der: der, fingerprint: pki.FingerprintOf(der)})
	return nil
}

// place says where the files of the last certificate will lie.
func (l *batchLedger) place(at Place) { l.rows[len(l.rows)-1].at = at }

// store writes the journal's line and the rows.
func (l *batchLedger) store() error {
	number, err := l.journal()
	if err != nil {
		return err
	}
	if err := l.storeIdentities(); err != nil {
		return err
	}
	first := l.lastCertificate + 1
	if err := l.storeCertificates(number); err != nil {
		return err
	}
	return l.storePlaces(first)
}

// batchDetails are the details of a batch's line: the serial numbers of its
// certificates, and one hash for all of them, the SHA-256 of their fingerprints
// in the same order.
type batchDetails struct {
	Kind    pki.Kind     `json:"kind"`
	Count   int          `json:"count"`
	Serials []pki.Serial `json:"serials"`
	SHA256  string       `json:"sha256"`
}

// journal writes one line, whose head is signed once, for all certificates.
func (l *batchLedger) journal() (int64, error) {
	d := batchDetails{Kind: l.rows[0].Kind, Count: len(l.rows)}
	h := sha256.New()
	for _, row := range l.rows {
		d.Serials = append(d.Serials, row.Serial)
		h.Write(row.fingerprint[:])
	}
	d.SHA256 = fmt.Sprintf("%x", h.Sum(nil))
	return l.append("issue", fmt.Sprintf("batch of %d", d.Count), d)
}

func (l *batchLedger) storeIdentities() error {
	for _, name := range l.created {
		if err := l.exec("recording the identity", `INSERT INTO identity (id, name, folded, created) VALUES ($1, $2, $3, $4)`,
			l.identities[name].id, name.String(), name.Folded(), l.now.Unix()); err != nil {
			return err
		}
	}
	return nil
}

func (l *batchLedger) storeCertificates(journal int64) error {
	for _, row := range l.rows {
		l.lastCertificate++
		byOldHash := sha1.Sum(row.der)
		if err := l.exec("storing the certificate with the serial number "+row.Serial.String(), `INSERT INTO certificate
			(id, issuer, serial, identity, kind, label, not_before, not_after, issued, backdated, journal, sha256, sha1, der, digest)
			VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $9, $10, $11, $12, $13, $14, $15)`,
			l.lastCertificate, l.issuer, row.Serial.Octets(), l.identities[row.Name].id, string(row.Kind), row.Label,
			row.NotBefore.Unix(), row.NotAfter.Unix(), row.Issued.Unix(), row.Backdated, journal,
			row.fingerprint[:], byOldHash[:], row.der, recordDigest(row.Record, row.fingerprint)); err != nil {
			return err
		}
		l.count(Certificate{Record: row.Record, issuer: l.issuer}, +1)
	}
	return nil
}

// storePlaces remembers where the files lie.
func (l *batchLedger) storePlaces(first int64) error {
	for i, row := range l.rows {
		if row.at.isZero() {
			continue
		}
		if err := l.putPlace(first+int64(i), row.at); err != nil {
			return err
		}
	}
	return nil
}
